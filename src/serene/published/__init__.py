"""The papers' own figures as data, each with its source; none of them ever stands in for a figure of ours.

A paper is a YAML file. What its head says holds for each of its tables that does not say otherwise; `shared` holds what
tables repeat, by YAML's anchors; a list in a list is spliced into it; figures are written as the paper has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from serene.settings import parse

PAPERS = ("tu2019", "gat2022", "brown", "kang2023", "tran2023", "cold_start")


class _Checked:
    """What is read from a file: a key that is no attribute is an error."""

    __pydantic_config__: ClassVar = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Figure(_Checked):
    """A figure and its deviation over runs, where one is given.

    Attributes:
        value: in the unit of its column, such as per cent.
        deviation: in the same unit.
        digits: behind the point, as the paper has it.
    """

    value: float
    deviation: float | None = None
    digits: int = 1

    def __str__(self) -> str:
        """Write it as the papers do: `53.9 ± 1.0`."""
        value = f"{self.value:.{self.digits}f}"
        return value if self.deviation is None else f"{value} ± {self.deviation:.{self.digits}f}"

    @classmethod
    def read(cls, text: str) -> Figure:
        """Read what `str` writes."""
        value, _, deviation = text.partition(" ± ")
        return cls(float(value), float(deviation) if deviation else None, len(value.partition(".")[2]))


Published = Annotated[Figure, pydantic.BeforeValidator(Figure.read)]
Place = Annotated[float | str, pydantic.Field(union_mode="left_to_right")]


@dataclass(frozen=True, kw_only=True)
class Column(_Checked):
    """What one column shows of every row.

    Attributes:
        name: as it is printed.
        measure: an entry of `serene.reproduce.measures.MEASURES`.
        overrides: of the rows' recipes, for this column: another protocol, for example.
        steps: place -> further overrides, where the column sums up a curve: one run per place and row.
        stand_in: further overrides where another corpus than the paper's is given.
        tiny: further overrides for made-up speech.
        optional: whether it is left out where nothing of it is published or measured: a dimension that a corpus lacks.
    """

    name: str
    measure: str
    overrides: tuple[str, ...] = ()
    steps: Mapping[float, tuple[str, ...]] = field(default_factory=dict)
    stand_in: tuple[str, ...] = ()
    tiny: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Derived(_Checked):
    """A column that is computed from others, for the published figures and for ours alike, never across the two.

    Attributes:
        name: as it is printed.
        kind: `gap` is the first named column minus the second; `error reduction` is how much of the first row's error
            is gone, in per cent.
        of: the columns it is computed from.
    """

    name: str
    kind: Literal["gap", "error reduction"]
    of: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Upstream(_Checked):
    """A recipe that is trained first: its model becomes the frozen encoder of a row's own recipe.

    Attributes:
        recipe: its address below the folder of all recipes; the first fold and seed are trained.
        overrides: of that recipe.
    """

    recipe: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row(_Checked):
    """One system of a table.

    Attributes:
        name: as the paper calls it.
        published: column -> figure; a column that is not named is blank.
        recipe: its address below the folder of all recipes, such as `tu2019/iemocap.yaml:dat`; None for a system of
            others, which is never ours.
        overrides: of that recipe.
        upstream: what is trained before it.
    """

    name: str
    published: Mapping[str, Published] = field(default_factory=dict)
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    upstream: Upstream | None = None


@dataclass(frozen=True, kw_only=True)
class Sentence(_Checked):
    """What is to be said of a table's runs under a condition.

    Attributes:
        text: the sentence.
        holds: `key.sub=value`, settings that at least one run must have for it to be true.
    """

    text: str
    holds: tuple[str, ...]

    def __str__(self) -> str:
        """Give the sentence."""
        return self.text


@dataclass(frozen=True, kw_only=True)
class Picture(_Checked):
    """What is drawn of ours beside the table.

    Attributes:
        kind: `curves` draws the named columns against their places; `per_batch` the training accuracy of every batch;
            `embeddings` lays out validation clips by emotion, and four training speakers' by speaker.
        places: column -> its place on the x axis, a number or a word, for `curves`.
        x_label, y_label: of the axes, for `curves`.
        log_x: whether equal factors are equal distances.
    """

    kind: Literal["curves", "per_batch", "embeddings"]
    places: Mapping[str, Place] = field(default_factory=dict)
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False


@dataclass(frozen=True, kw_only=True)
class Table(_Checked):
    """A table of a paper and what it takes to run it.

    Attributes:
        title: what it shows.
        source: the paper and the table.
        unit: of its figures, and what their deviation is over, as a sentence.
        corpus: the corpus that the figures are of, as `--data CORPUS=FOLDER` names it.
        columns: in the paper's order.
        rows: in the paper's order, the reference first.
        stand_in: the protocol for a corpus that cannot serve the paper's.
        cost: what all rows cost, as a phrase.
        differences: where our protocol differs from the paper's, or the paper does not say; some under a condition.
        derived: columns that are computed from others.
        picture: what is drawn.
        own_recipes: folder of the recipe files of corpora that stand in, each with rows of the same names.
        own: what the recipes of a stand-in's own differ in, where there are any.
        where: how the corpus is had, where its reader does not say.
        n_speakers: how many the paper's protocol partitions; a corpus of another number is partitioned by `stand_in`.
        n_clips: of the emotional corpus, that the paper trains, validates and tests on.
        speaker_corpus: the second corpus, from which speakers are learnt.
        speaker_stand_in: the protocol for a speaker corpus that cannot serve the paper's.
        weights: the pretrained weights that its recipes begin with.
        tiny: overrides of every recipe for made-up speech.
    """

    title: str
    source: str
    unit: str
    corpus: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    stand_in: str
    cost: str
    differences: tuple[str | Sentence, ...]
    derived: tuple[Derived, ...] = ()
    picture: Picture | None = None
    own_recipes: str | None = None
    own: str = ""
    where: str | None = None
    n_speakers: int | None = None
    n_clips: int | None = None
    speaker_corpus: str | None = None
    speaker_stand_in: str = "{name: random_speaker_dependent}"
    weights: tuple[str, ...] = ()
    tiny: tuple[str, ...] = ()

    @property
    def corpora(self) -> tuple[str, ...]:
        """The corpora that it needs, the emotional one first."""
        return (self.corpus,) if self.speaker_corpus is None else (self.corpus, self.speaker_corpus)

    @property
    def recipes(self) -> tuple[str, ...]:
        """The addresses of the recipes that its rows take, below the folder of all recipes."""
        used = [r.recipe for r in self.rows if r.recipe] + [r.upstream.recipe for r in self.rows if r.upstream]
        return tuple(dict.fromkeys(used))


def read(path: Path) -> dict[str, Table]:
    """Read a paper's tables.

    Raises:
        pydantic.ValidationError: a key that no table, row or column has, one that is missing, or an ill-typed value.
    """
    content = _spliced(parse(path.read_text(encoding="utf-8"), str(path)))
    head = {key: value for key, value in content.items() if key not in ("shared", "tables")}
    check = pydantic.TypeAdapter(Table).validate_python
    return {name: check(head | table) for name, table in content["tables"].items()}


def _spliced(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _spliced(value) for key, value in content.items()}
    return list(_flat(content)) if isinstance(content, list) else content


def _flat(items: list[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield _spliced(item)


TABLES = {name: table for paper in PAPERS for name, table in read(Path(__file__).with_name(f"{paper}.yaml")).items()}
