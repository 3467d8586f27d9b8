"""An update at work: where its batches come from, its optimisers, its steps, and the norms of its gradients."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from serene.audio.batch import Batch
from serene.audio.dataset import Dataset
from serene.audio.speaker_stream import SpeakerStream
from serene.errors import SereneError
from serene.methods.method import Group, Stream, Update
from serene.models import across
from serene.training import distribution
from serene.training.checkpoint import Row

TAGS: dict[Stream, int] = {"emotion": 0, "speakers": 1, "partners": 2}  # of each stream's own random numbers


class MovingUpdate:
    """An update with the optimisers of its groups, and the norms of their last gradients.

    `base` in an optimiser's parameter groups is the rate that a schedule scales.
    """

    def __init__(self, update: Update, optimizer_of: Callable[[Group], torch.optim.Optimizer]) -> None:
        """Make the optimisers."""
        self.update = update
        self.groups = [MovingGroup(group, optimizer_of(group)) for group in update.groups]
        self.norms: Row = {}
        self.at = 0

    def prepare(self, at: int, factor: float) -> None:
        """Begin iteration `at`: clear the gradients, and set the rates that follow the schedule."""
        self.at = at
        for moved in self.groups:
            moved.optimizer.zero_grad(set_to_none=True)
            for settings in moved.optimizer.param_groups:
                settings["lr"] = factor * settings["base"] if "base" in settings else settings["lr"]

    def step(self, clip: float | None) -> Row:
        """Let every group that no longer rests take its step; return the norms of the gradients before clipping."""
        distribution.add_up([parameter for moved in self.groups for parameter in moved.group.parameters])
        for moved in self.groups:  # all of them first: where one is not finite, nothing moves
            group = moved.group
            limit = group.clip or clip or math.inf
            norm = distribution.clip([p for p in group.parameters if p.grad is not None], limit)
            self.norms[f"{self.update.name}/{group.name}_gradient"] = norm
            if not math.isfinite(norm):
                raise SereneError(
                    f"The gradient of the {self.update.name} update is not finite. {self.describe()} The last finished "
                    "epoch is kept. Lower the learning rate, or the method's coefficients."
                )
        for moved in self.groups:
            if self.at >= moved.group.after:
                moved.optimizer.step()
        return self.norms

    def describe(self) -> str:
        """Say how far each group steps and what its last gradient was."""
        steps = [
            f"{moved.group.name} {'ascends' if moved.group.ascent else 'descends'} by "
            f"{moved.optimizer.param_groups[-1]['lr']:g}"
            for moved in self.groups
        ]
        norms = [f"{name} {norm:.3g}" for name, norm in self.norms.items()]
        return f"In it {', '.join(steps)}; gradient norms: {', '.join(norms) or 'none yet'}."


@dataclass(frozen=True)
class MovingGroup:
    """A group and its optimiser."""

    group: Group
    optimizer: torch.optim.Optimizer


class Streams:
    """Where the batches of an update come from; what is drawn is a function of seed, epoch and step."""

    def __init__(self, train: Dataset, speakers: SpeakerStream | None, seed: int) -> None:
        """Note where they come from."""
        self.train, self.speakers, self.seed = train, speakers, seed

    def draw(self, streams: Sequence[Stream], indices: np.ndarray, at: tuple[int, ...]) -> list[Batch]:
        """Give a batch of each stream, or this process's share: the emotion corpus's is of these clips."""
        return [self._one(stream, indices, (self.seed, *at, TAGS[stream])) for stream in streams]

    def _one(self, stream: Stream, indices: np.ndarray, seeds: tuple[int, ...]) -> Batch:
        rng = np.random.default_rng(seeds)
        if stream == "speakers":
            speakers = self._speakers()
            return speakers.batch(rng, across.own(speakers.batch_size))
        if stream == "partners":
            indices = rng.integers(len(self.train), size=len(indices))
        rng = np.random.default_rng((*seeds, across.number())) if across.number() else rng  # of what is done to clips
        return self.train.batch(indices[across.own(len(indices))], rng)

    def _speakers(self) -> SpeakerStream:
        if self.speakers is None:
            raise SereneError("This method learns from a speaker corpus, and was given none.")
        return self.speakers

    def sharing(self, streams: Sequence[Stream], clips: int) -> contextlib.AbstractContextManager[int]:
        """Let each process take all of a batch where one of the streams has fewer clips than there are processes.

        Gives how many processes do the same then.
        """
        fewest = min(clips, self._speakers().batch_size) if "speakers" in streams else clips
        return across.apart(fewest < across.processes())


def seed_of(*numbers: int) -> int:
    """Mix numbers into one seed, so that every step of every run draws from a generator of its own."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
