"""Trials whose speakers are probed once, not five times; in a module that the processes of `--jobs` can import."""

from __future__ import annotations

from functools import partial
from typing import Any

from serene.experiment import trial

one_probe = partial(trial.speaker_probe, draws=1)


def train_trial(*task: Any) -> None:
    """Train a trial as ever, with one probe, in whatever process this is."""
    trial.speaker_probe = one_probe
    trial.train_trial(*task)
