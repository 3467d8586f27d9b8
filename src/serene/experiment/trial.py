"""One training of one fold: datasets, model, method, trainer; then scores, speaker probes, and all of it kept."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from threadpoolctl import threadpool_limits

from serene import registry
from serene.audio.augment import Augment
from serene.audio.dataset import Dataset, contexts_of, statistics_of
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.errors import SereneError
from serene.evaluation import metrics, reliability
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import TooFewClips, WithinHalves
from serene.experiment.embedding_probes import probes_of
from serene.experiment.plan import Plan, copies_of, stored_by, stream_of
from serene.experiment.run import CHECKPOINT, Trial
from serene.experiment.sections import Recipe
from serene.files import whole_file, write_text
from serene.models.model import EmotionModel
from serene.models.parts import PERSONAL
from serene.models.scoring import TOGETHER, Scores, TorchNetwork, score
from serene.models.speaker_embedding import PersonalVectors, SpeakerMfcc, vectors_of
from serene.models.speaker_whitening import SpeakerWhitening
from serene.models.training_speakers import TrainingSpeakers, training_speakers_of
from serene.protocols import Split
from serene.task import Task
from serene.training import distribution
from serene.training.checkpoint import environment
from serene.training.trainer import Selected, Trainer

EVENTS = {"tensorboard": "torch.utils.tensorboard:SummaryWriter"}


def train_trial(
    plan: Plan, split: Split, trial: Trial, beginning: Path | None, tensorboard: bool, tell: Callable[[Path, int], None]
) -> None:
    """Train one fold with one seed, score validation and test, probe the embeddings, and keep it all.

    Args:
        plan: of the recipe.
        split: the fold.
        trial: where it goes.
        beginning: the encoder that the recipe's stages made.
        tensorboard: also write TensorBoard events.
        tell: called with the trial's folder and each epoch that is done, at last with the number of epochs.

    Raises:
        SereneError: another process trains it.
    """
    with distribution.held(trial.folder):
        if not distribution.first(lambda: trial.finished):  # by another process, since this one began
            _train(plan, split, trial, beginning, tensorboard, tell)
    tell(trial.folder, plan.recipe.training["epochs"])


def _train(
    plan: Plan, split: Split, trial: Trial, beginning: Path | None, tensorboard: bool, tell: Callable[[Path, int], None]
) -> None:
    torch.set_num_threads(1)  # small models are slower on several, and sums then depend on how many there are
    threadpool_limits(1)  # so are scikit-learn's probes, several times so where trainings run side by side
    recipe, store = plan.recipe, Store(plan.store, stored_by(plan.recipe, beginning))
    known = known_to(recipe, split, beginning)
    parts = datasets_of(recipe, plan.task, split, store, known)
    trainer, stream = recipe.training.make(), stream_of(recipe, plan.speakers, split, store)
    device = trainer.device
    torch.manual_seed(trial.seed)
    model = new_model(recipe, parts["train"], known, beginning)
    within = estimate(model.whitening, model, parts["train"], stream) if model.whitening is not None else None
    with _told(trial.folder, tensorboard and distribution.writes(), tell) as on_epoch:
        selected = _fit(recipe, trainer, model, parts, stream, seed=trial.seed, folder=trial.folder, on_epoch=on_epoch)
    if isinstance(model.speaker_embedding, PersonalVectors):
        keep_voices(model, parts["train"], device)
    started = time.perf_counter()
    if "validation" in parts:
        model.temperature = model.task.temperature(lambda: temperature_of(model, parts["validation"], device))
    scores = {part: score(model, dataset, device=device) for part, dataset in parts.items()}
    probes = probes_of(recipe, model, split, parts, device, within)
    if not distribution.writes():
        return
    before = training_speakers_of(recipe.front_end.make())
    met = TrainingSpeakers.made(split, stream.utterances if stream else (), before)
    model.cpu().save(trial.folder / "model", recipe.front_end.plain("front_end"), met)
    seconds = sum(row["seconds"] for row in selected.rows) + time.perf_counter() - started
    facts = {"selected_epoch": selected.epoch, "epochs_run": len(selected.rows), "selection": selected.rule}
    facts |= {"temperature": model.temperature, "split": describe(split), "of_folds": plan.of_folds}
    _keep(trial, recipe, scores, probes)
    where, held = {"fold": trial.fold, "seed": trial.seed}, {"validation": split.validation, "test": split.test}
    kept = {part: clips for part, clips in held.items() if clips}
    answers = (Predictions.of_clips(kept[part], scores[part].outputs, plan.task, part=part, **where) for part in kept)
    trial.finish(facts | environment(seconds), Predictions.concatenate(answers))
    (trial.folder / CHECKPOINT).unlink(missing_ok=True)


def _fit(
    recipe: Recipe,
    trainer: Trainer,
    model: EmotionModel,
    parts: Mapping[str, Dataset],
    stream: SpeakerStream | None,
    **given: Any,
) -> Selected:
    """Train a model by the recipe's method; it holds the selected epoch's weights then."""
    train, validation, method = parts["train"], parts.get("validation"), recipe.method.make()
    method.attach(model, stream.speakers if stream else len(train.utterances.counts("speaker")))
    validate = (lambda trained: measured(trained, validation, device=trainer.device)) if validation else None
    return trainer.fit(model, method, train, validate, speakers=stream, **given)


def temperature_of(model: EmotionModel, validation: Dataset, device: str) -> float:
    """Find the temperature that suits clips which were not trained on."""
    log_probabilities = np.log(np.maximum(score(model, validation, device=device).outputs, metrics.SMALLEST))
    return reliability.fit_temperature(log_probabilities, validation.targets.numpy())


def measured(model: EmotionModel, dataset: Dataset, *, device: str = "cpu") -> dict[str, float]:
    """Score validation clips exactly as the test; give what a training logs of them and may select on."""
    outputs = score(model, dataset, device=device).outputs
    figures = metrics.OF_TASK[model.task.metric](dataset.targets.numpy(), outputs)
    return {f"validation_{name}": value for name, value in figures.items()}


def known_to(recipe: Recipe, split: Split, beginning: Path | None) -> tuple[str, ...]:
    """Name the persons whom the recipe's model has vectors of: those of its pre-training, or of its training part."""
    parts = recipe.model.parts
    if "identity" not in recipe.needs:
        return ()
    kept = vectors_of(beginning or recipe.initial_weights) if parts.speaker_embedding in PERSONAL else None
    return tuple(kept[0]) if kept else tuple(sorted({u.person for u in split.train}))


