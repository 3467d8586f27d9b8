"""A row of a published table becomes recipes for the corpora at hand: the paper's, others, or made-up speech."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import safetensors.torch
import torch

from serene import registry
from serene.corpora import CORPORA, synthetic
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import prepare
from serene.errors import SereneError, unknown
from serene.experiment.recipe import load
from serene.experiment.recipe_file import RECIPES, find
from serene.experiment.sections import Recipe
from serene.files import whole_folder
from serene.models import ENCODERS
from serene.models import weights as weights_of_encoders
from serene.published import Column, Row, Table

SPEAKER_CORPORA = ("voxceleb1", "speechocean762")  # their clips have no emotion
UPSTREAM = "upstream."  # begins an override of what is trained before a row
TINY = ("training.epochs=1", "training.precision=fp32", "seeds=[0, 1]")
TINY_STAGE = (  # enough steps, and long enough ones, for encoder and speakers' vectors to move
    *("training.epochs=1", "training.precision=fp32", "training.batch_seconds=2", "training.learning_rate=1e-2"),
    *("training.warmup=0", "method.head_steps=0"),
)
CONFIG = {
    "model_type": "hubert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16, 16, 16, 16, 16, 16, 16],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


@dataclass(frozen=True)
class Corpora:
    """What is at hand, each corpus by name and place.

    Attributes:
        emotion: the emotional corpus.
        speakers: the corpus that speakers are learnt from, for tables that need one.
    """

    emotion: tuple[str, str]
    speakers: tuple[str, str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, the emotional one first."""
        return tuple(corpus[0] for corpus in (self.emotion, self.speakers) if corpus)

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
        ((corpus, place),) = ((corpus, place) for corpus, place in data.items() if corpus != speakers)
        if corpus in SPEAKER_CORPORA:
            raise SereneError(f"{corpus} has no emotions; one of the two corpora of {name} must have them.")
        return cls((corpus, place), (speakers, data[speakers]))

    @classmethod
    def made_up(cls, table: Table, runs: Path) -> Corpora:
        """Make the speech, or take what was made before: `<runs>/synthetic`, and `<runs>/synthetic-speakers`."""
        emotion = ("synthetic", str(_speech(runs / "synthetic", 0)))
        return cls(emotion, ("synthetic", str(_other_speakers(runs))) if table.speaker_corpus else None)


