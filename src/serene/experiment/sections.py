"""The sections of a recipe, each built once, and Recipe: all of them, with the hash that identifies a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import yaml

from serene.evaluation.label_calibration import LabelCalibration
from serene.models.parts import INSIDE, Parts
from serene.settings import Choice, CorpusSettings, unlike_defaults
from serene.speaker import Need
from serene.training.stages import StageSettings

AS_TRAINING = "training"  # of a protocol's seed: each training's own, so that every seed has a split of its own


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """Which label, which of its classes (all by default) or dimensions, and which are joined to another first."""

    target: Literal["emotion", "emotion_perceived", "votes", "dimensions", "speaker"] = "emotion"
    use: list[str] | None = None
    join: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SpeakerSettings:
    """The speaker corpus of methods that learn from one: which clips, seconds of each, and clips per batch."""

    name: str
    path: str | None = None
    only: dict[str, str] = field(default_factory=dict)
    crop: float = 8.0
    batch_size: int = 32


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """What features are standardised by (what suits the encoder by default), and how many of a speaker's own clips.

    `enrolment_prior` blends so many frames' worth of the training set's statistics into a speaker's own. `augment` maps
    changes of training waveforms to their probabilities, and `augment_probability` is that a clip is changed at all:
    anew in every epoch, or once for each of `augment_copies`, which are stored and drawn from beside the clip itself.
    Of each training clip `crop` seconds are read, from a random place that is drawn anew in every epoch. `store` keeps
    on disk what the frozen part of an encoder makes of clips.
    """

    normalize: Literal["training_set", "utterance", "speaker", "none"]
    enrolment_clips: int | None = None
    enrolment_prior: float = 0.0
    augment: dict[str, float] = field(default_factory=dict)
    augment_probability: float = 1.0
    augment_copies: int = 0
    crop: float | None = None
    store: bool = True


@dataclass(frozen=True)
class ModelSettings:
    """The encoder, and what stands around it."""

    encoder: Choice
    parts: Parts

    def plain(self) -> dict[str, Any]:
        """Return the section as a recipe file has it."""
        return {**self.encoder.plain("encoder"), **asdict(self.parts)}


@dataclass(frozen=True)
class Recipe:
    """All settings of an experiment, defaults filled in; one training per fold and seed.

    Attributes:
        name: of the recipe file, below its `recipes` folder, and of the row: `tu2019-emodb-dat`.
        run: the folds to run; all by default.
        speakers: the speaker corpus, where the method learns from one.
        stages: what the encoder is pre-trained by first.
        front_end: makes the features, such as MFCC.
        calibration: of the answers by similar training speakers, where they are calibrated.
    """

    name: str
    corpus: CorpusSettings
    labels: LabelSettings
    protocol: Choice
    run: tuple[str, ...] | None
    seeds: tuple[int, ...]
    speakers: SpeakerSettings | None
    stages: tuple[StageSettings, ...]
    features: FeatureSettings
    front_end: Choice
    model: ModelSettings
    method: Choice
    training: Choice
    calibration: LabelCalibration | None = None

    @property
    def frozen_weights(self) -> str | None:
        """The weights of a frozen encoder, whose stored outputs are the features."""
        return self.front_end.settings.get("weights")

    @property
    def initial_weights(self) -> str | None:
        """The weights that an encoder which is trained begins with."""
        return self.model.encoder.settings.get("weights")

    @property
    def begins_random(self) -> bool:
        """Whether a pretrained encoder's architecture begins with random weights."""
        return self.model.encoder.settings.get("config") is not None and self.initial_weights is None

    @property
    def reaches_below(self) -> str | None:
        """What changes the input of an encoder's frozen part, so that its outputs cannot be stored; None if nothing."""
        changed = {
            "augmentation": bool(self.features.augment) and not self.features.augment_copies,
            "features.crop": self.features.crop is not None,
            f"features.normalize: {self.features.normalize}": self.features.normalize not in ("utterance", "none"),
            f"the method {self.method.name}": self.method.make().changes_sound,
            f"model.speaker_embedding: {self.model.parts.speaker_embedding}": (
                self.model.parts.speaker_embedding in INSIDE and self.model.encoder.settings["train"] != "transformer"
            ),
            "features.store: false": not self.features.store,
        }
        return next((what for what, so in changed.items() if so), None)

    def with_weights(self, place: Callable[[str], str]) -> Recipe:
        """Say otherwise where the weights lie that the recipe names."""
        front_end, encoder = (
            choice.but(weights=place(choice["weights"])) if choice.settings.get("weights") else choice
            for choice in (self.front_end, self.model.encoder)
        )
        targets = (replace(stage.targets, source=place(stage.targets.source)) for stage in self.stages)
        stages = tuple(replace(stage, targets=own) for stage, own in zip(self.stages, targets, strict=True))
        return replace(self, front_end=front_end, model=replace(self.model, encoder=encoder), stages=stages)

    def protocol_of(self, seed: int) -> Choice:
        """Give the protocol of a training's seed, which is the split's too where the protocol says so."""
        follows = self.protocol.settings.get("seed") == AS_TRAINING
        return self.protocol.but(seed=seed) if follows else self.protocol

    @property
    def needs(self) -> frozenset[Need]:
        """What the model asks of who speaks."""
        return self.model.parts.needs(self.features.normalize)

    def resolved(self) -> dict[str, Any]:
        """Return every setting as plain data, as a recipe file would hold it."""
        run = {} if self.run is None else {"run": list(self.run)}
        plain = {
            "corpus": asdict(self.corpus),
            "labels": asdict(self.labels),
            "protocol": self.protocol.plain("name") | run,
            "seeds": list(self.seeds),
            "speakers": self.speakers and asdict(self.speakers),
            "stages": [asdict(stage) for stage in self.stages],
            "features": asdict(self.features) | self.front_end.settings,
            "model": self.model.plain(),
            "method": self.method.plain("name"),
            "training": dict(self.training.settings),
            "calibration": self.calibration and asdict(self.calibration),
        }
        return {section: given for section, given in plain.items() if given}

    def identity(self, data: str) -> str:
        """Hash all that decides what one fold and seed gives: not where data lie, nor which folds and seeds run.

        Args:
            data: digest of all that is read: manifests, and the weights that an encoder begins with or the stages that
                make them.
        """
        owners = {
            "corpus": CorpusSettings,
            "labels": LabelSettings,
            "protocol": self.protocol.maker,
            "speakers": SpeakerSettings,
            "features": (FeatureSettings, self.front_end.maker),
            "model": (self.model.encoder.maker, Parts),
            "method": self.method.maker,
            "training": self.training.maker,
            "calibration": LabelCalibration,
        }  # seeds do not count, and what stages end with is among the data
        plain = self.resolved()
        decisive = {name: unlike_defaults(plain[name], owner) for name, owner in owners.items() if name in plain}
        elsewhere = [("corpus", "path"), ("speakers", "path"), ("features", "weights"), ("features", "digest")]
        elsewhere += [("model", "weights"), ("training", "distribute")]
        for section, key in (*elsewhere, ("protocol", "run")):
            decisive.get(section, {}).pop(key, None)
        text = json.dumps({"data": data, **decisive}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_yaml(self) -> str:
        """Write the resolved recipe as YAML that `serene.experiment.recipe.load` reads back."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)
