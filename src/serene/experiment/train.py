"""A recipe is trained: every fold and seed that has not finished, then its report; a table likewise, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serene import cluster
from serene.audio.dataset import warm
from serene.audio.mfcc import CEPSTRA
from serene.audio.store import Store
from serene.corpora.manifest import Utterance
from serene.corpora.utterances import Utterances
from serene.errors import SereneError
from serene.evaluation.label_calibration import LabelCalibration
from serene.evaluation.report import Report
from serene.experiment.label_calibration import calibrate_trial
from serene.experiment.plan import (
    Plan,
    Progress,
    copies_of,
    files_of,
    load_corpus,
    make_plan,
    plan_pretraining,
    silent,
    stored_by,
)
from serene.experiment.recipe import load_table
from serene.experiment.recipe_file import RECIPES
from serene.experiment.run import Run
from serene.experiment.run_report import differences, report_of, write_report
from serene.experiment.sections import Recipe
from serene.experiment.trial import train_trial
from serene.experiment.trials import Planned, trials_of
from serene.experiment.workers import CORES, work
from serene.files import locked, read_json_lines, write_text
from serene.models import across
from serene.protocols import Split
from serene.reporting.plots import draw_pretraining
from serene.reporting.report_page import write_html
from serene.training import distribution
from serene.training.stages import Pretraining

if TYPE_CHECKING:
    from serene.training.pretraining import Stage


@dataclass(frozen=True)
class TableReport:
    """The rows of a table, measured and compared.

    Attributes:
        folder: holds `report.html` and `report.json`.
        runs: row -> its run.
        reports: row -> its report.
        differences: of each row to the first; see `serene.experiment.run_report.differences`.
        remark: why there are none, where the rows were not tested on the same utterances; blank otherwise.
    """

    folder: Path
    runs: dict[str, Run]
    reports: dict[str, Report]
    differences: list[dict[str, Any]]
    remark: str

    def to_json(self) -> dict[str, Any]:
        """Give the table as plain data, each row with what its own `report.json` says."""
        rows = [{"row": r, "run": self.runs[r].folder.name, **one.to_json()} for r, one in self.reports.items()]
        return {"rows": rows, "differences": self.differences, "remark": self.remark}


def train(
    recipe: Recipe, runs: Path, *, jobs: int | None = 1, progress: Progress = silent, tensorboard: bool = False
) -> Run:
    """Train every fold and seed that has not finished, write the report, and return the run.

    Args:
        recipe: the settings.
        runs: folder of runs; features and prepared manifests are kept there too.
        jobs: trainings at a time, each in a process of its own and on one thread; results do not depend on it. None
            for one on a GPU, and one per core where there is none.
        progress: told about decoding, features and epochs.
        tensorboard: also write TensorBoard events into each trial's folder.

    Several processes that have joined (`serene.training.distribution.joined`) train each of them together, one after
    the other; the first process does what is done once.
    """
    distribution.check_jobs(jobs)
    recipe.training.make()  # refuses what cannot be, before anything is written
    planned = distribution.first(lambda: make_plan(recipe, runs, progress))
    distribution.agree(
        lambda: {"recipe": recipe.identity(""), "manifest": load_corpus(recipe.corpus, runs, progress).digest}
    )
    if recipe.calibration is not None:
        trained = train(replace(recipe, calibration=None), runs, jobs=jobs, progress=progress, tensorboard=tensorboard)
        settings = recipe.calibration
        return distribution.first(lambda: _calibrated(planned, settings, trained))
    trials = [Planned(planned, *pair) for pair in planned.trials]
    train_trials(trials, jobs=jobs, progress=progress, tensorboard=tensorboard)
    distribution.first(lambda: write_report(planned.run))
    return planned.run


def train_trials(
    trials: Sequence[Planned],
    *,
    jobs: int | None = 1,
    work: Callable[..., None] = work,
    progress: Progress = silent,
    tensorboard: bool = False,
) -> None:
    """Train those of some trials that have not finished, and write no report.

    Args:
        trials: in the order of their plans.
        jobs: trainings at a time, as `train` takes them.
        work: what has them trained: `serene.experiment.workers.work`, or one with the same arguments.
        progress: told about features and epochs.
        tensorboard: also write TensorBoard events.
    """
    todo = [trials[n] for n in distribution.first(lambda: _unfinished(trials))]
    tasks = list[tuple[Any, ...]]()
    for _, same in groupby(todo, key=lambda one: one.plan.run.folder):
        own = list(same)
        planned = own[0].plan
        beginning = _computed(planned.stages, progress) if planned.stages else None
        distribution.first(partial(_warm, planned, [one.split for one in own], beginning, progress))
        tasks += [(*one, beginning, tensorboard) for one in own]
    epochs = sum(one.plan.recipe.training["epochs"] for one in todo)
    reached: dict[Path, int] = {}

    def on_message(folder: Path, epoch: int) -> None:
        reached[folder] = epoch
        progress("training", sum(reached.values()), epochs)

    devices = {one.plan.recipe.training.make().device for one in todo}
    most = 1 if "cuda" in devices or across.processes() > 1 else CORES
    work(train_trial, tasks, jobs=jobs or most, on_message=on_message)


def _unfinished(trials: Sequence[Planned]) -> list[int]:
    return [number for number, one in enumerate(trials) if not one.trial.finished]


def train_on(
    on: str, recipes: Iterable[Recipe], runs: Path, *, progress: Progress = silent, tensorboard: bool = False
) -> None:
    """Train what has not finished of some recipes on a Ray cluster, all rows, folds and seeds at once; no report.

    Args:
        on: `ray` or `ray://HOST:PORT`, as `serene.cluster.connected` takes it.
        recipes: such as a table's rows.
        runs: folder of runs, at a path that every machine of the cluster sees.
        progress: told about features and epochs.
        tensorboard: also write TensorBoard events.

    Raises:
        SereneError: no Ray answers, or a worker has another version, another manifest or does not see the folder.
    """

    def work(*given: Any, jobs: int, on_message: Callable[..., None]) -> None:
        cluster.work(*given, on=on, files=files, gpus=gpus, on_message=on_message)

    with cluster.connected(on):
        trials = trials_of(recipes, runs, progress)
        files = {file for one in trials for file in files_of(one.plan)}
        gpus = int(any(one.plan.recipe.training.make().device == "cuda" for one in trials))
        train_trials(trials, work=work, progress=progress, tensorboard=tensorboard)


def train_table(
    recipes: Mapping[str, Recipe],
    runs: Path,
    folder: Path,
    *,
    jobs: int | None = 1,
    progress: Progress = silent,
    tensorboard: bool = False,
) -> TableReport:
    """Train every row that has not finished, and write one report of all.

    Args:
        recipes: row -> recipe, as `serene.load_table` gives them; the first is what the others are compared with.
        runs: folder of runs.
        folder: of the table's report.
        jobs: trainings at a time.
        progress: told what is being done, and for which row.
        tensorboard: also write TensorBoard events.
    """
    trained = {}
    for row, recipe in recipes.items():

        def told(what: str, done: int, of: int, row: str = row) -> None:
            progress(f"{what} {row}", done, of)

        trained[row] = train(recipe, runs, jobs=jobs, progress=told, tensorboard=tensorboard)
    return distribution.first(lambda: _compared(trained, folder))


def _compared(trained: dict[str, Run], folder: Path) -> TableReport:
    """Write one report of a table's runs."""
    reports = {row: report_of(run) for row, run in trained.items()}
    found, remark = [], ""
    try:
        found = differences(list(trained.items()))
    except SereneError as error:
        remark = f"The rows are not compared: {error}"
    table = TableReport(folder, trained, reports, found, remark)
    write_text(folder / "report.json", json.dumps(table.to_json(), indent=2, ensure_ascii=False) + "\n")
    write_html(list(reports.values()), folder / "report.html", title=folder.name, differences=found)
    return table


