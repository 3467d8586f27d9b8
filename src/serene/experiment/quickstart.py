"""The whole line on built-in data: a corpus, a baseline, a speaker-adversarial model, one report of both."""

from __future__ import annotations

import json
from pathlib import Path

from serene.evaluation.report import Report
from serene.experiment import recipe
from serene.experiment.corpus import Progress, silent
from serene.experiment.recipe import RECIPES
from serene.experiment.run_report import report_of
from serene.experiment.train import train
from serene.reporting.report_page import write_html

ROWS = ("baseline", "domain_adversarial")


def quickstart(folder: Path, *, jobs: int | None = 1, progress: Progress = silent) -> tuple[list[Report], Path]:
    """Make the synthetic corpus, train both models, test them on unseen speakers; nothing is downloaded.

    Args:
        folder: gets the corpus, the runs and `report.html`.
        jobs: trainings at a time.
        progress: told what is being done.

    Returns:
        The two reports as measured, and the page's path.
    """
    reports = []
    for row in ROWS:
        made = recipe.load(
            RECIPES / "quickstart" / f"{row}.yaml", [f"corpus.path={json.dumps(str(folder / 'synthetic'))}"]
        )
        run = train(
            made,
            folder / "runs",
            jobs=jobs,
            progress=lambda what, done, of, row=row: progress(f"{what} {row}", done, of),
        )
        reports.append(report_of(run))
    page = folder / "report.html"
    write_html(reports, page, title="serene quickstart")
    return reports, page
