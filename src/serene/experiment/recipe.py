"""A YAML recipe becomes checked, fully resolved settings; the constructors' signatures are the schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from serene import registry
from serene.audio import FRONT_ENDS
from serene.corpora import CORPORA
from serene.errors import SereneError, unknown
from serene.evaluation.label_calibration import LabelCalibration
from serene.methods import METHODS
from serene.models import ENCODERS
from serene.models.parts import Parts
from serene.protocols import PROTOCOLS
from serene.settings import TRAINER, CorpusSettings, named, parse, section, settings_of, unlike_defaults, validated
from serene.task import TASKS
from serene.training.stages import StageSettings, check_stages, stages_of

RECIPES = next(
    (p for p in (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes") if p.is_dir()),
    Path("recipes"),
)  # inside an installed package, or beside the sources
# the key that names a choice, and with it the other settings of its section
NAMED = {"corpus": "name", "speakers": "name", "protocol": "name", "method": "name", "model": "encoder"}
SECTIONS = (
    "corpus",
    "labels",
    "protocol",
    "seeds",
    "speakers",
    "stages",
    "features",
    "model",
    "method",
    "training",
    "calibration",
)
RENAMES = {f"{where}.{key}" for where, key in NAMED.items()}


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
    changes of training waveforms to their probabilities, and `augment_probability` is that a clip is changed at all.
    Of each training clip `crop` seconds are heard, from a random place that is drawn anew in every epoch.
    """

    normalize: Literal["training_set", "utterance", "speaker", "none"]
    enrolment_clips: int | None = None
    enrolment_prior: float = 0.0
    augment: dict[str, float] = field(default_factory=dict)
    augment_probability: float = 1.0
    crop: float | None = None


