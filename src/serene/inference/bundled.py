"""The bundled model below its head as a front end: one vector per clip, on onnxruntime, without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from hashlib import file_digest
from pathlib import Path
from typing import ClassVar

import numpy as np

from serene.audio.input_spec import FrontEnd, InputSpec, identity_of
from serene.errors import SereneError
from serene.inference.features import Clip
from serene.inference.folder import GRAPHS, ModelFolder
from serene.inference.recognizer import Recognizer
from serene.sound import SAMPLE_RATE

VERSION = 1  # of what is stored; raise it when the same model gives other vectors


@dataclass(frozen=True, kw_only=True)
class Bundled(FrontEnd):
    """What the model that comes with the package makes of a clip before its head: one frame, of nobody enrolled.

    Args:
        digest: of that model's ONNX file, filled in where it is not said. A model that was trained on its vectors keeps
            it, and is refused where another one comes with the package.
    """

    digest: str | None = None

    declared: ClassVar[InputSpec] = InputSpec(width=0, rate=0.0, weights="package")

    def __post_init__(self) -> None:
        """Take the digest of the model that is here."""
        if self.digest is None:
            object.__setattr__(self, "digest", _digest(ModelFolder.find()))

    @cached_property
    def folder(self) -> Path:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Where the model lies.

        Raises:
            SereneError: there is none, or it is not that of the digest.
        """
        model = ModelFolder.find()
        if _digest(model) != self.digest:
            raise SereneError(
                f"This was trained on the vectors of another bundled model ({self.digest}) than the one of this serene "
                f"({_digest(model)}); train it again, or install the release that it was trained with."
            )
        return model.path

    @property
    def identity(self) -> str:
        """What the store keys the vectors by: the model's file, and this code's version."""
        return identity_of("bundled", VERSION, {"digest": self.digest})

    @property
    def spec(self) -> InputSpec:
        """The width of the vector, and the clips that the model takes."""
        model = _model(self.folder)
        own = model.extractor.front_end.spec
        width = model.folder.config["embedding_width"]
        return replace(self.declared, width=width, shortest=own.shortest, longest=own.accepted)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) at 16 kHz into a frame (1, width); the checks for speech are the caller's."""
        model = _model(self.folder)
        clip = Clip(len(samples) / SAMPLE_RATE, np.asarray(model.extractor.front_end(samples), dtype=np.float32))
        return np.asarray(model.answer([clip])[0].embedding)[None]


@cache
def _model(folder: Path) -> Recognizer:
    return Recognizer.load(folder)


def _digest(model: ModelFolder) -> str:
    """Identify the file that runs; `model.safetensors`, which identifies other models, does not ship everywhere."""
    with (model.graph("fp32") or model.path / GRAPHS["int8"]).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:16]
