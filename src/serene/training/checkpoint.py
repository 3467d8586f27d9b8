"""What a training keeps in its folder: how far it has come, to be taken up again from there, and what it ran on."""

from __future__ import annotations

import io
import json
import math
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from serene.errors import SereneError, first_line
from serene.files import append_text, damaged, read_json_lines, regular, whole_file, write_text
from serene.methods.method import Method
from serene.models import across
from serene.models.model import EmotionModel
from serene.training import distribution

Row = dict[str, float]
PACKAGES = (
    *("serene-ser", "torch", "transformers", "numpy", "scikit-learn"),
    *("kaldi-native-fbank", "soundfile", "soxr"),
)


class Checkpoint:
    """The state of a training after its last finished epoch, in `training.pt`, with a log by epoch and one by step."""

    def __init__(
        self, folder: Path, model: EmotionModel, method: Method, optimizers: list[torch.optim.Optimizer]
    ) -> None:
        """Begin at epoch 0; `resume` looks for more."""
        self.path, self.log, self.steps = folder / "training.pt", folder / "log.jsonl", folder / "steps.jsonl"
        self.model, self.method, self.optimizers = model, method, optimizers
        self.epoch = self.best_epoch = 0
        self.best = -math.inf
        self.best_model: dict[str, torch.Tensor] = {}
        self.rows: list[Row] = []

    def resume(self) -> None:
        """Take up the state of an interrupted run, where there is one."""
        state = distribution.first(self._state)
        if state is None:
            return
        try:
            self.model.load_state_dict(state["model"])
            self.method.load_state_dict(state["method"])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            self.epoch, self.best_epoch, self.best = state["epoch"], state["best_epoch"], state["best"]
            self.best_model, self.rows = state["best_model"], state["rows"]
        except Exception as error:
            raise self._unfit(error) from error
        if distribution.writes():
            self._write_log()  # the run may have been killed between the files
            write_text(self.steps, _lines(self._kept_steps()))

    def _state(self) -> dict[str, Any] | None:
        if not self.path.exists():
            self.steps.unlink(missing_ok=True)
            return None
        try:
            return torch.load(regular(self.path), map_location="cpu", weights_only=True)
        except Exception as error:
            raise self._unfit(error) from error

    def _unfit(self, error: Exception) -> SereneError:
        """Say so in a sentence: torch has exceptions of its own, and advice that fits no checkpoint."""
        why = first_line(error) if isinstance(error, RuntimeError) else type(error).__name__
        return SereneError(
            f"{self.path} is damaged or does not fit this run ({why}); delete its folder to start again."
        )

    def _kept_steps(self) -> list[Row]:
        if not self.steps.exists():
            return []
        try:
            os.truncate(self.steps, regular(self.steps).read_bytes().rfind(b"\n") + 1)  # the last may be cut off
        except OSError as error:
            raise damaged(self.steps, error) from error
        return [row for row in read_json_lines(self.steps, "epoch") if row["epoch"] <= self.epoch]

    def keep(self, row: Row, merit: float, steps: list[Row]) -> None:
        """Note an epoch, and its weights where it is the best so far; write the state whole or not at all."""
        optimizers = [distribution.state_of(optimizer) for optimizer in self.optimizers]
        self.rows.append(row)
        if merit > self.best:
            self.best, self.best_epoch = merit, self.epoch
            self.best_model = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if not distribution.writes():
            return
        # before the state: rows that an interruption leaves over are dropped
        append_text(self.steps, _lines(steps))
        state = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best": self.best,
            "best_model": self.best_model,
            "rows": self.rows,
            "model": self.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizers": optimizers,
        }
        kept = io.BytesIO()  # torch itself reports a full disk as an error of another kind
        torch.save(state, kept)
        with whole_file(self.path) as temporary:
            temporary.write_bytes(kept.getbuffer())
        self._write_log()

    def _write_log(self) -> None:
        write_text(self.log, _lines(self.rows))


def _lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def environment(seconds: float) -> dict[str, Any]:
    """Describe what a trial ran on, and for how long: versions and the kind of machine, not its name."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        **({"processes": across.processes()} if across.processes() > 1 else {}),
        "seconds": round(seconds, 1),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
