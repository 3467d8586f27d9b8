"""What a run of a table says of itself: settings, weights, its size, rows that coincide, and what holds no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serene.evaluation.predictions import Predictions
from serene.experiment.recipe import load
from serene.experiment.recipe_file import RECIPES
from serene.experiment.run import Run
from serene.models import weights
from serene.published import TABLES, Sentence
from serene.reproduce import bench, departures, reproduce
from serene.reproduce.measures import Trained
from serene.reproduce.row_recipes import Corpora, RowRecipes
from serene.task import Task

KANG = RECIPES / "kang2023/iemocap.yaml:proposed"


def answers(shift: float) -> Predictions:
    """Ten clips; one answer is moved."""
    scores = np.stack([np.linspace(0.1, 0.9, 10), np.linspace(0.9, 0.1, 10)], axis=1)
    scores[4] += (shift, -shift)
    truth = np.arange(10) % 2
    facts: dict[str, Any] = {"task": Task(("anger", "sadness")), "part": "test", "fold": "1", "seed": 0}
    return Predictions.from_scores(
        ids=[str(n) for n in range(10)], speakers=["a"] * 10, truth=truth, scores=scores, **facts
    )


def test_settings_that_are_not_the_recipes_are_named() -> None:
    theirs = load(KANG)
    ours = load(KANG, ["training.precision=fp32", "seeds=[7]", "corpus.path=somewhere", "model.config={layers: 1}"])
    assert departures.changed([(theirs, theirs)]) == []
    (said,) = departures.changed([(theirs, theirs), (theirs, ours)])
    assert said == (
        "Settings that are not the recipes': seeds [7] instead of [0]; model.config {'layers': 1} instead of nothing; "
        "training.precision fp32 instead of bf16."
    )
    another = load(KANG, ["seeds=[8]"])
    assert departures.changed([(theirs, ours), (theirs, another)])[0].count("(of other rows, others)") == 1


def test_a_sentence_stands_only_where_a_run_is_as_it_says() -> None:
    given = ("Always.", Sentence(text="bf16.", holds=("training.precision=bf16", "seeds=[0]")))
    as_it_is, other = load(KANG), load(KANG, ["training.precision=fp32"])
    assert departures.sentences(given, [other, as_it_is]) == ["Always.", "bf16."]
    assert departures.sentences(given, [other]) == ["Always."]
    assert departures.sentences(given, [load(KANG, ["seeds=[1]"])]) == ["Always."]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_condition_is_met_by_the_tables_own_recipes(table: Any) -> None:
    """Or else its sentence would never stand."""
    recipes = [
        made
        for row in table.rows
        if row.recipe
        for column in table.columns
        for steps in column.steps.values() or ((),)
        if (made := load(RECIPES / str(row.recipe), (*row.overrides, *column.overrides, *steps)))
    ]
    recipes += [load(RECIPES / row.upstream.recipe, row.upstream.overrides) for row in table.rows if row.upstream]
    assert departures.sentences(table.differences, recipes) == [str(one) for one in table.differences]


def test_few_training_clips_are_said_to_be_chosen_by_many_validation_clips(tmp_path: Path) -> None:
    made = load(KANG, ["protocol={name: low_resource, run: ['1-1', '2-1']}"])
    run = Run(tmp_path / "kang-0000000000", made)
    for fold, many in (("1-1", 4), ("2-1", 7)):
        whole = answers(0.0)
        parts = [
            replace(whole, part=np.array([part] * 10), fold=np.array([fold] * 10)) for part in ("validation", "test")
        ]
        parts[0] = parts[0].rows(np.arange(many))
        Predictions.concatenate(parts).write(run.trial(fold, 0).folder / "predictions.csv")
    (said,) = departures.validation_clips([Trained(run, made)])
    assert "4 to 7 labelled validation clips choose the epoch" in said
    assert departures.validation_clips([Trained(run, load(KANG))]) == []


def test_rows_that_coincide_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {name: Trained(Run(tmp_path, load(KANG)), load(KANG)) for name in "abc"}
    shifts = {id(made["a"]): 0.0, id(made["b"]): 0.002, id(made["c"]): 0.2}  # answers deviate by 0.26
    for one in made.values():
        one.__dict__["predictions"] = answers(shifts[id(one)])
    cells = {(name, column): [one] for name, one in made.items() for column in ("WA", "UA")}
    (said,) = departures.coincidences(cells)
    assert said.startswith("a and b coincide in WA, UA: ")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Instead of training, answers that differ from run to run, and a corpus of 48 clips."""
    count = iter(range(100))

    def train(made: Any, runs: Path, **_: Any) -> Run:
        number = next(count)
        run = Run(tmp_path / f"{made.name}-{number:010d}", made)
        run.folder.mkdir()
        emotions = {"anger": 12, "happiness": 8, "excitement": 4, "neutral": 12, "sadness": 12, "fear": 30}
        summary = {"utterances": 78, "speakers": 6, "emotions": emotions}
        (run.folder / "corpus.json").write_text(json.dumps(summary))
        answers(0.05 * number).write(run.trial("5", made.seeds[0]).folder / "predictions.csv")
        return run

    monkeypatch.setattr(bench, "train", train)
    monkeypatch.setattr(weights, "find", Path)


