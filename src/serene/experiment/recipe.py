"""A YAML recipe becomes checked, fully resolved settings; the constructors' signatures are the schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from serene import registry
from serene.audio import FRONT_ENDS
from serene.corpora import CORPORA
from serene.errors import MissingExtra, SereneError, unknown
from serene.evaluation.label_calibration import LabelCalibration
from serene.experiment.recipe_file import find
from serene.experiment.sections import (
    AS_TRAINING,
    FeatureSettings,
    LabelSettings,
    ModelSettings,
    Recipe,
    SpeakerSettings,
)
from serene.methods import METHODS
from serene.models import ENCODERS
from serene.models.parts import Parts
from serene.protocols import PROTOCOLS
from serene.settings import TRAINER, Choice, CorpusSettings, named, section, settings_of, validated
from serene.task import TASKS
from serene.training.stages import check_stages, stages_of
from serene.trust import authored

SECTIONS = (
    *("corpus", "labels", "protocol", "seeds", "speakers", "stages"),
    *("features", "model", "method", "training", "calibration"),
)
Section = TypeVar("Section")


def load(address: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, `FILE.yaml`, or a row of a table, `FILE.yaml:ROW`, and apply `key.sub=value` overrides.

    The overrides' values are YAML. Naming another corpus, protocol, method or encoder drops the settings that belonged
    to the one before.

    Raises:
        SereneError: no such file or row, not YAML, a table without a row, an unknown key (the nearest one is suggested)
            or a value of the wrong type.
    """
    file, row = find(address)
    return check(file.tree(row, overrides), file.name(row))


def load_table(address: str | Path, overrides: Sequence[str] = ()) -> dict[str, Recipe]:
    """Read every row of a table: name -> recipe, in the file's order; the overrides apply to each.

    Raises:
        SereneError: what `load` refuses, and a file that has no rows.
    """
    file, row = find(address)
    if row is not None or not file.rows:
        raise SereneError(f"{address} is a single recipe and no table of rows; serene.load_recipe reads it.")
    recipes = {}
    for name in file.rows:
        try:
            recipes[name] = check(file.tree(name, overrides), file.name(name))
        except SereneError as error:
            raise SereneError(f"Row '{name}' of {file.path}: {error}") from error
    return recipes


def kept(path: Path) -> Recipe:
    """Read the recipe that a run's folder keeps, which nobody has asked to run: nothing that it names is trusted."""
    try:
        file, row = find(path)
        return _checked(file.tree(row), file.name(row))
    except MissingExtra:
        raise
    except SereneError as error:
        raise error if str(path) in str(error) else SereneError(f"{path}: {error}") from error


def check(tree: Mapping[str, Any], name: str) -> Recipe:
    """Check a recipe's settings against the signatures they are for, and fill in the defaults; trust what it names."""
    with authored():
        return _checked(tree, name)


def _checked(tree: Mapping[str, Any], name: str) -> Recipe:
    for key in tree:
        if key not in SECTIONS:
            raise SereneError(unknown("key in the recipe", key, (*SECTIONS, "rows")))
    for key in ("corpus", "protocol", "method"):
        if key not in tree:
            raise SereneError(f"The recipe has no '{key}'; corpus, protocol and method are needed.")
    corpus = _built(tree, "corpus", CorpusSettings)
    registry.load(corpus.name, CORPORA, "corpus")
    features, front_end, model = _features_and_model(tree)
    labels = _labels(tree)
    method = named(section(tree, "method"), "name", METHODS, "method")
    stages = stages_of(tree, corpus)
    if stages:
        check_stages(stages, model.encoder, model.parts.speaker_embedding, features.normalize)
    protocol = {**section(tree, "protocol")}
    run = protocol.pop("run", None)
    return Recipe(
        name=name,
        corpus=corpus,
        labels=labels,
        protocol=_protocol(protocol),
        run=None if run is None else _folds(run),
        seeds=_seeds(tree.get("seeds", (0,))),
        speakers=_speakers(tree, method, model.parts),
        stages=stages,
        features=features,
        front_end=front_end,
        model=model,
        method=method,
        training=_training(tree, labels, method),
        calibration=None if tree.get("calibration") is None else _built(tree, "calibration", LabelCalibration),
    )


def _protocol(given: Mapping[str, Any]) -> Choice:
    """Check a protocol's settings, whose seed may be `training`: as many splits as seeds."""
    follows = given.get("seed") == AS_TRAINING
    chosen = named({k: v for k, v in given.items() if not follows or k != "seed"}, "name", PROTOCOLS, "protocol")
    if not follows:
        return chosen
    if "seed" not in chosen.settings:
        raise SereneError(f"protocol.seed is {AS_TRAINING}, and {chosen.name} draws nothing: it has no seed. Drop it.")
    return chosen.but(seed=AS_TRAINING)


def _built(tree: Mapping[str, Any], key: str, maker: type[Section]) -> Section:
    """Check a section, and make the dataclass of it."""
    return maker(**settings_of(section(tree, key), maker, key))


