"""Method and Turn: what is minimised, by whom, and what is needed only while learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models.model import EmotionModel

Terms = Mapping[str, Tensor]


@dataclass(frozen=True)
class Turn:
    """One optimiser step of an iteration.

    Attributes:
        name: in the log.
        loss: (batch, progress in [0, 1]) -> named terms; their sum is minimised.
        parameters: what moves.
    """

    name: str
    loss: Callable[[Batch, float], Terms]
    parameters: tuple[nn.Parameter, ...]


class Method(nn.Module):
    """How a model learns: owns what is needed only while learning, and never ships.

    A paper is a subclass that gives `loss`; one that needs a speaker head or the like makes it in `attach`. Settings
    are the keyword-only arguments of the constructor, with the paper's values as defaults where it gives any.

    Attributes:
        measures: what the last loss wants logged beside its terms, such as a coefficient or an accuracy.
    """

    def __init__(self) -> None:
        """Start with nothing to log."""
        super().__init__()
        self.measures: dict[str, float] = {}

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Make what learning needs, now that the model and the number of training speakers are known.

        Raises:
            SereneError: the model lacks a part that the method requires, or the data cannot serve it.
        """

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give the terms of the loss by name; their sum is minimised.

        Args:
            model: reached only through its seams.
            batch: training clips, with targets and speakers.
            progress: how much of the training is done, from 0 to 1.
        """
        raise NotImplementedError

    def turns(self, model: EmotionModel) -> list[Turn]:
        """Give the turns of an iteration: one that moves everything, unless a paper says otherwise."""
        moved = (*model.parameters(), *self.parameters())
        return [Turn("emotion", lambda batch, progress: self.loss(model, batch, progress), moved)]


def accuracy(logits: Tensor, classes: Tensor) -> float:
    """Give the share of rows of logits (batch, class) whose largest entry is at the class index (batch,)."""
    return (logits.argmax(dim=1) == classes).float().mean().item()


def speaker_head_for(model: EmotionModel, speakers: int, method: str) -> nn.Module:
    """Make a speaker head of the emotion head's shape, as Tu et al. 2019 have it.

    Raises:
        SereneError: fewer than two training speakers.
    """
    if speakers < 2:
        raise SereneError(
            f"The method '{method}' tells speakers apart and needs two training speakers; it got {speakers}."
        )
    return model.new_head(speakers)
