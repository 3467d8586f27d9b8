"""One training of one fold: datasets, model, method, trainer; then scores, speaker probes, and all of it kept."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from threadpoolctl import threadpool_limits

from serene import protocols, registry
from serene.audio.augment import Augment
from serene.audio.dataset import Dataset, contexts_of, statistics_of
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.corpora.manifest import Utterance
from serene.evaluation import metrics, reliability
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import TooFewClips, speaker_probe
from serene.experiment.run import Trial
from serene.experiment.sections import Recipe
from serene.files import whole_file, write_text
from serene.models.model import EmotionModel
from serene.models.parts import PERSONAL
from serene.models.scoring import Scores, score
from serene.models.speaker_embedding import PersonalVectors, SpeakerMfcc, vectors_of
from serene.models.training_speakers import TrainingSpeakers, training_speakers_of
from serene.protocols import Split
from serene.task import Task
from serene.training.environment import environment
from serene.training.trainer import Selected, Trainer

SCORED = 64  # clips per batch where nothing is trained
EVENTS = {"tensorboard": "torch.utils.tensorboard:SummaryWriter"}


def train_trial(
    recipe: Recipe,
    task: Task,
    store_folder: Path,
    split: Split,
    speakers: tuple[Utterance, ...],
    beginning: Path | None,
    of_folds: int,
    trial: Trial,
    tensorboard: bool,
    tell: Callable[[Path, int], None],
) -> None:
    """Train one fold with one seed, score validation and test, probe the embeddings, and keep it all.

    Args:
        recipe: the settings.
        task: what is learnt.
        store_folder: of computed features.
        split: the fold.
        speakers: the clips of the speaker corpus; none for methods that learn from no such corpus.
        beginning: the encoder that the recipe's stages made.
        of_folds: how many folds the protocol has.
        trial: where it goes.
        tensorboard: also write TensorBoard events.
        tell: called with the trial's folder and each epoch that is done, at last with the number of epochs.
    """
    torch.set_num_threads(1)  # small models are slower on several, and sums then depend on how many there are
    threadpool_limits(1)  # so are scikit-learn's probes, several times so where trainings run side by side
    store = store_of(recipe, store_folder)
    known = known_to(recipe, split, beginning)
    parts = datasets_of(recipe, task, split, store, known)
    trainer = recipe.training.make()
    stream = stream_of(recipe, speakers, split, store)
    model, selected = _fit(recipe, trainer, parts, known, stream, beginning, trial, tensorboard, tell)
    if isinstance(model.speaker_embedding, PersonalVectors):
        keep_voices(model, parts["train"], trainer.device)
    started = time.perf_counter()
    if "validation" in parts and model.task.gives == "probabilities":
        model.temperature = temperature_of(model, parts["validation"], trainer.device)
    scores = {part: score(model, dataset, device=trainer.device) for part, dataset in parts.items()}
    probes = probes_of(recipe, model, split, parts, trainer.device)
    met = TrainingSpeakers.made(split, stream.utterances if stream else (), training_speakers_of(recipe.frozen_weights))
    front_end = recipe.front_end.plain("front_end")
    model.cpu().save(trial.folder / "model", front_end, met)
    facts = {"selected_epoch": selected.epoch, "epochs_run": len(selected.rows), "selection": selected.rule}
    facts |= {"temperature": model.temperature}
    seconds = sum(row["seconds"] for row in selected.rows) + time.perf_counter() - started
    facts |= {"split": describe(split), "of_folds": of_folds, **environment(seconds)}
    _keep(trial, recipe, scores, probes, facts)
    run = {
        "fold": trial.fold,
        "seed": trial.seed,
    }
    Predictions.concatenate(
        Predictions.of_clips(clips, scores[part].outputs, task, part=part, **run)
        for part, clips in (("validation", split.validation), ("test", split.test))
        if clips
    ).write(trial.folder / "predictions.csv")
    (trial.folder / "training.pt").unlink(missing_ok=True)
    tell(trial.folder, recipe.training["epochs"])


def _fit(
    recipe: Recipe,
    trainer: Trainer,
    parts: Mapping[str, Dataset],
    known: Sequence[str],
    stream: SpeakerStream | None,
    beginning: Path | None,
    trial: Trial,
    tensorboard: bool,
    tell: Callable[[Path, int], None],
) -> tuple[EmotionModel, Selected]:
    """Build model and method, and train them; the model holds the selected epoch's weights."""
    train = parts["train"]
    torch.manual_seed(trial.seed)
    model = new_model(recipe, train, known, beginning)
    method = recipe.method.make()
    method.attach(model, stream.speakers if stream else len({u.speaker for u in train.utterances}))
    trial.folder.mkdir(parents=True, exist_ok=True)
    with _events(trial.folder, tensorboard) as write_events:

        def on_epoch(row: Mapping[str, float]) -> None:
            write_events(row)
            tell(trial.folder, int(row["epoch"]))

        validation = parts.get("validation")
        validate = validation and (lambda trained: measured(trained, validation, device=trainer.device))
        where = {"seed": trial.seed, "folder": trial.folder}
        return model, trainer.fit(model, method, train, validate, **where, speakers=stream, on_epoch=on_epoch)


