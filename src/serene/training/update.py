"""An update at work: its optimisers, its steps, and the norms of its gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from serene.errors import SereneError
from serene.methods.method import Group, Update
from serene.training.checkpoint import Row


class MovingUpdate:
    """A update with the optimisers of its groups, and the norms of their last gradients.

    Args:
        update: as the method gives it.
        optimizer_of: makes a group's optimiser; `base` in its parameter groups is the rate that a schedule scales.
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
        for moved in self.groups:  # all of them first: where one is not finite, nothing moves
            group = moved.group
            limit = group.clip or clip or math.inf
            norm = nn.utils.clip_grad_norm_([p for p in group.parameters if p.grad is not None], limit).item()
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
