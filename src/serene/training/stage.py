"""A stage of pre-training that has met its corpora: what it trains on, holds out, and is identified by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from serene import registry
from serene.audio import clusters
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.methods import PRETRAINING
from serene.methods.masked_prediction import MaskedPrediction
from serene.models import weights
from serene.models.hubert import Hubert
from serene.protocols.split import shuffled
from serene.settings import CorpusSettings, unlike_defaults
from serene.training.stages import Pretraining, StageSettings, TargetSettings
from serene.training.trainer import Trainer

ENCODER = "encoder"  # folder of what a stage makes, in its own
DECISIVE = ("id", "corpus", "speaker", "audio_hash", "start", "text_id")  # of a clip that is taken without its labels


@dataclass(frozen=True)
class Stage:
    """A stage that has met its corpora.

    Attributes:
        settings: as the recipe gives them.
        encoder: `weights` or `config` of what the first stage begins with.
        normalize: what waveforms are standardised by.
        clips: all that may be trained on.
        before: the stage whose encoder this one goes on with.
        runs: folder of runs; the stage's own lies in its `stages`.
    """

    settings: StageSettings
    encoder: dict[str, Any]
    normalize: Any
    clips: tuple[Utterance, ...]
    before: Stage | None
    runs: Path

    @cached_property
    def identity(self) -> str:
        """Hash of all that decides what the stage makes, the stages before it included."""
        settings = unlike_defaults(asdict(self.settings), StageSettings)
        settings["corpora"] = [
            unlike_defaults(asdict(c) | {"path": None}, CorpusSettings) for c in self.settings.corpora
        ]
        settings["targets"] = unlike_defaults(self._targets, TargetSettings)
        settings["method"] = unlike_defaults(settings["method"], MaskedPrediction)
        settings["training"] = unlike_defaults(settings["training"], Trainer)
        begun = self.before.identity if self.before else self._beginning
        trained = Manifest(self.clips).digest_of(DECISIVE)
        text = json.dumps([begun, self.normalize, trained, settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def _targets(self) -> dict[str, Any]:
        """Give the targets with files and encoders by their content, wherever they lie."""
        targets = asdict(self.settings.targets)
        if targets["quantizer"]:
            targets["quantizer"] = clusters.digest(clusters.read(targets["quantizer"]))
        if targets["source"] not in ("mfcc", "encoder", "previous"):
            targets["source"] = weights.digest(targets["source"])
        return targets

    @property
    def _beginning(self) -> Any:
        begun = self.encoder["weights"]
        return weights.digest(begun) if begun else self.encoder["config"]

    @property
    def folder(self) -> Path:
        """Where the stage keeps its log, its quantiser and, once it is done, the encoder."""
        return self.runs / "stages" / self.identity

    @property
    def product(self) -> Path:
        """The encoder: a folder that transformers loads, with the speakers' vectors beside it."""
        return self.folder / ENCODER

    @cached_property
    def held_out(self) -> dict[str, str]:
        """Ids of clips that are only measured, and why: their speaker or their sentence is never trained on."""
        speakers = _drawn({u.person for u in self.clips}, self.settings.held_out_speakers, "speakers")
        texts = _drawn({_text(u) for u in self.clips if u.text_id}, self.settings.held_out_texts, "texts")
        by_text = {u.id: "texts" for u in self.clips if u.text_id and _text(u) in texts}
        return by_text | {u.id: "speakers" for u in self.clips if u.person in speakers}

    @property
    def trained(self) -> tuple[Utterance, ...]:
        """The clips that are trained on."""
        return tuple(u for u in self.clips if u.id not in self.held_out)

    @property
    def known(self) -> list[str]:
        """The persons with a vector of their own."""
        return sorted({u.person for u in self.trained}) if self.settings.speaker_embedding != "none" else []


def plan_stages(recipe: Pretraining, runs: Path, load: Callable[[Any, str], Manifest]) -> list[Stage]:
    """Let the stages of a recipe meet their corpora; nothing is computed.

    Args:
        recipe: the encoder and its stages.
        runs: folder of runs.
        load: reads a corpus, given its settings and the recipe's section for messages.

    Raises:
        SereneError: whatever is wrong with a stage, its corpora, or the encoder that it begins with.
    """
    planned: list[Stage] = []
    Hubert.check(**recipe.encoder)
    for number, settings in enumerate(recipe.stages):
        method_of(settings)
        Trainer(**settings.training)
        corpora = [load(corpus, f"stages.{number}.corpora.{place}") for place, corpus in enumerate(settings.corpora)]
        clips = [u for corpus in corpora for u in corpus]
        if len({u.id for u in clips}) < len(clips):
            clips = [replace(u, id=f"{u.corpus}/{u.id}") for u in clips]
        if len({u.id for u in clips}) < len(clips):
            raise SereneError(f"stages.{number}.corpora give the same clips twice; name every corpus once.")
        before = planned[-1] if planned else None
        stage = Stage(settings, recipe.encoder, recipe.normalize, tuple(clips), before, runs)
        if not stage.trained:
            raise SereneError(f"stages.{number} holds out every clip; hold out less, or give it more speakers.")
        planned.append(stage)
    return planned


def method_of(settings: StageSettings, centres: int | None = None) -> MaskedPrediction:
    """Make the stage's method, for so many clusters where these are there already."""
    given = {key: value for key, value in settings.method.items() if key != "name"}
    if centres is not None:
        given["clusters"] = centres
    return registry.load(settings.method["name"], PRETRAINING, "method")(**given)


def _drawn(names: set[str], share: float, salt: str) -> set[str]:
    count = max(1, round(share * len(names))) if share else 0
    return set(shuffled(names, 0, f"held out {salt}")[:count])


def _text(utterance: Utterance) -> str:
    return f"{utterance.corpus}/{utterance.text_id}"
