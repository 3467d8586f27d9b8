"""Runs compared with the first of them: paired differences over the same test utterances, speakers resampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serene.errors import SereneError
from serene.evaluation.confidence import paired
from serene.evaluation.predictions import Predictions
from serene.experiment.run import Run


def differences(runs: Sequence[tuple[str, Run]]) -> list[dict[str, Any]]:
    """Give the difference of each run to the first in every metric, with its 95 % interval and p.

    Args:
        runs: name and run; two at least.

    Raises:
        SereneError: fewer than two, or runs that were not tested on the same utterances.
    """
    if len(runs) < 2:
        raise SereneError("compare needs two runs or more.")
    tests = [
        (name, Predictions.concatenate(trial.predictions() for trial in run.finished()).select(part="test"))
        for name, run in runs
    ]
    (first, reference), *others = tests
    return [
        {"run": name, "against": first, "metric": metric, **difference.to_dict()}
        for name, test in others
        for metric, difference in paired(test, reference).items()
    ]