@dataclass(frozen=True)
class Recipe:
    """All settings of an experiment, defaults filled in.

    Attributes:
        name: of the recipe file, below its `recipes` folder: `tu2019-emodb-dat`.
        corpus: which clips.
        labels: which classes.
        protocol: `name` and the protocol's settings.
        run: the folds to run; all by default.
        seeds: one training per fold and seed.
        speakers: the speaker corpus, where the method learns from one.
        stages: what the encoder is pre-trained by first.
        features: what they are standardised by.
        front_end: the settings of what makes them, such as MFCC.
        model: `encoder` and its settings.
        method: `name` and its settings.
        training: the Trainer's settings.
        calibration: of the answers by similar training speakers, where they are calibrated.
    """

    name: str
    corpus: CorpusSettings
    labels: LabelSettings
    protocol: dict[str, Any]
    run: tuple[str, ...] | None
    seeds: tuple[int, ...]
    speakers: SpeakerSettings | None
    stages: tuple[StageSettings, ...]
    features: FeatureSettings
    front_end: dict[str, Any]
    model: dict[str, Any]
    method: dict[str, Any]
    training: dict[str, Any]
    calibration: LabelCalibration | None = None

    def resolved(self) -> dict[str, Any]:
        """Return every setting as plain data, as a recipe file would hold it."""
        plain = asdict(self)
        del plain["name"]
        plain["features"] |= plain.pop("front_end")
        if self.speakers is None:
            del plain["speakers"]
        plain["stages"] = list(plain["stages"])
        for absent in ("stages", "calibration"):
            if not plain[absent]:
                del plain[absent]
        run = plain.pop("run")
        plain["seeds"] = list(self.seeds)
        if run is not None:
            plain["protocol"]["run"] = list(run)
        return plain

    def identity(self, data: str) -> str:
        """Hash all that decides what one fold and seed gives: not where data lie, nor which folds and seeds run.

        Args:
            data: digest of all that is read: manifests, and the weights that an encoder begins with or the stages that
                make them.
        """
        decisive = {name: unlike_defaults(given, self._owners[name]) for name, given in self._sections().items()}
        for where in ("corpus", "speakers"):
            decisive.get(where, {}).pop("path", None)
        for where in ("features", "model"):
            decisive[where].pop("weights", None)
        text = json.dumps({"data": data, **decisive}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def _sections(self) -> dict[str, dict[str, Any]]:
        """Give the sections that decide what one fold and seed gives; what stages end with is among the data."""
        plain = self.resolved()
        plain["protocol"].pop("run", None)
        return {name: given for name, given in plain.items() if name not in ("seeds", "stages")}

    @property
    def _owners(self) -> dict[str, Any]:
        """Whose arguments the settings of each section are."""
        encoder = registry.load(self.model["encoder"], ENCODERS, "encoder")
        return {
            "corpus": CorpusSettings,
            "labels": LabelSettings,
            "protocol": registry.load(self.protocol["name"], PROTOCOLS, "protocol"),
            "speakers": SpeakerSettings,
            "features": (FeatureSettings, registry.load(encoder.front_end, FRONT_ENDS, "front end")),
            "model": (encoder, Parts),
            "method": registry.load(self.method["name"], METHODS, "method"),
            "training": registry.load("trainer", TRAINER, "trainer"),
            "calibration": LabelCalibration,
        }

    def to_yaml(self) -> str:
        """Write the resolved recipe as YAML that `load` reads back."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply `key.sub=value` overrides, whose values are YAML.

    Naming another corpus, protocol, method or encoder drops the settings that belonged to the one before.

    Raises:
        SereneError: no such file, not YAML, an unknown key (the nearest one is suggested) or a value of the wrong type.
    """
    return check(read(path, overrides), name_of(Path(path)))


def read(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a recipe file and apply the overrides; nothing is checked but that it is a mapping."""
    path = Path(path)
    shipped = RECIPES.joinpath(*path.parts[1:]) if path.parts[:1] == ("recipes",) else path
    path = path if path.exists() else shipped  # an installed package brings its recipes along
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SereneError(f"Cannot read the recipe {path}: {error}") from error
    tree = parse(text, str(path))
    if not isinstance(tree, dict):
        raise SereneError(f"The recipe {path} is empty or no mapping; see recipes/ for examples.")
    for override in sorted(overrides, key=lambda text: text.partition("=")[0] not in RENAMES):
        _apply(tree, override)
    return tree


def check(tree: Mapping[str, Any], name: str) -> Recipe:
    """Check a recipe's settings against the signatures they are for, and fill in the defaults."""
    for key in tree:
        if key not in SECTIONS:
            raise SereneError(unknown("key in the recipe", key, SECTIONS))
    for key in ("corpus", "protocol", "method"):
        if key not in tree:
            raise SereneError(f"The recipe has no '{key}'; corpus, protocol and method are needed.")
    corpus = CorpusSettings(**settings_of(section(tree, "corpus"), CorpusSettings, "corpus"))
    registry.load(corpus.name, CORPORA, "corpus")
    protocol = dict(section(tree, "protocol"))
    run = protocol.pop("run", None)
    model = {"encoder": "tdnn_bilstm", **section(tree, "model")}
    encoder = registry.load(str(model["encoder"]), ENCODERS, "encoder")
    maker = registry.load(encoder.front_end, FRONT_ENDS, "front end")
    given = {"normalize": encoder.normalize, **section(tree, "features")}
    if "weights" in given and encoder.front_end != "frozen":
        raise SereneError(
            f"features.weights stands for the stored outputs of a frozen encoder, and '{model['encoder']}' makes its "
            "own features: set model.encoder=frozen to store them, or model.weights to train the encoder."
        )
    features = settings_of(given, (FeatureSettings, maker), "features")
    standardised = {key: features.pop(key) for key in FeatureSettings.__dataclass_fields__}
    labels = _labels(tree)
    method = named(section(tree, "method"), "name", METHODS, "method")
    training = settings_of(section(tree, "training"), registry.load("trainer", TRAINER, "trainer"), "training")
    task = TASKS[labels.target]
    if training["select_on"] not in ("last", *task.selects):
        raise SereneError(
            f"training.select_on is '{training['select_on']}', and labels.target {labels.target}: dimensions are "
            "selected on 'validation CCC', classes on 'validation UA' or 'validation WA'."
        )
    losses = registry.load(method["name"], METHODS, "method").losses
    if losses is not None and task.loss not in losses:
        raise SereneError(
            f"The method {method['name']} needs classes, and labels.target is dimensions; choose another."
        )
    _check_training_clips(standardised, maker, str(model["encoder"]), encoder.shortest)
    recipe_model = named(model, "encoder", ENCODERS, "encoder", Parts)
    _check_enrolment(standardised, recipe_model)
    stages = stages_of(tree, corpus)
    if stages:
        check_stages(stages, recipe_model, standardised["normalize"])
    return Recipe(
        name=name,
        corpus=corpus,
        labels=labels,
        protocol=named(protocol, "name", PROTOCOLS, "protocol"),
        run=None if run is None else _folds(run),
        seeds=_seeds(tree.get("seeds", (0,))),
        speakers=_speakers(tree, method["name"]),
        stages=stages,
        features=FeatureSettings(**standardised),
        front_end=features,
        model=recipe_model,
        method=method,
        training=training,
        calibration=_calibration(tree),
    )


def name_of(path: Path) -> str:
    """Name a recipe by its place below the nearest `recipes` folder: `tu2019-emodb-dat`."""
    parts = path.resolve().with_suffix("").parts
    if "recipes" in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index("recipes")
        return "-".join(parts[last + 1 :])
    return parts[-1]


def _labels(tree: Mapping[str, Any]) -> LabelSettings:
    settings = LabelSettings(**settings_of(section(tree, "labels"), LabelSettings, "labels"))
    if settings.join and not TASKS[settings.target].joins:
        raise SereneError(
            f"labels.join makes one class of several, and labels.target is {settings.target}, which has no classes to "
            "join. Drop labels.join, or learn an emotion."
        )
    return settings


def _calibration(tree: Mapping[str, Any]) -> LabelCalibration | None:
    given = tree.get("calibration")
    if given is None:
        return None
    return LabelCalibration(**settings_of(section(tree, "calibration") or {}, LabelCalibration, "calibration"))


def _check_enrolment(features: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    clips, prior = features["enrolment_clips"], features["enrolment_prior"]
    if prior < 0:
        raise SereneError(f"features.enrolment_prior is {prior}; a number of frames, at least 0, was expected.")
    if features["normalize"] != "speaker" and (clips is not None or prior):
        raise SereneError(
            "features.enrolment_clips and features.enrolment_prior are for features.normalize: speaker; "
            "drop them or set it."
        )
    if features["normalize"] == "speaker" and model["embedding_norm"] == "speaker":
        raise SereneError(
            "features.normalize: speaker and model.embedding_norm: speaker both standardise by the speaker's own "
            "clips; choose one of them."
        )


def _check_training_clips(features: Mapping[str, Any], maker: Any, encoder: str, shortest: int) -> None:
    """Refuse what cannot be done to an encoder's clips in training."""
    crop = features["crop"]
    if crop is not None and not crop > 0:
        raise SereneError(f"features.crop is {crop}; a positive number of seconds was expected.")
    if crop is not None and not maker.rate:
        raise SereneError(
            f"features.crop takes a part of each clip, and what '{encoder}' reads is stored of whole clips; drop it."
        )
    if crop is not None and round(crop * maker.rate) < shortest:
        raise SereneError(
            f"features.crop is {crop} seconds, and '{encoder}' needs {shortest / maker.rate:.2g} at least; take more."
        )
    if features["augment"] and maker.stored:
        raise SereneError(
            f"features.augment changes waveforms anew in every epoch, and the features of '{encoder}' are "
            "computed once and stored: choose an encoder that hears waveforms, or drop it."
        )


def _speakers(tree: Mapping[str, Any], method: str) -> SpeakerSettings | None:
    """Check the speaker corpus: there where the method learns from one, and nowhere else."""
    wanted = registry.load(method, METHODS, "method").speaker_corpus
    if not wanted and "speakers" in tree:
        raise SereneError(f"The method {method} learns from no speaker corpus; drop `speakers` from the recipe.")
    if not wanted:
        return None
    if "speakers" not in tree:
        raise SereneError(
            f"The method {method} learns from a speaker corpus: add `speakers: {{name: speechocean762, path: FOLDER}}`."
        )
    settings = SpeakerSettings(**settings_of(section(tree, "speakers"), SpeakerSettings, "speakers"))
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


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise SereneError(f"The override '{override}' is not of the form key.sub=value.")
    value = parse(text, f"the override '{override}'")
    if len(keys) == 2 and keys[1] == NAMED.get(keys[0]) and section(tree, keys[0]).get(keys[1]) != value:
        tree[keys[0]] = {}  # another name: what the section held were the former one's settings
    place: Any = tree
    for key in keys[:-1]:
        inner = _item(place, key, override) if isinstance(place, list) else place.setdefault(key, {})
        if not isinstance(inner, dict | list):
            raise SereneError(f"The override '{override}' reaches into '{key}', which is {inner!r} and no mapping.")
        place = inner
    if isinstance(place, list):
        _item(place, keys[-1], override)
        place[int(keys[-1])] = value
    else:
        place[keys[-1]] = value


def _item(place: list[Any], key: str, override: str) -> Any:
    """Give an item of a list in a recipe, such as a stage, by its place from 0."""
    if not key.isdecimal() or int(key) >= len(place):
        raise SereneError(
            f"The override '{override}' says '{key}' where a place from 0 to {len(place) - 1} is expected."
        )
    return place[int(key)]
