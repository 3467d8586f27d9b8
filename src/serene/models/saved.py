"""A model on disk: a folder of JSON and safetensors, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from serene.errors import SereneError
from serene.files import load_json, regular, whole_folder
from serene.models.parts import FORMAT
from serene.models.training_speakers import FILE, TrainingSpeakers


def write(
    folder: str | Path,
    config: Mapping[str, Any],
    preprocessor: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    training_speakers: TrainingSpeakers | None,
) -> None:
    """Write a model's folder; see `serene.models.model.EmotionModel.save`."""
    described = {"format": FORMAT, "model_type": "serene", **config}
    with whole_folder(folder) as temporary:
        (temporary / "config.json").write_text(json.dumps(described, indent=2) + "\n")
        (temporary / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")
        if training_speakers is not None:
            (temporary / FILE).write_text(json.dumps(training_speakers.to_dict()) + "\n")
        (temporary / "model.safetensors").write_bytes(safetensors.torch.save(dict(tensors)))


def read(folder: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a model's `config.json` and weights, inside `readable`."""
    config = load_json(Path(folder) / "config.json")
    if config["format"] > FORMAT:
        raise SereneError(f"{folder} was written by a newer serene (format {config['format']}); update serene.")
    return config, safetensors.torch.load_file(regular(Path(folder) / "model.safetensors"))


@contextlib.contextmanager
def readable(folder: str | Path) -> Iterator[None]:
    """Say of a folder that it is not readable where its files are missing, damaged or odd."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        why, *_ = str(error).splitlines() or [repr(error)]
        raise SereneError(f"{folder} is not a readable model folder: {why}") from error
    except (KeyError, TypeError) as error:
        raise SereneError(f"{folder} is not a readable model folder: its config.json is odd ({error!r}).") from error
