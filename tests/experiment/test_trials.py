"""Trials in one order on every machine, and shares of them that never meet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.run import Run
from serene.experiment.trials import share_of, trials_of

Serene = Callable[..., Any]  # the fixture of conftest.py: words -> exit code, output, errors
TRAINED = "model/model.safetensors"


@pytest.fixture
def table(tiny_recipe: Path, tmp_path: Path) -> Path:
    """The tiny recipe, with a second seed, and again without calibration and with it."""
    path = tmp_path / "tiny.yaml"
    rows = "rows:\n  plain: {}\n  more: {seeds: [0, 1]}\n  calibrated: {calibration: {neighbours: 2}}\n"
    path.write_text(tiny_recipe.read_text() + rows)
    return path


@pytest.fixture
def runs(tiny_run: Path, tmp_path: Path) -> Path:
    """A folder of runs that holds the finished tiny run."""
    shutil.copytree(tiny_run, tmp_path / "runs" / tiny_run.name)
    return tmp_path / "runs"


def test_a_tables_trials_are_listed_in_their_order_each_once(serene: Serene, table: Path, runs: Path) -> None:
    rows = serene("train", table, "--print-trials", "-o", runs, "--json").json["trials"]
    assert [row["trial"] for row in rows] == [1, 2, 3, 4]  # the calibrated row has plain's, and more has two of them
    found = [(row["recipe"], row["fold"], row["seed"], row["finished"]) for row in rows]
    assert found[:2] == [("tiny-plain", "1", 0, True), ("tiny-plain", "2", 0, True)]
    assert found[2:] == [("tiny-more", fold, 1, False) for fold in "12"]
    assert {path.parent.parent for path in runs.rglob("predictions.csv")} == {*runs.glob("tiny-*/fold-*")}
    assert not (runs / "tiny").exists(), "nothing is trained or reported"
    ended = serene("train", f"{table}:plain", "--print-trials", "-o", runs)
    assert (ended.code, len(ended.out.splitlines())) == (0, 3)
    assert rows[1]["folder"] in ended.out


def test_shares_are_of_all_trials_whatever_has_finished(table: Path, runs: Path) -> None:
    recipes = recipe.load_table(table).values()
    for n in (1, 2, 3, 9):
        folders = [one.trial.folder for i in range(n) for one in trials_of(recipes, runs)[share_of(f"{i + 1}/{n}")]]
        assert sorted(folders) == sorted(one.trial.folder for one in trials_of(recipes, runs))
    third = trials_of(recipes, runs)[share_of("1/4")]
    shutil.rmtree(third[0].trial.folder)
    assert [one.trial for one in trials_of(recipes, runs)[share_of("1/4")]] == [one.trial for one in third]


@pytest.mark.parametrize("given", ["5/4", "0/4", "1/0", "1", "1/2/3", "-1/2", "a/b", "", "\N{SUPERSCRIPT TWO}/3"])
def test_a_share_that_there_is_not_is_refused_before_anything(
    given: str, serene: Serene, tiny_recipe: Path, tmp_path: Path
) -> None:
    ended = serene("train", tiny_recipe, "--trial", given, "-o", tmp_path / "runs")
    assert (ended.code, ended.out) == (2, "")
    said = f"--trial is {given}; I/N with I from 1 to N was expected, such as 1/4 for the first of four."
    assert ended.err == f"error: {said}\n"
    assert not (tmp_path / "runs").exists()


def test_what_makes_an_encoder_has_no_trials(serene: Serene, tmp_path: Path) -> None:
    path = tmp_path / "encoder.yaml"
    path.write_text("model: {encoder: hubert}\nstages: []\n")
    for option in (("--print-trials",), ("--trial", "1/2")):
        ended = serene("train", path, *option)
        assert (ended.code, ended.out) == (2, "")
        assert f"{path} makes an encoder, in stages, and has no trials; leave the option out." in " ".join(
            ended.err.split()
        )


def test_a_share_that_is_empty_trains_nothing(serene: Serene, tiny_recipe: Path, runs: Path) -> None:
    ended = serene("train", tiny_recipe, "--trial", "3/3", "-o", runs, "--json")
    assert (ended.code, ended.json) == (0, {"share": "3/3", "trials": []})


@pytest.mark.slow
def test_two_tasks_of_an_array_share_a_folder_and_end_as_one_run_does(
    serene: Serene, tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    runs, tasks = tmp_path / "runs", []
    for share in ("1/2", "2/2"):
        command = [
            sys.executable,
            "-m",
            "serene",
            "train",
            str(tiny_recipe),
            "--trial",
            share,
            "-o",
            str(runs),
            "--json",
        ]
        tasks.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"}))
    rows = [json.loads(task.communicate()[0])["trials"] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0]
    assert [[(row["fold"], row["finished"]) for row in own] for own in rows] == [[("1", True)], [("2", True)]]
    run = runs / tiny_run.name
    assert not (run / "report.json").exists()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("predictions.csv")}
    assert serene("train", tiny_recipe, "-o", runs).code == 0  # finished: it only writes the report
    assert {path: path.stat().st_mtime_ns for path in run.rglob("predictions.csv")} == before
    assert (run / "report.json").exists()
    for one, other in zip(Run.open(tiny_run).finished(), Run.open(run).finished(), strict=True):
        for name in ("predictions.csv", TRAINED):
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_trials")
def test_a_trial_that_somebody_trains_is_left_to_them(tiny_recipe: Path, serene: Serene, runs: Path) -> None:
    from serene.files import locked

    trial = next(runs.glob("tiny-*")) / "fold-1/seed-0"
    (trial / "predictions.csv").unlink()
    with locked(trial):
        ended = serene("train", tiny_recipe, "--trial", "1/2", "--jobs", "1", "-o", runs)
        assert (ended.code, (trial / "predictions.csv").exists()) == (2, False)
        assert serene("train", tiny_recipe, "--trial", "2/2", "-o", runs).code == 0
    with pytest.raises(SereneError, match="--trial is 3/2"):
        share_of("3/2")