def kang(tmp_path: Path, *overrides: str, **more: Any) -> str:
    found = reproduce("kang2023-table2", {"iemocap": "/i"}, tmp_path, overrides=("seeds=[0]", *overrides), **more)
    return " ".join(found.differences)


def test_a_run_of_a_table_names_its_departures(planted: None, tmp_path: Path) -> None:
    said = kang(tmp_path, rows=["F0"])
    assert "Settings that are not the recipes': seeds [0] instead of [0, 1, 2]." in said
    assert "Our corpus has 48 clips of 6 speakers; the paper's has 5,531 clips." in said
    assert "our choice: bf16" in said and "three runs" not in said
    said = kang(tmp_path, "training.precision=fp32", rows=["F0"])
    assert "training.precision fp32 instead of bf16" in said and "our choice: bf16" not in said


def test_a_stand_in_is_counted_whole(planted: None, tmp_path: Path) -> None:
    """Its recipes take all of its emotions."""
    found = reproduce("kang2023-table2", {"ravdess": "/r"}, tmp_path, overrides=("seeds=[0]",), rows=["F0"])
    assert "Our corpus has 78 clips of 6 speakers; the paper's has 5,531 clips." in found.differences


def test_weights_in_place_of_others_are_named_with_their_size(planted: None, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "config.json").write_text(json.dumps({"hidden_size": 32, "num_hidden_layers": 2}))
    given = {"facebook/hubert-large-ll60k": str(tmp_path / "small"), "facebook/unused": "/nowhere"}
    said = kang(tmp_path, rows=["F0"], weights=given)
    there = tmp_path / "small"
    assert f"In place of the weights facebook/hubert-large-ll60k stand those in {there} (2 layers, width 32)" in said
    assert "unused" not in said


@pytest.mark.parametrize("name", TABLES)
def test_no_two_rows_are_rehearsed_by_one_recipe(name: str, tmp_path: Path) -> None:
    """What the rehearsal changes is not what tells the rows apart."""
    table = TABLES[name]
    corpora = Corpora(("synthetic", "/s"), ("synthetic", "/t") if table.speaker_corpus else None)
    recipes = RowRecipes(table=table, corpora=corpora, rehearsal=tmp_path)
    for column in table.columns:
        rows = [row for row in table.rows if row.recipe]
        made = {row.name: (recipes.of(row, column), recipes.upstream(row)) for row in rows}
        resolved = {row: tuple(one and one.resolved() for one in pair) for row, pair in made.items()}
        for (row, first), (other, second) in combinations(resolved.items(), 2):
            assert first != second, f"{row} and {other} in {column.name}"


@pytest.mark.slow
def test_a_rehearsal_of_tran_2023_moves_the_speakers_vectors(
    serene: Callable[..., Any], tmp_path: Path, quick_trials: None
) -> None:
    """They are all that tells PAPT from TAPT."""
    words = ("--tiny", "-o", tmp_path, "--jobs", "1", "--set", "seeds=[0]", "--set", "protocol.run=[1]", "--json")
    ended = serene("reproduce", "tran2023", "--row", "TAPT", "--row", "PAPT", *words)
    assert ended.code == 0, ended.err
    assert not [text for text in ended.json["differences"] if "coincide" in text]
    _, tapt, papt, _ = ([text for key, text in row.items() if key.startswith("our ")] for row in ended.json["rows"])
    assert tapt != papt
