"""A row of a published table becomes recipes for the corpora at hand: the paper's own, or others that stand in for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from serene import recipe, registry
from serene.corpora import CORPORA
from serene.errors import SereneError, unknown
from serene.published import Column, Row, Table
from serene.recipe import RECIPES, FeatureSettings, Recipe

SPEAKER_CORPORA = ("voxceleb1", "speechocean762")  # their clips have no emotion
UPSTREAM = "upstream."  # begins an override of what is trained before a row


@dataclass(frozen=True)
class Corpora:
    """What `--data` gave, each by name and place.

    Attributes:
        emotion: the emotional corpus.
        speakers: the corpus that speakers are learnt from, for tables that need one.
    """

    emotion: tuple[str, str]
    speakers: tuple[str, str] | None = None

    @classmethod
    def given(cls, table: Table, name: str, data: Mapping[str, str]) -> Corpora:
        """Tell which corpus is which: a speaker corpus by its name, others by their order.

        Raises:
            SereneError: an unknown corpus, or not as many as the table needs: which, where they are had, what it costs.
        """
        for corpus in data:
            if corpus not in CORPORA:
                raise SereneError(unknown("corpus", corpus, CORPORA))
        if len(data) != len(table.corpora):
            raise SereneError(_needs(table, name))
        if table.speaker_corpus is None:
            return cls(*data.items())
        known = (table.speaker_corpus, *SPEAKER_CORPORA)
        speakers = next((corpus for corpus in known if corpus in data), list(data)[-1])
        ((corpus, place),) = ((c, p) for c, p in data.items() if c != speakers)
        if corpus in SPEAKER_CORPORA:
            raise SereneError(f"{corpus} has no emotions: one of the two corpora of {name} must have them.")
        return cls((corpus, place), (speakers, data[speakers]))


def _needs(table: Table, name: str) -> str:
    asked = " ".join(f"--data {corpus}=FOLDER" for corpus in table.corpora)
    homes = " ".join((table.where if corpus == table.corpus else None) or _home_of(corpus) for corpus in table.corpora)
    begun = (
        f"It begins with the weights {' and '.join(table.weights)}: fetched from huggingface.co where they are not on "
        "this machine, or --weights NAME=FOLDER. "
        if table.weights
        else ""
    )
    return (
        f"{name} needs data: {asked}. {homes} {begun}It costs {table.cost}. Another corpus stands in with its own name; "
        "--tiny shows the table on made-up speech."
    )


def _home_of(corpus: str) -> str:
    """Say in a sentence where a corpus is officially had, as its reader has it."""
    module = CORPORA[corpus].partition(":")[0]
    return registry.load(f"{module}:HOME", CORPORA, "corpus")


@dataclass
class RowRecipes:
    """The recipes of a table's cells.

    Attributes:
        table: the published one.
        corpora: what is at hand.
        overrides: `key.sub=value` for every row's recipe, or `upstream.key.sub=value` for what is trained before it.
        weights: name -> local folder that takes its place.
        changes: further overrides that depend on the recipe, by `serene.rehearsal`.
        tiny: whether the columns' overrides for made-up speech apply.
    """

    table: Table
    corpora: Corpora
    overrides: Sequence[str] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    protocol: str | None = None
    tiny: bool = False

    @property
    def stands_in(self) -> bool:
        """Whether the emotional corpus is another than the paper's."""
        return self.corpora.emotion[0] != self.table.corpus

    def of(self, row: Row, column: Column, extra: Sequence[str] = ()) -> Recipe | None:
        """Make the recipe of a cell; None where a corpus's own recipe lacks a setting that the row is about.

        Args:
            row: of a system of ours.
            column: of the table.
            extra: overrides of a step, or of what was trained before.
        """
        own = self.has_own(row)
        settings = (*row.overrides, *column.overrides, *(column.stand_in if self.stands_in else ()))
        settings += (*(column.tiny if self.tiny else ()), *extra)
        mine = [override for override in self.overrides if not override.startswith(UPSTREAM)]
        return self._load(str(row.recipe), own, row.overrides, (*settings, *mine))
