"""The whole line on one page: recipe -> corpus -> splits x seeds -> trained cells -> report."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch

from serene import protocols, registry
from serene.audio import FRONT_ENDS
from serene.audio.dataset import Dataset, features, frame_statistics, warm
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import prepare
from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import speaker_leak
from serene.evaluation.scoring import Scores, score
from serene.files import whole_file, write_text
from serene.methods import METHODS
from serene.models import ENCODERS
from serene.models.model import EmotionModel
from serene.protocols import Split
from serene.recipe import Recipe
from serene.run import Cell, Run, environment
from serene.trainer import Trainer
from serene.workers import work

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def silent(_what: str, _done: int, _of: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Plan:
    """A recipe that has met its corpus: everything that is decided before training.

    Attributes:
        recipe: the settings.
        emotions: the classes, in the order of the scores.
        splits: the protocol's folds, all of them.
        run: where the cells go.
        store: folder of computed features.
    """

    recipe: Recipe
    emotions: tuple[str, ...]
    splits: tuple[Split, ...]
    run: Run
    store: Path

    @property
    def cells(self) -> list[tuple[Split, Cell]]:
        """The folds and seeds that the recipe asks for."""
        wanted = self.recipe.run
        names = [split.fold for split in self.splits]
        for fold in wanted or ():
            if fold not in names:
                raise SereneError(f"protocol.run asks for fold '{fold}'; the folds are {', '.join(names)}.")
        chosen = [split for split in self.splits if wanted is None or split.fold in wanted]
        return [(split, self.run.cell(split.fold, seed)) for split in chosen for seed in self.recipe.seeds]


def plan(recipe: Recipe, runs: Path, progress: Progress = silent) -> Plan:
    """Read the corpus, choose the labels, prove the splits, and begin or take up the run's folder.

    Raises:
        SereneError: whatever is wrong with recipe, corpus or protocol, before anything is trained.
    """
    manifest = load_corpus(recipe, runs, progress)
    labelled, emotions = choose(
        manifest, target=recipe.labels.target, use=recipe.labels.use, join=recipe.labels.join
    )
    settings = {key: value for key, value in recipe.protocol.items() if key != "name"}
    splits = protocols.make_splits(recipe.protocol["name"], labelled, settings)
    if recipe.features.normalize == "speaker":
        splits = [split.hearing_unlabelled(recipe.features.enrolment_clips) for split in splits]
    if any(not split.validation for split in splits) and recipe.training["select_on"] != "last":
        raise SereneError("The protocol keeps no validation part; set training.select_on to 'last'.")
    run = Run.begin(runs, recipe, labelled.digest)
    return Plan(recipe, emotions, tuple(splits), run, runs / "store")


def load_corpus(recipe: Recipe, runs: Path, progress: Progress = silent) -> Manifest:
    """Read the recipe's manifest, or prepare its corpus folder: once, as long as the folder does not change."""
    settings = recipe.corpus
    if settings.path is None:
        raise SereneError(
            f"The recipe does not say where the corpus '{settings.name}' lies: add corpus.path=FOLDER, or the manifest "
            "that `serene prepare` made."
        )
    path = Path(settings.path)
    if path.is_file() and path.suffix == ".jsonl" and settings.name != "table":
        manifest = Manifest.read(path)
    else:
        kept = runs / "manifests" / f"{settings.name}-{_fingerprint(path)}.jsonl"
        if kept.exists():
            manifest = Manifest.read(kept)
        else:
            manifest = prepare(settings.name, path, progress=lambda done, of: progress("decoding", done, of))
            manifest.write(kept)
    return manifest.only(settings.only) if settings.only else manifest


