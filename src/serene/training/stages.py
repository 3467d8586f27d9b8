"""What a recipe says of pre-training: the stages that an encoder goes through, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from serene import registry
from serene.corpora import CORPORA
from serene.errors import SereneError
from serene.methods import PRETRAINING
from serene.models import ENCODERS
from serene.models.parts import PERSONAL, Parts
from serene.settings import TRAINER, Choice, CorpusSettings, named, section, settings_of
from serene.trust import authored

KEPT = ("weights", "config", "checkpointing")  # of a recipe's model: the encoder itself, not what is cut off it


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """What masked prediction predicts: clusters of which frames.

    Args:
        source: `mfcc`; or an encoder whose frames are clustered: its folder or hub name, or `encoder` for the one that
            the stage begins with; or `previous`: the clusters, and the predictor, of the stage before.
        layer: of that encoder, its last without it.
        share: of the clips that the clusters are fitted on, drawn by a hash of their ids.
        quantizer: a file of centres to be used instead of fitting any; see `serene.audio.clusters.read`.
    """

    source: str = "mfcc"
    layer: int | None = None
    share: float = 1.0
    quantizer: str | None = None


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """A pre-training that the model's encoder goes through before the recipe's own training, without any label.

    Args:
        corpora: whose audio is used: all of it, that of test speakers too. A path that is not given is `corpus.path`.
        targets: see `TargetSettings`.
        speaker_embedding: add a vector of who speaks, `last`, `first` or as a `prefix` (PAPT), or `none` (TAPT).
        held_out_speakers: share of the speakers, drawn by a hash, of whom nothing is trained on, only measured.
        held_out_texts: the same for sentences, where the corpus names them.
        crop: seconds of a clip that are read at once.
        seed: of the clusters and the training.
        method: `name` and the method's settings.
        training: the Trainer's settings.
    """

    corpora: list[CorpusSettings]
    targets: TargetSettings = field(default_factory=TargetSettings)
    speaker_embedding: Literal["none", "last", "first", "prefix"] = "none"
    held_out_speakers: float = 0.0
    held_out_texts: float = 0.0
    crop: float = 15.625
    seed: int = 0
    method: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WaveformSettings:
    """What waveforms are standardised by before an encoder that is only pre-trained reads them."""

    normalize: Literal["utterance", "none"] = "utterance"


@dataclass(frozen=True)
class Pretraining:
    """An encoder (`weights` or `config`, `checkpointing`), its stages, and what waveforms are standardised by."""

    name: str
    encoder: dict[str, Any]
    normalize: Literal["utterance", "none"]
    stages: tuple[StageSettings, ...]


def pretraining(tree: Mapping[str, Any], name: str) -> Pretraining:
    """Check a recipe of nothing but stages: it makes an encoder, and trains no emotions."""
    for key in tree:
        if key not in ("model", "features", "stages"):
            raise SereneError(
                f"A recipe without protocol pre-trains an encoder; it has model, features and stages, and '{key}' is "
                "none of them. To learn emotions add corpus, protocol and method."
            )
    features = settings_of(section(tree, "features"), WaveformSettings, "features")
    model = named({"encoder": "hubert", **section(tree, "model")}, "encoder", ENCODERS, "encoder", Parts)
    for key in section(tree, "model"):
        if key not in ("encoder", *KEPT):
            raise SereneError(
                f"model.{key} changes nothing in pre-training, which trains all of an encoder and keeps it. Drop it "
                "here, and say it in the recipe that goes on with the encoder."
            )
    with authored():
        stages = stages_of(tree, None)
    personal = stages[-1].speaker_embedding if stages else "none"
    check_stages(stages, model, personal, features["normalize"])
    return pretraining_of(name, model, features["normalize"], stages)


def pretraining_of(name: str, model: Choice, normalize: Any, stages: tuple[StageSettings, ...]) -> Pretraining:
    """Take what pre-training needs from a recipe's model: the encoder itself, not what stands around it."""
    return Pretraining(name, {key: model[key] for key in KEPT}, normalize, stages)