def _features_and_model(tree: Mapping[str, Any]) -> tuple[FeatureSettings, Choice, ModelSettings]:
    """Check the encoder with what stands around it, and the features that it reads."""
    model = {"encoder": "tdnn_bilstm", **section(tree, "model")}
    encoder = registry.load(str(model["encoder"]), ENCODERS, "encoder")
    maker = registry.load(encoder.front_end, FRONT_ENDS, "front end")
    given = {"normalize": encoder.normalize, **encoder.features(**model), **section(tree, "features")}
    if "weights" in given and encoder.front_end != "frozen":
        raise SereneError(
            f"features.weights stands for the stored outputs of a frozen encoder, and '{model['encoder']}' makes its "
            "own features: set model.encoder=frozen to store them, or model.weights to train the encoder."
        )
    settings = settings_of(given, (FeatureSettings, maker), "features")
    features = FeatureSettings(**{key: settings.pop(key) for key in FeatureSettings.__dataclass_fields__})
    chosen = named(model, "encoder", ENCODERS, "encoder", Parts)
    parts = Parts(**{key: chosen.settings.pop(key) for key in Parts.__dataclass_fields__})
    _check_training_clips(features, maker, chosen)
    if parts.speaker_whitening and chosen.settings.get("train", chosen.name) not in ("none", "frozen", "bundled"):
        raise SereneError(
            "model.speaker_whitening is estimated once, before the training, and this encoder trains: set model.train "
            "to none, or drop it."
        )
    _check_enrolment(features, parts)
    return features, Choice(encoder.front_end, maker, settings), ModelSettings(chosen, parts)


def _training(tree: Mapping[str, Any], labels: LabelSettings, method: Choice) -> Choice:
    """Check the trainer's settings, and that method and selection suit what is predicted."""
    trainer = registry.load("trainer", TRAINER, "trainer")
    training = Choice("trainer", trainer, settings_of(section(tree, "training"), trainer, "training"))
    task = TASKS[labels.target]
    if training["select_on"] not in ("last", *task.selects):
        raise SereneError(
            f"training.select_on is '{training['select_on']}', and labels.target {labels.target}: dimensions are "
            "selected on 'validation CCC', classes on 'validation UA' or 'validation WA'."
        )
    losses = method.maker.losses
    if losses is not None and task.loss not in losses:
        raise SereneError(f"The method {method.name} needs classes, and labels.target is dimensions; choose another.")
    return training


def _labels(tree: Mapping[str, Any]) -> LabelSettings:
    settings = _built(tree, "labels", LabelSettings)
    if settings.join and not TASKS[settings.target].joins:
        raise SereneError(
            f"labels.join makes one class of several, and labels.target is {settings.target}, which has no classes to "
            "join. Drop labels.join, or learn an emotion."
        )
    return settings


def _check_enrolment(features: FeatureSettings, parts: Parts) -> None:
    clips, prior = features.enrolment_clips, features.enrolment_prior
    if prior < 0:
        raise SereneError(f"features.enrolment_prior is {prior}; a number of frames, at least 0, was expected.")
    if features.normalize != "speaker" and (clips is not None or prior):
        raise SereneError(
            "features.enrolment_clips and features.enrolment_prior are for features.normalize: speaker; "
            "drop them or set it."
        )
    if features.normalize == "speaker" and parts.embedding_norm == "speaker":
        raise SereneError(
            "features.normalize: speaker and model.embedding_norm: speaker both standardise by the speaker's own "
            "clips; choose one of them."
        )


def _check_training_clips(features: FeatureSettings, maker: Any, encoder: Choice) -> None:
    """Refuse what cannot be done to an encoder's clips in training."""
    crop, shortest = features.crop, encoder.maker.shortest
    if crop is not None and not crop > 0:
        raise SereneError(f"features.crop is {crop}; a positive number of seconds was expected.")
    if crop is not None and not maker.declared.rate:
        raise SereneError(
            f"features.crop takes a part of each clip, and what '{encoder.name}' reads is stored of whole clips; "
            "drop it."
        )
    if crop is not None and maker.declared.frames(crop) < shortest:
        least = f"{shortest / maker.declared.rate:.2g}"
        raise SereneError(f"features.crop is {crop} seconds, and '{encoder.name}' needs {least} at least; take more.")
    if features.augment_copies < 0 or (features.augment_copies and not features.augment):
        raise SereneError(
            f"features.augment_copies is {features.augment_copies}; a number of copies was expected, and changes in "
            "features.augment that make them."
        )
    if features.augment and not features.augment_copies and not maker.declared.augmented:
        raise SereneError(
            f"features.augment changes waveforms anew in every epoch, and the features of '{encoder.name}' are "
            "computed once and stored: set features.augment_copies to how many changed copies of each clip are, choose "
            "an encoder that reads waveforms, or drop it."
        )


def _speakers(tree: Mapping[str, Any], method: Choice, parts: Parts) -> SpeakerSettings | None:
    """Check the speaker corpus: there where the method or whitening learns from one, and nowhere else."""
    wanted = method.maker.speaker_corpus
    if not wanted and not parts.speaker_whitening and "speakers" in tree:
        raise SereneError(f"The method {method.name} learns from no speaker corpus; drop `speakers` from the recipe.")
    if not wanted and "speakers" not in tree:
        return None
    if "speakers" not in tree:
        raise SereneError(
            f"The method {method.name} learns from a speaker corpus: add "
            "`speakers: {name: speechocean762, path: FOLDER}`."
        )
    settings = _built(tree, "speakers", SpeakerSettings)
    registry.load(settings.name, CORPORA, "corpus")
    if not settings.crop > 0 or settings.batch_size < 2:
        raise SereneError(
            f"speakers.crop is {settings.crop} and speakers.batch_size {settings.batch_size}; "
            "a positive number of seconds and at least 2 clips were expected."
        )
    return settings


def _folds(run: Any) -> tuple[str, ...]:
    folds = run if isinstance(run, list) else [run]
    if not folds or not all(isinstance(fold, str | int) for fold in folds):
        raise SereneError(f"protocol.run is {run!r}; a fold's name or a list of them was expected, such as [1, 2].")
    return tuple(str(fold) for fold in folds)


def _seeds(given: Any) -> tuple[int, ...]:
    seeds = validated(pydantic.TypeAdapter(tuple[int, ...]).validate_python, given, "seeds")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
        raise SereneError(f"seeds is {list(seeds)}; different whole numbers from 0 were expected, such as [0, 1, 2].")
    return seeds
