"""Recipe files: addresses of rows, what a row overrides, what is refused and with which words, how rows are listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import serene
from serene.errors import SereneError
from serene.experiment.recipe import load, load_table
from serene.experiment.recipe_file import RECIPES, find, merge

Serene = Callable[..., Any]  # the fixture of conftest.py: words -> exit code, output, errors
HEAD = """\
# A table of two rows.
corpus: {name: synthetic, path: nowhere}
protocol: {name: speaker_folds, folds: 3}
model: {encoder: tdnn_bilstm, dropout: 0.0, hidden: [64]}
method: {name: baseline}
training: {epochs: 3, optimizer: adam}
"""
ROWS = """\
rows:
  plain: {}  # cross entropy
  adversarial:
    method: {name: domain_adversarial, reversal: 0.5}
    training: {epochs: 5}
    seeds: [1, 2]
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.yaml"
    path.write_text(HEAD + ROWS)
    return path


def refused(path: Path, rows: str, row: str | None = None) -> str:
    path.write_text(HEAD + rows)
    with pytest.raises(SereneError) as caught:
        load(f"{path}:{row}") if row else load_table(path)
    return str(caught.value)


# --- what a row is


def test_a_row_overrides_what_stands_above_key_by_key(table: Path) -> None:
    plain, adversarial = load_table(table).values()
    assert (plain.name, adversarial.name) == ("table-plain", "table-adversarial")
    assert (plain.method.name, plain.training["epochs"], plain.seeds) == ("baseline", 3, (0,))
    assert (adversarial.method.name, adversarial.method["reversal"]) == ("domain_adversarial", 0.5)
    assert (adversarial.training["epochs"], adversarial.training["optimizer"]) == (5, "adam")
    assert adversarial.seeds == (1, 2)
    assert adversarial.model == plain.model
    assert serene.load_recipe(f"{table}:adversarial") == adversarial
    assert serene.load_table(table) == {"plain": plain, "adversarial": adversarial}


def test_overrides_come_after_the_row_and_are_for_every_row(table: Path) -> None:
    for recipe in load_table(table, ["training.epochs=7", "corpus.path=there"]).values():
        assert (recipe.training["epochs"], recipe.corpus.path) == (7, "there")


def test_another_name_in_a_row_drops_the_settings_of_the_former_one() -> None:
    tree: dict[str, Any] = {"model": {"encoder": "hubert", "config": {"a": "1"}}, "method": {"name": "x", "step": "1"}}
    merge(tree, {"model": {"config": {"b": "2"}}, "method": {"name": "x", "more": "2"}})
    assert tree["model"] == {"encoder": "hubert", "config": {"a": "1", "b": "2"}}
    assert tree["method"] == {"name": "x", "step": "1", "more": "2"}, "the same name: nothing drops"
    merge(tree, {"model": {"encoder": "frozen"}, "method": {"name": "y"}, "training": {"epochs": "3"}})
    assert tree == {"model": {"encoder": "frozen"}, "method": {"name": "y"}, "training": {"epochs": "3"}}
    merge(tree, {"training": None})
    assert tree["training"] is None, "a section is taken out by null"