def train(
    recipe: Recipe, runs: Path, *, jobs: int = 1, progress: Progress = silent, tensorboard: bool = False
) -> Run:
    """Train every fold and seed that has not finished, then return the run.

    Args:
        recipe: the settings.
        runs: folder of runs; features and prepared manifests are kept there too.
        jobs: trainings at a time, each in a process of its own and on one thread; results do not depend on it.
        progress: told about decoding, features and epochs.
        tensorboard: also write TensorBoard events into each cell's folder.
    """
    planned = plan(recipe, runs, progress)
    todo = [(split, cell) for split, cell in planned.cells if not cell.finished]
    utterances = {u.id: u for split, _ in todo for u in (*split.train, *split.validation, *split.test)}
    warm(list(utterances.values()), _store(planned), lambda done, of: progress("features", done, of))
    epochs = recipe.training["epochs"]
    reached: dict[Path, int] = {}

    def heard(folder: Path, epoch: int) -> None:
        reached[folder] = epoch
        progress("training", sum(reached.values()), len(todo) * epochs)

    tasks = [(planned, split, cell, tensorboard) for split, cell in todo]
    work(train_cell, tasks, jobs=jobs, heard=heard)
    return planned.run


def train_cell(planned: Plan, split: Split, cell: Cell, tensorboard: bool, tell: Callable[[Path, int], None]) -> None:
    """Train one fold with one seed, score validation and test, probe the embeddings, and keep it all.

    Args:
        planned: the experiment.
        split: the fold.
        cell: where it goes.
        tensorboard: also write TensorBoard events.
        tell: called with the cell's folder and each epoch that is done, at last with the number of epochs.
    """
    started = time.perf_counter()
    torch.set_num_threads(1)  # small models are slower on several, and sums then depend on how many there are
    recipe, store = planned.recipe, _store(planned)
    parts = _datasets(planned, split, store)
    speakers = sorted({u.speaker for u in split.train})

    torch.manual_seed(cell.seed)
    model = new_model(recipe, planned.emotions, store.maker.width)
    model.set_feature_statistics(frame_statistics([features(u, store) for u in split.train]))
    method = _build(recipe.method, "name", METHODS, "method")
    method.attach(model, len(speakers))
    trainer = Trainer(**recipe.training)
    cell.folder.mkdir(parents=True, exist_ok=True)
    with _events(cell.folder, tensorboard) as write_events:

        def after_epoch(row: Mapping[str, float]) -> None:
            write_events(row)
            tell(cell.folder, int(row["epoch"]))

        selected = trainer.fit(
            model, method, parts["train"], parts.get("validation"), seed=cell.seed, folder=cell.folder, on_epoch=after_epoch
        )
    scores = {part: score(model, dataset, device=trainer.device) for part, dataset in parts.items()}
    probes = _leaks(recipe, split, scores)
    model.cpu().save(cell.folder / "model", {"front_end": model.encoder.front_end, **recipe.front_end})
    _keep(cell, recipe, scores, probes)
    facts = {"selected_epoch": selected.epoch, "epochs_run": len(selected.rows), "selection": selected.rule}
    facts |= {"split": _describe(split), "environment": environment(time.perf_counter() - started)}
    write_text(cell.folder / "environment.json", json.dumps(facts, indent=2) + "\n")
    _predictions(planned, split, cell, scores).write(cell.folder / "predictions.csv")
    (cell.folder / "training.pt").unlink(missing_ok=True)
    tell(cell.folder, recipe.training["epochs"])


def new_model(recipe: Recipe, emotions: tuple[str, ...], width: int) -> EmotionModel:
    """Build the recipe's model, untrained."""
    settings = {key: value for key, value in recipe.model.items() if key != "encoder"}
    return EmotionModel(
        emotions,
        width,
        encoder=recipe.model["encoder"],
        encoder_settings=settings,
        normalize=recipe.features.normalize,
    )


def enrol(clips: Mapping[str, list[Utterance]], store: Store) -> dict[str, np.ndarray]:
    """Give each speaker the (2, feature) mean and deviation of their clips' frames, labels unseen."""
    return {speaker: frame_statistics([features(u, store) for u in own]) for speaker, own in clips.items()}


def _store(planned: Plan) -> Store:
    encoder = registry.load(planned.recipe.model["encoder"], ENCODERS, "encoder")
    maker = registry.load(encoder.front_end, FRONT_ENDS, "front end")(**planned.recipe.front_end)
    return Store(planned.store, maker)