def measured(model: EmotionModel, dataset: Dataset, *, device: str = "cpu") -> dict[str, float]:
    """Score validation clips exactly as the test; give what a training logs of them and may select on."""
    outputs = score(model, dataset, device=device).outputs
    figures = metrics.OF_TASK[model.task.metric](dataset.targets.numpy(), outputs)
    return {f"validation_{name}": value for name, value in figures.items()}


def temperature_of(model: EmotionModel, validation: Dataset, device: str) -> float:
    """Find the temperature that suits clips which were not trained on."""
    log_probabilities = np.log(np.maximum(score(model, validation, device=device).outputs, metrics.SMALLEST))
    return reliability.fit_temperature(log_probabilities, validation.targets.numpy())


def store_of(recipe: Recipe, folder: Path) -> Store:
    """Give the store of what the recipe's front end makes."""
    return Store(folder, recipe.front_end.make())


def known_to(recipe: Recipe, split: Split, beginning: Path | None) -> tuple[str, ...]:
    """Name the persons whom the recipe's model has vectors of: those of its pre-training, or of its training part."""
    parts = recipe.model.parts
    if "identity" not in recipe.needs:
        return ()
    kept = vectors_of(beginning or recipe.initial_weights) if parts.speaker_embedding in PERSONAL else None
    return tuple(kept[0]) if kept else tuple(sorted({u.person for u in split.train}))


def new_model(recipe: Recipe, train: Dataset, known: Sequence[str] = (), beginning: Path | None = None) -> EmotionModel:
    """Build the recipe's model, untrained but for its encoder, with the statistics of its training part."""
    encoder = (
        recipe.model.encoder if beginning is None else recipe.model.encoder.but(weights=str(beginning), config=None)
    )
    model = EmotionModel(
        train.task,
        train.store.front_end.spec.width,
        encoder=encoder.name,
        encoder_settings=encoder.settings,
        normalize=recipe.features.normalize,
        enrolment_prior=recipe.features.enrolment_prior,
        speakers=known,
        parts=recipe.model.parts,
    )
    if model.scaled:
        model.set_target_statistics(train.targets)
    if model.needs_feature_statistics:
        model.set_feature_statistics(statistics_of(train.utterances, train.store))
    if train.contexts is not None and isinstance(model.speaker_embedding, SpeakerMfcc):
        people = sorted({u.person for u in train.utterances})
        cepstra = np.stack([train.contexts[person].cepstra for person in people])
        model.speaker_embedding.set_statistics(torch.from_numpy(cepstra))
    kept = vectors_of(encoder.settings.get("weights"))
    if kept is not None and isinstance(model.speaker_embedding, PersonalVectors):
        model.speaker_embedding.vectors.data.copy_(kept[1])
    return model


@torch.no_grad()
def keep_voices(model: EmotionModel, train: Dataset, device: str) -> None:
    """Let a model with speakers' vectors keep how each training speaker sounds without one, for unseen ones."""
    assert isinstance(model.speaker_embedding, PersonalVectors)
    voices = torch.zeros_like(model.speaker_embedding.voices)
    counts = torch.zeros(len(voices), 1, device=voices.device)
    for batch in train.in_order(SCORED):
        features = model.features(batch.to(device))
        assert features.speaker is not None
        known = features.speaker >= 0
        voices.index_add_(0, features.speaker[known], model.voice(features)[known])
        counts.index_add_(0, features.speaker[known], torch.ones_like(voices[:1, :1]).expand(int(known.sum()), 1))
    model.speaker_embedding.voices.copy_(voices / counts.clamp(min=1))


def datasets_of(
    recipe: Recipe, task: Task, split: Split, store: Store, known_persons: tuple[str, ...] = ()
) -> dict[str, Dataset]:
    """Make the datasets of the parts that are not empty, for a model that knows some persons by name."""
    speakers = sorted({u.speaker for u in split.train})
    told = contexts_of(split.unlabelled, recipe.needs, store, known=known_persons)
    features = recipe.features
    augment = Augment(features.augment, features.augment_probability) if features.augment else None
    crop = store.front_end.spec.frames(features.crop) if features.crop else None
    known: dict[str, Any] = {"task": task, "speakers": speakers, "augment": augment, "crop": crop}
    known["contexts"] = told if recipe.needs - {"embeddings"} else None
    parts = (("train", split.train), ("validation", split.validation), ("test", split.test))
    return {part: Dataset(clips, store, **known) for part, clips in parts if clips}


