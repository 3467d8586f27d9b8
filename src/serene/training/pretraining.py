"""Pre-training without labels, stage after stage: each computed once, and shared by all that begins with it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
import yaml

from serene import registry
from serene.audio import clusters
from serene.audio.clusters import Clusters, Unlabelled
from serene.audio.dataset import samples_of, warm
from serene.audio.input_spec import FrontEnd
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.files import damaged, regular, whole_file, whole_folder, write_text
from serene.methods import PRETRAINING
from serene.methods.masked_prediction import MaskedPrediction
from serene.models import pretrained, weights
from serene.models.frozen import Frozen
from serene.models.hubert import Hubert
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.speaker_embedding import SPEAKERS, VECTORS, PersonalVectors, vectors_of
from serene.models.training_speakers import CLIPS, training_clips_of
from serene.protocols.split import shuffled
from serene.settings import CorpusSettings, unlike_defaults
from serene.sound import SAMPLE_RATE
from serene.training import distribution
from serene.training.checkpoint import environment
from serene.training.stages import Pretraining, StageSettings, TargetSettings
from serene.training.trainer import Trainer

Progress = Callable[[str, int, int], None]
ENCODER = "encoder"  # folder of what a stage makes, in its own
QUANTIZER, PREDICTOR = "quantizer.safetensors", "predictor.safetensors"
NOTHING = ("nothing",)  # what the model of a stage would tell apart: its head is never trained nor kept
DECISIVE = ("id", "corpus", "speaker", "audio_hash", "start", "text_id")  # of a clip that is taken without its labels


@dataclass(frozen=True)
class Stage:
    """A stage with its corpora: what it trains on, holds out, and is identified by.

    Attributes:
        settings: as the recipe gives them.
        encoder: `weights` or `config` of what the first stage begins with.
        normalize: what waveforms are standardised by.
        clips: all that may be trained on.
        before: the stage whose encoder this one goes on with.
        runs: folder of runs.
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
        settings["training"] = unlike_defaults(settings["training"] | {"distribute": "ddp"}, Trainer)
        first = weights.digest(self.encoder["weights"]) if self.encoder["weights"] else self.encoder["config"]
        begun = self.before.identity if self.before else first
        trained = Manifest(self.clips).digest_of(DECISIVE)
        text = json.dumps([begun, self.normalize, trained, settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @property
    def _targets(self) -> dict[str, Any]:
        targets = asdict(self.settings.targets)  # with files and encoders by their content, wherever they lie
        if targets["quantizer"]:
            targets["quantizer"] = clusters.digest(clusters.read(targets["quantizer"]))
        if targets["source"] not in ("mfcc", "encoder", "previous"):
            targets["source"] = weights.digest(targets["source"])
        return targets

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
    def begins_with(self) -> str | None:
        """The folder or hub name of the encoder that it goes on with; None for random weights."""
        return str(self.before.product) if self.before else self.encoder["weights"]

    @property
    def known(self) -> list[str]:
        """The persons with a vector of their own."""
        return sorted({u.person for u in self.trained}) if self.settings.speaker_embedding != "none" else []


def plan_stages(recipe: Pretraining, runs: Path, load: Callable[[Any, str], Manifest]) -> list[Stage]:
    """Read the corpora of a recipe's stages by `load`, given settings and the section they are in; compute nothing.

    Raises:
        SereneError: whatever is wrong with a stage, its corpora, or the encoder that it begins with.
    """
    planned: list[Stage] = []
    Hubert.check(**recipe.encoder)
    for number, settings in enumerate(recipe.stages):
        _method(settings)
        Trainer(**settings.training)
        corpora = [load(corpus, f"stages.{number}.corpora.{place}") for place, corpus in enumerate(settings.corpora)]
        clips = [u for corpus in corpora for u in corpus]
        if len({u.id for u in clips}) < len(clips):
            clips = [replace(u, id=f"{u.corpus}/{u.id}") for u in clips]
        if len({u.id for u in clips}) < len(clips):
            raise SereneError(f"stages.{number}.corpora give the same clips twice; name every corpus once.")
        before = planned[-1] if planned else None
        planned.append(Stage(settings, recipe.encoder, recipe.normalize, tuple(clips), before, runs))
        if not planned[-1].trained:
            raise SereneError(f"stages.{number} holds out every clip; hold out less, or give it more speakers.")
    return planned


def _method(settings: StageSettings, **known: int) -> MaskedPrediction:
    given: dict[str, Any] = settings.method | known
    return registry.load(given.pop("name"), PRETRAINING, "method")(**given)


def compute(stage: Stage, progress: Progress) -> Path:
    """Give the folder of a stage's encoder, computing whatever is not there yet, the stages before it first.

    Raises:
        SereneError: another process computes it.
    """
    if distribution.first(stage.product.exists):
        return stage.product
    if stage.before:
        compute(stage.before, progress)
    with distribution.held(stage.folder):
        if not distribution.first(stage.product.exists):
            _compute(stage, progress)
    return stage.product


def _compute(stage: Stage, progress: Progress) -> None:
    store, clusters = distribution.first(lambda: _prepared(stage, progress))
    model, method = _model(stage, clusters)
    started = time.perf_counter()
    _fit(stage, model, method, store, progress)
    if distribution.writes():
        facts = environment(time.perf_counter() - started)
        write_text(stage.folder / "environment.json", json.dumps(facts, indent=2) + "\n")
        _keep(stage, model.cpu(), method.cpu())
        (stage.folder / "training.pt").unlink(missing_ok=True)


def _prepared(stage: Stage, progress: Progress) -> tuple[Store, int]:
    stage.folder.mkdir(parents=True, exist_ok=True)
    write_text(stage.folder / "stage.yaml", yaml.safe_dump(asdict(stage.settings), sort_keys=False))
    maker = _clusters(stage, progress)
    store = Store(stage.runs / "store", maker)
    warm(stage.clips, store, lambda done, of: progress("clusters", done, of))
    return store, len(maker.centres)


def _fit(stage: Stage, model: EmotionModel, method: MaskedPrediction, store: Store, progress: Progress) -> None:
    assert isinstance(model.encoder, Hubert)
    told = {"stride": model.encoder.stride, "crop": round(stage.settings.crop * SAMPLE_RATE), "known": stage.known}
    train = Unlabelled(stage.trained, store, **told)
    held = [u for u in stage.clips if u.id in stage.held_out]
    validation = Unlabelled(held, store, **told, groups=[stage.held_out[u.id] for u in held]) if held else None
    trainer = Trainer(**stage.settings.training)
    validate = None if validation is None else lambda trained: method.validate(trained, validation, trainer.device)
    trainer.fit(
        *(model, method, train, validate),
        seed=stage.settings.seed,
        folder=stage.folder,
        on_epoch=lambda row: progress("pre-training", int(row["epoch"]), trainer.epochs),
    )


def _model(stage: Stage, centres: int) -> tuple[EmotionModel, MaskedPrediction]:
    torch.manual_seed(stage.settings.seed)
    known, begun = stage.known, stage.begins_with
    encoder = stage.encoder | {"weights": begun, "train": "all"} | ({} if begun is None else {"config": None})
    parts = Parts(pooling="mean", hidden=(), head="linear", speaker_embedding=stage.settings.speaker_embedding)
    model = EmotionModel(
        NOTHING, 1, encoder="hubert", encoder_settings=encoder, normalize=stage.normalize, speakers=known, parts=parts
    )
    method = _method(stage.settings, clusters=centres)
    method.attach(model, len(known))
    if stage.before is not None:
        _go_on(stage.before, model, method, stage.settings.targets.source == "previous")
    return model, method


def _go_on(before: Stage, model: EmotionModel, method: MaskedPrediction, same_clusters: bool) -> None:
    if same_clusters:
        try:
            method.load_state_dict(safetensors.torch.load_file(regular(before.folder / PREDICTOR)))
        except (OSError, safetensors.SafetensorError) as error:
            raise damaged(before.folder / PREDICTOR, error) from error
        except RuntimeError as error:
            raise SereneError(f"The predictor of the stage before does not fit this one's method: {error}") from error
    kept = vectors_of(before.product)
    if kept is not None and isinstance(model.speaker_embedding, PersonalVectors):
        place = {name: i for i, name in enumerate(kept[0])}
        with torch.no_grad():
            for row, name in enumerate(model.speakers):
                if name in place:
                    model.speaker_embedding.vectors[row] = kept[1][place[name]]


def _clusters(stage: Stage, progress: Progress) -> Clusters:
    """Give the front end of the stage's targets; its centres are given, those of the stage before, or fitted."""
    targets, path = stage.settings.targets, stage.folder / QUANTIZER
    if targets.source == "previous":
        assert stage.before is not None
        maker = _clusters(stage.before, progress)
        clusters.write(maker.centres, path)
        return maker
    base: FrontEnd = Mfcc(deltas=2, voice_activity=False, energy=False)
    rate = base.spec.rate
    if targets.source != "mfcc":
        named = str(stage.begins_with) if targets.source == "encoder" else targets.source
        base = Frozen(weights=named, layers=targets.layer, pooled=False)
        rate = base.frame_rate
    if targets.quantizer is not None and not path.exists():
        clusters.write(clusters.read(targets.quantizer), path)
    if not path.exists():
        count = stage.settings.method["clusters"]
        clusters.write(clusters.fit(_frames(stage, base, progress), count, stage.settings.seed), path)
    return Clusters(base, clusters.read(path), rate)


def _frames(stage: Stage, base: FrontEnd, progress: Progress) -> Iterator[np.ndarray]:
    clips = {u.id: u for u in stage.trained}
    count = max(1, round(stage.settings.targets.share * len(clips)))
    for done, name in enumerate(shuffled(clips, stage.settings.seed, "clusters")[:count], 1):
        yield base(samples_of(clips[name], base.spec.shortest))
        progress("fitting clusters", done, count)


def _keep(stage: Stage, model: EmotionModel, method: MaskedPrediction) -> None:
    """Write the encoder as transformers does, and last: its folder says that the stage is done."""
    with whole_file(stage.folder / PREDICTOR) as kept_predictor:
        kept_predictor.write_bytes(safetensors.torch.save(dict(method.state_dict())))
    trained = training_clips_of(stage.begins_with) | {str(u.audio_hash) for u in stage.trained}
    assert isinstance(model.encoder, Hubert)
    kept = {"do_normalize": stage.normalize == "utterance", "sampling_rate": SAMPLE_RATE, "feature_size": 1}
    kept |= {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "padding_value": 0.0, "return_attention_mask": True}
    with whole_folder(stage.product) as temporary, pretrained.silence():
        model.encoder.transformer.save_pretrained(temporary)
        (temporary / "preprocessor_config.json").write_text(json.dumps(kept, indent=2) + "\n")
        (temporary / CLIPS).write_text(json.dumps(sorted(trained)) + "\n")
        if isinstance(model.speaker_embedding, PersonalVectors):
            (temporary / SPEAKERS).write_text(json.dumps(list(model.speakers)) + "\n")
            tensors = {"vectors": model.speaker_embedding.vectors.detach().contiguous()}
            (temporary / VECTORS).write_bytes(safetensors.torch.save(tensors))


def _drawn(names: set[str], share: float, salt: str) -> set[str]:
    return set(shuffled(names, 0, f"held out {salt}")[: max(1, round(share * len(names))) if share else 0])


def _text(utterance: Utterance) -> str:
    return f"{utterance.corpus}/{utterance.text_id}"