def stages_of(tree: Mapping[str, Any], corpus: CorpusSettings | None) -> tuple[StageSettings, ...]:
    """Check a recipe's stages; a corpus without a path lies where the recipe's own of the same name does."""
    given = tree.get("stages") or []
    if not isinstance(given, list) or not all(isinstance(stage, Mapping) for stage in given):
        raise SereneError(f"'stages' in the recipe is {given!r}; a list of mappings was expected.")
    return tuple(_stage(stage, f"stages.{number}", corpus) for number, stage in enumerate(given))


def _stage(given: Mapping[str, Any], where: str, corpus: CorpusSettings | None) -> StageSettings:
    listed = given.get("corpora") or []
    if not isinstance(listed, list) or not listed or not all(isinstance(one, Mapping) for one in listed):
        raise SereneError(
            f"{where}.corpora is {listed!r}; a list of corpora was expected, such as [{{name: crema_d, path: FOLDER}}]."
        )
    corpora = [CorpusSettings(**settings_of(one, CorpusSettings, f"{where}.corpora")) for one in listed]
    for one in corpora:
        registry.load(one.name, CORPORA, "corpus")
    shared = {corpus.name: corpus.path} if corpus else {}
    corpora = [replace(one, path=one.path or shared.get(one.name)) for one in corpora]
    plain = {key: value for key, value in given.items() if key not in ("corpora", "targets", "method", "training")}
    settings = settings_of({**plain, "corpora": [], "method": {}, "training": {}}, StageSettings, where)
    for key in ("held_out_speakers", "held_out_texts"):
        if not 0 <= settings[key] < 1:
            raise SereneError(f"{where}.{key} is {settings[key]}; a share from 0 to below 1 was expected.")
    if not settings["crop"] > 0:
        raise SereneError(f"{where}.crop is {settings['crop']}; a positive number of seconds was expected.")
    trainer = registry.load("trainer", TRAINER, "trainer")
    settings |= {
        "corpora": corpora,
        "targets": _targets(section(given, "targets"), f"{where}.targets"),
        "method": named(section(given, "method"), "name", PRETRAINING, f"{where} method").plain("name"),
        "training": settings_of({"select_on": "last", **section(given, "training")}, trainer, f"{where}.training"),
    }
    return StageSettings(**settings)


def _targets(given: Mapping[str, Any], where: str) -> TargetSettings:
    targets = TargetSettings(**settings_of(given, TargetSettings, where))
    if not 0 < targets.share <= 1:
        raise SereneError(f"{where}.share is {targets.share}; a share above 0 and up to 1 was expected.")
    if targets.source in ("mfcc", "previous") and targets.layer is not None:
        raise SereneError(f"{where}.layer is {targets.layer}, and '{targets.source}' has no layers; drop it.")
    if targets.source == "previous" and targets.quantizer is not None:
        raise SereneError(f"{where}.quantizer gives centres, and 'previous' takes those of the stage before; drop one.")
    return targets


def check_stages(stages: tuple[StageSettings, ...], encoder: Choice, personal: str, normalize: str) -> None:
    """Refuse stages that the recipe's own training could not go on from."""
    if not stages:
        raise SereneError("'stages' in the recipe names no stage.")
    if encoder.name != "hubert" or normalize not in ("utterance", "none"):
        raise SereneError(
            "Stages pre-train an encoder of waveforms: they need model.encoder hubert and features.normalize utterance "
            "or none."
        )
    last = stages[-1].speaker_embedding
    if personal in PERSONAL and last not in ("none", personal):
        raise SereneError(
            f"The last stage learns speakers' vectors for '{last}', and model.speaker_embedding is '{personal}': name "
            "the same place in both, or none in the model, which leaves the vectors out."
        )
    if stages[0].targets.source == "previous":
        raise SereneError("stages.0.targets.source is 'previous', and no stage is before the first.")
    if stages[0].targets.source == "encoder" and not encoder["weights"]:
        raise SereneError(
            "stages.0.targets.source is 'encoder', and this stage begins with random weights: cluster mfcc first."
        )
    for number, stage in enumerate(stages):
        if stage.training["select_on"] != "last":
            raise SereneError(f"stages.{number}.training.select_on is for emotions; a stage ends with its last epoch.")