@dataclass(frozen=True, kw_only=True)
class RowRecipes:
    """The recipes of a table's cells.

    Attributes:
        table: the published one.
        corpora: what is at hand.
        overrides: `key.sub=value` for every row's recipe, or `upstream.key.sub=value` for what is trained before it.
        weights: name of pretrained weights -> the folder that takes their place.
        protocol: in place of every recipe's own, where the corpus cannot serve that.
        rehearsal: for made-up speech, the folder of what stands in for pretrained weights; None for real speech.
    """

    table: Table
    corpora: Corpora
    overrides: Sequence[str] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    protocol: str | None = None
    rehearsal: Path | None = None

    @property
    def stands_in(self) -> bool:
        """Whether the emotional corpus is another than the paper's."""
        return self.corpora.emotion[0] != self.table.corpus

    def of(self, row: Row, column: Column, extra: Sequence[str] = ()) -> Recipe | None:
        """Make the recipe of a cell; None where the corpus's own recipe lacks a setting that the row is about.

        Args:
            row: a system of ours.
            column: of the table.
            extra: overrides of a step of a curve, or of what was trained before.
        """
        path = self._path(row, str(row.recipe))
        if self.has_own(row) and not _knows(load(path), row.overrides):
            return None
        settings = (*row.overrides, *column.overrides, *(column.stand_in if self.stands_in else ()))
        tiny = column.tiny if self.rehearsal else ()
        mine = [override for override in self.overrides if not override.startswith(UPSTREAM)]
        return self._load(path, settings, (*tiny, *extra, *mine))

    def upstream(self, row: Row) -> Recipe | None:
        """Make the recipe of what is trained before a row; None where nothing is."""
        if row.upstream is None:
            return None
        mine = [override.removeprefix(UPSTREAM) for override in self.overrides if override.startswith(UPSTREAM)]
        return self._load(self._path(row, row.upstream.recipe), row.upstream.overrides, mine)

    def in_file(self, row: Row, column: Column, extra: Sequence[str] = ()) -> Recipe:
        """Make the recipe of a cell as its file and the table have it, on whatever corpus."""
        return load(self._path(row, str(row.recipe)), (*row.overrides, *column.overrides, *extra))

    def upstream_in_file(self, row: Row) -> Recipe:
        """Make the recipe of what is trained before a row as its file and the table have it."""
        assert row.upstream is not None
        return load(self._path(row, row.upstream.recipe), row.upstream.overrides)

    def has_own(self, row: Row) -> bool:
        """Whether the corpus that stands in has a recipe of its own for a row."""
        return self._own(str(row.recipe)) is not None

    def differences(self) -> list[str]:
        """Say where the corpora and recipes at hand differ from the paper's."""
        table, name = self.table, self.corpora.emotion[0]
        theirs, ours = " and ".join(table.corpora), " and ".join(dict.fromkeys(self.corpora.names))
        notes = []
        if self.corpora.names != table.corpora:
            notes.append(f"The published figures are of {theirs}, ours of {ours}: they cannot be compared.")
        if self.stands_in:
            own = [row for row in table.rows if row.recipe and self.has_own(row)]
            if own:
                notes.append(f"{name} has recipes of its own: {table.own}.")
                notes += self._other_encoder(own[0])
            else:
                dimensions = any(load(RECIPES / one).labels.target == "dimensions" for one in table.recipes)
                labels = "its corpus's dimensions" if dimensions else "all emotions of its corpus"
                notes.append(f"Ours uses {labels} and the protocol {table.stand_in}.")
        told_apart = any(load(RECIPES / address).corpus.name == table.speaker_corpus for address in table.recipes)
        if told_apart and self.corpora.names[1:] != table.corpora[1:]:
            notes.append(f"Speakers are told apart by the protocol {table.speaker_stand_in}.")
        return notes

    def _other_encoder(self, row: Row) -> list[str]:
        address = str(row.recipe)
        ours, theirs = (load(path).model.encoder.name for path in (self._path(row, address), RECIPES / address))
        if ours == theirs:
            return []
        return [f"Our encoder is {ours}, the paper's {theirs}: rows that are about its weights are not measured."]

    def _own(self, address: str) -> Path | None:
        """Find the row of the same name in the recipe file of the corpus that stands in."""
        if not self.stands_in or self.table.own_recipes is None:
            return None
        file, row = RECIPES / self.table.own_recipes / f"{self.corpora.emotion[0]}.yaml", address.partition(":")[2]
        return Path(f"{file}:{row}") if file.is_file() and row in find(file)[0].rows else None

    def _path(self, row: Row, address: str) -> Path:
        """Take the corpus's own recipes for a row and what is trained before it, or the paper's for both."""
        own = self._own(address) if self.has_own(row) else None
        return own or RECIPES / address

    def _load(self, path: Path, settings: Sequence[str], last: Sequence[str]) -> Recipe:
        base = load(path)
        made = load(path, (*self._places(base), *settings, *self._rehearsed(base), *last))
        return made.with_weights(lambda name: self.weights.get(name, name))

    def _rehearsed(self, base: Recipe) -> list[str]:
        """For made-up speech: few epochs, two seeds, small batches, and a small random encoder for a pretrained one."""
        if self.rehearsal is None:
            return []
        changes = [*TINY, *self.table.tiny]
        for number, _ in enumerate(base.stages):
            changes += [f"stages.{number}.targets={{source: mfcc}}", f"stages.{number}.method.clusters=12"]
            changes += [f"stages.{number}.{change}" for change in TINY_STAGE]
        if base.calibration:
            changes.append("calibration.neighbours=2")
        if base.method.name == "speaker_normalization" and base.method["step"]:
            changes.append("method.step=0.3")  # in a few iterations the paper's would move nothing
        if "config" in base.model.encoder.settings:
            changes += ["model.weights=null", f"model.config={json.dumps(CONFIG)}"]
        if base.frozen_weights:
            changes.append(f"features.weights={json.dumps(str(_encoder(self.rehearsal / 'tiny-encoder')))}")
        return changes

    def _places(self, base: Recipe) -> list[str]:
        """Say where a recipe's corpora lie, and change what another corpus cannot serve."""
        emotional = base.corpus.name in (self.table.corpus, self.corpora.emotion[0])
        name, path = self.corpora.emotion if emotional else _there(self.corpora.speakers)
        changes = [f"protocol={self.protocol}"] if self.protocol and emotional else []
        if name != base.corpus.name:
            protocol = self.table.stand_in if emotional else self.table.speaker_stand_in
            changes += [f"corpus.name={name}", f"protocol={protocol}"]
            changes += ["labels={}"] if emotional and base.labels.target != "dimensions" else []
            changes += [f"protocol.run={json.dumps(list(base.run))}"] if base.run and emotional else []
        changes.append(f"corpus.path={json.dumps(path)}")
        here = json.dumps({"name": name, "path": path})
        for number, stage in enumerate(base.stages):
            places = [place for place, corpus in enumerate(stage.corpora) if corpus.name == base.corpus.name != name]
            changes += [f"stages.{number}.corpora.{place}={here}" for place in places]
        if base.speakers is not None:
            name, path = _there(self.corpora.speakers)
            if name != base.speakers.name:
                kept = {"name": name, "crop": base.speakers.crop, "batch_size": base.speakers.batch_size}
                changes.append(f"speakers={json.dumps(kept)}")
            changes.append(f"speakers.path={json.dumps(path)}")
        return changes


