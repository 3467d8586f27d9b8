"""Leaderboards: one table per protocol, enrolled runs apart, and small run folders that a later table is made from."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from quick_trials import give_recipe, unseal

from serene.experiment import recipe
from serene.experiment.archive import ARCHIVE, pack, unpack
from serene.experiment.leaderboard import COLUMNS, leaderboard, markdown
from serene.experiment.run import Run
from serene.experiment.run_report import report_of

PLAIN = "synthetic, 4 emotions: speaker_folds v1 (folds 3, validation speaker, seed 0), folds 1 2"
ENROLLED = f"{PLAIN}, enrolled with the test speakers' unlabelled clips"


@pytest.fixture
def runs(tiny_run: Path, enrolled_run: Path, tmp_path: Path) -> Path:
    """A copy of both runs, and a third of the first's recipe with another rate and half of the clips wrong."""
    shutil.copytree(tiny_run.parent, tmp_path / "runs")
    third = tmp_path / "runs/tiny-0123456789"
    shutil.copytree(tiny_run, third)
    settings = (third / "recipe.yaml").read_text()
    give_recipe(third, settings.replace("learning_rate: 0.001", "learning_rate: 0.01"))
    for path in third.glob("fold-*/seed-0/predictions.csv"):
        header, *rows = path.read_text().splitlines()
        classes = header.split(",")[7:]
        for n, row in enumerate(rows):
            trials = row.split(",")
            wrong = classes[(classes.index(trials[5]) + 1) % len(classes)]
            trials[6] = wrong if n % 2 else trials[5]
            rows[n] = ",".join(trials)
        path.write_text("\n".join([header, *rows]) + "\n")
        unseal(path.parent)
    return tmp_path / "runs"


def content(folder: Path) -> dict[str, Any]:
    return report_of(Run.open(folder)).to_json()


def unpacked(archive: Path, folder: Path) -> Path:
    """The runs of an archive, in a folder that is made for them."""
    folder.mkdir()
    unpack(archive, folder)
    return folder


def described(tables: dict[str, Any]) -> dict[str, Any]:
    """Tables by what their titles say, without the digest of the task that ends them."""
    assert all(re.fullmatch(r".* \[[0-9a-f]{6}\]", title) for title in tables)
    return {title[: -len(" [123456]")]: rows for title, rows in tables.items()}


def test_a_table_for_each_protocol_best_first_enrolled_apart(
    runs: Path, tiny_run: Path, enrolled_run: Path, tmp_path: Path
) -> None:
    tables = described(leaderboard(runs, tmp_path / "board"))
    assert tables.keys() == {PLAIN, ENROLLED}
    assert [row["run"] for row in tables[ENROLLED]] == [enrolled_run.name]
    assert {row["system"] for row in tables[PLAIN]} == {
        "tiny (training.learning_rate 0.001)",
        "tiny (training.learning_rate 0.01)",
    }
    reports = {name: content(runs / name)["metrics"]["ua"]["value"] for name in (tiny_run.name, "tiny-0123456789")}
    best_first = sorted(reports, key=lambda name: -reports[name])
    assert [row["run"] for row in tables[PLAIN]] == best_first

    report = content(tiny_run)
    (row,) = (row for row in tables[PLAIN] if row["run"] == tiny_run.name)
    ua, found = report["metrics"]["ua"], report["speaker_probe"]
    assert row["UA"] == f"{100 * ua['value']:.1f}"
    assert row["UA interval"] == f"{100 * ua['low']:.1f} to {100 * ua['high']:.1f}"
    assert row["gap"] == f"{100 * report['gap']:.1f}"
    assert row["speaker probe, test speakers"] == f"{100 * found['accuracy']:.1f}"
    assert row["speaker probe, training speakers"] == f"{100 * found['train_speakers']['accuracy']:.1f}"
    assert row["chance"] == "50.0 / 50.0"  # two unseen and two training speakers in every fold
    assert (row["seeds"], row["folds"], row["UA std"], row["enrolled, unlabelled clips"]) == ("1", "2", "", "no")
    assert tables[ENROLLED][0]["enrolled, unlabelled clips"] == "yes"


