"""What is committed under `results/` is whole, says nothing of machines' folders, and is what the pages quote."""

from __future__ import annotations

import csv
import importlib
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from page import part
from serene.corpora.prepare import prepare
from serene.evaluation.confidence import tallies
from serene.evaluation.metrics import ccc, ua
from serene.evaluation.predictions import Predictions
from serene.experiment import recipe
from serene.experiment.archive import ARCHIVE, pack, unpack
from serene.experiment.plan import make_plan
from serene.experiment.recipe_file import find
from serene.experiment.run import Run

ROOT = Path(__file__).parents[1]
ARCHIVES = sorted(ROOT.glob(f"results/*/{ARCHIVE}"))
MOST = 8000 * 1024  # bytes of an archive
RENAMED = {  # recipes whose runs were kept under a former name
    "bundled-crema_d": "bundled-crema_d-residual_tdnn",
    "gat2022-crema_d-cold_start": "frozen-crema_d-cold_start",
    "tran2023-crema_d-probe": "frozen-crema_d-probe",
}


def rows(folder: Path) -> list[dict[str, str]]:
    """Give the rows of a folder's tables."""
    return list(csv.DictReader((folder / "tables.csv").read_text().splitlines()))


RUNS = [(archive.parent.name, row["run"]) for archive in ARCHIVES for row in rows(archive.parent)]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The runs of a folder of results, unpacked once."""
    unpacked: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in unpacked:
            unpacked[name] = tmp_path_factory.mktemp(name)
            unpack(ROOT / "results" / name / ARCHIVE, unpacked[name])
        return unpacked[name]

    return of


def test_the_pages_quote_the_results_as_they_are() -> None:
    summary = importlib.import_module("summary")
    for page, count in summary.PAGES:
        assert part(ROOT / page, summary.PART) == summary.quoted(count).strip(), page


def test_there_are_results() -> None:
    assert RUNS


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.parent.name)
def test_an_archive_holds_the_runs_of_its_tables_and_is_small(archive: Path, kept: Callable[[str], Path]) -> None:
    names = {path.name for path in kept(archive.parent.name).iterdir()}
    assert names == {row["run"] for row in rows(archive.parent)}
    assert all(re.fullmatch(r"\S+-[0-9a-f]{10}", name) for name in names)
    assert archive.stat().st_size < MOST


def test_packed_again_it_has_the_same_bytes(kept: Callable[[str], Path], tmp_path: Path) -> None:
    smallest = min(ARCHIVES, key=lambda path: path.stat().st_size)
    pack(kept(smallest.parent.name), tmp_path / ARCHIVE)
    assert (tmp_path / ARCHIVE).read_bytes() == smallest.read_bytes()


def figures(by_seed: list[list[Predictions]]) -> dict[str, float]:
    """Give the mean over seeds of what the folds give together: UA, or the CCC of every dimension."""
    if by_seed[0][0].task.metric == "ua":
        values = [ua(sum(tallies(p)[0] for p in predictions)) for predictions in by_seed]
        return {"ua": sum(values) / len(values)}
    pooled = [Predictions.concatenate(predictions) for predictions in by_seed]
    values = [ccc(p.truth, p.prediction) for p in pooled]
    return {f"ccc_{name}": sum(v[i] for v in values) / len(values) for i, name in enumerate(pooled[0].names)}


@pytest.mark.parametrize(("name", "run_name"), RUNS, ids=lambda word: word)
def test_a_kept_run_gives_its_figures_again(name: str, run_name: str, kept: Callable[[str], Path]) -> None:
    folder = kept(name) / run_name
    run = Run.open(folder)
    report = json.loads((folder / "report.json").read_text())
    trials = run.finished()
    assert report["recipe_hash"] == run.identity
    assert sorted({trial.fold for trial in trials}) == sorted(report["folds"])
    assert sorted({trial.seed for trial in trials}) == report["seeds"]
    for trial in trials:
        assert trial.log() and trial.json("environment.json") and trial.json("probes.json")
    by_seed = [[c.predictions().select(part="test") for c in trials if c.seed == seed] for seed in report["seeds"]]
    (row,) = (row for row in rows(ROOT / "results" / name) if row["run"] == run_name)
    for metric, figure in figures(by_seed).items():
        assert figure == pytest.approx(report["metrics"][metric]["value"])
        column, shown = ("UA", f"{100 * figure:.1f}") if metric == "ua" else (f"CCC {metric[4:]}", f"{figure:.3f}")
        assert row[column] == shown
    assert run.recipe.corpus.path is None
    for path in folder.rglob("*.json"):
        assert '"/' not in path.read_text(), f"{path} names a folder of some machine"


def test_the_classical_predictions_give_their_figures_again(tmp_path: Path) -> None:
    with tarfile.open(ROOT / "results/classical/predictions.tar.bz2") as archive:
        archive.extractall(tmp_path, filter="data")
    for path in sorted(ROOT.glob("results/classical/*/table.json")):
        for row in json.loads(path.read_text())["rows"]:
            predictions = Predictions.read(tmp_path / path.parent.name / row["predictions"])
            assert ua(tallies(predictions)[0]) == pytest.approx(row["metrics"]["ua"]["value"])


def test_every_kept_run_is_of_a_recipe_and_each_recipe_s_own_run_is_there(kept: Callable[[str], Path]) -> None:
    """By the identity without the data's digest, which is not kept; a recipe's other runs have other settings."""
    shipped: dict[str, str] = {}
    for path in (ROOT / "recipes").rglob("*.yaml"):
        file, _ = find(path)
        shipped |= {file.name(row): f"{path}:{row}" if row else str(path) for row in (file.rows or [None])}
    found: dict[str, set[str]] = {}
    for path in (run for archive in ARCHIVES for run in kept(archive.parent.name).iterdir()):
        own = Run.open(path).recipe
        found.setdefault(RENAMED.get(own.name, own.name), set()).add(own.identity(""))
    assert {own for own in found if recipe.load(shipped[own]).identity("") not in found[own]} == set()


@pytest.mark.slow
def test_a_training_finds_the_kept_runs_again(speech: Path, tmp_path: Path) -> None:
    prepare("emodb", speech / "emodb").write(tmp_path / "emodb.jsonl")
    unpack(ROOT / "results/tu2019" / ARCHIVE, tmp_path / "runs")
    for row in ("dat", "ser_only_enrolled"):
        own = recipe.load(ROOT / f"recipes/tu2019/emodb.yaml:{row}", [f"corpus.path={tmp_path / 'emodb.jsonl'}"])
        trials = make_plan(own, tmp_path / "runs").trials
        assert len(trials) == 15
        assert all(trial.finished for _, trial in trials)
