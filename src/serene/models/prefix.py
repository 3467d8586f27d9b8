"""The frozen part at the bottom of an encoder as a front end: computed once for every clip, and kept in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from serene.audio.batch import Batch
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.models import weights
from serene.models.model import EmotionModel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LARGEST = torch.finfo(torch.float16).max
VERSION = 1  # of what is stored; raise it when the same settings give other arrays
NOTHING = ("nothing",)  # what its model would tell apart: no head is ever asked


@dataclass(frozen=True, kw_only=True)
class Prefix(FrontEnd):
    """What the part of an encoder gives of which nothing trains, as float16.

    Everything below the first layer that trains is a fixed function of the clip. Training, validation, the speaker
    corpus and scoring read it from the store instead of computing it in every epoch. The rounding to float16 is all
    that tells it from what the whole model computes of a clip; a speaker corpus's parts are cut from it, not before it.

    Args:
        front_end: what the encoder reads.
        encoder: its name, as in a recipe.
        settings: of the encoder; they name the weights that it begins with.
        normalize: what its input is standardised by: each `utterance`, or `none`.
    """

    front_end: FrontEnd
    encoder: str
    settings: dict[str, Any]
    normalize: str

    declared: ClassVar[InputSpec] = InputSpec(width=0, rate=0.0, encoded=True)

    @cached_property
    def identity(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the store keys the arrays by: the weights' content, how far up, what is read, this code's version."""
        begun = weights.digest(self.settings["weights"])
        reads = f"{self.front_end.identity}-{self.normalize}"
        return f"prefix-{begun}-{self._encoder.fixed}-{reads}-v{VERSION}"

    @cached_property
    def spec(self) -> InputSpec:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The encoder's frames, of the front end's clips."""
        own, encoder = self.front_end.spec, self._encoder
        found = replace(self.declared, width=encoder.prefix_width, rate=own.rate / encoder.stride)
        return replace(found, shortest=max(own.shortest, encoder.shortest), longest=own.longest, beyond=own.beyond)

    @property
    def states_width(self) -> int:
        """Features per frame of one layer."""
        return self._encoder.out_width

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into the frozen part's frames (frame, feature), float16."""
        features = torch.from_numpy(np.ascontiguousarray(self.front_end(samples)))[None]
        batch = Batch(features, torch.tensor([features.shape[1]]), ids=("the clip",))
        read = self._model.features(batch.to(DEVICE))
        sound = self._encoder.mask_after(read.mask)[0]
        frames = self._encoder.prefix(read.values, read.mask)[0, sound]
        return frames.clamp(-LARGEST, LARGEST).half().cpu().numpy()

    @property
    def _encoder(self) -> Any:
        return self._model.encoder

    @cached_property
    def _model(self) -> EmotionModel:
        width = self.front_end.spec.width
        given: Any = {"encoder": self.encoder, "encoder_settings": self.settings, "normalize": self.normalize}
        with torch.random.fork_rng(devices=[]):  # its head, which is never asked, takes no random number away
            return EmotionModel(NOTHING, width, **given).eval().to(DEVICE)