def _knows(made: Recipe, overrides: Sequence[str]) -> bool:
    known = made.resolved()
    keys = [override.partition("=")[0].partition(".") for override in overrides]
    return all(setting in known[section] for section, _, setting in keys if section in ("model", "features"))


def _there(corpus: tuple[str, str] | None) -> tuple[str, str]:
    if corpus is None:
        raise SereneError("A recipe of this table learns from a speaker corpus, and the table names none.")
    return corpus


def _needs(table: Table, name: str) -> str:
    """Say what a table needs, where it is had, and what it costs."""
    asked = " ".join(f"--data {corpus}=FOLDER" for corpus in table.corpora)
    homes = " ".join((table.where if corpus == table.corpus else None) or _home_of(corpus) for corpus in table.corpora)
    weights = (
        f"It begins with the weights {' and '.join(table.weights)}, fetched from huggingface.co where they are not on "
        "this machine; or --weights NAME=FOLDER. "
        if table.weights
        else ""
    )
    return (
        f"{name} needs data: {asked}. {homes} {weights}It costs {table.cost}. Another corpus stands in with its own "
        "name; --tiny shows the table on made-up speech."
    )


def _home_of(corpus: str) -> str:
    """Say in a sentence where a corpus is officially had, as its reader has it."""
    module = CORPORA[corpus].partition(":")[0]
    return registry.load(corpus, {corpus: f"{module}:HOME"}, "corpus")


def _speech(folder: Path, seed: int) -> Path:
    if not folder.exists():
        synthetic.make(folder, speakers=6, clips_per_speaker=28, shortcut=0.0, seconds=0.3, seed=seed)
    return folder


def _other_speakers(runs: Path) -> Path:
    """Write the manifest of a second corpus, whose speakers bear other names: they are no one of the first."""
    manifest = runs / "synthetic-speakers.jsonl"
    if not manifest.exists():
        others = prepare("synthetic", _speech(runs / "synthetic-speakers", 1))
        renamed = tuple(replace(clip, speaker=f"other {clip.speaker}") for clip in others)
        Manifest(renamed).write(manifest)
    return manifest


def _encoder(folder: Path) -> Path:
    """Save a small encoder with random weights, where there is none yet, as transformers would."""
    if not folder.exists():
        torch.manual_seed(0)
        encoder = registry.load("hubert", ENCODERS, "encoder")(1, config=CONFIG).transformer
        with whole_folder(folder) as temporary:
            encoder.config.to_json_file(temporary / weights_of_encoders.CONFIG)
            safetensors.torch.save_file(
                encoder.state_dict(), temporary / weights_of_encoders.TENSORS[0], {"format": "pt"}
            )
    return folder