def _build(settings: Mapping[str, Any], key: str, table: Mapping[str, str], kind: str) -> Any:
    return registry.load(settings[key], table, kind)(**{k: v for k, v in settings.items() if k != key})


def _datasets(planned: Plan, split: Split, store: Store) -> dict[str, Dataset]:
    """Make the datasets of the parts that are not empty."""
    enrolment = None
    if planned.recipe.features.normalize == "speaker":
        clips: dict[str, list[Utterance]] = defaultdict(list)
        for utterance in {u.id: u for u in (*split.train, *split.unlabelled)}.values():
            clips[utterance.speaker].append(utterance)
        limit = planned.recipe.features.enrolment_clips
        enrolment = enrol({speaker: own[:limit] for speaker, own in clips.items()}, store)
    speakers = sorted({u.speaker for u in split.train})
    return {
        part: Dataset(clips, store, emotions=planned.emotions, speakers=speakers, enrolment=enrolment)
        for part, clips in (("train", split.train), ("validation", split.validation), ("test", split.test))
        if clips
    }


def _leaks(recipe: Recipe, split: Split, scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Probe the embeddings of strangers and of training speakers; None where there is only one speaker to tell."""
    standardize = "per_speaker" if recipe.features.normalize == "speaker" else "pooled"
    probed = {}
    for part, clips in (("test", split.test), ("train", split.train)):
        speakers = [u.speaker for u in clips]
        texts = [u.text_id or "" for u in clips] if all(u.text_id for u in clips) else None
        enough = len(set(speakers)) > 1
        probed[part] = speaker_leak(scores[part].embeddings, speakers, texts, standardize=standardize) if enough else None
    return probed


def _keep(cell: Cell, recipe: Recipe, scores: Mapping[str, Scores], probes: Mapping[str, Any]) -> None:
    write_text(cell.folder / "recipe.yaml", recipe.to_yaml())
    write_text(cell.folder / "probes.json", json.dumps(probes, indent=2) + "\n")
    ids = {part: list(s.ids) for part, s in scores.items()}
    write_text(cell.folder / "embeddings.json", json.dumps(ids) + "\n")
    with whole_file(cell.folder / "embeddings.safetensors") as temporary:
        safetensors.numpy.save_file({part: s.embeddings for part, s in scores.items()}, temporary)


def _predictions(planned: Plan, split: Split, cell: Cell, scores: Mapping[str, Scores]) -> Predictions:
    """Put validation and test into one table."""
    return Predictions.concatenate(
        Predictions.from_scores(
            ids=[u.id for u in clips],
            speakers=[u.speaker for u in clips],
            truth=[str(u.emotion) for u in clips],
            scores=scores[part].probabilities,
            classes=planned.emotions,
            part=part,
            fold=cell.fold,
            seed=cell.seed,
        )
        for part, clips in (("validation", split.validation), ("test", split.test))
        if clips
    )


def _describe(split: Split) -> dict[str, Any]:
    """State what a report has to know of a split once the corpus is out of reach."""
    return {
        "protocol": split.protocol,
        "version": split.version,
        "validation_rule": split.validation_rule,
        "speaker_independent": split.speaker_independent,
        "saw_unlabelled_test_audio": split.saw_unlabelled_test_audio,
        "stamps": list(split.stamps),
    }


def _fingerprint(folder: Path) -> str:
    """Identify a corpus folder's files by name, size and time, without reading them."""
    if not folder.exists():
        return "absent"  # the reader says what is missing, and where the corpus is had
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    lines = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths]
    return hashlib.sha256("\n".join([str(folder.resolve()), *lines]).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _events(folder: Path, wanted: bool) -> Any:
    """Give a function that writes a row of the log as TensorBoard events, or one that does nothing."""
    if not wanted:
        yield lambda row: None
        return
    writer = registry.load("writer", {"writer": "torch.utils.tensorboard:SummaryWriter"}, "tracker")(
        os.fspath(folder / "tensorboard")
    )

    def write(row: Mapping[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, int(row["epoch"]))

    with writer:
        yield write
