"""A YAML recipe becomes checked, fully resolved settings; the constructors' signatures are the schema."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from serene import registry
from serene.audio import FRONT_ENDS
from serene.corpora import CORPORA
from serene.errors import SereneError, unknown
from serene.methods import METHODS
from serene.models import ENCODERS
from serene.models.parts import Parts
from serene.protocols import PROTOCOLS

RECIPES = next(
    (p for p in (Path(__file__).parent / "recipes", Path(__file__).parents[2] / "recipes") if p.is_dir()),
    Path("recipes"),
)  # inside an installed package, or beside the sources
TRAINER = {"trainer": "serene.trainer:Trainer"}
# the key that names a choice, and with it the other settings of its section
NAMED = {"corpus": "name", "speakers": "name", "protocol": "name", "method": "name", "model": "encoder"}
RENAMES = {f"{section}.{key}" for section, key in NAMED.items()}


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Which clips: a corpus folder or a manifest, and the columns' patterns that a clip must match."""

    name: str
    path: str | None = None
    only: dict[str, str] = field(default_factory=dict)


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
    """

    normalize: Literal["training_set", "utterance", "speaker", "none"]
    enrolment_clips: int | None = None
    enrolment_prior: float = 0.0
    augment: dict[str, float] = field(default_factory=dict)
    augment_probability: float = 1.0


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
        features: what they are standardised by.
        front_end: the settings of what makes them, such as MFCC.
        model: `encoder` and its settings.
        method: `name` and its settings.
        training: the Trainer's settings.
    """

    name: str
    corpus: CorpusSettings
    labels: LabelSettings
    protocol: dict[str, Any]
    run: tuple[str, ...] | None
    seeds: tuple[int, ...]
    speakers: SpeakerSettings | None
    features: FeatureSettings
    front_end: dict[str, Any]
    model: dict[str, Any]
    method: dict[str, Any]
    training: dict[str, Any]

    def resolved(self) -> dict[str, Any]:
        """Return every setting as plain data, as a recipe file would hold it."""
        plain = asdict(self)
        del plain["name"]
        plain["features"] |= plain.pop("front_end")
        if self.speakers is None:
            del plain["speakers"]
        run = plain.pop("run")
        plain["seeds"] = list(self.seeds)
        if run is not None:
            plain["protocol"]["run"] = list(run)
        return plain

    def identity(self, data: str) -> str:
        """Hash all that decides what one fold and seed gives: not where data lie, nor which folds and seeds run.

        Args:
            data: digest of all that is read: manifests, and the weights that an encoder begins with.
        """
        decisive = self.resolved()
        for section in (decisive["corpus"], decisive.get("speakers", {})):
            section.pop("path", None)
        for section in (decisive["features"], decisive["model"]):
            section.pop("weights", None)
        decisive["protocol"].pop("run", None)
        del decisive["seeds"]
        text = json.dumps({"data": data, **decisive}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_yaml(self) -> str:
        """Write the resolved recipe as YAML that `load` reads back."""
        return yaml.safe_dump(self.resolved(), sort_keys=False, allow_unicode=True)


def load(path: str | Path, overrides: typing.Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply `key.sub=value` overrides, whose values are YAML.

    Naming another corpus, protocol, method or encoder drops the settings that belonged to the one before.

    Raises:
        SereneError: no such file, not YAML, an unknown key (the nearest one is suggested) or a value of the wrong type.
    """
    path = Path(path)
    shipped = RECIPES.joinpath(*path.parts[1:]) if path.parts[:1] == ("recipes",) else path
    path = path if path.exists() else shipped  # an installed package brings its recipes along
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SereneError(f"Cannot read the recipe {path}: {error}") from error
    tree = _parse(text, str(path))
    if not isinstance(tree, dict):
        raise SereneError(f"The recipe {path} is empty or no mapping; see recipes/ for examples.")
    for override in sorted(overrides, key=lambda text: text.partition("=")[0] not in RENAMES):
        _apply(tree, override)
    return check(tree, name_of(path))


def check(tree: Mapping[str, Any], name: str) -> Recipe:
    """Check a recipe's settings against the signatures they are for, and fill in the defaults."""
    sections = {"corpus", "labels", "protocol", "seeds", "speakers", "features", "model", "method", "training"}
    for key in tree:
        if key not in sections:
            raise SereneError(unknown("key in the recipe", key, sections))
    for key in ("corpus", "protocol", "method"):
        if key not in tree:
            raise SereneError(f"The recipe has no '{key}'; corpus, protocol and method are needed.")
    corpus = CorpusSettings(**settings_of(_section(tree, "corpus"), CorpusSettings, "corpus"))
    registry.load(corpus.name, CORPORA, "corpus")
    protocol = dict(_section(tree, "protocol"))
    run = protocol.pop("run", None)
    model = {"encoder": "tdnn_bilstm", **_section(tree, "model")}
    encoder = registry.load(str(model["encoder"]), ENCODERS, "encoder")
    maker = registry.load(encoder.front_end, FRONT_ENDS, "front end")
    given = {"normalize": encoder.normalize, **_section(tree, "features")}
    if "weights" in given and encoder.front_end != "frozen":
        raise SereneError(
            f"features.weights stands for the stored outputs of a frozen encoder, and '{model['encoder']}' makes its "
            "own features: set model.encoder=frozen to store them, or model.weights to train the encoder."
        )
    features = settings_of(given, (FeatureSettings, maker), "features")
    standardised = {key: features.pop(key) for key in FeatureSettings.__dataclass_fields__}
    _check_enrolment(standardised)
    if standardised["augment"] and maker.stored:
        raise SereneError(
            f"features.augment changes waveforms anew in every epoch, and the features of '{model['encoder']}' are "
            "computed once and stored: choose an encoder that hears waveforms, or drop it."
        )
    labels = _labels(tree)
    method = _named(_section(tree, "method"), "name", METHODS, "method")
    if labels.target == "dimensions" and registry.load(method["name"], METHODS, "method").needs_classes:
        raise SereneError(
            f"The method {method['name']} needs classes, and labels.target is dimensions; choose another."
        )
    return Recipe(
        name=name,
        corpus=corpus,
        labels=labels,
        protocol=_named(protocol, "name", PROTOCOLS, "protocol"),
        run=None if run is None else _folds(run),
        seeds=_seeds(tree.get("seeds", (0,))),
        speakers=_speakers(tree, method["name"]),
        features=FeatureSettings(**standardised),
        front_end=features,
        model=_named(model, "encoder", ENCODERS, "encoder", Parts),
        method=method,
        training=settings_of(_section(tree, "training"), registry.load("trainer", TRAINER, "trainer"), "training"),
    )


def settings_of(
    given: Mapping[str, Any], owners: Callable[..., Any] | tuple[Callable[..., Any], ...], where: str
) -> dict[str, Any]:
    """Check settings against the keyword-only arguments of a class or function; return them with the defaults.

    Args:
        given: the settings, values as text or already of their type.
        owners: whose arguments they are; several where a section is shared.
        where: the section, for messages.

    Raises:
        SereneError: an unknown key, a missing one, or a value of another type; the message names `where.key`.
    """
    owners = owners if isinstance(owners, tuple) else (owners,)
    arguments = {name: argument for owner in owners for name, argument in _arguments(owner).items()}
    for key in given:
        if key not in arguments:
            raise SereneError(unknown(f"setting in {where}", key, arguments))
    checked = {}
    for name, (kind, default) in arguments.items():
        if name in given:
            checked[name] = _validated(pydantic.TypeAdapter(kind).validate_python, given[name], f"{where}.{name}")
        elif default is inspect.Parameter.empty:
            raise SereneError(f"{where}.{name} is missing.")
        else:
            checked[name] = default
    return checked


def _arguments(owner: Any) -> dict[str, tuple[Any, Any]]:
    """Return the keyword-only arguments: name -> (type, default)."""
    hints = typing.get_type_hints(owner.__init__ if inspect.isclass(owner) else owner, include_extras=True)
    factories = {f.name: f.default_factory for f in fields(owner)} if is_dataclass(owner) else {}
    arguments = {}
    for name, argument in inspect.signature(owner).parameters.items():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            factory = factories.get(name, MISSING)
            arguments[name] = hints.get(name, Any), argument.default if factory is MISSING else factory()
    return arguments


def name_of(path: Path) -> str:
    """Name a recipe by its place below the nearest `recipes` folder: `tu2019-emodb-dat`."""
    parts = path.resolve().with_suffix("").parts
    if "recipes" in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index("recipes")
        return "-".join(parts[last + 1 :])
    return parts[-1]


def _labels(tree: Mapping[str, Any]) -> LabelSettings:
    settings = LabelSettings(**settings_of(_section(tree, "labels"), LabelSettings, "labels"))
    if settings.target in ("speaker", "dimensions") and settings.join:
        raise SereneError(
            f"labels.join makes one class of several, and labels.target is {settings.target}, which has no classes to "
            "join. Drop labels.join, or learn an emotion."
        )
    return settings


def _check_enrolment(features: Mapping[str, Any]) -> None:
    clips, prior = features["enrolment_clips"], features["enrolment_prior"]
    if prior < 0:
        raise SereneError(f"features.enrolment_prior is {prior}; a number of frames, at least 0, was expected.")
    if features["normalize"] != "speaker" and (clips is not None or prior):
        raise SereneError(
            "features.enrolment_clips and features.enrolment_prior are for features.normalize: speaker; "
            "drop them or set it."
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
    settings = SpeakerSettings(**settings_of(_section(tree, "speakers"), SpeakerSettings, "speakers"))
    registry.load(settings.name, CORPORA, "corpus")
    if not settings.crop > 0 or settings.batch_size < 2:
        raise SereneError(
            f"speakers.crop is {settings.crop} and speakers.batch_size {settings.batch_size}; "
            "a positive number of seconds and at least 2 clips were expected."
        )
    return settings


def _named(
    given: Mapping[str, Any], key: str, table: Mapping[str, str], kind: str, *more: Callable[..., Any]
) -> dict[str, Any]:
    if key not in given:
        raise SereneError(f"The recipe's {kind} has no '{key}'. Choices: {', '.join(sorted(table))}.")
    name = str(given[key])
    target = registry.load(name, table, kind)
    rest = {k: v for k, v in given.items() if k != key}
    return {key: name, **settings_of(rest, (target, *more), f"{kind} {name}")}


def _folds(run: Any) -> tuple[str, ...]:
    folds = run if isinstance(run, list) else [run]
    if not folds or not all(isinstance(fold, str | int) for fold in folds):
        raise SereneError(f"protocol.run is {run!r}; a fold's name or a list of them was expected, such as [1, 2].")
    return tuple(str(fold) for fold in folds)


def _seeds(given: Any) -> tuple[int, ...]:
    seeds = _validated(pydantic.TypeAdapter(tuple[int, ...]).validate_python, given, "seeds")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**32:
        raise SereneError(f"seeds is {list(seeds)}; different whole numbers from 0 were expected, such as [0, 1, 2].")
    return seeds


def _section(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = tree.get(key) or {}
    if not isinstance(section, Mapping):
        raise SereneError(f"'{key}' in the recipe is {section!r}; a mapping was expected, such as {{name: ...}}.")
    return section


def _validated(validate: Callable[[Any], Any], value: Any, where: str) -> Any:
    try:
        return validate(value)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise SereneError(f"{where} is {value!r}: {problem[0].lower()}{problem[1:]}.") from error


class _Words(yaml.SafeLoader):
    """A YAML reader that leaves every scalar but null as it is written: the signatures say what it means."""


_Words.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Words)
    except yaml.YAMLError as error:
        raise SereneError(f"{where} is not YAML: {error}") from error


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise SereneError(f"The override '{override}' is not of the form key.sub=value.")
    value = _parse(text, f"the override '{override}'")
    if len(keys) == 2 and keys[1] == NAMED.get(keys[0]) and _section(tree, keys[0]).get(keys[1]) != value:
        tree[keys[0]] = {}  # another name: what the section held were the former one's settings
    place = tree
    for key in keys[:-1]:
        inner = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise SereneError(f"The override '{override}' reaches into '{key}', which is {inner!r} and no mapping.")
        place = inner
    place[keys[-1]] = value