def test_a_table_is_the_recipes_that_it_stands_for(table: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.yaml"
    single.write_text(HEAD.replace("epochs: 3", "epochs: 5").replace("baseline}", "domain_adversarial, reversal: 0.5}"))
    assert load(single).identity("x") == load(f"{table}:adversarial").identity("x")


# --- addresses


def test_a_colon_may_belong_to_the_files_name(tmp_path: Path) -> None:
    for name in ("odd.yaml:name", "a:b.yaml"):
        (tmp_path / name).write_text(HEAD)
        assert load(tmp_path / name).method.name == "baseline"
    (tmp_path / "a:b.yaml").write_text(HEAD + ROWS)
    assert load(f"{tmp_path}/a:b.yaml:plain").name == "a:b-plain"


@pytest.mark.parametrize(
    ("address", "path"), [("C:\\lab\\x.yaml", "C:\\lab\\x.yaml"), ("C:\\lab\\x.yaml:dat", "C:\\lab\\x.yaml")]
)
def test_a_drive_is_no_file_and_what_follows_no_row(address: str, path: str) -> None:
    with pytest.raises(SereneError) as caught:
        load(address)
    assert str(caught.value).startswith(f"Cannot read the recipe {path}: ")


def test_the_projects_recipes_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("recipes/tu2019/emodb.yaml:dat").name == "tu2019-emodb-dat"
    assert list(load_table("recipes/tu2019/emodb.yaml")) == list(find(RECIPES / "tu2019" / "emodb.yaml")[0].rows)


# --- what is refused


def test_a_row_that_is_not_there_is_named_with_the_nearest(table: Path) -> None:
    message = f"Unknown row of {table} 'adversrial'. Did you mean 'adversarial'? Choices: adversarial, plain."
    with pytest.raises(SereneError) as caught:
        load(f"{table}:adversrial")
    assert str(caught.value) == message


def test_a_table_is_no_recipe_and_a_recipe_no_table(table: Path, tmp_path: Path) -> None:
    with pytest.raises(SereneError) as caught:
        load(table)
    assert str(caught.value) == f"{table} is a table: name one of its rows, such as {table}:plain."
    single = tmp_path / "single.yaml"
    single.write_text(HEAD)
    with pytest.raises(SereneError) as caught:
        load(f"{single}:plain")
    assert str(caught.value) == f"{single} has no rows; it is a single recipe. Leave ':plain' out."
    for address in (single, f"{table}:plain"):
        with pytest.raises(SereneError, match="is a single recipe and no table of rows"):
            load_table(address)


def test_an_empty_row_is_no_row(table: Path) -> None:
    with pytest.raises(SereneError) as caught:
        load(f"{table}:")
    assert str(caught.value) == (f"'{table}:' names no row behind the colon; `serene train {table} --rows` lists them.")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("rows: [plain, adversarial]", "'rows' in {path} is ['plain', 'adversarial']; a mapping of names to the "),
        ("rows: {}", "'rows' in {path} is {{}}; a mapping of names to the sections that each row overrides was "),
        ("rows: plain", "'rows' in {path} is 'plain'; a mapping of names"),
        ("rows: {plain: baseline}", "Row 'plain' of {path} is 'baseline'; a mapping of sections was expected."),
        ("rows: {a/b: {}}", "'a/b' is no name of a row in {path}; letters, digits, '_', '-' and '.' make one."),
        (
            "rows: {plain: {corpus: {path: x}}}",
            "Row 'plain' of {path} sets 'corpus', and the rows of a table share corpus, labels and protocol, or they "
            "could not be compared. Set it above the rows, or give the row a recipe file of its own.",
        ),
        ("rows: {plain: {labels: {target: votes}}}", "Row 'plain' of {path} sets 'labels', and the rows"),
        ("rows: {plain: {protocol: {folds: 4}}}", "Row 'plain' of {path} sets 'protocol', and the rows"),
        ("rows: {plain: {rows: {again: {}}}}", "Row 'plain' of {path} sets 'rows', and the rows"),
        (
            "rows: {plain: {trainng: {epochs: 4}}}",
            "Row 'plain' of {path}: Unknown key in the recipe 'trainng'. Did you mean 'training'?",
        ),
        (
            "rows: {plain: {}, other: {training: {epoch: 4}}}",
            "Row 'other' of {path}: Unknown setting in training 'epoch'. Did you mean 'epochs'?",
        ),
        ("row: {plain: {}}", "Unknown key in the recipe 'row'. Did you mean 'rows'?"),
    ],
)
def test_rows_that_make_no_table_are_named(rows: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(HEAD + rows)
    with pytest.raises(SereneError) as caught:
        load_table(path) if rows.startswith("rows") else load(path)
    assert str(caught.value).startswith(message.format(path=path))


def test_a_file_that_became_a_row_is_pointed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SereneError) as caught:
        load("recipes/tu2019/emodb/dat.yaml")
    assert str(caught.value).endswith(f"Did you mean {RECIPES}/tu2019/emodb.yaml:dat?")


# --- rows on the command line


def test_rows_are_listed_with_their_comment_or_what_they_override(serene: Serene, table: Path) -> None:
    ended = serene("train", table, "--rows")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        f"{table}:plain  cross entropy",
        f"{table}:adversarial  {{method: {{name: domain_adversarial, reversal: '0.5'}}, training: {{epochs: '5'}}, "
        "seeds: ['1', '2']}",
    ]
    listed = serene("train", table, "--rows", "--json").json
    assert listed["recipe"] == "table"
    assert listed["rows"][0] == {"row": "plain", "recipe": "table-plain", "remark": "cross entropy", "overrides": {}}
    assert listed["rows"][1]["overrides"]["seeds"] == ["1", "2"]


def test_a_single_recipe_lists_no_rows(serene: Serene, tiny_recipe: Path) -> None:
    assert serene("train", tiny_recipe, "--rows").out == f"{tiny_recipe} has no rows; it is a single recipe.\n"
    assert serene("train", tiny_recipe, "--rows", "--json").json == {"recipe": "tiny", "rows": []}


def test_mistakes_end_with_exit_code_2(serene: Serene, table: Path) -> None:
    for address, words in ((f"{table}:plian", "Did you mean 'plain'?"), (f"{table}:", "names no row")):
        ended = serene("train", address)
        assert (ended.code, words in ended.err) == (2, True), ended.err
