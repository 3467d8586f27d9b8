"""Sound becomes a Batch: features, voice activity, the store of computed arrays, length-bucketed batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serene import registry
from serene.audio.input_spec import FrontEnd
from serene.errors import SereneError

FRONT_ENDS = {
    "mfcc": "serene.audio.mfcc:Mfcc",
    "mel_prosody": "serene.audio.mel_prosody:MelProsody",
    "waveform": "serene.audio.waveform:Waveform",
    "log_mel": "serene.audio.log_mel:LogMel",
    "frozen": "serene.models.frozen:Frozen",
    "bundled": "serene.inference.bundled:Bundled",
}


def front_end_of(preprocessor: Mapping[str, Any]) -> FrontEnd:
    """Make the front end that a model folder's `preprocessor_config.json` describes.

    Raises:
        SereneError: it names no front end (a folder's word does not run just anything), or one of other settings.
        MissingExtra: the front end needs an optional dependency that is not installed.
    """
    settings = dict(preprocessor)
    name = str(settings.pop("front_end", None))
    kind = registry.load(name, FRONT_ENDS, "front end")
    if not (isinstance(kind, type) and issubclass(kind, FrontEnd)):
        raise SereneError(f"'{name}' is no front end: it is no subclass of serene.audio.input_spec.FrontEnd.")
    try:
        return kind(**settings)
    except TypeError as error:
        raise SereneError(f"The front end '{name}' does not take the settings that came with it: {error}.") from error
