"""The only training loop: optimisation, schedules, precision, selection, and resuming after any interruption."""

from __future__ import annotations

import io
import json
import math
import pickle
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from serene.audio.batch import Batch
from serene.audio.dataset import Dataset, length_buckets
from serene.errors import SereneError
from serene.evaluation import metrics
from serene.evaluation.scoring import Scores, score
from serene.files import whole_file, write_text
from serene.methods.method import Method, Turn
from serene.models.model import EmotionModel

SelectOn = Literal["validation UA", "validation WA", "last"]
Row = dict[str, float]


@dataclass(frozen=True)
class Selected:
    """Which epoch's weights the model holds after training.

    Attributes:
        epoch: counted from 1.
        rule: how it was chosen, in the report's words.
        rows: one dictionary per epoch, as in `log.jsonl`.
    """

    epoch: int
    rule: str
    rows: list[Row]


class Trainer:
    """Train a model by a method.

    Random numbers are a function of the seed, the epoch and the step, so that a run that was killed and started again
    from its last finished epoch ends with the very same weights (on a CPU; GPU kernels may add in another order).

    Args:
        epochs: how often every training clip is seen.
        batch_size: clips per step; batches hold clips of like length.
        optimizer: `sgd` (with momentum, Tu et al. 2019 use it), `adam` or `adamw`.
        learning_rate: at the start, or after the warm-up.
        momentum: of `sgd`.
        nesterov: look ahead, for `sgd`.
        weight_decay: L2 penalty of `sgd` and `adam`, decoupled in `adamw`.
        schedule: how the rate falls to zero over the training, or `constant`.
        warmup: share of the steps in which the rate climbs from zero.
        clip: largest Euclidean norm of the gradient of a step, none for no limit.
        accumulate: batches whose gradients are averaged into one step.
        precision: `bf16` runs the forward passes of training under autocast; scoring is always in full precision.
        select_on: which epoch ships: the best on validation, by unweighted or weighted accuracy, or the last.
        patience: stop after this many epochs without a better one; never, without it.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
    """

    def __init__(
        self,
        *,
        epochs: int = 100,
        batch_size: int = 32,
        optimizer: Literal["sgd", "adam", "adamw"] = "sgd",
        learning_rate: float = 1e-3,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        schedule: Literal["constant", "linear", "cosine"] = "constant",
        warmup: float = 0.0,
        clip: float | None = 5.0,
        accumulate: int = 1,
        precision: Literal["fp32", "bf16"] = "fp32",
        select_on: SelectOn = "validation UA",
        patience: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> None:
        """Check the settings that make no sense together or at all."""
        counts = (("epochs", epochs, 1), ("batch_size", batch_size, 2), ("accumulate", accumulate, 1))
        others = (("patience", patience, 1), ("momentum", momentum, 0), ("weight_decay", weight_decay, 0))
        for name, value, least in (*counts, *others):
            if value is not None and not value >= least:
                raise SereneError(f"training.{name} is {value}; at least {least} was expected.")
        for name, value in (("learning_rate", learning_rate), ("clip", clip)):
            if value is not None and not value > 0:
                raise SereneError(f"training.{name} is {value}; a positive number was expected.")
        if not 0 <= warmup <= 1:
            raise SereneError(f"training.warmup is {warmup}; a share of the steps, from 0 to 1, was expected.")
        if device == "cuda" and not torch.cuda.is_available():
            raise SereneError("training.device is 'cuda', but torch finds no GPU here; use 'auto' or 'cpu'.")
        if select_on == "last" and patience is not None:
            raise SereneError("training.patience needs validation: choose select_on 'validation UA', or drop patience.")
        self.epochs, self.batch_size, self.accumulate = epochs, batch_size, accumulate
        self.optimizer, self.learning_rate, self.weight_decay = optimizer, learning_rate, weight_decay
        self.momentum, self.nesterov = momentum, nesterov
        self.schedule, self.warmup, self.clip = schedule, warmup, clip
        self.precision, self.select_on, self.patience = precision, select_on, patience
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

    def fit(
        self,
        model: EmotionModel,
        method: Method,
        train: Dataset,
        validation: Dataset | None,
        *,
        seed: int,
        folder: Path,
        on_epoch: Callable[[Row], None] | None = None,
    ) -> Selected:
        """Train, and leave the selected epoch's weights in the model.

        Args:
            model: trained in place.
            method: already attached to the model; trained in place too.
            train: clips whose speakers have an index.
            validation: None where `select_on` is `last`.
            seed: of batches, dropout and whatever else is random.
            folder: keeps `log.jsonl` and the state that an interrupted run resumes from.
            on_epoch: called with each new row of the log.

        Raises:
            SereneError: a loss is not finite, or validation is missing where it is selected on.
        """
        if validation is None and self.select_on != "last":
            raise SereneError(f"select_on is '{self.select_on}', but the split has no validation part; use 'last'.")
        model.to(self.device)
        method.to(self.device)
        turns = method.turns(model)
        optimizers = [self._optimizer(turn) for turn in turns]
        progress = _Progress(folder, model, method, optimizers)
        progress.resume()
        while not self._finished(progress):
            started = time.perf_counter()
            row = self._epoch(model, method, list(zip(turns, optimizers, strict=True)), train, seed, progress.epoch)
            if validation is not None:
                row |= _validate(model, validation, self.device)
            progress.epoch += 1
            row = {"epoch": progress.epoch, **row, "seconds": round(time.perf_counter() - started, 3)}
            progress.keep(row, self._merit(row))
            if on_epoch:
                on_epoch(row)
        model.load_state_dict(progress.best_model)
        model.eval()
        return Selected(progress.best_epoch, self.rule, progress.rows)

    @property
    def rule(self) -> str:
        """How the shipped epoch is chosen, in words."""
        return "last epoch" if self.select_on == "last" else f"best {self.select_on} over epochs"

    def _merit(self, row: Row) -> float:
        """Give what selection compares; later epochs win where there is no validation to select on."""
        key = {"validation UA": "validation_ua", "validation WA": "validation_wa", "last": "epoch"}[self.select_on]
        return row[key]

    def _finished(self, progress: _Progress) -> bool:
        waited = progress.epoch - progress.best_epoch
        return progress.epoch >= self.epochs or (self.patience is not None and waited >= self.patience)

    def _optimizer(self, turn: Turn) -> torch.optim.Optimizer:
        rate, decay = self.learning_rate, self.weight_decay
        if self.optimizer == "sgd":
            nesterov = self.nesterov and self.momentum > 0
            return torch.optim.SGD(turn.parameters, rate, self.momentum, weight_decay=decay, nesterov=nesterov)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(turn.parameters, rate, weight_decay=decay)

    def _rate(self, progress: float) -> float:
        """Give the learning rate at a point of the training, from 0 (start) to 1 (end)."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        rest = (progress - self.warmup) / max(1 - self.warmup, 1e-12)
        fall = {"constant": 1.0, "linear": 1 - rest, "cosine": (1 + math.cos(math.pi * rest)) / 2}
        return self.learning_rate * fall[self.schedule]

    def _epoch(
        self,
        model: EmotionModel,
        method: Method,
        turns: list[tuple[Turn, torch.optim.Optimizer]],
        train: Dataset,
        seed: int,
        epoch: int,
    ) -> Row:
        """Make one pass over the training clips; return the clip-weighted means of what was measured."""
        model.train()
        method.train()
        batches = length_buckets(train.lengths, self.batch_size, np.random.default_rng([seed, epoch]))
        steps = [batches[i : i + self.accumulate] for i in range(0, len(batches), self.accumulate)]
        sums: dict[str, float] = defaultdict(float)
        for step, group in enumerate(steps):
            progress = (epoch + step / len(steps)) / self.epochs
            for number, (turn, optimizer) in enumerate(turns):
                torch.manual_seed(_seed_of(seed, epoch, step, number))
                for settings in optimizer.param_groups:
                    settings["lr"] = self._rate(progress)
                optimizer.zero_grad(set_to_none=True)
                for indices in group:
                    batch = train.batch(indices).to(self.device)
                    measured = self._backward(turn, method, batch, progress, 1 / len(group))
                    for name, value in measured.items():
                        sums[name] += value * len(indices)
                if self.clip is not None:
                    nn.utils.clip_grad_norm_(turn.parameters, self.clip)
                optimizer.step()
        return {name: value / len(train) for name, value in sums.items()}

    def _backward(self, turn: Turn, method: Method, batch: Batch, progress: float, weight: float) -> Row:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            terms = turn.loss(batch, progress)
        values = {name: term.item() for name, term in terms.items()}
        if not all(map(math.isfinite, values.values())):
            raise SereneError(
                f"The loss is not finite at {progress:.1%} of the training: {values}. The last finished epoch is kept. "
                "Lower the learning rate, or the method's coefficients."
            )
        (weight * sum(terms.values())).backward()  # pyright: ignore[reportAttributeAccessIssue]
        return {f"{turn.name}/{k}": v for k, v in values.items()} | {
            f"{turn.name}/{k}": v for k, v in method.measures.items()
        }


class _Progress:
    """How far a run has come, kept in its folder after every epoch."""

    def __init__(
        self, folder: Path, model: EmotionModel, method: Method, optimizers: list[torch.optim.Optimizer]
    ) -> None:
        self.path, self.log = folder / "training.pt", folder / "log.jsonl"
        self.model, self.method, self.optimizers = model, method, optimizers
        self.epoch = self.best_epoch = 0
        self.best = -math.inf
        self.best_model: dict[str, torch.Tensor] = {}
        self.rows: list[Row] = []

    def resume(self) -> None:
        """Take up the state of an interrupted run, where there is one."""
        if not self.path.exists():
            return
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.method.load_state_dict(state["method"])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
        except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            raise SereneError(
                f"{self.path} does not fit this run ({error}); delete its folder to start again."
            ) from error
        self.epoch, self.best_epoch, self.best = state["epoch"], state["best_epoch"], state["best"]
        self.best_model, self.rows = state["best_model"], state["rows"]
        self._write_log()  # the run may have been killed between the two files

    def keep(self, row: Row, merit: float) -> None:
        """Note an epoch, and its weights where it is the best so far; write the state whole or not at all."""
        self.rows.append(row)
        if merit > self.best:
            self.best, self.best_epoch = merit, self.epoch
            self.best_model = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        state = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best": self.best,
            "best_model": self.best_model,
            "rows": self.rows,
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        kept = io.BytesIO()  # torch itself reports a full disk as an error of another kind
        torch.save(state, kept)
        with whole_file(self.path) as temporary:
            temporary.write_bytes(kept.getvalue())
        self._write_log()

    def _write_log(self) -> None:
        write_text(self.log, "".join(json.dumps(row) + "\n" for row in self.rows))


def _validate(model: EmotionModel, validation: Dataset, device: str) -> Row:
    scores: Scores = score(model, validation, device=device)
    truth = validation.targets.argmax(dim=1).numpy()
    confusion = metrics.confusion(truth, scores.probabilities.argmax(axis=1), validation.targets.shape[1])
    chosen = scores.probabilities[np.arange(len(truth)), truth]
    return {
        "validation_ua": float(metrics.ua(confusion)),
        "validation_wa": float(metrics.wa(confusion)),
        "validation_loss": float(-np.log(np.maximum(chosen, 1e-12)).mean()),
    }


def _seed_of(*numbers: int) -> int:
    """Mix numbers into one seed, so that every step of every run draws from a generator of its own."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
