"""Kang et al. 2023: the figures are the paper's own, the rows are the settings it names, and every table runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serene.audio import augment
from serene.experiment import recipe
from serene.experiment.recipe_file import RECIPES
from serene.experiment.sections import Recipe
from serene.published import TABLES, Column
from serene.reproduce import row_recipes
from serene.reproduce.row_recipes import Corpora, RowRecipes

NAMES = ("kang2023-table1", "kang2023-figure2", "kang2023-table2", "kang2023-table3")
PROPOSED = recipe.load(RECIPES / "kang2023/iemocap.yaml:proposed")


def rows_of(table: str, column: Column | None = None, corpus: str = "iemocap") -> dict[str, Recipe]:
    recipes = RowRecipes(table=TABLES[table], corpora=Corpora((corpus, "/i")))
    column = column or TABLES[table].columns[0]
    found = {row.name: recipes.of(row, column) for row in TABLES[table].rows if row.recipe}
    return {name: made for name, made in found.items() if made is not None}


def figures(table: str) -> list[tuple[str, str]]:
    return [(str(row.published["WA"]), str(row.published["UA"])) for row in TABLES[table].rows]


def test_the_papers_figures() -> None:
    assert figures("kang2023-table1") == [
        ("69.46", "70.66"),
        ("69.94", "70.49"),
        ("69.46", "70.41"),
        ("70.59", "70.61"),
        ("70.99", "72.83"),
        ("61.97", "67.35"),
    ]
    assert figures("kang2023-table2") == [
        ("70.91", "71.80"),
        ("70.99", "72.83"),
        ("70.83", "74.06"),
        ("73.97", "75.03"),
        ("74.54", "76.20"),
        ("74.21", "75.99"),
        ("74.86", "76.31"),
    ]
    assert figures("kang2023-table3") == [
        ("69.00", "70.00"),
        ("70.10", "60.70"),
        ("56.99", "53.07"),
        ("64.33", "64.79"),
        ("72.73", "59.71"),
        ("66.60", "70.50"),
        ("67.28", "67.94"),
        ("68.60", "69.70"),
        ("70.39", "71.72"),
        ("61.16", "62.50"),
        ("69.44", "70.90"),
        ("56.87", "59.47"),
        ("69.80", "71.05"),
        ("70.54", "56.94"),
        ("75.37", "76.04"),
    ]
    assert TABLES["kang2023-table3"].rows[0].name == "Human"
    assert [row.published for row in TABLES["kang2023-figure2"].rows] == [{}]


def test_the_proposed_system() -> None:
    encoder, parts, training = PROPOSED.model.encoder, PROPOSED.model.parts, PROPOSED.training
    assert (encoder["layers"], encoder["attention_output_dropout"], parts.pooling) == (22, 0.4, "first_frame")
    assert (parts.hidden, parts.head, encoder["train"]) == ((64,), "linear", "transformer")
    method = [PROPOSED.method[key] for key in ("mixup", "share", "beta", "centre_weight", "centre_rate")]
    assert method == ["label_adaptive", 0.5, None, 0.002, 1e-3]
    assert PROPOSED.method["centre_optimizer"] == "training"  # so that its schedule, betas and epsilon are the centres'
    assert (PROPOSED.front_end["longest"] * 16000, training["batch_size"]) == (100_000, 16)
    assert (training["optimizer"], training["betas"], training["epsilon"]) == ("adam", (0.9, 0.98), 1e-9)
    assert (training["schedule"], training["decay"], training["decay_epochs"]) == ("decay", 1 / 1.25, 20)
    assert (training["select_on"], training["patience"]) == ("validation WA", 10)
    (own,) = rows_of("kang2023-table3").values()
    assert replace(own, corpus=PROPOSED.corpus) == PROPOSED


def test_the_released_code_differs_where_it_says() -> None:
    code = recipe.load(RECIPES / "kang2023/iemocap.yaml:released_code")
    differing = {
        (section, key): value
        for section in ("features", "model", "method", "training")
        for key, value in code.resolved()[section].items()
        if value != PROPOSED.resolved()[section][key]
    }
    assert differing == {
        ("features", "normalize"): "none",
        ("features", "fill"): "mean",
        ("features", "scale"): "peak",
        ("model", "train"): "all",
        ("method", "same_class"): "overwritten",
        ("training", "epochs"): 30,
        ("training", "select_on"): "last",
        ("training", "patience"): None,
        ("training", "precision"): "fp32",
    }


def test_all_nine_changes_are_the_proposed_system_but_for_the_changes() -> None:
    nine = recipe.load(RECIPES / "kang2023/iemocap.yaml:nine_changes")
    assert {*nine.features.augment} == {"gain", "polarity_inversion", *augment.AUDIOMENTATIONS}
    assert len(nine.features.augment) == 9
    same = replace(nine.features, augment=PROPOSED.features.augment)
    assert replace(nine, name=PROPOSED.name, features=same) == PROPOSED


def test_table_1_and_figure_2_train_five_epochs_without_validation() -> None:
    dropouts = rows_of("kang2023-table1")
    encoders = [made.model.encoder for made in dropouts.values()]
    assert [encoder["attention_output_dropout"] for encoder in encoders] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    columns = TABLES["kang2023-figure2"].columns
    layers = [made for column in columns for made in rows_of("kang2023-figure2", column).values()]
    assert [str(made.model.encoder["layers"]) for made in layers] == [column.name for column in columns]
    assert layers[-1].model.encoder["layers"] == 24
    for made in (*dropouts.values(), *layers):
        assert made.protocol.plain("name") == {"name": "leave_one_session_out", "validation": "none", "seed": 0}
        assert made.run == ("5",)
        training = {key: made.training[key] for key in ("epochs", "patience", "select_on")}
        assert training == {"epochs": 5, "patience": None, "select_on": "last"}
        assert (made.method["mixup"], made.method["centre_weight"]) == ("none", 0)
        assert made.features.augment == {}
        assert made.training["schedule"] == "decay"
    assert dropouts["0.4"] in layers  # and is not trained twice


def test_the_steps_of_table_2() -> None:
    made = rows_of("kang2023-table2")
    keys = ("mixup", "beta", "centre_weight")
    assert [(one.model.parts.pooling, *(one.method[key] for key in keys)) for one in made.values()] == [
        ("mean", "none", None, 0),
        ("first_frame", "none", None, 0),
        ("first_frame", "conventional", 1.0, 0),
        ("first_frame", "label_adaptive", None, 0),
        ("first_frame", "label_adaptive", None, 0.0005),
        ("first_frame", "label_adaptive", None, 0.001),
        ("first_frame", "label_adaptive", None, 0.002),
    ]
    for one in made.values():
        mixed = one.method["mixup"] != "none"  # the paper takes up augmentation together with mixup
        assert one.features.augment == (PROPOSED.features.augment if mixed else {})
        assert (one.run, one.protocol["validation"]) == (("5",), "random10")
        assert one.training == PROPOSED.training


def test_another_corpus_stands_in_on_folds_of_speakers() -> None:
    for table, validation in (("kang2023-table1", "none"), ("kang2023-table2", "random10")):
        for made in rows_of(table, corpus="ravdess").values():
            assert (made.protocol.name, made.protocol["validation"]) == ("speaker_folds", validation)
            assert (made.run, made.labels.use) == (("5",), None)


@pytest.mark.parametrize("table", NAMES)
def test_that_settings_were_chosen_on_a_test_fold_is_said(table: str) -> None:
    assert any("session 5, which is one of the five" in str(text) for text in TABLES[table].differences)
    assert TABLES[table].recipes == ("kang2023/iemocap.yaml:proposed",)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kang")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("kang2023-table1", ["0.4", "0.5"]),
        ("kang2023-figure2", ["F0, dropout 0.4"]),
        ("kang2023-table2", ["Avg", "F0, conventional mixup", "with centre loss, 0.002"]),
        ("kang2023-table3", ["Proposed"]),
    ],
)
def test_tiny_runs_the_table(
    table: str, rows: list[str], serene: Callable[..., Any], runs: Path, quick_trials: None
) -> None:
    asked = [word for row in rows for word in ("--row", row)]
    ended = serene("reproduce", table, "--tiny", "-o", runs, "--jobs", "1", *asked, "--json")
    assert ended.code == 0, ended.err
    shown = {row["system"]: row for row in ended.json["rows"]}
    for row in rows:
        for column in TABLES[table].columns:
            assert 0 <= float(shown[row][f"our {column.name}"].partition(" ")[0]) <= 100
    used = {run for columns in ended.json["runs"].values() for named in columns.values() for run in named}
    assert len(used) == (2 if table == "kang2023-figure2" else len(rows))  # the small encoder has two layers
    assert bool(ended.json["picture"]) == (table == "kang2023-figure2")


def test_made_up_speech_has_an_encoder_of_as_many_layers_as_are_asked_for(tmp_path: Path) -> None:
    table = TABLES["kang2023-figure2"]
    recipes = RowRecipes(table=table, corpora=Corpora(("synthetic", "/s")), rehearsal=tmp_path)
    for column in table.columns:
        made = recipes.of(table.rows[0], column)
        assert made is not None
        assert made.model.encoder["config"] == row_recipes.CONFIG
        assert made.model.encoder["layers"] <= row_recipes.CONFIG["num_hidden_layers"]
