"""Speaker normalisation of Gat et al. 2022 (SNP, TAP), and the confusion loss of Nagrani et al. 2020 beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods.baseline import Baseline
from serene.methods.method import GradientReversal, Group, Terms, Update, accuracy, speaker_head_for
from serene.models.heads import cross_entropy
from serene.models.masking import statistics_kept
from serene.models.model import EmotionModel
from serene.models.parts import Parts

Strategy = Literal["tap", "snp"]


class TwoCorpora(Baseline):
    """Emotion descent on one corpus, then an update against the speakers of another (equations 1 to 4).

    `tap` works on the whole encoder (and the projector, where the model has one), `snp` on the projector alone: the
    encoder is then in evaluation mode and without gradients in the speaker update: it stays as it is to the bit.

    Args:
        strategy: which parameters unlearn the speaker.
        step: the step of the encoder or projector against the speaker (lambda); not multiplied by the learning rate.
        clip: largest Euclidean norm of that gradient; an ascent on cross entropy knows no bound. Ours.
        warmup_steps: iterations in which the speaker head learns alone. Ours.
        every: iterations per speaker update.

    Attributes:
        name: of the method, for messages.
    """

    name: ClassVar[str]
    speaker_corpus = True

    def __init__(
        self,
        *,
        strategy: Strategy = "tap",
        step: float = 1e-3,
        clip: float = 1.0,
        warmup_steps: int = 0,
        every: int = 1,
    ) -> None:
        """Check and keep the settings; the speaker head comes with `attach`."""
        super().__init__()
        if step < 0 or clip <= 0:
            raise SereneError(f"method.step {step} must not be negative, and method.clip {clip} must be positive.")
        if warmup_steps < 0 or every < 1:
            raise SereneError(f"method.warmup_steps {warmup_steps} is at least 0, and method.every {every} at least 1.")
        self.strategy, self.step, self.clip = strategy, step, clip
        self.warmup_steps, self.every = warmup_steps, every

    def check(self, parts: Parts) -> None:
        """Refuse a model without a projector for `snp`, and one that is told who speaks."""
        if parts.speaker_embedding != "none":
            raise SereneError(
                "A model that is told who speaks knows nothing of a second corpus's speakers: set "
                "model.speaker_embedding=none."
            )
        if self.strategy == "snp" and parts.projector == "none":
            raise SereneError(
                "The strategy snp works on a projector, and this model has none: set model.projector=relu."
            )

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Make the speaker head, of the emotion head's shape."""
        self.check(model.parts)
        if self.strategy == "tap" and not any(p.requires_grad for p in model.encoder.parameters()):
            raise SereneError("The strategy tap works on the encoder, and nothing of this encoder is trained.")
        self.speaker_head = speaker_head_for(model, speakers, self.name)

    def updates_against(
        self,
        model: EmotionModel,
        loss: Callable[[Batch, float], Terms],
        name: str,
        *,
        optimizer: Literal["sgd", "adam"] = "sgd",
        ascent: bool = False,
    ) -> list[Update]:
        """Give emotion descent with all of the model, then the speaker update: its own step, and the head's descent.

        The speaker update's loss is of a batch of the speaker corpus; `name` is that of its group in the log.
        """
        everything = Group("all", tuple(model.parameters()))
        parts = self.unlearning(model)
        against = Group(name, parts, optimizer, self.step, ascent, self.clip, after=self.warmup_steps)
        head = Group("speaker_head", tuple(self.speaker_head.parameters()))
        return [
            Update("emotion", lambda batch, progress: self.loss(model, batch, progress), (everything,)),
            Update("speaker", loss, (against, head), streams=("speakers",), every=self.every),
        ]

    def unlearning(self, model: EmotionModel) -> tuple[nn.Parameter, ...]:
        """Give what works against the speaker."""
        parts = [model.projector] if self.strategy == "snp" else [model.encoder, model.projector]
        return tuple(p for part in parts if part is not None for p in part.parameters() if p.requires_grad)

    def embed(self, model: EmotionModel, batch: Batch) -> Tensor:
        """Embed the speaker corpus (batch, feature), through an encoder at rest where the strategy asks for it."""
        if self.strategy == "tap":
            return model.embed(batch)
        model.encoder.eval()
        with torch.no_grad():
            frames = model.context(model.features(batch))
        model.encoder.train()
        return model.pool(model.project(frames))


