"""The trials of a recipe or of its table, in an order that is the same on every machine; and one machine's share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from serene.errors import SereneError, quoted
from serene.experiment.plan import Plan, Progress, make_plan, silent
from serene.experiment.run import Trial
from serene.experiment.sections import Recipe
from serene.protocols import Split


class Planned(NamedTuple):
    """A trial with all that it takes to train it."""

    plan: Plan
    split: Split
    trial: Trial


def trials_of(recipes: Iterable[Recipe], runs: Path, progress: Progress = silent) -> list[Planned]:
    """Plan recipes, and give their trials by row, fold and seed; one that several rows share is given once.

    A recipe with calibration shares those of the recipe without it, whose answers it calibrates when it is reported.

    Raises:
        SereneError: whatever is wrong with a recipe, its corpus or its protocol.
    """
    plans = [make_plan(replace(recipe, calibration=None), runs, progress) for recipe in recipes]
    found = dict[Path, Planned]()
    for planned in (Planned(plan, *pair) for plan in plans for pair in plan.trials):
        found.setdefault(planned.trial.folder, planned)
    return list(found.values())


def share_of(given: str) -> slice:
    """Read `I/N`: every N-th trial, from the I-th on; so no trial is in two shares, whatever has finished meanwhile.

    Raises:
        SereneError: it is none, or there is no such share.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", given)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise SereneError(
            f"--trial is {quoted(given, 40)}; I/N with I from 1 to N was expected, such as 1/4 for the first of four."
        )
    return slice(int(found[1]) - 1, None, int(found[2]))
