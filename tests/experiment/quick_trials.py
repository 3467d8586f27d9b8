"""Trials whose speakers are probed once, not five times; in a module that the processes of `--jobs` can import."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

from serene.experiment import embedding_probes, trial

one_probe = partial(embedding_probes.speaker_probe, draws=1)


def train_trial(*task: Any) -> None:
    """Train a trial as ever, with one probe, in whatever process this is."""
    embedding_probes.speaker_probe = one_probe
    trial.train_trial(*task)


def train_trial_lost_once(*task: Any) -> None:
    """Train a trial with one probe; the first process to have trained an epoch is killed, as a file of the run says."""

    def tell(folder: Path, epoch: int) -> None:
        if epoch == 1:
            try:
                (folder.parents[1] / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        task[-1](folder, epoch)

    train_trial(*task[:-1], tell)


def lost(_number: int, _tell: Any) -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def give_recipe(run: Path, text: str) -> None:
    """Let a test give a finished run another recipe; its trials have none of their own then, as in archives."""
    for own in run.glob("fold-*/seed-*/recipe.yaml"):
        own.unlink()
    (run / "recipe.yaml").write_text(text)


def unseal(trial: Path) -> None:
    """Let a test change a finished trial's files: drop their sizes and digests, as older trials have none."""
    facts = json.loads((trial / "environment.json").read_text())
    (trial / "environment.json").write_text(json.dumps({name: fact for name, fact in facts.items() if name != "files"}))
