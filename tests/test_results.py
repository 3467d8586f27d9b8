"""What is committed under `results/` is whole, says nothing of machines' folders, and is what the README quotes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from serene.evaluation.confidence import tallies
from serene.evaluation.metrics import ccc, ua
from serene.evaluation.predictions import Predictions
from serene.experiment.run import Run

ROOT = Path(__file__).parents[1]
RUNS = sorted(path.parent for path in ROOT.glob("results/*/runs/*/recipe.yaml"))


def benchmark(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_pages_quote_the_results_as_they_are() -> None:
    summary = benchmark("summary")
    for page, count in summary.PAGES:
        quoted = (ROOT / page).read_text().partition(summary.BEGIN)[2].partition(summary.END)[0]
        assert quoted.strip() == summary.quoted(count).strip(), page


def test_there_are_results() -> None:
    assert RUNS


def figures(by_seed: list[list[Predictions]]) -> dict[str, float]:
    """Give the mean over seeds of what the folds give together: UA, or the CCC of every dimension."""
    if by_seed[0][0].task.metric == "ua":
        values = [ua(sum(tallies(p)[0] for p in predictions)) for predictions in by_seed]
        return {"ua": sum(values) / len(values)}
    pooled = [Predictions.concatenate(predictions) for predictions in by_seed]
    values = [ccc(p.truth, p.prediction) for p in pooled]
    return {f"ccc_{name}": sum(v[i] for v in values) / len(values) for i, name in enumerate(pooled[0].names)}


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parents[1].name}/{folder.name}")
def test_a_kept_run_gives_its_figures_again(folder: Path) -> None:
    run = Run.open(folder)
    report = json.loads((folder / "report.json").read_text())
    trials = run.finished()
    assert sorted({trial.fold for trial in trials}) == sorted(report["folds"])
    assert sorted({trial.seed for trial in trials}) == report["seeds"]
    for trial in trials:
        assert trial.log() and trial.json("environment.json") and trial.json("probes.json")
    by_seed = [[c.predictions().select(part="test") for c in trials if c.seed == seed] for seed in report["seeds"]]
    for metric, figure in figures(by_seed).items():
        assert figure == pytest.approx(report["metrics"][metric]["value"])
    assert run.recipe.corpus.path is None
    for path in folder.rglob("*.json"):
        assert '"/' not in path.read_text(), f"{path} names a folder of some machine"