def stream_of(recipe: Recipe, speakers: tuple[Utterance, ...], split: Split, store: Store) -> SpeakerStream | None:
    """Give the stream of the speaker corpus, without whoever validates or tests, should both corpora be one."""
    if recipe.speakers is None:
        return None
    shares = split.validation_rule in protocols.RANDOM_SHARES  # its speakers are training's, and may be trained on
    names = {(u.corpus, u.speaker) for u in (*split.test, *(() if shares else split.validation))}
    scored = {u.audio_hash for u in (*split.validation, *split.test)}
    others = [u for u in speakers if (u.corpus, u.speaker) not in names and u.audio_hash not in scored]
    return SpeakerStream(
        others,
        store,
        batch_size=recipe.speakers.batch_size,
        crop=recipe.speakers.crop,
        enrol=recipe.features.normalize == "speaker",
        enrolment_clips=recipe.features.enrolment_clips,
    )


def probes_of(
    recipe: Recipe, model: EmotionModel, split: Split, datasets: Mapping[str, Dataset], device: str
) -> dict[str, Any]:
    """Probe the embeddings of unseen and of training speakers; None where no two speakers can be told apart.

    A model whose very task is the speaker is not probed.

    Where one speaker is tested, those who validate are unseen as well, unless they were trained on.
    """
    alone = len({u.speaker for u in split.test}) < 2
    unseen = ["validation", "test"] if alone and split.validation_rule not in protocols.RANDOM_SHARES else ["test"]
    probed: dict[str, Any] = {}
    for name, parts in (("test", unseen), ("train", ["train"])):
        dataset = Dataset.joined([datasets[part] for part in parts if part in datasets])
        probed[name] = None
        if model.task.speaker_probe and len({u.speaker for u in dataset.utterances}) > 1:
            with contextlib.suppress(TooFewClips):
                found = probe_of(model, dataset, device=device, enrolment_clips=recipe.features.enrolment_clips)
                probed[name] = found | {"parts": parts}
    return probed


def probe_of(
    model: EmotionModel, dataset: Dataset, *, device: str = "cpu", enrolment_clips: int | None = None
) -> dict[str, Any]:
    """Probe a model's embedding for the speakers of a dataset; see `serene.evaluation.probes.speaker_probe`.

    A model that standardises by speaker embeds the clips anew in every draw, each speaker enrolled by clips of the
    same half alone: all of them, or `enrolment_clips`.
    """

    def within_halves(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        embeddings = {}
        for half in (first, ~first):
            part = dataset.enrolled_by_own_clips(rows[half], enrolment_clips)
            embeddings |= dict(zip(rows[half].tolist(), score(model, part, device=device).embeddings, strict=True))
        return np.stack([embeddings[row] for row in rows.tolist()])

    texts = [u.text_id for u in dataset.utterances]
    return speaker_probe(
        score(model, dataset, device=device).embeddings,
        [u.speaker for u in dataset.utterances],
        texts if any(texts) else None,
        within_halves=within_halves if model.normalize == "speaker" else None,
    )


def _keep(
    trial: Trial, recipe: Recipe, scores: Mapping[str, Scores], probes: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    ids = {part: list(s.ids) for part, s in scores.items()}
    write_text(trial.folder / "recipe.yaml", recipe.to_yaml())
    for name, content in (("probes", probes), ("embeddings", ids), ("environment", facts)):
        write_text(
            trial.folder / f"{name}.json", json.dumps(content, indent=None if name == "embeddings" else 2) + "\n"
        )
    with whole_file(trial.folder / "embeddings.safetensors") as temporary:
        temporary.write_bytes(safetensors.numpy.save({part: s.embeddings for part, s in scores.items()}))


def describe(split: Split) -> dict[str, Any]:
    """State what a report has to know of a split once the corpus is out of reach."""
    return {
        "protocol": split.protocol,
        "version": split.version,
        "validation_rule": split.validation_rule,
        "speaker_independent": split.speaker_independent,
        "saw_unlabelled_test_audio": split.saw_unlabelled_test_audio,
        "stamps": list(split.stamps),
    }


@contextlib.contextmanager
def _events(folder: Path, wanted: bool) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Give a function that writes a row of the log as TensorBoard events, or one that does nothing."""
    if not wanted:
        yield lambda row: None
        return
    with registry.load("tensorboard", EVENTS, "tracker")(os.fspath(folder / "tensorboard")) as writer:

        def write(row: Mapping[str, float]) -> None:
            for name, value in row.items():
                writer.add_scalar(name, value, int(row["epoch"]))

        yield write