class SpeakerNormalization(TwoCorpora):
    """The speaker head descends on `l_id`; encoder or projector ascends on it by a step of its own.

    Args:
        strategy: `tap` (train all parameters) or `snp` (speaker normalisation projector).
        step: lambda; the paper searched [1e-4, 1e-2] and used 1e-3.
        ascent: how that step is taken, on which the paper is silent: plain `sgd`, `adam` of its own (which moves every
            parameter by about `step` whatever its gradient), or `grl`: gradient reversal inside one joint loss, through
            the emotion's optimiser. `step` is then the reversal's coefficient; under SGD it corresponds to a step of
            `step` times the learning rate.
        clip: largest Euclidean norm of the ascending gradient, of `sgd` and `adam`.
        warmup_steps: as in `TwoCorpora`, like `every`.
        every: iterations per speaker update.
    """

    name = "speaker_normalization"

    def __init__(
        self,
        *,
        strategy: Strategy = "tap",
        step: float = 1e-3,
        ascent: Literal["sgd", "adam", "grl"] = "sgd",
        clip: float = 1.0,
        warmup_steps: int = 0,
        every: int = 1,
    ) -> None:
        """Keep the settings."""
        super().__init__(strategy=strategy, step=step, clip=clip, warmup_steps=warmup_steps, every=every)
        if ascent == "grl" and (warmup_steps or every > 1):
            raise SereneError("method.ascent grl is one joint loss: method.warmup_steps and method.every do not apply.")
        self.ascent: Literal["sgd", "adam", "grl"] = ascent

    def updates(self, model: EmotionModel) -> list[Update]:
        """Give emotion descent, then speaker ascent; or both as one, for `grl`."""
        if self.ascent == "grl":
            everything = Group("all", (*model.parameters(), *self.parameters()))
            return [Update("emotion", self._joint(model), (everything,), streams=("emotion", "speakers"))]

        def identify(batch: Batch, progress: float) -> Terms:
            return {"speaker": self._identify(self.embed(model, batch), batch)}

        return self.updates_against(model, identify, "ascent", optimizer=self.ascent, ascent=True)

    def _identify(self, embedding: Tensor, batch: Batch) -> Tensor:
        logits = self.speaker_head(embedding)
        self.measures = {"accuracy": accuracy(logits, batch.speaker)}
        return cross_entropy(logits, batch.speaker)

    def _joint(self, model: EmotionModel) -> Callable[[Batch, Batch, float], Terms]:
        def joint(batch: Batch, speakers: Batch, progress: float) -> Terms:
            terms = self.loss(model, batch, progress)
            measured = self.measures
            with statistics_kept(model):
                embedding = GradientReversal.apply(self.embed(model, speakers), self.step)
            speaker = self._identify(embedding, speakers)  # pyright: ignore[reportArgumentType]
            self.measures = {**measured, "speaker_accuracy": self.measures["accuracy"]}
            return {**terms, "speaker": speaker}

        return joint


class SpeakerConfusion(TwoCorpora):
    """The encoder descends towards a speaker head that cannot decide: cross entropy to the uniform distribution.

    Unlike an ascent this loss has a minimum, where every speaker is equally likely. The speaker head descends on the
    true speakers at the same time, from the same batch (Nagrani et al. 2020, which Gat et al. discuss). The settings
    are those of `TwoCorpora`; a step is one of plain SGD, towards confusion.
    """

    name = "speaker_confusion"

    def updates(self, model: EmotionModel) -> list[Update]:
        """Give emotion descent, then the update in which head and encoder want different things of one batch."""

        def confuse(batch: Batch, progress: float) -> Terms:
            embedding = self.embed(model, batch)
            speakers = self.speaker_head(embedding.detach())
            self.measures = {"accuracy": accuracy(speakers, batch.speaker)}
            at_rest = {name: parameter.detach() for name, parameter in self.speaker_head.named_parameters()}
            confused = functional_call(self.speaker_head, at_rest, (embedding,))
            uniform = torch.full_like(confused, 1 / confused.shape[1], dtype=torch.float32)
            return {"speaker": cross_entropy(speakers, batch.speaker), "confusion": cross_entropy(confused, uniform)}

        return self.updates_against(model, confuse, "confusion")
