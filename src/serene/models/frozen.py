"""A frozen encoder's outputs, computed once and kept in the store; and the encoder that passes them on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from serene import registry
from serene.audio import FRONT_ENDS
from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models import weights
from serene.models.hubert import Hubert
from serene.models.model import EmotionModel, Frames

VERSION = 1  # of what is stored; raise it when the same settings give other arrays


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A front end that is an encoder at rest: a pretrained one, or that of a model which this project trained.

    The encoder is loaded when the first clip is computed: where the store holds all clips, never.

    Args:
        weights: a folder or hub name of HuBERT, wav2vec 2.0 or WavLM, or a model folder of ours, whose outputs are
            those between its projector and its heads.
        layers: the output of this layer instead of the last; for pretrained encoders.
        pooled: one vector per clip (the mean over frames; the model's own pooling for ours) instead of all frames.
        length: cut every clip to so many samples or fill it up with zeros, and pool over all of it, as the Brown
            report does; by default every clip has its own length.
    """

    weights: str
    layers: int | None = None
    pooled: bool = True
    length: int | None = None

    stored: ClassVar[bool] = True
    rate: ClassVar[float] = 0.0  # the frames of a part of a clip are not a part of the clip's frames

    def __post_init__(self) -> None:
        """Refuse a length of nothing."""
        if self.length is not None and self.length < 1:
            raise SereneError(f"features.length is {self.length}; a number of samples was expected.")

    @cached_property
    def identity(self) -> str:
        """What the store keys the arrays by: the weights' content, the settings and this code's version."""
        layer = "" if self.layers is None else f"-layer{self.layers}"
        length = "" if self.length is None else f"-{self.length}"
        kind = "pooled" if self.pooled else "frames"
        return f"frozen-{weights.digest(self.weights)}{layer}{length}-{kind}-v{VERSION}"

    @cached_property
    def width(self) -> int:
        """Features per frame, read from the configuration alone for pretrained encoders."""
        if isinstance(self._encoder_folder, Path):
            return int(json.loads((self._encoder_folder / weights.CONFIG).read_text())["hidden_size"])
        model = self._own_model
        return model.embedding_width if self.pooled else model.encoder.out_width

    @cached_property
    def shortest(self) -> int:
        """Fewest samples of a clip."""
        if self.length is not None or self._encoder_folder is None:
            return 1
        return self._pretrained.shortest

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into frames (frame, feature), a single one where they are pooled."""
        if self.length is not None:
            samples = np.pad(samples[: self.length], (0, max(0, self.length - len(samples))))
        with torch.inference_mode():
            output = self._encode(samples) if self._encoder_folder else self._embed(samples)
        return output.float().numpy()

    def _encode(self, samples: np.ndarray) -> Tensor:
        frames = torch.from_numpy(self._standardised(samples))[None, :, None]
        encoded = self._pretrained(frames, torch.ones(frames.shape[:2], dtype=torch.bool))[0]
        return encoded.mean(dim=0, keepdim=True) if self.pooled else encoded

    def _embed(self, samples: np.ndarray) -> Tensor:
        features = torch.from_numpy(self._own_front_end(samples).copy())[None]
        lengths, nobody = torch.tensor([features.shape[1]]), torch.tensor([-1])
        batch = Batch(features, lengths, torch.zeros(1, len(self._own_model.emotions)), nobody, ("",))
        frames: Frames = self._own_model.project(self._own_model.context(self._own_model.features(batch)))
        return self._own_model.pool(frames) if self.pooled else frames.values[0]

    def _standardised(self, samples: np.ndarray) -> np.ndarray:
        """Bring samples to mean 0 and variance 1, unless the encoder was trained on sound as it is."""
        path = self._encoder_folder / "preprocessor_config.json" if self._encoder_folder else None
        if path is not None and path.exists() and not json.loads(path.read_text()).get("do_normalize", True):
            return samples
        return ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)

    @cached_property
    def _encoder_folder(self) -> Path | None:
        """Folder of a pretrained encoder; None for a model of ours."""
        folder = weights.find(self.weights)
        ours = json.loads((folder / weights.CONFIG).read_text()).get("model_type") == "serene"
        if ours and self.layers is not None:
            raise SereneError("features.layers is for pretrained encoders; a model of ours gives its last output.")
        return None if ours else folder

    @cached_property
    def _pretrained(self) -> Hubert:
        return Hubert(1, weights=self.weights, layers=self.layers, train="none").eval()

    @cached_property
    def _own_model(self) -> EmotionModel:
        model = EmotionModel.load(self.weights)
        if model.normalize == "speaker" or model.parts.hears_voices:
            raise SereneError(
                f"{self.weights} hears a speaker's other clips, so its outputs are no function of a clip and cannot be "
                "stored; use a model that hears one clip at a time."
            )
        return model

    @cached_property
    def _own_front_end(self) -> Any:
        settings = json.loads((Path(self.weights) / "preprocessor_config.json").read_text())
        return registry.load(settings.pop("front_end"), FRONT_ENDS, "front end")(**settings)


class FrozenOutputs(nn.Module):
    """The encoder over stored outputs: it passes them on, and has nothing to train.

    Args:
        width: features per frame.

    Attributes:
        out_width: the same.
    """

    front_end = "frozen"
    normalize = "none"
    shortest = 1
    head_width = 256

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.out_width = width
        self.rebuilt: dict[str, Any] = {}

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the frames (batch, frame, feature) as they are."""
        return frames

    def mask_after(self, mask: Tensor) -> Tensor:
        """Return the mask (batch, frame) as it is."""
        return mask