def new_model(recipe: Recipe, train: Dataset, known: Sequence[str] = (), beginning: Path | None = None) -> EmotionModel:
    """Build the recipe's model, untrained but for its encoder, with the statistics of its training part."""
    encoder = recipe.model.encoder
    if beginning is not None:
        encoder = encoder.but(weights=str(beginning), config=None)
    model = EmotionModel(
        train.task,
        recipe.front_end.make().spec.width,
        encoder=encoder.name,
        encoder_settings=encoder.settings,
        normalize=recipe.features.normalize,
        enrolment_prior=recipe.features.enrolment_prior,
        speakers=known,
        parts=recipe.model.parts,
    )
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
def estimate(
    whitening: SpeakerWhitening, model: EmotionModel, train: Dataset, stream: SpeakerStream | None
) -> WithinHalves | None:
    """Find how speakers differ, on as many parts of the speaker corpus as it has clips, or on the training part.

    Returns:
        What whitens training clips by a half of them alone, where they are what it was found on: a probe that is tested
        on the others would fall below chance, since a speaker's halves are opposites once their mean is gone.
    """
    embeddings = score(model, train).embeddings
    whitening.standardise(embeddings)  # and so whatever the model embeds from here on
    strength = model.parts.speaker_whitening
    if stream is not None:
        rng, network = np.random.default_rng(0), TorchNetwork(model.eval())
        batches = [stream.batch(rng) for _ in range(len(stream.utterances) // stream.batch_size + 1)]
        speakers = [str(speaker) for batch in batches for speaker in batch.speaker.tolist()]
        clips = np.concatenate([network(batch)[1] for batch in batches])
        whitening.estimate(clips, speakers, [""] * len(clips), strength)
        return None
    labels = np.array(train.task.truth(train.utterances) if train.task.gives != "values" else [""] * len(train))
    standard = whitening(torch.from_numpy(embeddings)).numpy()
    speakers = np.array([u.speaker for u in train.utterances])
    whitening.estimate(standard, speakers, labels, strength)

    def within_halves(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
        own, half = SpeakerWhitening(standard.shape[1]), rows[first]
        try:
            own.estimate(standard[half], speakers[half], labels[half], strength)
        except SereneError as error:
            raise TooFewClips(str(error)) from error
        return own(torch.from_numpy(standard[rows])).numpy()

    return within_halves


@torch.no_grad()
def keep_voices(model: EmotionModel, train: Dataset, device: str) -> None:
    """Let a model with speakers' vectors keep how each training speaker sounds without one, for unseen ones."""
    assert isinstance(model.speaker_embedding, PersonalVectors)
    voices = torch.zeros_like(model.speaker_embedding.voices)
    counts = torch.zeros(len(voices), dtype=torch.int64, device=voices.device)
    for batch in train.in_order(TOGETHER):
        features = model.features(batch.to(device))
        assert features.speaker is not None
        known = features.speaker >= 0
        voices.index_add_(0, features.speaker[known], model.voice(features)[known])
        counts += torch.bincount(features.speaker[known], minlength=len(counts))
    model.speaker_embedding.voices.copy_(voices / counts.clamp(min=1)[:, None])


def datasets_of(
    recipe: Recipe, task: Task, split: Split, store: Store, known_persons: tuple[str, ...] = ()
) -> dict[str, Dataset]:
    """Make the datasets of the parts that are not empty, for a model that knows some persons by name."""
    speakers = sorted({u.speaker for u in split.train})
    told = contexts_of(split.unlabelled, recipe.needs, store, known=known_persons)
    features = recipe.features
    copies = copies_of(recipe, store)
    augment = Augment(features.augment, features.augment_probability) if features.augment and not copies else None
    crop = store.front_end.spec.frames(features.crop) if features.crop else None
    known: dict[str, Any] = {"task": task, "speakers": speakers, "augment": augment, "copies": copies, "crop": crop}
    known["contexts"] = told if recipe.needs - {"embeddings"} else None
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    return {part: Dataset(clips, store, **known) for part, clips in parts.items() if clips}


def _keep(trial: Trial, recipe: Recipe, scores: Mapping[str, Scores], probes: Mapping[str, Any]) -> None:
    write_text(trial.folder / "recipe.yaml", recipe.to_yaml())
    write_text(trial.folder / "probes.json", json.dumps(probes, indent=2) + "\n")
    write_text(trial.folder / "embeddings.json", json.dumps({p: list(s.ids) for p, s in scores.items()}) + "\n")
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
def _told(
    folder: Path, tensorboard: bool, tell: Callable[[Path, int], None]
) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Give what each row of the log is told to, which may write it as TensorBoard events."""
    with contextlib.ExitStack() as stack:
        kind = registry.load("tensorboard", EVENTS, "tracker") if tensorboard else None
        writer: Any = kind and stack.enter_context(kind(str(folder / "tensorboard")))

        def on_epoch(row: Mapping[str, float]) -> None:
            for name, value in row.items() if writer else ():
                writer.add_scalar(name, value, int(row["epoch"]))
            tell(folder, int(row["epoch"]))

        yield on_epoch
