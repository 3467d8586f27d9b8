"""What a model card is of, and how it writes names and tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serene.reporting.card_metadata import published
from serene.reporting.figures import UNITS, Figure, Unit
from serene.task import Task, task_of_report


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
        speakers: how many it was trained on, and how many others it was selected by; None where unknown.
        elsewhere: what reports of the run's models on other corpora hold.
        cold_start: unlabelled clips that a speaker is enrolled with -> figure.
        licence: of the weights; None where nobody has chosen one.
    """

    content: Mapping[str, Any]
    fold: str
    seed: int
    facts: Mapping[str, Any]
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]
    speakers: tuple[int, int] | None = None
    elsewhere: Sequence[Mapping[str, Any]] = ()
    cold_start: Mapping[str, Figure] = field(default_factory=dict)
    licence: str | None = None

    @property
    def task(self) -> Task:
        """What the model predicts."""
        return task_of_report(self.content)

    @property
    def unit(self) -> Unit:
        """How its headline figures are written."""
        return UNITS[self.task.metric]

    @property
    def fold_words(self) -> str:
        """Name the fold; one that is called by a test speaker of somebody's own corpus is counted instead."""
        folds = self.content["folds"]
        people = {one["speaker"] for one in self.content["per_speaker"]}
        if self.fold in people and not published(str(self.content.get("corpus"))):
            return f"number {folds.index(self.fold) + 1}"
        return plain(self.fold)


def corpus_of(content: Mapping[str, Any]) -> str:
    """Name the corpus that a report is of."""
    return code(content.get("corpus") or "an unnamed corpus")


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