def test_tables_are_written_as_markdown_and_csv(runs: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    tables = leaderboard(runs, board)
    assert {path.name for path in board.iterdir()} == {"tables.md", "tables.csv", ARCHIVE}
    assert (board / "tables.md").read_text() == "\n".join(f"## {t}\n\n{markdown(rows)}" for t, rows in tables.items())
    with (board / "tables.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"table": t} | row for t, rows in tables.items() for row in rows]
    assert markdown([{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]) == "| a | b |\n| --- | --- |\n| 1 | x |\n| 2 | y |\n"
    assert all(tuple(rows[0]) == COLUMNS for rows in tables.values())


def test_what_is_kept_is_small_complete_and_says_nothing_of_where_things_lay(runs: Path, tmp_path: Path) -> None:
    leaderboard(runs, tmp_path / "board")
    kept = unpacked(tmp_path / "board" / ARCHIVE, tmp_path / "kept")
    assert {path.name for path in kept.rglob("*") if path.is_file()} == {
        *("recipe.yaml", "report.json", "corpus.json", "speakers.json"),
        *("environment.json", "probes.json", "log.jsonl", "shift.json", "predictions.csv"),
    }
    for path in (*kept.rglob("*"), tmp_path / "board/tables.md", tmp_path / "board/tables.csv"):
        if path.is_file():
            assert str(tmp_path) not in path.read_text(), path
            assert "/tmp" not in path.read_text(), path
    for run in runs.glob("tiny-*"):
        compact, whole = content(kept / run.name), content(run)
        assert compact.pop("recipe") != whole.pop("recipe")  # the path of the corpus
        assert compact == whole
        assert json.loads((kept / run.name / "report.json").read_text())["metrics"] == whole["metrics"]
        for table in run.glob("fold-*/seed-*/predictions.csv"):
            assert (kept / table.relative_to(runs)).read_bytes() == table.read_bytes()


HUBERT = ("method={name: speaker_normalization}", "model={encoder: hubert}", "features={}")


@pytest.mark.parametrize(
    ("weights", "changes", "kept_as"),
    [
        ("{home}/hubert-base", (*HUBERT, "model.weights={weights}"), "hubert-base"),
        ("facebook/hubert-base", (*HUBERT, "model.weights={weights}"), "facebook/hubert-base"),
        (
            "{home}/runs/gat-0123456789/fold-1/seed-0/model",
            ("model={encoder: frozen}", "features={pooled: no}", "features.weights={weights}"),
            "gat-0123456789/fold-1/seed-0/model",
        ),
    ],
    ids=["local", "hub", "ours"],
)
def test_where_a_second_corpus_and_weights_lay_is_not_kept_either(
    weights: str, changes: tuple[str, ...], kept_as: str, tiny_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / tiny_run.name
    shutil.copytree(tiny_run, run)
    changes = tuple(change.replace("{weights}", weights.format(home=tmp_path)) for change in changes)
    if changes[0] == HUBERT[0]:
        changes += (f"speakers={{name: speechocean762, path: '{tmp_path}/speech'}}",)
    before = recipe.load(run / "recipe.yaml", changes)
    give_recipe(run, before.to_yaml())
    leaderboard(run.parent, tmp_path / "board")
    path = unpacked(tmp_path / "board" / ARCHIVE, tmp_path / "kept") / run.name / "recipe.yaml"
    assert str(tmp_path) not in path.read_text()
    kept = recipe.load(path)
    assert (kept.initial_weights or kept.frozen_weights) == kept_as
    assert kept.speakers is None or kept.speakers.path is None
    assert kept.identity("data") == before.identity("data")


def test_a_later_table_is_made_from_what_was_kept(runs: Path, tiny_run: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    first = leaderboard(runs, board)
    packed = (board / ARCHIVE).read_bytes()
    assert leaderboard(board / ARCHIVE, board) == first
    assert leaderboard(board / ARCHIVE, tmp_path / "second") == first  # elsewhere, from the archive alone
    assert (board / ARCHIVE).read_bytes() == (tmp_path / "second" / ARCHIVE).read_bytes() == packed
    shutil.rmtree(runs)
    assert leaderboard(tmp_path / "nothing here", board) == first
    kept = unpacked(board / ARCHIVE, tmp_path / "kept")
    shutil.rmtree(kept / tiny_run.name / "fold-2")  # a run of fewer folds is of another table
    shutil.rmtree(kept / "tiny-0123456789")
    pack(kept, board / ARCHIVE)
    later = leaderboard(board / ARCHIVE, board)
    assert described(later).keys() == {PLAIN.replace("folds 1 2", "folds 1"), ENROLLED}
    with (board / "tables.csv").open(newline="") as file:
        assert {row["table"] for row in csv.DictReader(file)} == later.keys()


def test_the_command_prints_the_tables(serene: Any, runs: Path, tmp_path: Path) -> None:
    tables = leaderboard(runs, tmp_path / "board").keys()
    ended = serene("leaderboard", runs, "-o", tmp_path / "board")
    assert ended.code == 0, ended.err
    assert PLAIN in ended.out
    assert ENROLLED in ended.out
    assert serene("leaderboard", runs, "-o", tmp_path / "board", "--json").json.keys() == tables


def test_other_labels_are_another_task(runs: Path, tiny_run: Path, tmp_path: Path) -> None:
    text = (runs / tiny_run.name / "recipe.yaml").read_text()
    give_recipe(runs / tiny_run.name, text.replace("target: emotion", "target: emotion_perceived"))
    tables = described(leaderboard(runs, tmp_path / "board"))
    assert tables.keys() == {PLAIN, f"{PLAIN}, label emotion_perceived", ENROLLED}


def test_where_speakers_are_named_they_are_what_is_counted(runs: Path, tiny_run: Path, tmp_path: Path) -> None:
    text = (runs / tiny_run.name / "recipe.yaml").read_text()
    give_recipe(runs / tiny_run.name, text.replace("target: emotion", "target: speaker"))
    tables = described(leaderboard(runs, tmp_path / "board"))
    speakers = PLAIN.replace("4 emotions", "4 speakers")  # the classes of that run, whatever they are
    assert tables.keys() == {PLAIN, f"{speakers}, label speaker", ENROLLED}


def test_the_title_of_a_committed_table_is_found_again(tmp_path: Path) -> None:
    """With the digest that ends it: what is quoted must not move."""
    results = Path(__file__).parents[2] / "results/tu2019-sweep"
    kept = unpacked(results / ARCHIVE, tmp_path / "kept")
    for run in sorted(kept.iterdir())[1:]:  # one is enough
        shutil.rmtree(run)
    ((title, _),) = leaderboard(kept, tmp_path / "board").items()
    assert (results / "tables.md").read_text().startswith(f"## {title}\n")


def test_folders_that_an_older_version_kept_are_taken_over(runs: Path, tmp_path: Path) -> None:
    first = leaderboard(runs, tmp_path / "first")
    old = unpacked(tmp_path / "first" / ARCHIVE, tmp_path / "old")
    for path in old.glob("*/fold-*/seed-*/predictions.csv"):
        path.with_name("predictions.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    (tmp_path / "board").mkdir()
    shutil.move(old, tmp_path / "board/runs")
    assert leaderboard(tmp_path / "nothing", tmp_path / "board") == first
    assert (tmp_path / "board" / ARCHIVE).read_bytes() == (tmp_path / "first" / ARCHIVE).read_bytes()
