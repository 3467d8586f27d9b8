"""Sound becomes a Batch: features, voice activity, the store of computed arrays, length-bucketed batches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serene import registry
from serene.audio.input_spec import FrontEnd
from serene.errors import SereneError
from serene.trust import placed

FRONT_ENDS = {
    "mfcc": "serene.audio.mfcc:Mfcc",
    "mel_prosody": "serene.audio.mel_prosody:MelProsody",
    "waveform": "serene.audio.waveform:Waveform",
    "log_mel": "serene.audio.log_mel:LogMel",
    "frozen": "serene.models.frozen:Frozen",
    "bundled": "serene.inference.bundled:Bundled",
}


def kind_of(preprocessor: Mapping[str, Any]) -> type[FrontEnd]:
    """Give the class of the front end that a `preprocessor_config.json` names; it raises as `front_end_of` does."""
    return registry.load(str(preprocessor.get("front_end")), FRONT_ENDS, "front end")


def front_end_of(preprocessor: Mapping[str, Any], folder: Path) -> FrontEnd:
    """Make the front end that the `preprocessor_config.json` of a model folder describes.

    Raises:
        SereneError: it names no front end, one of other settings, or code or weights that are not trusted.
        MissingExtra: the front end needs an optional dependency that is not installed.
    """
    kind, settings = kind_of(preprocessor), placed(preprocessor, folder)
    name = settings.pop("front_end")
    try:
        return kind(**settings)
    except TypeError as error:
        raise SereneError(f"The front end '{name}' does not take the settings that came with it: {error}.") from error
