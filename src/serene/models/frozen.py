"""A frozen encoder's outputs, computed once and kept in the store; and the encoder that passes them on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from serene import registry
from serene.audio import FRONT_ENDS, front_end_of
from serene.audio.batch import Batch
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.errors import SereneError
from serene.models import ENCODERS, pretrained, weights
from serene.models.encoder import Encoder
from serene.models.heads import POOLINGS
from serene.models.hubert import Hubert, receptive_field
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.sound import SAMPLE_RATE

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VERSION = 1  # of what is stored; raise it when the same settings give other arrays


@dataclass(frozen=True, kw_only=True)
class Frozen(FrontEnd):
    """A front end that is an encoder at rest: a pretrained one, or that of a model which this project trained.

    The encoder is loaded when the first clip is computed: where the store holds all clips, never.

    Args:
        weights: a folder or hub name of HuBERT, wav2vec 2.0 or WavLM, or a model folder of ours, whose outputs are
            those between its projector and its heads.
        layers: the output of this layer instead of the last; for pretrained encoders.
        pooled: one vector per clip (the mean over frames; the model's own pooling for ours) instead of all frames.
        length: cut every clip to so many samples or fill it up with zeros, and pool over all of it, as the Brown
            report does; by default every clip has its own length.
        longest: seconds of a clip that are read, from its beginning, so that an encoder and a model that was trained on
            so much of each clip are read alike; all without it.
    """

    weights: str
    layers: int | None = None
    pooled: bool = True
    length: int | None = None
    longest: float | None = None

    declared: ClassVar[InputSpec] = InputSpec(width=0, rate=0.0, weights="elsewhere")

    def __post_init__(self) -> None:
        """Refuse lengths of nothing."""
        if self.length is not None and self.length < 1:
            raise SereneError(f"features.length is {self.length}; a number of samples was expected.")
        if self.longest is not None and not self.longest > 0:
            raise SereneError(f"features.longest is {self.longest}; a positive number of seconds was expected.")

    @cached_property
    def identity(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What the store keys the arrays by: the weights' content, what they read, the settings, this code's version.

        Raises:
            SereneError: the weights are not there, or they and the settings do not fit.
        """
        self._refuse_misfits()
        layer = "" if self.layers is None else f"-layer{self.layers}"
        length = "" if self.length is None else f"-{self.length}"
        length += "" if self.longest is None else f"-{self.longest}s"
        kind = "pooled" if self.pooled else "frames"
        if self._own_config is not None:
            reads = f"-{self._own_front_end.identity}"
        else:
            reads = "" if self._standardises else "-raw"
        return f"frozen-{weights.digest(self.weights)}{reads}{layer}{length}-{kind}-v{VERSION}"

    @cached_property
    def spec(self) -> InputSpec:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The width and the shortest clip of the encoder, read from its configuration alone.

        Raises:
            SereneError: `length` or `longest` is less than the encoder takes.
        """
        if self._own_config is None:
            described = self._described
            width = described.hidden_size
            shortest = receptive_field(list(zip(described.conv_kernel, described.conv_stride, strict=True)))
        else:
            widening = POOLINGS[self._own_config["parts"]["pooling"]].widening if self.pooled else 1
            width, own = widening * self._own_encoder.out_width, self._own_front_end.spec
            shortest = self._own_encoder.shortest if own.augmented else own.shortest
        if self.length is not None and self.length < shortest:
            raise SereneError(f"features.length is {self.length}; this encoder needs at least {shortest} samples.")
        if self.longest is not None and round(self.longest * SAMPLE_RATE) < shortest:
            raise SereneError(f"features.longest is {self.longest}; this encoder needs {shortest / SAMPLE_RATE:g} s.")
        return replace(self.declared, width=width, shortest=shortest if self.length is None else 1)

    @cached_property
    def frame_rate(self) -> float:
        """Frames per second of a pretrained encoder; those of a model of ours may have gaps where silence was."""
        if self._own_config is not None:
            raise SereneError(f"{self.weights} is a model of ours; frames of a pretrained encoder were expected.")
        return SAMPLE_RATE / self._pretrained.stride

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into frames (frame, feature), a single one where they are pooled."""
        if self.longest is not None:
            samples = samples[: round(self.longest * SAMPLE_RATE)]
        if self.length is not None:
            samples = np.pad(samples[: self.length], (0, max(0, self.length - len(samples))))
        with torch.inference_mode():
            output = self._encode(samples) if self._own_config is None else self._embed(samples)
        return output.float().cpu().numpy()

    def _encode(self, samples: np.ndarray) -> Tensor:
        if self._standardises:
            samples = ((samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)).astype(np.float32)
        values = torch.from_numpy(samples)[None, :, None].to(DEVICE)
        encoded = self._pretrained(values, torch.ones(values.shape[:2], dtype=torch.bool, device=DEVICE))[0]
        return encoded.mean(dim=0, keepdim=True) if self.pooled else encoded

    def _embed(self, samples: np.ndarray) -> Tensor:
        model, features = self._own_model, torch.from_numpy(self._own_front_end(samples).copy())[None]
        batch = Batch(features, torch.tensor([features.shape[1]]), ids=("",))
        frames = model.project(model.context(model.features(batch.to(DEVICE))))
        return model.pool(frames) if self.pooled else frames.values[0]

    def _refuse_misfits(self) -> None:
        """Refuse, before anything is computed, an encoder whose outputs cannot be kept or a layer it has not."""
        own = self._own_config
        if own is None:
            layers = self._described.num_hidden_layers
            if self.layers is not None and not 1 <= self.layers <= layers:
                raise SereneError(
                    f"features.layers is {self.layers}; the encoder has {layers} layers, so 1 to {layers} was expected."
                )
        elif self.layers is not None:
            raise SereneError("features.layers is for pretrained encoders; a model of ours gives its last output.")
        elif Parts(**own["parts"]).needs(own["normalize"]) & {"features", "cepstra"}:
            raise SereneError(
                f"{self.weights} uses a speaker's other clips, so its outputs are no function of a clip and cannot be "
                "stored; use a model that answers one clip at a time."
            )

    @cached_property
    def folder(self) -> Path:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Where the encoder or model lies."""
        return weights.find(self.weights)

    @cached_property
    def _own_config(self) -> dict[str, Any] | None:
        """What config.json says of a model of ours; None for a pretrained encoder."""
        config = weights.read(self.folder / weights.CONFIG)
        return config if config.get("model_type") == "serene" else None

    @cached_property
    def _own_model(self) -> EmotionModel:
        return EmotionModel.load(self.folder)

    @cached_property
    def _own_encoder(self) -> Any:
        """The encoder of a model of ours without its weights, for its widths."""
        config = self._own_config or {}
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return registry.load(config["encoder"], ENCODERS, "encoder")(config["width"], **config["encoder_settings"])

    @cached_property
    def _own_front_end(self) -> FrontEnd:
        return front_end_of(weights.read(self.folder / weights.PREPROCESSOR), self.folder)

    @cached_property
    def _described(self) -> Any:
        return pretrained.described(self.weights, None)[0]

    @cached_property
    def _pretrained(self) -> Hubert:
        return Hubert(1, weights=self.weights, layers=self.layers, train="none").eval().to(DEVICE)

    @cached_property
    def _standardises(self) -> bool:
        return weights.standardises(self.folder)


class FrozenOutputs(Encoder):
    """The encoder over stored outputs of some width: it passes them on, and has nothing to train."""

    front_end = "frozen"
    normalize = "none"
    head_width = 256

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.out_width = width

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Return the frames (batch, frame, feature) as they are."""
        return frames


class BundledOutputs(FrozenOutputs):
    """The encoder over what the bundled model makes of a clip before its head, one vector."""

    front_end = "bundled"
    normalize = "training_set"

    @classmethod
    def features(cls, **settings: Any) -> dict[str, Any]:
        """Name the bundled model whose vectors these are: another one's mean nothing to what is trained on them."""
        return {"digest": registry.load(cls.front_end, FRONT_ENDS, "front end")().digest}
