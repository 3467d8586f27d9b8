"""The published tables: what they name is there, and figures are the papers' own."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from serene import published
from serene.corpora import CORPORA
from serene.experiment import recipe
from serene.experiment.recipe_file import RECIPES
from serene.published import PAPERS, TABLES, Figure, Table, read
from serene.reproduce.measures import MEASURES


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_names_only_what_is_there(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert len({row.name for row in table.rows}) == len(table.rows)
    assert {column.measure for column in table.columns} <= MEASURES.keys()
    assert set(table.corpora) <= CORPORA.keys()
    for row in table.rows:
        assert set(row.published) <= set(names)
        assert row.recipe or row.published, f"{row.name} is neither published nor ours"
        assert row.upstream is None or row.recipe
    for column in table.derived:
        assert set(column.of) <= set(names)
    if table.picture:
        assert set(table.picture.places) <= set(names)
    assert table.unit.endswith(".")
    for one in table.differences:
        assert (one if isinstance(one, str) else one.text).endswith(".")
        assert isinstance(one, str) or (one.holds and all("=" in setting for setting in one.holds))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_cell_of_ours_has_a_recipe(table: Table) -> None:
    """Without stand-ins: rows and columns change only settings that the paper's recipes have."""
    assert table.recipes
    for address in table.recipes:
        assert recipe.load(RECIPES / address).corpus.name in table.corpora
    for row in table.rows:
        for column in table.columns if row.recipe else ():
            for overrides in column.steps.values() or ((),):
                recipe.load(RECIPES / str(row.recipe), (*row.overrides, *column.overrides, *overrides))
        if row.upstream:
            recipe.load(RECIPES / row.upstream.recipe, row.upstream.overrides)


def figures(table: str, column: str) -> list[str]:
    return [str(row.published.get(column, "")) for row in TABLES[table].rows]


def test_the_figures_of_gat_2022() -> None:
    others = ["", "", "", "66.5", "67.2", "69.0", "71.7"]
    assert figures("gat2022-table1", "5-fold WA") == [
        *others,
        *("68.9", "", "69.0", "69.9", "71.9", "", "73.9", "74.2"),
    ]
    others = ["71.8", "72.7", "74.8", "", "", "", ""]
    assert figures("gat2022-table1", "speaker-dependent WA") == [
        *others,
        *("71.2", "", "72.8", "72.4", "78.3", "", "79.9", "81.0"),
    ]
    area = ["61.0", "", "61.6", "62.7", "63.9", "", "64.2", "64.9"]
    assert figures("gat2022-table1", "AUC") == [""] * 7 + area
    assert figures("gat2022-figure2", "AUC") == area
    assert figures("gat2022-probe", "accuracy") == ["60.7", "", "45.9", "", ""]


def test_the_figures_of_the_brown_report() -> None:
    assert figures("brown-table1", "validation, last ten epochs") == ["56.6", "63.7", "16.5", "", ""]
    assert figures("brown-table1", "best validation") == ["58.22", "68.9", "18.9", "", ""]
    assert figures("brown-table1", "test") == ["58.0", "63.1", "", "", ""]
    assert figures("brown-table1", "test loss") == ["1.04", "0.97", "", "", ""]
    columns = ("validation, last ten epochs", "best validation", "test", "test loss")
    assert [figures("brown-table2", c) for c in columns] == [
        ["58.7", "63.2"],
        ["61.0", "67.1"],
        ["61.8", "64.9"],
        ["0.998", "0.947"],
    ]
    for column in columns:  # of the trials only the one that was chosen has figures
        base, personalised, *_ = figures("brown-table1", column)
        assert figures("brown-trials", column) == ["", "", "", base, "", "", "", personalised]


def test_what_nobody_published_is_blank() -> None:
    for table, column in (
        ("gat2022-figure2", "10"),
        ("brown-table1", "spread"),
        ("brown-table2", "test on unseen speakers"),
    ):
        assert set(figures(table, column)) == {""}


def test_a_figure_is_written_as_its_paper_does() -> None:
    assert [str(f) for f in (Figure(53.9, 1.0), Figure(58.22, digits=2), Figure(0.998, 0.0104, 3))] == [
        "53.9 ± 1.0",
        "58.22",
        "0.998 ± 0.010",
    ]
    assert [Figure.read(text) for text in ("53.9 ± 1.0", "58.22", "0.998 ± 0.010")] == [
        Figure(53.9, 1.0),
        Figure(58.22, digits=2),
        Figure(0.998, 0.01, 3),
    ]


def test_every_papers_file_is_read() -> None:
    files = Path(published.__file__).parent.glob("*.yaml")
    assert sorted(PAPERS) == sorted(path.stem for path in files)


PAPER = """
shared: {texts: &texts [Two., Three.]}
unit: In per cent.
corpus: emodb
stand_in: "{name: speaker_folds}"
cost: an hour
columns: [{name: WA, measure: wa}]
tables:
  mine:
    title: Mine
    source: A paper, table 1
    rows: [{name: Ours, recipe: made_up.yaml, published: {WA: 60.0 ± 0.50}}]
    differences: [One., *texts]
"""


def test_a_file_is_checked_against_the_dataclasses(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(PAPER)
    (table,) = read(path).values()
    assert table.differences == ("One.", "Two.", "Three.")
    assert (table.unit, table.rows[0].published) == ("In per cent.", {"WA": Figure(60.0, 0.5)})
    for wrong, key in (("corpus: emodb", "corpsu: emodb"), ("measure: wa", "mesure: wa"), ("recipe:", "recipes:")):
        path.write_text(PAPER.replace(wrong, key))
        with pytest.raises(pydantic.ValidationError, match=key.partition(":")[0]):
            read(path)