def quickstart(folder: Path, *, jobs: int | None = 1, progress: Progress = silent) -> TableReport:
    """Run the whole line on the sample of real speech: heads on the bundled model's vectors, one report of both.

    The folder gets the runs and `report.html`; nothing is downloaded.

    Raises:
        SereneError: the bundled model was trained on speakers who are to test.
    """
    recipes = load_table(RECIPES / "quickstart.yaml")
    return train_table(recipes, folder / "runs", folder, jobs=jobs, progress=progress)


def tested(run: Run) -> tuple[Path, Utterance]:
    """Give the folder of a run's first model, and the first of the clips that it was tested on."""
    trial = run.finished()[0]
    ids = set(trial.predictions().select(part="test").id.tolist())
    return trial.folder / "model", next(u for u in load_corpus(run.recipe.corpus, run.folder.parent) if u.id in ids)


def _calibrated(planned: Plan, settings: LabelCalibration, trained: Run) -> Run:
    """Calibrate the answers of a run that was trained without calibration."""
    for split, trial in planned.trials:
        if not trial.finished:
            before = trained.trial(trial.fold, trial.seed)
            with locked(trial.folder):
                calibrate_trial(planned.recipe, settings, planned.task, split, before, trial)
    write_report(planned.run)
    return planned.run


