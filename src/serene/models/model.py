"""EmotionModel: a chain of seams from a Batch to scores; saved as a folder of JSON and safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from serene import registry
from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.files import whole_folder
from serene.models import ENCODERS
from serene.models.heads import Head
from serene.models.pooling import StatisticsPooling

Normalization = Literal["training_set", "utterance", "speaker", "none"]
FORMAT = 1  # of config.json; a reader refuses what is newer


@dataclass(frozen=True)
class Frames:
    """Frames of a batch and which of them are sound.

    Attributes:
        values: (batch, frame, feature).
        mask: bool (batch, frame).
    """

    values: Tensor
    mask: Tensor


class EmotionModel(nn.Module):
    """What ships: features -> context -> project -> pool -> hidden -> classify.

    `embed` and `forward` do nothing but compose the seams; a method that reaches in does so at one of them.

    Args:
        emotions: the classes, in the order of the scores.
        width: features per frame that the front end gives.
        encoder: a name from `serene.models.ENCODERS` or `package.module:Class`.
        encoder_settings: keyword arguments of the encoder.
        normalize: what the features are standardised by: the `training_set`, each `utterance`, each `speaker` (all of
            a speaker's clips, or the first few: the Batch brings the statistics) or `none`.
    """

    feature_mean: Tensor
    feature_deviation: Tensor

    def __init__(
        self,
        emotions: Sequence[str],
        width: int,
        *,
        encoder: str = "tdnn_bilstm",
        encoder_settings: dict[str, Any] | None = None,
        normalize: Normalization = "training_set",
    ) -> None:
        """Build the encoder and the emotion head."""
        super().__init__()
        self.emotions = tuple(emotions)
        self.config = {
            "encoder": encoder,
            "encoder_settings": dict(encoder_settings or {}),
            "normalize": normalize,
            "width": width,
        }
        self.normalize = normalize
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_deviation", torch.ones(width))
        self.encoder = registry.load(encoder, ENCODERS, "encoder")(width, **self.config["encoder_settings"])
        self.pooling = StatisticsPooling()
        self.embedding_width = 2 * self.encoder.out_width
        self.head = self.new_head(len(self.emotions))

    def new_head(self, outputs: int) -> Head:
        """Make a fresh head of the shape that the emotion head has, such as a speaker head."""
        return Head(self.embedding_width, (self.encoder.head_width, self.encoder.head_width), outputs)

    def features(self, batch: Batch) -> Frames:
        """Standardise the batch's features as the model asks for; padding stays zero."""
        mask = batch.mask
        mean, deviation = self._statistics(batch, mask)
        standard = (batch.inputs - mean) / deviation
        return Frames(standard * mask.unsqueeze(-1), mask)

    def context(self, features: Frames) -> Frames:
        """Let the encoder look around each frame: (batch, frame, encoder.out_width)."""
        return Frames(self.encoder(features.values, features.mask), features.mask)

    def project(self, frames: Frames) -> Frames:
        """Return the frames as they are: the place of a projector between encoder and heads."""
        return frames

    def pool(self, frames: Frames) -> Tensor:
        """Turn frames into one vector per clip: (batch, embedding_width)."""
        return self.pooling(frames.values, frames.mask)

    def hidden(self, pooled: Tensor) -> Tensor:
        """Apply the hidden layers of the emotion head."""
        return self.head.hidden(pooled)

    def classify(self, hidden: Tensor) -> Tensor:
        """Give logits (batch, emotion)."""
        return self.head.classify(hidden)

    def embed(self, batch: Batch) -> Tensor:
        """Give the pooled vector (batch, embedding_width) that heads, probes and pictures read."""
        return self.embed_features(self.features(batch))

    def embed_features(self, features: Frames) -> Tensor:
        """Give the pooled vector for features that something, such as a perturbation, has already been done to."""
        return self.pool(self.project(self.context(features)))

    def forward(self, batch: Batch) -> Tensor:
        """Give logits (batch, emotion)."""
        return self.classify(self.hidden(self.embed(batch)))

    def set_feature_statistics(self, statistics: np.ndarray) -> None:
        """Take the training set's mean and deviation, (2, feature), where the model standardises by them."""
        if self.normalize == "training_set":
            mean, deviation = torch.from_numpy(statistics)
            self.feature_mean.copy_(mean)
            self.feature_deviation.copy_(deviation)

    def _statistics(self, batch: Batch, mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.normalize == "speaker":
            if batch.enrolment is None:
                raise SereneError(
                    "This model standardises features by speaker and needs some of the speaker's clips for it."
                )
            return batch.enrolment[:, :1], batch.enrolment[:, 1:]
        if self.normalize == "utterance":
            weight = mask.unsqueeze(-1).float()
            count = weight.sum(dim=1, keepdim=True)
            mean = (batch.inputs * weight).sum(dim=1, keepdim=True) / count
            variance = ((batch.inputs - mean).square() * weight).sum(dim=1, keepdim=True) / count
            return mean, torch.sqrt(variance).clamp(min=1e-5)
        return self.feature_mean, self.feature_deviation

    def save(self, folder: str | Path, preprocessor: dict[str, Any]) -> None:
        """Write `config.json`, `preprocessor_config.json` and `model.safetensors`, all or nothing.

        Args:
            folder: replaced where it exists.
            preprocessor: the front end's name and settings.
        """
        config = {"format": FORMAT, "model_type": "serene", "emotions": list(self.emotions), **self.config}
        config["id2label"] = dict(enumerate(self.emotions))
        with whole_folder(folder) as temporary:
            (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            (temporary / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")
            (temporary / "model.safetensors").write_bytes(safetensors.torch.save(self.state_dict()))

    @classmethod
    def load(cls, folder: str | Path) -> EmotionModel:
        """Read a folder that `save` wrote; the model comes back in evaluation mode.

        Raises:
            SereneError: a file is missing or damaged, tensors do not fit, or a newer serene wrote it.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text())
            if config["format"] > FORMAT:
                raise SereneError(f"{folder} was written by a newer serene (format {config['format']}); update serene.")
            model = cls(
                config["emotions"],
                config["width"],
                encoder=config["encoder"],
                encoder_settings=config["encoder_settings"],
                normalize=config["normalize"],
            )
            state = safetensors.torch.load_file(folder / "model.safetensors")
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise SereneError(f"{folder} is not a readable model folder: {error}") from error
        except (KeyError, TypeError) as error:
            raise SereneError(
                f"{folder} is not a readable model folder: its config.json is odd ({error!r})."
            ) from error
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise SereneError(f"The weights in {folder} do not fit its config.json: {error}") from error
        return model.eval()
