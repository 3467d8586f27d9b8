"""A table of recipes: every row a run of its own, and one report that compares them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.run import Run
from serene.experiment.run_report import differences
from serene.experiment.train import train_table

Serene = Callable[..., Any]  # the fixture of conftest.py: words -> exit code, output, errors


def table_of(tiny_recipe: Path, folder: Path, rows: str) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(f"{tiny_recipe.read_text()}rows:\n{rows}")
    return path


@pytest.fixture
def runs(tiny_run: Path, tmp_path: Path) -> Path:
    """A folder of runs that holds the finished tiny run."""
    shutil.copytree(tiny_run, tmp_path / "runs" / tiny_run.name)
    return tmp_path / "runs"


@pytest.mark.slow
def test_all_rows_are_trained_and_compared_with_the_first(
    serene: Serene, tiny_recipe: Path, runs: Path, tmp_path: Path
) -> None:
    rows = "  plain: {}\n  adversarial: {method: {name: domain_adversarial}}\n"
    path = table_of(tiny_recipe, tmp_path, rows)
    before = {file: file.stat().st_mtime_ns for file in runs.rglob("predictions.csv")}
    ended = serene("train", path, "training.epochs=2", "-o", runs, "--jobs", "1")
    assert ended.code == 0, ended.err
    assert {file: file.stat().st_mtime_ns for file in before} == before, "the first row had finished, whatever its name"
    assert "Differences to plain, in points:" in ended.out
    page = runs / "tiny" / "report.html"
    assert f"Report: {page}" in ended.out
    assert "Differences to plain, in points." in page.read_text()

    kept = json.loads((runs / "tiny" / "report.json").read_text())
    assert [row["row"] for row in kept["rows"]] == ["plain", "adversarial"]
    for row in kept["rows"]:
        own = json.loads((runs / row["run"] / "report.json").read_text())
        assert row["metrics"] == own["metrics"]
    opened = [(row["row"], Run.open(runs / row["run"])) for row in kept["rows"]]
    assert kept["differences"] == json.loads(json.dumps(differences(opened)))
    assert {one["metric"] for one in kept["differences"]} == {"ua", "wa", "macro_f1"}

    again = serene("train", path, "-o", runs, "--json")  # finished: only the report is made again
    assert (again.code, again.json["folder"]) == (0, str(runs / "tiny"))
    assert again.json["differences"] == kept["differences"]
    one = serene("train", f"{path}:adversarial", "-o", runs, "--json")
    assert one.json["folder"] == str(runs / kept["rows"][1]["run"])


def test_rows_of_other_test_utterances_are_reported_and_not_compared(
    tiny_recipe: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("serene.experiment.train.differences", _refuse)
    made = recipe.load(tiny_recipe)
    told: list[str] = []
    table = train_table(
        {"a": made, "b": replace(made, name="other")},
        runs,
        tmp_path / "both",
        progress=lambda what, *_: told.append(what),
    )
    assert table.differences == []
    assert table.remark == "The rows are not compared: They differ."
    assert json.loads((tmp_path / "both" / "report.json").read_text())["remark"] == table.remark
    assert (tmp_path / "both" / "report.html").exists()


def _refuse(_: object) -> None:
    raise SereneError("They differ.")


def test_one_run_is_compared_with_nothing(tiny_run: Path) -> None:
    with pytest.raises(SereneError, match="compare needs two runs or more"):
        differences([("one", Run.open(tiny_run))])