def pretrain(recipe: Pretraining, runs: Path, progress: Progress = silent) -> Path:
    """Compute an encoder's stages that are not there yet; return the folder of the last one's."""
    stages = distribution.first(lambda: plan_pretraining(recipe, runs, progress))
    distribution.agree(lambda: {"recipe or corpus": plan_pretraining(recipe, runs, progress)[-1].identity})
    return _computed(stages, progress)


def _computed(stages: Sequence[Stage], progress: Progress) -> Path:
    """Give the encoder of the last stage, and draw how each that is new was trained."""
    from serene.training.pretraining import compute  # transformers' encoders take seconds to import
    from serene.training.trainer import Trainer

    for stage in stages:
        Trainer(**stage.settings.training)  # refuses more processes than a batch has clips
    encoder = compute(stages[-1], progress)
    for stage in stages if distribution.writes() else ():
        picture, log = stage.folder / "curves.png", stage.folder / "log.jsonl"
        if log.exists() and not picture.exists():
            draw_pretraining(read_json_lines(log), picture)
    return encoder


def _warm(planned: Plan, splits: list[Split], beginning: Path | None, progress: Progress) -> None:
    """Compute the features that the trainings to come will read."""
    if not splits:
        return
    store = Store(planned.store, stored_by(planned.recipe, beginning))
    clips = _clips_of(splits, "train", "validation", "test", "unlabelled")
    warm(clips, store, lambda done, of: progress("features", done, of))
    for number, copies in enumerate(copies_of(planned.recipe, store), 1):
        warm(_clips_of(splits, "train"), copies, lambda done, of, n=number: progress(f"copies {n}", done, of))
    warm(planned.speakers, store, lambda done, of: progress("speakers' features", done, of))
    if "cepstra" in planned.recipe.needs:
        cepstra = Store(planned.store, CEPSTRA)
        warm(_clips_of(splits, "unlabelled"), cepstra, lambda done, of: progress("cepstra", done, of))


def _clips_of(splits: Sequence[Split], *parts: str) -> Utterances:
    """Give the clips in some parts of splits, each once."""
    clips = Utterances.of(())
    for split in splits:
        clips = Utterances.joined((clips, *(getattr(split, part) for part in parts)))
        clips = clips.take(np.sort(np.unique(clips.keys("id"), return_index=True)[1]))
    return clips
