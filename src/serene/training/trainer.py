"""The only training loop: optimisation, schedules, precision, selection, and resuming after any interruption."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from serene.audio.batch import Batch, duration_batches, length_buckets
from serene.audio.dataset import Dataset
from serene.audio.speaker_stream import SpeakerStream
from serene.errors import SereneError
from serene.methods.method import Group, Method
from serene.models import across
from serene.models.masking import statistics_kept
from serene.models.model import EmotionModel
from serene.training import distribution
from serene.training.checkpoint import Checkpoint, Row
from serene.training.update import MovingUpdate, Streams, seed_of

SelectOn = Literal["validation UA", "validation WA", "validation CCC", "last"]


@dataclass(frozen=True)
class Selected:
    """Which epoch's weights, counted from 1, the model holds after training; by which rule; and the log's rows."""

    epoch: int
    rule: str
    rows: list[Row]


@dataclass(kw_only=True, eq=False)
class Trainer:
    """Train a model by a method.

    Random numbers are a function of the seed, the epoch and the step, so that a run that was killed and started again
    from its last finished epoch ends with the very same weights (on a CPU; GPU kernels may add in another order).

    Args:
        epochs: how often every training clip is seen.
        batch_size: clips per step; batches hold clips of like length.
        batch_seconds: seconds of sound per step, padding included, instead of a number of clips; for waveforms.
        optimizer: `sgd` (with momentum, Tu et al. 2019 use it), `adam` or `adamw`.
        learning_rate: at the start, or after the warm-up.
        encoder_learning_rate: the same for the encoder's parameters; `learning_rate` without it.
        projector_rate: whether the projector, where the model has one, moves at the rate of the `heads` or of the
            `encoder`; the latter where it is taken for a part of the encoder, as in Gat et al. 2022.
        momentum: of `sgd`.
        nesterov: look ahead, for `sgd`.
        weight_decay: L2 penalty of `sgd` and `adam`, decoupled in `adamw`.
        betas: how fast the moments of `adam` and `adamw` forget.
        epsilon: added to the denominator of `adam` and `adamw`.
        schedule: how the rate falls to zero over the training; `decay` multiplies it after each epoch; or `constant`.
        decay: the factor of the schedule `decay`; Kang et al. 2023 divide by 1.25.
        decay_epochs: after so many epochs the rate stays, in the schedule `decay`.
        warmup: share of the steps in which the rate climbs from zero.
        clip: largest Euclidean norm of the gradient of a step, none for no limit.
        accumulate: batches whose gradients are averaged into one step.
        precision: `bf16` runs the forward passes of training under autocast; scoring is always in full precision.
        select_on: which epoch ships: the best on validation, by unweighted or weighted accuracy or, for dimensions,
            their mean CCC; or the last.
        patience: stop after this many epochs without a better one; never, without it.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        distribute: what several processes of one training share: the batches alone (`ddp`), or also the parameters,
            gradients and optimisers' states of what trains in the encoder (`fsdp`).
    """

    epochs: int = 100
    batch_size: int = 32
    batch_seconds: float | None = None
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 1e-3
    encoder_learning_rate: float | None = None
    projector_rate: Literal["heads", "encoder"] = "heads"
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    schedule: Literal["constant", "linear", "cosine", "decay"] = "constant"
    decay: float = 0.8
    decay_epochs: int = 20
    warmup: float = 0.0
    clip: float | None = 5.0
    accumulate: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    select_on: SelectOn = "validation UA"
    patience: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    distribute: distribution.Mode = "ddp"

    def __post_init__(self) -> None:
        """Check the settings that make no sense together or at all."""
        least_of = {"epochs": 1, "batch_size": 2, "accumulate": 1, "patience": 1}
        for name, least in (least_of | {"momentum": 0, "weight_decay": 0, "decay_epochs": 0}).items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise SereneError(f"training.{name} is {value}; at least {least} was expected.")
        for name in ("learning_rate", "encoder_learning_rate", "clip", "batch_seconds", "epsilon", "decay"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SereneError(f"training.{name} is {value}; a positive number was expected.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise SereneError(f"training.betas is {list(self.betas)}; two numbers from 0 to below 1 were expected.")
        if not 0 <= self.warmup <= 1:
            raise SereneError(f"training.warmup is {self.warmup}; a share of the steps, from 0 to 1, was expected.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise SereneError("training.device is 'cuda', but torch finds no GPU here; use 'auto' or 'cpu'.")
        if self.select_on == "last" and self.patience is not None:
            raise SereneError("training.patience needs validation: choose select_on 'validation UA', or drop patience.")
        distribution.check_share(self.batch_size if self.batch_seconds is None else None)
        if self.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def fit(
        self,
        model: EmotionModel,
        method: Method,
        train: Dataset,
        validate: Callable[[EmotionModel], Row] | None,
        *,
        seed: int,
        folder: Path,
        speakers: SpeakerStream | None = None,
        on_epoch: Callable[[Row], None] | None = None,
    ) -> Selected:
        """Train, and leave the selected epoch's weights in the model.

        Args:
            model: trained in place.
            method: already attached to the model; trained in place too.
            train: clips whose speakers have an index.
            validate: measures the model after each epoch, as the test will be measured; None without a validation part.
            seed: of batches, dropout and whatever else is random.
            folder: keeps `log.jsonl`, `steps.jsonl` and the state that an interrupted run resumes from.
            speakers: the speaker corpus, for methods that learn from one.
            on_epoch: called with each new row of the log.

        Raises:
            SereneError: a loss is not finite, or validation is missing where it is selected on.
        """
        if validate is None and self.select_on != "last":
            raise SereneError(f"select_on is '{self.select_on}', but the split has no validation part; use 'last'.")
        trained = distribution.spread(model, method.to(self.device), self.device, self.distribute)
        updates = [MovingUpdate(one, lambda group: self._optimizer(group, trained)) for one in method.updates(trained)]
        progress = Checkpoint(folder, model, method, [moved.optimizer for update in updates for moved in update.groups])
        progress.resume()
        distribution.take_up(trained, model, progress.optimizers)
        while not self._finished(progress):
            started = time.perf_counter()
            steps = self._epoch(trained, method, updates, Streams(train, speakers, seed), progress.epoch)
            row = _means(steps)
            with distribution.whole(trained, model):
                row |= validate(model) if validate else {}
            progress.epoch += 1
            row = {"epoch": progress.epoch, **row, "seconds": round(time.perf_counter() - started, 3)}
            progress.keep(row, self._merit(row), steps)
            if on_epoch:
                on_epoch(row)
        model.load_state_dict(progress.best_model)
        model.to(self.device).eval()
        return Selected(progress.best_epoch, self.rule, progress.rows)

    @property
    def rule(self) -> str:
        """How the shipped epoch is chosen, in words."""
        return "last epoch" if self.select_on == "last" else f"best {self.select_on} over epochs"

    def _merit(self, row: Row) -> float:
        # later epochs win where there is no validation to select on
        return row["epoch" if self.select_on == "last" else self.select_on.replace(" ", "_").lower()]

    def _finished(self, progress: Checkpoint) -> bool:
        waited = progress.epoch - progress.best_epoch
        return progress.epoch >= self.epochs or (self.patience is not None and waited >= self.patience)

    def _optimizer(self, group: Group, model: EmotionModel) -> torch.optim.Optimizer:
        moved = [p for p in group.parameters if p.requires_grad]
        if group.optimizer != "trainer":
            kind = torch.optim.SGD if group.optimizer == "sgd" else torch.optim.Adam
            return kind(moved, group.rate, maximize=group.ascent)
        upstream = {id(p) for part in self._upstream(model) for p in part.parameters()}
        own, others = self.encoder_learning_rate or self.learning_rate, self.learning_rate
        parts = [
            {"params": [p for p in moved if (id(p) in upstream) == inside], "lr": rate, "base": rate}
            for inside, rate in ((True, group.rate or own), (False, group.rate or others))
        ]
        parts = [part for part in parts if part["params"]]
        common = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "maximize": group.ascent}
        if self.optimizer == "sgd":
            nesterov = self.nesterov and self.momentum > 0
            return torch.optim.SGD(parts, momentum=self.momentum, nesterov=nesterov, **common)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parts, betas=self.betas, eps=self.epsilon, **common)

    def _upstream(self, model: EmotionModel) -> list[torch.nn.Module]:
        """Give the parts that move at the encoder's rate."""
        beside = [model.projector] if self.projector_rate == "encoder" and model.projector is not None else []
        return [model.encoder, *beside]

    def factor(self, progress: float) -> float:
        """Give what the learning rates are multiplied by at a point of the training, from 0 (start) to 1 (end)."""
        if progress < self.warmup:
            return progress / self.warmup
        if self.schedule == "decay":
            return self.decay ** min(int(progress * self.epochs + 1e-9), self.decay_epochs)
        rest = (progress - self.warmup) / max(1 - self.warmup, 1e-12)
        return {"constant": 1.0, "linear": 1 - rest, "cosine": (1 + math.cos(math.pi * rest)) / 2}[self.schedule]

    def _epoch(
        self, model: EmotionModel, method: Method, updates: list[MovingUpdate], streams: Streams, epoch: int
    ) -> list[Row]:
        """Make one pass over the training clips; return what each step measured, and of how many clips (`clips`)."""
        model.train()
        method.train()
        rng = np.random.default_rng([streams.seed, epoch])
        batches = self._batches(streams.train, rng)
        steps = [batches[i : i + self.accumulate] for i in range(0, len(batches), self.accumulate)]
        rows = []
        for step, group in enumerate(steps):
            progress, at = (epoch + step / len(steps)) / self.epochs, epoch * len(steps) + step
            row: Row = {"epoch": epoch + 1, "step": step, "clips": sum(map(len, group))}
            for number, moving in enumerate(updates):
                if at % moving.update.every:
                    continue
                mine = [across.number()] if across.number() else []  # no two processes drop the same
                torch.manual_seed(seed_of(streams.seed, epoch, step, number, *mine))
                moving.prepare(at, self.factor(progress))
                for part, indices in enumerate(group):
                    with streams.sharing(moving.update.streams, len(indices)) as copies:
                        drawn = streams.draw(moving.update.streams, indices, (epoch, step, part))
                        batches_of_update = [batch.to(self.device) for batch in drawn]
                        parts = copies * len(group)
                        measured = self._backward(moving, model, method, batches_of_update, progress, parts)
                    for name, value in measured:
                        row[name] = row.get(name, 0.0) + len(indices) / row["clips"] * value
                row |= moving.step(self.clip)
            rows.append(row)
        return rows

    def _batches(self, train: Dataset, rng: np.random.Generator) -> list[np.ndarray]:
        if self.batch_seconds is None:
            parts = np.ones_like(train.lengths) if train.crop else train.lengths  # what is cut is of like length
            return length_buckets(parts, self.batch_size, rng)
        spec = train.store.front_end.spec
        if not spec.rate:
            raise SereneError("training.batch_seconds counts seconds, and stored outputs have none; use batch_size.")
        lengths = np.minimum(train.lengths, train.crop) if train.crop else train.lengths
        return duration_batches(lengths, self.batch_seconds * spec.rate, rng)

    def _backward(
        self,
        moving: MovingUpdate,
        model: EmotionModel,
        method: Method,
        batches: list[Batch],
        progress: float,
        parts: int,
    ) -> list[tuple[str, float]]:
        """Add the gradients of a batch's loss, one of so many parts; return what was measured, by its log name."""
        update = moving.update
        kept = contextlib.nullcontext() if "emotion" in update.streams else statistics_kept(model)
        with kept, torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            terms = update.loss(*batches, progress)
        values = {name: across.summed(term.detach()).item() for name, term in terms.items()}
        if not all(map(math.isfinite, values.values())):
            raise SereneError(
                f"The loss of the {update.name} update is not finite at {progress:.1%} of the training (iteration "
                f"{moving.at + 1}): {values}. {moving.describe()} The last finished epoch is kept. "
                "Lower the learning rate, or the method's coefficients."
            )
        (sum(terms.values()) / parts).backward()  # pyright: ignore[reportAttributeAccessIssue]
        return [(f"{update.name}/{k}", v) for k, v in (*values.items(), *method.measures.items())]


def _means(steps: list[Row]) -> Row:
    """Average what the steps measured, weighted by their clips; an update may be taken in a few of them."""
    names = dict.fromkeys(name for row in steps for name in row if name not in ("epoch", "step", "clips"))
    means = {}
    for name in names:
        rows = [row for row in steps if name in row]
        means[name] = sum(row["clips"] * row[name] for row in rows) / sum(row["clips"] for row in rows)
    return means
