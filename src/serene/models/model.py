"""EmotionModel: a chain of seams from a Batch to scores; saved as a folder of JSON and safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from serene import registry
from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models import ENCODERS, saved
from serene.models.encoder import Frames, Inside
from serene.models.heads import POOLINGS, Head, Projector
from serene.models.masking import MaskedBatchNorm, mask_of
from serene.models.parts import Parts
from serene.models.speaker_embedding import PersonalVectors, speaker_embedding_of
from serene.models.speaker_whitening import SpeakerWhitening
from serene.models.standardisation import Normalization, blended, moments_of
from serene.models.training_speakers import TrainingSpeakers
from serene.speaker import SMALLEST, SpeakerContext, Statistics
from serene.task import Task, task_of_model
from serene.trust import Names, accept, authored, placed


class EmotionModel(nn.Module):
    """What ships: features -> context -> project -> pool -> hidden -> classify.

    `embed` and `forward` do nothing but compose the seams; a method that reaches in does so at one of them.

    Args:
        task: what is predicted; or the names of emotions to be told apart.
        width: features per frame that the front end gives.
        encoder: a name from `serene.models.ENCODERS` or `package.module:Class`, with its `encoder_settings`.
        normalize: what the features are standardised by: the `training_set`, each `utterance`, each `speaker` (all of
            a speaker's clips, or a few: the Batch brings the statistics) or `none`.
        enrolment_prior: so many frames' worth of the training set's statistics are blended into a speaker's own, so
            that one enrolled clip moves little and many move all.
        speakers: the persons whom the model knows by name, in the order of their indices, where it has vectors of them.
        parts: what stands around the encoder.

    Attributes:
        temperature: what logits are divided by before they become probabilities; found on validation clips.
    """

    normalize: Normalization
    feature_mean: Tensor
    feature_deviation: Tensor
    target_mean: Tensor
    target_deviation: Tensor

    def __init__(
        self,
        task: Task | Sequence[str],
        width: int,
        *,
        encoder: str = "tdnn_bilstm",
        encoder_settings: dict[str, Any] | None = None,
        normalize: Normalization = "training_set",
        enrolment_prior: float = 0.0,
        speakers: Sequence[str] = (),
        parts: Parts | None = None,
    ) -> None:
        """Build the encoder, what stands around it, and the emotion head."""
        super().__init__()
        self.task = task if isinstance(task, Task) else Task(tuple(task))
        self.speakers = tuple(speakers)
        self.normalize, self.enrolment_prior, self.parts = normalize, enrolment_prior, parts or Parts()
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_deviation", torch.ones(width))
        self.needs = self.parts.needs(normalize)
        if {"features", "embeddings"} <= self.needs:
            raise SereneError("A model standardises features by speaker, or embeddings, and not both; choose one.")
        with authored():  # a folder's word was looked at by `load`
            kind = registry.load(encoder, ENCODERS, "encoder")
        self.encoder = kind(width, **(encoder_settings or {}))
        self.speaker_embedding = speaker_embedding_of(self.parts, len(self.speakers), self.encoder)
        shape = self.parts.projector
        self.projector = None if shape == "none" else Projector(self.encoder.out_width, shape)
        self.pooling = POOLINGS[self.parts.pooling](self.encoder.out_width)
        self.embedding_width = self.pooling.widening * self.encoder.out_width
        self.whitening = SpeakerWhitening(self.embedding_width) if self.parts.speaker_whitening else None
        enrols = "embeddings" in self.needs
        self.embedding_norm = MaskedBatchNorm(self.embedding_width, affine=False) if enrols else None
        self.head = self.new_head(len(self.task.names))
        self.temperature = 1.0
        self.scaled = self.task.gives == "values"  # the head learns them standardised
        if self.scaled:
            self.register_buffer("target_mean", torch.zeros(len(self.task.names)))
            self.register_buffer("target_deviation", torch.ones(len(self.task.names)))
        self.config = {
            "encoder": encoder,
            "encoder_settings": self.encoder.rebuilt or dict(encoder_settings or {}),
            "normalize": normalize,
            "enrolment_prior": enrolment_prior,
            "width": width,
            "parts": asdict(self.parts),
            "embedding_width": self.embedding_width,
            "speakers": list(self.speakers),
            "dimensions": self.scaled,
        }

    def new_head(self, outputs: int) -> Head:
        """Make a fresh head of the shape that the emotion head has, such as a speaker head."""
        own = self.encoder.head_width
        hidden = (own, own) if self.parts.hidden is None else self.parts.hidden
        kind, dropout = self.parts.head, self.parts.head_dropout
        return Head(self.embedding_width, hidden, outputs, kind=kind, dropout=dropout)

    def features(self, batch: Batch) -> Frames:
        """Standardise the batch's features as the model asks for; padding stays zero.

        What the encoder's frozen part has made of them already is given as it is.

        Raises:
            SereneError: a clip is shorter than the encoder can take; the message names it.
        """
        mask = mask_of(batch.lengths, batch.inputs.shape[1])
        if batch.encoded:
            return Frames(batch.inputs, mask, self._speaker(batch), encoded=True)
        if self.encoder.shortest > 1:
            self._refuse_too_short(batch)
        own = (self.feature_mean, self.feature_deviation)
        mean, deviation = moments_of(self.normalize, batch, mask, own, self.enrolment_prior)
        standard = (batch.inputs - mean) / deviation
        return Frames(standard * mask.unsqueeze(-1), mask, self._speaker(batch))

    def past_frozen(self, features: Frames) -> Frames:
        """Give what the encoder's frozen part makes of features; an encoder without one leaves them alone."""
        if features.encoded or self.encoder.depth is None:
            return features
        values = self.encoder.prefix(features.values, features.mask)
        return replace(features, values=values, mask=self._mask_after(features), encoded=True)

    def _speaker(self, batch: Batch) -> Tensor | None:
        context = batch.context or SpeakerContext()
        if "identity" in self.needs:  # nobody is known where nothing is said of who speaks
            return torch.full_like(batch.lengths, -1) if batch.context is None else context.identity
        return context.need("cepstra") if "cepstra" in self.needs else None

    def frames_after(self, batch: Batch) -> Tensor:
        """Say which frames that come out of the encoder see sound alone: bool (batch, frame)."""
        mask = mask_of(batch.lengths, batch.inputs.shape[1])
        return mask if batch.encoded else self.encoder.mask_after(mask)

    def context(self, features: Frames) -> Frames:
        """Let the encoder look around each frame, and tell it who speaks: (batch, frame, encoder.out_width)."""
        vector, place = self._vector(features), self.parts.speaker_embedding
        inside = features.inside
        if vector is not None and place in ("first", "prefix"):
            inside = replace(inside or Inside(), **{place: vector})
        values = self._encode(features, inside)
        if vector is not None and place not in ("first", "prefix"):
            values = values + vector.unsqueeze(1)
        return Frames(values, self._mask_after(features), features.speaker)

    def voice(self, features: Frames) -> Tensor:
        """Give the mean of the encoder's frames (batch, encoder.out_width), told nothing of who speaks."""
        frames = self._encode(features, None)
        return POOLINGS["mean"](frames.shape[2])(frames, self._mask_after(features))

    def _encode(self, features: Frames, inside: Inside | None) -> Tensor:
        more = () if inside is None else (inside,)
        return (self.encoder.rest if features.encoded else self.encoder)(features.values, features.mask, *more)

    def _mask_after(self, features: Frames) -> Tensor:
        return features.mask if features.encoded else self.encoder.mask_after(features.mask)

    def _vector(self, features: Frames) -> Tensor | None:
        """Give what the encoder's frames are told of who speaks: (batch, encoder.out_width)."""
        if self.speaker_embedding is None:
            return None
        if not isinstance(self.speaker_embedding, PersonalVectors):
            return self.speaker_embedding(features.speaker)
        compared = self.parts.unseen_speakers == "similar" and bool((features.speaker < 0).any())  # pyright: ignore
        return self.speaker_embedding(features.speaker, self.voice(features) if compared else None)

    def project(self, frames: Frames) -> Frames:
        """Apply the projector between encoder and heads, where the model has one."""
        return frames if self.projector is None else replace(frames, values=self.projector(frames.values))

    def pool(self, frames: Frames) -> Tensor:
        """Turn frames into one vector per clip (batch, embedding_width), whitened and standardised where asked."""
        pooled = self.pooling(frames.values, frames.mask)
        pooled = pooled if self.whitening is None else self.whitening(pooled)
        return pooled if self.embedding_norm is None else self.embedding_norm(pooled)

    def enrolled(self, embedding: Tensor, own: Statistics) -> Tensor:
        """Standardise embeddings (batch, embedding_width) by the speakers' own, for `embedding_norm: speaker`.

        Over the training set embeddings have mean 0 and deviation 1, of which `embedding_prior` clips' worth is blended
        in: nothing changes for a speaker of no clips.
        """
        nothing, one = torch.zeros_like(embedding[0]), torch.ones_like(embedding[0])
        mean, deviation = blended(own, self.parts.embedding_prior, nothing, one)
        return (embedding - mean.squeeze(1)) / deviation.squeeze(1)

    def hidden(self, pooled: Tensor) -> Tensor:
        """Apply the hidden layers of the emotion head."""
        return self.head.hidden(pooled)

    def classify(self, hidden: Tensor) -> Tensor:
        """Give logits (batch, emotion), or values of dimensions on their native scales."""
        outputs = self.head.classify(hidden)
        return outputs * self.target_deviation + self.target_mean if self.scaled else outputs

    @property
    def output_scale(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation that the head's outputs are brought to, (name,) each: 0 and 1 for logits."""
        if self.scaled:
            return self.target_mean, self.target_deviation
        ones = torch.ones_like(self.head.classify.bias)
        return torch.zeros_like(ones), ones

    def embed(self, batch: Batch) -> Tensor:
        """Give the vector (batch, embedding_width) that heads, probes and pictures read.

        It is the pooled one, standardised by the embeddings of the speaker's clips where the batch brings these.
        """
        pooled = self.embed_features(self.features(batch))
        own = batch.context and batch.context.embeddings
        return pooled if own is None else self.enrolled(pooled, own)

    def embed_features(self, features: Frames) -> Tensor:
        """Give the pooled vector for features that something, such as a perturbation, has already been done to."""
        return self.pool(self.project(self.context(features)))

    def forward(self, batch: Batch) -> Tensor:
        """Give logits (batch, emotion), or values of dimensions."""
        return self.classify(self.hidden(self.embed(batch)))

    def set_feature_statistics(self, statistics: Statistics) -> None:
        """Take the training set's mean and deviation of every feature."""
        mean, deviation = torch.from_numpy(statistics.moments)
        self.feature_mean.copy_(mean)
        self.feature_deviation.copy_(deviation)

    def set_target_statistics(self, targets: Tensor) -> None:
        """Take mean and deviation of the training targets (utterance, name), where outputs are brought to them."""
        if not self.scaled:
            return
        self.target_mean.copy_(targets.mean(dim=0))
        self.target_deviation.copy_(targets.std(dim=0, correction=0).clamp(min=SMALLEST))

    @property
    def needs_feature_statistics(self) -> bool:
        """Whether the training set's statistics are used at all."""
        return self.normalize == "training_set" or (self.normalize == "speaker" and self.enrolment_prior > 0)

    def _refuse_too_short(self, batch: Batch) -> None:
        for name, length in zip(batch.ids, batch.lengths.tolist(), strict=True):
            if length < self.encoder.shortest:
                raise SereneError(
                    f"The clip '{name}' has {length} samples; this encoder needs at least {self.encoder.shortest}. "
                    "Leave it out of the manifest."
                )

    def save(
        self, folder: str | Path, preprocessor: dict[str, Any], training_speakers: TrainingSpeakers | None = None
    ) -> None:
        """Write a model folder, all or nothing, with the front end's settings and, if known, whom it was trained on."""
        config = {"emotions": list(self.task.names), **self.config, "temperature": self.temperature}
        config["id2label"] = dict(enumerate(self.task.names))
        saved.write(folder, config, preprocessor, self.state_dict(), training_speakers)

    @classmethod
    def load(cls, folder: str | Path, *, trust: Names = None) -> EmotionModel:
        """Read a folder that `save` wrote; the model comes back in evaluation mode.

        `trust` names code, `package.module:Name`, or weights that the folder may name beside serene's own.

        Raises:
            SereneError: a file is missing or damaged, tensors do not fit, a newer serene wrote it, or it names what is
                not trusted.
        """
        accept(trust)
        with saved.readable(folder):
            config, tensors = saved.read(folder)
            kept = {name: config[name] for name in ("encoder", "encoder_settings", "normalize", "enrolment_prior")}
            registry.load(str(kept["encoder"]), ENCODERS, "encoder")
            kept["encoder_settings"] = placed(kept["encoder_settings"], Path(folder))
            parts = Parts(**config["parts"])
            model = cls(task_of_model(config), config["width"], **kept, speakers=config["speakers"], parts=parts)
            model.temperature = float(config["temperature"])
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise SereneError(f"The weights in {folder} do not fit its config.json: {error}") from error
        return model.eval()
