"""The papers' own figures as data, each with its source; none of them ever stands in for a figure of ours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A published percentage and its deviation over runs, where one is given."""

    value: float
    deviation: float | None = None

    def __str__(self) -> str:
        """Write it as the papers do: `53.9 ± 1.0`."""
        return f"{self.value:.1f}" if self.deviation is None else f"{self.value:.1f} ± {self.deviation:.1f}"


@dataclass(frozen=True)
class Row:
    """One system of a table.

    Attributes:
        name: as the paper calls it.
        recipe: the row's file below the table's recipe folder.
        validation, test: accuracy (WA) in per cent.
    """

    name: str
    recipe: str
    validation: Figure
    test: Figure


@dataclass(frozen=True)
class Table:
    """A table of a paper and what it takes to run it.

    Attributes:
        title: what it shows.
        source: the paper and the table.
        corpus: the corpus that the figures are of, as `--data CORPUS=FOLDER` names it.
        where: how the corpus is had, where its reader does not say.
        speakers: how many the paper's protocol deals out; a table of another number is dealt by `stand_in`.
        recipes: folder of the rows' recipes.
        rows: in the paper's order, the reference first.
        stand_in: the protocol for a corpus that cannot serve the paper's.
        cost: what all rows cost, estimated from measured throughput.
        differences: where our protocol differs from the paper's, or the paper does not say.
    """

    title: str
    source: str
    corpus: str
    recipes: str
    rows: tuple[Row, ...]
    stand_in: str
    cost: str
    differences: tuple[str, ...]
    where: str | None = None
    speakers: int | None = None


_TU_UNSAID = (
    "Not published, our choice: batch size 32, gradient norm limited to 5, features standardised by the training set, "
    "DAT's coefficient (ramped to 1), CGT's step (a tenth of the features' norm) and mixing (0.5).",
    "The paper's ± does not say which deviation it is; ours is the sample deviation over runs.",
)

TABLES = {
    "tu2019-table2": Table(
        title="Speaker-invariant training on IEMOCAP, improvised turns, four emotions",
        source="Tu et al. 2019, arXiv 1903.09606, table 2",
        corpus="iemocap",
        recipes="tu2019",
        rows=(
            Row("SER-only", "ser_only", Figure(57.0, 1.0), Figure(53.9, 1.0)),
            Row("MTL", "mtl", Figure(56.6, 1.1), Figure(54.9, 0.6)),
            Row("DAT", "dat", Figure(56.6, 1.2), Figure(56.5, 1.4)),
            Row("CGT", "cgt", Figure(55.6, 0.8), Figure(57.3, 1.2)),
        ),
        stand_in="{name: speaker_folds, folds: 5}",
        cost="100 trainings of 100 epochs, some 100 core-hours on a CPU",
        differences=(
            "Which of the held-out session's two talkers validates is not published; the recipes take F "
            "(protocol.validation=both runs either way).",
            *_TU_UNSAID,
        ),
    ),
    "tu2019-table3": Table(
        title="Speaker-invariant training of the larger network on 250 speakers of Mandarin, four emotions",
        source="Tu et al. 2019, arXiv 1903.09606, table 3",
        corpus="table",
        recipes="tu2019/mandarin",
        rows=(
            Row("SER-only", "ser_only", Figure(83.7, 0.7), Figure(81.7, 1.2)),
            Row("MTL", "mtl", Figure(82.5, 0.7), Figure(80.9, 0.3)),
            Row("DAT", "dat", Figure(84.9, 1.2), Figure(83.5, 0.6)),
            Row("CGT", "cgt", Figure(82.0, 0.6), Figure(81.1, 0.3)),
        ),
        stand_in="{name: speaker_holdout, train: 0.8, validation: 0.1, test: 0.1}",
        cost="12 trainings of 100 epochs on 43,202 clips, some 250 core-hours on a CPU",
        differences=(
            "The published figures are of SpeechOcean's commercial Mandarin corpus; other recordings do not compare "
            "with it.",
            "Which of its speakers train, validate and test is not published.",
            *_TU_UNSAID,
        ),
        where="The paper's corpus is commercial (SpeechOcean); any table of path, speaker and emotion can be given.",
        speakers=250,
    ),
}
