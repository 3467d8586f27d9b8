"""Pre-training without labels, stage after stage: each computed once, and shared by all that begins with it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import yaml

from serene.audio import clusters
from serene.audio.clusters import Clusters, Unlabelled
from serene.audio.dataset import samples_of, warm
from serene.audio.input_spec import FrontEnd
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.errors import SereneError
from serene.files import whole_folder, write_text
from serene.methods.masked_prediction import MaskedPrediction
from serene.models import pretrained, weights
from serene.models.frozen import Frozen
from serene.models.hubert import Hubert
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.speaker_embedding import PersonalVectors
from serene.models.training_speakers import CLIPS, training_clips_of
from serene.protocols.split import shuffled
from serene.sound import SAMPLE_RATE
from serene.training.environment import environment
from serene.training.stage import Stage, method_of
from serene.training.trainer import Trainer

Progress = Callable[[str, int, int], None]
QUANTIZER, PREDICTOR = "quantizer.safetensors", "predictor.safetensors"
SPEAKERS, VECTORS = "speakers.json", "speakers.safetensors"  # beside the encoder's own files
NOTHING = ("nothing",)  # what the model of a stage would tell apart: its head is never trained nor kept


def compute(stage: Stage, progress: Progress) -> Path:
    """Give the stage's encoder, computing whatever is not there yet, the stages before it first.

    Returns:
        The folder of the encoder.
    """
    if stage.product.exists():
        return stage.product
    begun = compute(stage.before, progress) if stage.before else stage.encoder["weights"]
    stage.folder.mkdir(parents=True, exist_ok=True)
    write_text(stage.folder / "stage.yaml", yaml.safe_dump(asdict(stage.settings), sort_keys=False))
    maker = _clusters(stage, None if begun is None else str(begun), progress)
    store = Store(stage.runs / "store", maker)
    warm(stage.clips, store, lambda done, of: progress("clusters", done, of))
    model, method = _model(stage, begun, len(maker.centres))
    started = time.perf_counter()
    _fit(stage, model, method, store, progress)
    facts = environment(time.perf_counter() - started)
    write_text(stage.folder / "environment.json", json.dumps(facts, indent=2) + "\n")
    _keep(stage, model.cpu(), method.cpu())
    (stage.folder / "training.pt").unlink(missing_ok=True)
    return stage.product


def vectors_of(encoder: str | Path | None) -> tuple[list[str], torch.Tensor] | None:
    """Read whom a pre-trained encoder has vectors of, and the vectors (speaker, feature); None where it has none."""
    folder = None if encoder is None else weights.find(str(encoder))
    if folder is None or not (folder / SPEAKERS).exists():
        return None
    try:
        names = json.loads((folder / SPEAKERS).read_text(encoding="utf-8"))
        vectors = safetensors.torch.load_file(folder / VECTORS)["vectors"]
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise SereneError(f"The speakers' vectors in {folder} are not readable: {error!r}.") from error
    return list(names), vectors


def _fit(stage: Stage, model: EmotionModel, method: MaskedPrediction, store: Store, progress: Progress) -> None:
    assert isinstance(model.encoder, Hubert)
    told = {"stride": model.encoder.stride, "crop": round(stage.settings.crop * SAMPLE_RATE), "known": stage.known}
    train = Unlabelled(stage.trained, store, **told)
    held = [u for u in stage.clips if u.id in stage.held_out]
    groups = [stage.held_out[u.id] for u in held]
    validation = Unlabelled(held, store, **told, groups=groups) if held else None
    trainer = Trainer(**stage.settings.training)
    epochs = stage.settings.training["epochs"]
    trainer.fit(
        model,
        method,
        train,
        validation and (lambda trained: method.validate(trained, validation, trainer.device)),
        seed=stage.settings.seed,
        folder=stage.folder,
        on_epoch=lambda row: progress("pre-training", int(row["epoch"]), epochs),
    )


def _model(stage: Stage, begun: Path | str | None, centres: int) -> tuple[EmotionModel, MaskedPrediction]:
    """Build the encoder that the stage begins with, its predictor, and the speakers' vectors."""
    torch.manual_seed(stage.settings.seed)
    known = stage.known
    encoder = {**stage.encoder, "weights": None if begun is None else str(begun), "train": "all"}
    encoder["config"] = None if begun is not None else stage.encoder["config"]
    parts = Parts(pooling="mean", hidden=(), head="linear", speaker_embedding=stage.settings.speaker_embedding)
    model = EmotionModel(
        NOTHING, 1, encoder="hubert", encoder_settings=encoder, normalize=stage.normalize, speakers=known, parts=parts
    )
    method = method_of(stage.settings, centres)
    method.attach(model, len(known))
    if stage.before is not None:
        _go_on(stage.before, model, method, stage.settings.targets.source == "previous")
    return model, method


