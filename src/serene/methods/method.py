"""Method and Update: what is minimised, by whom, and what is needed only while learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models import across
from serene.models.heads import LOSSES
from serene.models.model import EmotionModel
from serene.models.parts import Parts

Terms = Mapping[str, Tensor]
Stream = Literal["emotion", "partners", "speakers"]


@dataclass(frozen=True)
class Group:
    """Parameters that one optimiser moves.

    Attributes:
        name: in the log, where the norm of its gradient is kept.
        parameters: what moves; those that require no gradient stay.
        optimizer: the trainer's own, with its learning rate and schedule, or plain `sgd` or `adam` of a constant rate.
        rate: the constant step of `sgd` or `adam`; under the trainer's optimiser what its schedule scales, in place of
            the trainer's learning rates, where it is not 0.
        ascent: climb the loss instead of descending.
        clip: largest Euclidean norm of the group's gradient; the trainer's by default.
        after: how many iterations the group rests at first.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    optimizer: Literal["trainer", "sgd", "adam"] = "trainer"
    rate: float = 0.0
    ascent: bool = False
    clip: float | None = None
    after: int = 0


@dataclass(frozen=True)
class Update:
    """One loss of an iteration, and what moves on it.

    Attributes:
        name: in the log.
        loss: a batch of each stream, then progress in [0, 1] -> named terms; their sum is differentiated.
        groups: what moves.
        streams: which batches it is given: of the emotion corpus; as many `partners` drawn at random from all of it; of
            the speaker corpus. Batch-norm statistics change only in updates that are given the emotion corpus's.
        every: it is taken in every so many iterations.
    """

    name: str
    loss: Callable[..., Terms]
    groups: tuple[Group, ...]
    streams: tuple[Stream, ...] = ("emotion",)
    every: int = 1


class Method(nn.Module):
    """How a model learns: owns what is needed only while learning, and never ships.

    A paper is a subclass that gives `loss`; one that needs a speaker head or the like makes it in `attach`. Settings
    are the keyword-only arguments of the constructor, with the paper's values as defaults where it gives any.

    Attributes:
        measures: what the last loss wants logged beside its terms, such as a coefficient or an accuracy.
        speaker_corpus: whether it learns from a second corpus of speakers, which a recipe's `speakers` then names.
        losses: of a task, that it can learn by; None for any.
        changes_sound: whether it changes what the encoder reads, so that no part of the encoder sees the same twice.
    """

    speaker_corpus = False
    changes_sound = False
    losses: tuple[str, ...] | None = None

    def __init__(self) -> None:
        """Start with nothing to log."""
        super().__init__()
        self.measures: dict[str, float] = {}

    def check(self, parts: Parts) -> None:
        """Refuse, by a SereneError, a model that lacks a part which the method requires, before anything is trained."""

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Make what learning needs, now that the model is known, and how many speakers there are to tell apart.

        Raises:
            SereneError: the model lacks a part that the method requires, or the data cannot serve it.
        """

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give the terms of the loss by name; their sum is minimised.

        Of a batch on several processes each gives its share; see `serene.models.across`.

        Args:
            model: reached only through its seams.
            batch: training clips, with targets and speakers.
            progress: how much of the training is done, from 0 to 1.
        """
        raise NotImplementedError

    def updates(self, model: EmotionModel) -> list[Update]:
        """Give the updates of an iteration: one that moves everything, unless a paper says otherwise."""
        everything = Group("all", (*model.parameters(), *self.parameters()))
        return [Update("emotion", lambda batch, progress: self.loss(model, batch, progress), (everything,))]


class GradientReversal(torch.autograd.Function):
    """The identity forward; backward the gradient times `-reversal`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, reversal: float) -> Tensor:
        """Pass values of any shape through and remember the coefficient."""
        ctx.reversal = reversal
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Reverse the gradient."""
        return -ctx.reversal * gradients[0], None


def emotion_loss(model: EmotionModel, outputs: Tensor, target: Tensor) -> Tensor:
    """Give the loss that the model's task names, of its outputs (batch, emotion)."""
    return LOSSES[model.task.loss](outputs, target)


def accuracy(logits: Tensor, classes: Tensor) -> float:
    """Give the share of rows of logits (batch, class) whose largest entry is at the class index (batch,)."""
    return across.mean((logits.argmax(dim=1) == classes).float()).item()


def speaker_head_for(model: EmotionModel, speakers: int, method: str) -> nn.Module:
    """Make a speaker head of the emotion head's shape, as Tu et al. 2019 have it; refuse fewer than two speakers."""
    if speakers < 2:
        raise SereneError(f"The method '{method}' tells speakers apart and needs two speakers; it got {speakers}.")
    return model.new_head(speakers)
