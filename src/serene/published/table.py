"""What a published table is: rows, columns, the figures in them, and what it takes to measure each of them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Figure:
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


@dataclass(frozen=True, kw_only=True)
class Column:
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
class Derived:
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
class Upstream:
    """A recipe that is trained first: its model becomes the frozen encoder of a row's own recipe.

    Attributes:
        recipe: its address below the folder of all recipes; the first fold and seed are trained.
        overrides: of that recipe.
    """

    recipe: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
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
    published: Mapping[str, Figure] = field(default_factory=dict)
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    upstream: Upstream | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What is drawn of ours beside the table.

    Attributes:
        kind: `curves` draws the named columns against their places; `per_batch` the training accuracy of every batch.
        places: column -> its place on the x axis, a number or a word, for `curves`.
        x_label, y_label: of the axes, for `curves`.
        log_x: whether equal factors are equal distances.
    """

    kind: Literal["curves", "per_batch"]
    places: Mapping[str, float | str] = field(default_factory=dict)
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
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
        differences: where our protocol differs from the paper's, or the paper does not say.
        derived: columns that are computed from others.
        picture: what is drawn.
        own_recipes: folder of the recipe files of corpora that stand in, each with rows of the same names.
        own: what the recipes of a stand-in's own differ in, where there are any.
        where: how the corpus is had, where its reader does not say.
        n_speakers: how many the paper's protocol partitions; a corpus of another number is partitioned by `stand_in`.
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
    differences: tuple[str, ...]
    derived: tuple[Derived, ...] = ()
    picture: Picture | None = None
    own_recipes: str | None = None
    own: str = ""
    where: str | None = None
    n_speakers: int | None = None
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
