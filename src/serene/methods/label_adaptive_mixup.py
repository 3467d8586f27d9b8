"""Label-adaptive mixup with centre loss of Kang et al. 2023: mixed clips whose labels weigh by how long each one is."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods.method import Group, Method, Terms, Update, accuracy
from serene.models import across
from serene.models.encoder import Frames
from serene.models.model import EmotionModel


class LabelAdaptiveMixup(Method):
    """`L = KL(y, p(x)) + centre_weight * mean_i |h_i - mu_dominant(y_i)|^2` on clips mixed with random partners.

    A clip is mixed as `x = share * x_i + (1 - share) * x_j`, both from their beginning, so that a shorter partner fills
    the beginning only. Its label is `weight * y_i + (1 - weight) * y_j`: conventionally the weight is the share; the
    label-adaptive one also counts how long each clip is, `share * l_i / (share * l_i + (1 - share) * l_j)`. Partners
    are drawn from the whole training part, since within a batch of like lengths the two would be the same.

    The centres are learned at a rate of their own, and belong to the method: they do not ship.

    Args:
        mixup: `label_adaptive`, `conventional`, or `none`.
        share: of the clip itself in the mixture; the paper keeps 0.5 for `label_adaptive`.
        beta: draw the share from Beta(beta, beta) instead; for `conventional`, of which the paper says no more.
        probability: of mixing a clip at all; 0.5 in the released code.
        centre_weight: of the centre loss; 0.002 is the paper's best, 0 leaves it out.
        centre_rate: the centres' learning rate.
        centre_optimizer: `own` is Adam of a constant rate, with its usual constants; `training` is the training's
            optimiser with its constants and its schedule, as the paper has it.
        same_class: what becomes of the label where both clips have one class: `whole` sums to 1; `overwritten` keeps
            the partner's weight alone, as the released code does by mistake.
    """

    losses = ("cross_entropy",)

    def __init__(
        self,
        *,
        mixup: Literal["none", "conventional", "label_adaptive"] = "label_adaptive",
        share: float = 0.5,
        beta: float | None = None,
        probability: float = 0.5,
        centre_weight: float = 0.002,
        centre_rate: float = 1e-3,
        centre_optimizer: Literal["own", "training"] = "own",
        same_class: Literal["whole", "overwritten"] = "whole",
    ) -> None:
        """Check and keep the settings; the centres come with `attach`."""
        super().__init__()
        for name, value in (("share", share), ("probability", probability)):
            if not 0 <= value <= 1:
                raise SereneError(f"method.{name} is {value}; a number from 0 to 1 was expected.")
        if not (centre_weight >= 0 and centre_rate > 0 and (beta is None or beta > 0)):
            raise SereneError(
                f"method.centre_weight {centre_weight} must not be negative, method.centre_rate {centre_rate} and "
                f"method.beta {beta} must be positive."
            )
        if beta is not None and mixup != "conventional":
            raise SereneError("method.beta is for method.mixup: conventional; the label-adaptive share is constant.")
        self.changes_sound = mixup != "none"
        self.mixup, self.share, self.beta, self.probability = mixup, share, beta, probability
        self.centre_weight, self.centre_rate, self.same_class = centre_weight, centre_rate, same_class
        self.centre_optimizer: Literal["adam", "trainer"] = "adam" if centre_optimizer == "own" else "trainer"

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Place a centre for each class at random, standard normal, where the emotion head's last layer reads."""
        self.centres = nn.Parameter(torch.randn(len(model.task.names), model.head.classify.in_features))

    def updates(self, model: EmotionModel) -> list[Update]:
        """Give one update, with a rate of their own for the centres."""
        groups = [Group("all", tuple(model.parameters()))]
        if self.centre_weight:
            groups.append(Group("centres", (self.centres,), optimizer=self.centre_optimizer, rate=self.centre_rate))
        if self.mixup == "none":
            return [Update("emotion", lambda batch, progress: self.loss(model, batch, progress), tuple(groups))]

        def mixed(batch: Batch, partners: Batch, progress: float) -> Terms:
            features, target = self.mix(model.features(batch), model.features(partners), batch, partners)
            return self.learn(model, features, target, batch.target)

        return [Update("emotion", mixed, tuple(groups), streams=("emotion", "partners"))]

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give both terms for clips as they are."""
        return self.learn(model, model.features(batch), batch.target, batch.target)

    def learn(self, model: EmotionModel, features: Frames, target: Tensor, own: Tensor) -> Terms:
        """Give the terms for features, their targets, and the targets of the clips themselves (batch, emotion)."""
        hidden = model.hidden(model.embed_features(features)).float()
        logits = model.classify(hidden).float()
        dominant = dominant_class(target, own)
        self.measures = {"accuracy": accuracy(logits, dominant)}
        clips = across.count(len(target))
        terms = {"emotion": functional.kl_div(logits.log_softmax(dim=1), target, reduction="sum") / clips}
        if self.centre_weight:
            distances = (hidden - self.centres[dominant]).square().sum(dim=1)
            terms["centre"] = self.centre_weight * distances.sum() / clips
        return terms

    def mix(self, own: Frames, other: Frames, batch: Batch, partners: Batch) -> tuple[Frames, Tensor]:
        """Mix clips with their partners; return features (batch, frame, feature) and targets (batch, emotion)."""
        clips, rows = across.gathered(batch.ids)
        chosen = across.agreed(torch.rand(len(clips), device=own.values.device))[rows] < self.probability
        share = torch.full_like(chosen, self.share, dtype=torch.float32)
        if self.beta is not None:
            drawn = torch.distributions.Beta(self.beta, self.beta).sample((len(clips),))
            share = across.agreed(drawn)[rows].to(share)
        share = torch.where(chosen, share, 1.0)
        longest = max(own.values.shape[1], other.values.shape[1])
        first, second = _stretched(own, longest), _stretched(other, longest)
        by_frame = share[:, None, None]
        values = by_frame * first.values + (1 - by_frame) * second.values
        mask = first.mask | (second.mask & chosen[:, None])
        pair = (batch, partners)
        lengths = [(one.lengths if one.own_lengths is None else one.own_lengths).to(share) for one in pair]
        weight = self.weights(share, *lengths)[:, None]
        target = weight * batch.target + (1 - weight) * partners.target
        if self.same_class == "overwritten":
            same = (batch.target.argmax(dim=1) == partners.target.argmax(dim=1)) & chosen
            target = torch.where(same[:, None], (1 - weight) * partners.target, target)
        return Frames(values, mask, own.speaker), target

    def weights(self, share: Tensor, length: Tensor, other_length: Tensor) -> Tensor:
        """Give the weight of each clip's own label (batch,), from its share (batch,) and both lengths (batch,)."""
        if self.mixup == "conventional":
            return share
        return share * length / (share * length + (1 - share) * other_length)


def dominant_class(target: Tensor, own: Tensor) -> Tensor:
    """Give the class (batch,) with the largest share of mixed targets (batch, emotion); ties go to the clip's own."""
    first = own.argmax(dim=1)
    tied = target.gather(1, first[:, None])[:, 0] >= target.amax(dim=1) - 1e-6
    return torch.where(tied, first, target.argmax(dim=1))


def _stretched(frames: Frames, longest: int) -> Frames:
    missing = longest - frames.values.shape[1]
    return Frames(functional.pad(frames.values, (0, 0, 0, missing)), functional.pad(frames.mask, (0, missing)))