def _go_on(before: Stage, model: EmotionModel, method: MaskedPrediction, same_clusters: bool) -> None:
    """Take up the speakers' vectors of the stage before and, where the clusters are the same, its predictor."""
    if same_clusters:
        try:
            method.load_state_dict(safetensors.torch.load_file(before.folder / PREDICTOR))
        except RuntimeError as error:
            raise SereneError(f"The predictor of the stage before does not fit this one's method: {error}") from error
    kept = vectors_of(before.product)
    if kept is not None and isinstance(model.speaker_embedding, PersonalVectors):
        place = {name: i for i, name in enumerate(kept[0])}
        with torch.no_grad():
            for row, name in enumerate(model.speakers):
                if name in place:
                    model.speaker_embedding.vectors[row] = kept[1][place[name]]


def _clusters(stage: Stage, begun: str | None, progress: Progress) -> Clusters:
    """Give the front end of the stage's targets; its centres are given, those of the stage before, or fitted."""
    targets, path = stage.settings.targets, stage.folder / QUANTIZER
    if targets.source == "previous":
        assert stage.before is not None
        before = stage.before
        maker = _clusters(before, str(before.before.product) if before.before else before.encoder["weights"], progress)
        clusters.write(maker.centres, path)
        return maker
    base, rate = _base(targets.source, targets.layer, begun)
    if targets.quantizer is not None and not path.exists():
        clusters.write(clusters.read(targets.quantizer), path)
    if not path.exists():
        count = stage.settings.method["clusters"]
        clusters.write(clusters.fit(_frames(stage, base, progress), count, stage.settings.seed), path)
    return Clusters(base, clusters.read(path), rate)


def _base(source: str, layer: int | None, begun: str | None) -> tuple[FrontEnd, float]:
    """Give what makes the frames to be clustered, and how many there are per second."""
    if source == "mfcc":
        return Mfcc(deltas=2, voice_activity=False, energy=False), Mfcc.declared.rate
    frozen = Frozen(weights=str(begun) if source == "encoder" else source, layers=layer, pooled=False)
    return frozen, frozen.frame_rate


def _frames(stage: Stage, base: FrontEnd, progress: Progress) -> Iterator[np.ndarray]:
    """Give the frames of the clips that the clusters are fitted on, one clip after the other."""
    clips = {u.id: u for u in stage.trained}
    count = max(1, round(stage.settings.targets.share * len(clips)))
    for done, name in enumerate(shuffled(clips, stage.settings.seed, "clusters")[:count], 1):
        yield base(samples_of(clips[name], base.spec.shortest))
        progress("fitting clusters", done, count)


def _keep(stage: Stage, model: EmotionModel, method: MaskedPrediction) -> None:
    """Write the encoder as transformers does, and last: its folder says that the stage is done."""
    (stage.folder / PREDICTOR).write_bytes(safetensors.torch.save(dict(method.state_dict())))
    before = training_clips_of(str(stage.before.product) if stage.before else stage.encoder["weights"])
    trained = before | {str(u.audio_hash) for u in stage.trained}
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
