"""What a model card is of, and how it says things in Markdown: figures with their intervals, names, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serene.reporting.card_metadata import published

NAMES = {"ua": "UA (mean recall over classes)", "wa": "WA (share of right answers)", "macro_f1": "macro-F1"}
Figure = Mapping[str, float | None]
"""`value`, and `low` and `high` where there is an interval; each None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a card is of.

    Attributes:
        content: what `report.json` holds, of all folds and seeds of the run.
        fold: that this very model was trained in.
        seed: of its training.
        facts: of its training, as `environment.json` holds them.
        config: of the model, as `config.json` holds it.
        preprocessor: as `preprocessor_config.json` holds it.
        met: how many speakers it was trained on, and how many others it was selected by; None where unknown.
        elsewhere: what reports of the run's models on other corpora hold.
        cold_start: clips of the speaker that were heard before -> figure.
        licence: of the weights; None where nobody has chosen one.
    """

    content: Mapping[str, Any]
    fold: str
    seed: int
    facts: Mapping[str, Any]
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]
    met: tuple[int, int] | None = None
    elsewhere: Sequence[Mapping[str, Any]] = ()
    cold_start: Mapping[str, Figure] = field(default_factory=dict)
    licence: str | None = None

    @property
    def dimensional(self) -> bool:
        """Whether the model gives values of dimensions."""
        return "dimensions" in self.content

    @property
    def names_speakers(self) -> bool:
        """Whether the task is to name the speaker."""
        return self.content.get("target") == "speaker"

    @property
    def classes(self) -> list[str]:
        """The classes or dimensions."""
        return self.content["dimensions" if self.dimensional else "classes"]

    @property
    def fold_words(self) -> str:
        """Name the fold; one that is called by a test speaker of somebody's own corpus is counted instead."""
        folds = self.content["folds"]
        people = {one["speaker"] for one in self.content["per_speaker"]}
        if self.fold in people and not published(str(self.content.get("corpus"))):
            return f"number {folds.index(self.fold) + 1}"
        return plain(self.fold)

    def said(self, figure: Figure) -> str:
        """Write a figure as its kind is written."""
        return (number if self.dimensional else percent)(figure)


def percent(figure: Figure) -> str:
    """Write a share and its interval: `61.3 % [58.2 to 64.1]`."""
    low, high = figure.get("low"), figure.get("high")
    ends = "" if low is None or high is None else f" [{100 * low:.1f} to {100 * high:.1f}]"
    return share(figure["value"]) + ends


def number(figure: Figure) -> str:
    """Write a figure that is no share, such as a CCC, and its interval."""
    low, high = figure.get("low"), figure.get("high")
    ends = "" if low is None or high is None else f" [{low:.3f} to {high:.3f}]"
    return decimal(figure["value"]) + ends


def share(value: float | None) -> str:
    """Write a share in percent; `none` where there is none."""
    return "none" if value is None else f"{100 * value:.1f} %"


def decimal(value: float | None) -> str:
    """Write a figure that is no share; `none` where there is none."""
    return "none" if value is None else f"{value:.3f}"


def metric(key: str) -> str:
    """Name a metric of a report."""
    if key in NAMES:
        return NAMES[key]
    dimension, of_speakers = key.removeprefix("ccc_").removesuffix("_of_speakers"), key.endswith("_of_speakers")
    return f"CCC of {plain(dimension)}" + (", mean of speakers' own" if of_speakers else "")


def corpus_of(content: Mapping[str, Any]) -> str:
    """Name the corpus that a report is of."""
    return code(content.get("corpus") or "an unnamed corpus")


def count(how_many: int, what: str) -> str:
    """Write how many there are of something."""
    return f"{how_many:,} {what}{'' if how_many == 1 else 's'}"


def plain(value: object) -> str:
    """Write what somebody may have called anything, so that Markdown takes it for text."""
    text = " ".join(str(value).split()).replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\|`*[" else letter for letter in text)


def code(value: object) -> str:
    """Write a name of files and commands."""
    return "`" + " ".join(str(value).split()).replace("`", "'").replace("|", "/") + "`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table, its figures to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
