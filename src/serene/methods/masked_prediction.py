"""HuBERT's pre-training (Hsu et al. 2021), continued on a task's audio (TAPT) and with speakers' vectors (PAPT).

Spans of frames are hidden behind one learned vector, and the encoder says which cluster each hidden frame is of::

    p(c | o_t) = softmax_c( cos(W o_t, e_c) / temperature )
    L = - mean over masked t of log p(c_t | o_t)  +  penalty * mean(convolved^2)

Tran et al. 2023 add a vector of who speaks to the frames o_t (PAPT); without it the continued pre-training is task
adaptive (TAPT). Masks are drawn for each clip on its own, where fairseq cuts a batch to the fewest of its clips.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from serene.audio.batch import Batch
from serene.audio.clusters import Unlabelled
from serene.audio.dataset import Dataset
from serene.errors import SereneError
from serene.methods.method import Group, Method, Terms, Update, accuracy
from serene.models import across
from serene.models.encoder import Inside
from serene.models.heads import cross_entropy
from serene.models.hubert import Hubert
from serene.models.model import EmotionModel
from serene.models.speaker_embedding import PersonalVectors

LEAST_SPANS = 2
VALIDATED = 16  # clips per batch of validation


class MaskedPrediction(Method):
    """Predict the clusters of hidden frames; the predictor belongs to the method and does not ship.

    Args:
        clusters: how many there are to tell apart.
        mask_probability: the share of frames that would be hidden if spans never overlapped (fairseq's sense).
        mask_length: frames of a span, 20 ms each.
        predictor_width: features in which frames and clusters are compared: 256 for Base, 768 for Large.
        temperature: that cosines are divided by.
        penalty: weight of the mean square of what comes out of the convolutions.
        convolution_gradient: what the convolutions' gradient is multiplied by: 0.1 for Base, 1 for Large.
        head_steps: iterations in which the predictor learns alone, where it is new to an encoder that is not. Ours.
    """

    def __init__(
        self,
        *,
        clusters: int = 500,
        mask_probability: float = 0.8,
        mask_length: int = 10,
        predictor_width: int = 256,
        temperature: float = 0.1,
        penalty: float = 10.0,
        convolution_gradient: float = 0.1,
        head_steps: int = 0,
    ) -> None:
        """Check and keep the settings; the predictor comes with `attach`."""
        super().__init__()
        if not 0 < mask_probability <= 1 or mask_length < 1:
            raise SereneError(
                f"method.mask_probability is {mask_probability} and method.mask_length {mask_length}; a share of the "
                "frames above 0 and at least 1 frame were expected."
            )
        if min(clusters, 2 * predictor_width) < 2 or temperature <= 0:
            raise SereneError(
                f"method.clusters is {clusters}, method.predictor_width {predictor_width} and method.temperature "
                f"{temperature}; at least 2, at least 1 and a positive number were expected."
            )
        if penalty < 0 or convolution_gradient < 0 or head_steps < 0:
            raise SereneError(
                f"method.penalty is {penalty}, method.convolution_gradient {convolution_gradient} and "
                f"method.head_steps {head_steps}; none of them may be negative."
            )
        self.clusters, self.predictor_width, self.temperature = clusters, predictor_width, temperature
        self.mask_probability, self.mask_length = mask_probability, mask_length
        self.penalty, self.convolution_gradient, self.head_steps = penalty, convolution_gradient, head_steps

    def attach(self, model: EmotionModel, speakers: int) -> None:
        """Make the predictor, and let the vector that hides frames learn."""
        encoder = model.encoder
        if not isinstance(encoder, Hubert) or encoder.trains != "all":
            raise SereneError("Masked prediction trains all of an encoder of waveforms: set model.encoder=hubert.")
        hider = getattr(encoder.transformer, "masked_spec_embed", None)
        if hider is None:
            raise SereneError(
                "This encoder has no vector to hide frames behind: its config has neither mask_time_prob nor "
                "mask_feature_prob. Set model.config.mask_time_prob to 0.05; the masks are drawn by the method."
            )
        hider.requires_grad_(True)
        self.project = nn.Linear(encoder.out_width, self.predictor_width)
        self.codes = nn.Parameter(torch.rand(self.clusters, self.predictor_width))

    def updates(self, model: EmotionModel) -> list[Update]:
        """Give one update: the predictor from the first step on, the encoder and the speakers' vectors after a rest."""
        personal = [model.speaker_embedding] if isinstance(model.speaker_embedding, PersonalVectors) else []
        moved = tuple(p for part in (model.encoder, *personal) for p in part.parameters())
        groups = (Group("encoder", moved, after=self.head_steps), Group("predictor", tuple(self.parameters())))
        return [Update("masked", lambda batch, progress: self.loss(model, batch, progress), groups)]

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> Terms:
        """Give the cross entropy over hidden frames, and the penalty on what the convolutions give."""
        rng = np.random.default_rng(int(across.agreed(torch.randint(2**62, ())).item()))
        squares: list[Tensor] = []

        def convolved(frames: Tensor) -> Tensor:
            sound = model.frames_after(batch).unsqueeze(-1)
            slowed = frames + (self.convolution_gradient - 1) * (frames - frames.detach())
            values = across.count(int(sound.sum())) * frames.shape[-1]
            squares.append((slowed.float().square() * sound).sum() / values)
            return slowed

        logits, target = self._predict(model, batch, rng, Inside(convolved=convolved))
        self.measures = {"accuracy": accuracy(logits, target)}
        return {"masked": cross_entropy(logits, target), "penalty": self.penalty * squares[0]}

    def _predict(
        self, model: EmotionModel, batch: Batch, rng: np.random.Generator, inside: Inside
    ) -> tuple[Tensor, Tensor]:
        """Hide frames and give logits (hidden frame, cluster) and clusters (hidden frame,)."""
        features = model.features(batch)
        sound = model.frames_after(batch)
        lengths, rows = across.gathered(sound.sum(dim=1).tolist())  # of all clips, since draws follow each other
        drawn = spans(lengths, self.mask_probability, self.mask_length, rng)[rows, : sound.shape[1]]
        masked = torch.from_numpy(drawn).to(batch.inputs.device)
        frames = model.context(replace(features, inside=replace(inside, masked=masked)))
        clusters = _fitted(batch.clusters, masked.shape[1])
        hidden = masked & (clusters >= 0)
        projected = functional.normalize(self.project(frames.values[hidden]).float(), dim=-1)
        logits = projected @ functional.normalize(self.codes.float(), dim=-1).T / self.temperature
        return logits, clusters[hidden]

    @torch.no_grad()
    def validate(self, model: EmotionModel, validation: Dataset, device: str) -> dict[str, float]:
        """Measure clips that are not trained on, by what they are held out for; the masks are the same every time.

        Returns `validation_<group>_loss`, `_accuracy`, and `_majority`: that of the group's most frequent cluster.
        """
        assert isinstance(validation, Unlabelled)
        model.eval()
        measured: list[tuple[int, str, Tensor]] = []
        first, step = across.number(), across.processes()
        group_of = dict(zip((u.id for u in validation.utterances), validation.groups.tolist(), strict=True))
        for number, batch in zip(itertools.count(first, step), validation.in_order(VALIDATED, first, step)):
            for name in sorted({group_of[i] for i in batch.ids}):
                chosen = torch.tensor([i for i, one in enumerate(batch.ids) if group_of[one] == name])
                rng, some = np.random.default_rng([number]), _rows(batch, chosen).to(device)
                with across.apart():
                    logits, target = self._predict(model, some, rng, Inside())
                losses = functional.cross_entropy(logits, target, reduction="none")
                rows = torch.stack([losses, logits.argmax(dim=1) == target, target]).cpu()
                measured.append((number, name, rows))
        model.train()
        parts: dict[str, list[Tensor]] = {}
        for _, name, rows in sorted(across.gathered(measured)[0], key=lambda one: one[:2]):
            parts.setdefault(name, []).append(rows)
        summaries = [_summary(name, torch.cat(own, dim=1)) for name, own in parts.items()]
        return {key: value for summary in summaries for key, value in summary.items()}


def spans(lengths: list[int], probability: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw which frames of clips are hidden: `probability * frames / length` spans in expectation, at least two.

    A span of `length` frames begins at any frame where it fits, no two at the same one; they may overlap. A clip too
    short for spans of this length has shorter ones. A frame of a clip that would be hidden whole is shown, unless it is
    the only one. Returns bool (clip, frame), as wide as the longest clip.
    """
    masked = np.zeros((len(lengths), max(lengths)), dtype=bool)
    for row, frames in enumerate(lengths):
        count = max(LEAST_SPANS, math.floor(probability * frames / length + rng.random()))
        span = min(length, max(1, frames - count))
        places = frames - span + 1
        starts = rng.choice(places, min(count, places), replace=False)
        masked[row, starts[:, None] + np.arange(span)] = True
        if frames > 1 and masked[row, :frames].all():
            masked[row, rng.integers(frames)] = False
    return masked


def _fitted(clusters: Tensor | None, frames: int) -> Tensor:
    """Cut or fill cluster indices (batch, frame) to the encoder's frames; none is -1."""
    if clusters is None:
        raise SereneError("Masked prediction needs the cluster of each frame; these clips come without.")
    return functional.pad(clusters.long(), (0, max(0, frames - clusters.shape[1])), value=-1)[:, :frames]


def _rows(batch: Batch, rows: Tensor) -> Batch:
    some = replace(batch.mapped(lambda tensor: tensor[rows]), ids=tuple(batch.ids[i] for i in rows.tolist()))
    return replace(some, inputs=some.inputs[:, : int(some.lengths.max())])


def _summary(group: str, measured: Tensor) -> dict[str, float]:
    loss, right, target = measured
    majority = target.long().bincount().max().item() / len(target)
    means = {"loss": loss.mean().item(), "accuracy": right.mean().item(), "majority": majority}
    return {f"validation_{group}_{name}": value for name, value in means.items()}
