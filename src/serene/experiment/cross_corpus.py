"""Trained models meet a manifest they were not trained on: scored, or probed for the speaker."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from serene.audio import front_end_of
from serene.audio.dataset import Dataset, contexts_of, warm
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed
from serene.errors import SereneError
from serene.evaluation import shift
from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Report, ReportFacts, build
from serene.experiment.corpus import Progress, silent
from serene.experiment.run import Run
from serene.experiment.run_report import COLD_START, write_cards
from serene.experiment.trial import probe_of
from serene.experiment.unseen import Strangers, cold_start
from serene.files import write_text
from serene.models.model import EmotionModel
from serene.models.scoring import score
from serene.models.training_speakers import TrainingSpeakers
from serene.reporting.report_page import write_html
from serene.task import Task


def evaluate_on(run: Run, path: Path, progress: Progress = silent) -> tuple[Report, Path]:
    """Score a manifest with every model of a run; classes that the models do not know are left out and counted.

    So are clips that lack one of the models' dimensions. Models that learnt listeners' votes are scored against the
    manifest's emotions where it holds no votes.

    Args:
        run: trained; its models were kept.
        path: a manifest.
        progress: told about features and models.

    Returns:
        The report, and the folder inside the run's where it was written: with `cold_start.json`, accuracy by clips of
        enrolment, for models that standardise embeddings by speaker.

    Raises:
        SereneError: a model is gone, the manifest has fewer than two of the models' classes or lacks one of their
            dimensions, or the models name the speakers of another corpus.
    """
    trials, manifest = run.finished(), Manifest.read(path)
    models = [EmotionModel.load(trial.folder / "model") for trial in trials]
    task, target = models[0].task, _target(run, manifest, path)
    chosen = _of_known_classes(manifest, target, run.recipe.labels.join, task.names, path)
    clips = hashed(chosen, lambda done, of: progress("decoding", done, of)).utterances
    store = _store(trials[0].folder / "model", run.folder.parent / "store")
    warm(clips, store, lambda done, of: progress("features", done, of))
    enrolment_clips = run.recipe.features.enrolment_clips
    strangers = all(_strange(trial.folder / "model", clips) for trial in trials)
    predictions, shifts, strange_voices = [], [], []
    for done, (trial, model) in enumerate(zip(trials, models, strict=True), 1):
        scores = score(model, _dataset(model, clips, store, task, enrolment_clips))
        which = {"part": "test", "fold": trial.fold, "seed": trial.seed}
        predictions.append(Predictions.of_clips(clips, scores.outputs, task, **which))
        if "embeddings" in model.needs:
            strange_voices.append(Strangers(model, predictions[-1], scores.embeddings))
        training = trial.embeddings("train")
        shifts.append(training and shift.of_embeddings(training[1], scores.embeddings, [u.speaker for u in clips]))
        progress("scoring", done, len(trials))
    facts = ReportFacts(
        title=f"{run.recipe.name} on {path.stem}",
        protocol=f"cross-corpus: models of {run.folder.name}, all of {path.stem}",
        speaker_independent=strangers,
        selection=trials[0].json("environment.json")["selection"],
        saw_unlabelled_test_audio=bool(models[0].needs & {"features", "cepstra"}),
        stamps=_stamps(run, target, strangers, len(manifest) - len(clips), {u.corpus for u in clips}),
        target=target,
        corpus=path.stem,
        method=run.recipe.method.name,
        recipe_hash=run.identity,
    )
    report = build(Predictions.concatenate(predictions), facts, shifts=shifts)
    folder = run.folder / "on" / path.stem
    report.write(folder / "report.json")
    write_html([report], folder / "report.html")
    if strange_voices:
        write_text(folder / COLD_START.name, json.dumps(cold_start(strange_voices), indent=2) + "\n")
    write_cards(run)
    return report, folder


def probe_model(folder: Path, path: Path, progress: Progress = silent) -> dict[str, Any]:
    """Probe a model's embedding for the speakers of a manifest.

    Returns:
        What `serene.evaluation.probes.speaker_probe` returns.
    """
    model = EmotionModel.load(folder)
    clips = hashed(Manifest.read(path), lambda done, of: progress("decoding", done, of)).utterances
    with tempfile.TemporaryDirectory() as scratch:  # nothing of a probe is kept
        store = _store(folder, Path(scratch))
        warm(clips, store, lambda done, of: progress("features", done, of))
        return probe_of(model, _dataset(model, clips, store, Task(tuple(sorted({str(u.emotion) for u in clips})))))


def _target(run: Run, manifest: Manifest, path: Path) -> str:
    """Choose what the models are scored against: what they learnt, or the emotion for want of listeners' votes."""
    target, own = run.recipe.labels.target, run.recipe.corpus.name
    others = sorted({u.corpus for u in manifest if u.corpus is not None} - {own})
    if target == "speaker" and own != "table" and others:
        raise SereneError(
            f"The models of {run.folder.name} name speakers of {own}, and {path} has clips of {' and '.join(others)}, "
            "whose speakers are others even if they bear the same names. Give a manifest of the same corpus."
        )
    return "emotion" if target == "votes" and not any(u.votes for u in manifest) else target


def _of_known_classes(
    manifest: Manifest, target: str, join: Mapping[str, str], known: Sequence[str], path: Path
) -> Manifest:
    """Label the clips as the models' training was labelled, and keep those of classes that the models know."""
    if target == "dimensions":
        try:
            return choose(manifest, target=target, use=known, join=join)[0]
        except SereneError as error:
            raise SereneError(f"The models give {_listed(known)}, and {path} does not have all. {error}") from error
    present = choose(manifest, target=target, join=join)[1]
    shared = [name for name in known if name in present]
    if len(shared) < 2:
        raise SereneError(
            f"{path} has the classes {_listed(present)}, and the models know {_listed(known)}: "
            "at least two that both have are needed."
        )
    return choose(manifest, target=target, use=shared, join=join)[0]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_CLASSES:,} more" if len(names) > MOST_CLASSES else ""
    return ", ".join(names[:MOST_CLASSES]) + more


def _stamps(run: Run, target: str, strangers: bool, left: int, corpora: AbstractSet[str | None]) -> list[str]:
    names_speakers, rated = target == "speaker", target == "dimensions"
    what = "without all of the models' dimensions" if rated else "of other classes than the models'"
    scale = f"the models give values on the scale of {run.recipe.corpus.name}: CCC takes another one for disagreement"
    rules = (
        (left, f"{left} clips {what} were left out"),
        (rated and corpora != {run.recipe.corpus.name}, scale),
        (not strangers and not names_speakers, "it is not proven that these speakers are strangers to the models"),
        (names_speakers, "it is not proven that the models were not trained on these clips"),
        (target != run.recipe.labels.target, "the models learnt listeners' votes, of which there are none here"),
    )
    return [stamp for applies, stamp in rules if applies]


def _strange(model_folder: Path, clips: Sequence[Utterance]) -> bool:
    """Say whether clips are of other corpora than a model has met; a table's speakers may be anybody."""
    met = TrainingSpeakers.read(model_folder)
    known = {"None", "table"} | (met.corpora if met else frozenset())
    return met is not None and not met.corpora & {"None", "table"} and not {str(u.corpus) for u in clips} & known


def _store(model_folder: Path, folder: Path) -> Store:
    """Give the store of what a model folder's front end makes."""
    try:
        settings = json.loads((model_folder / "preprocessor_config.json").read_text())
        front_end = front_end_of(settings)
    except (OSError, ValueError, TypeError) as error:
        raise SereneError(f"{model_folder} has no readable preprocessor_config.json: {error}") from error
    return Store(folder, front_end)


def _dataset(
    model: EmotionModel,
    clips: Sequence[Utterance],
    store: Store,
    task: Task,
    enrolled: int | None = None,
) -> Dataset:
    """Make a dataset of strangers, each enrolled by all or some of their own clips where the model asks for it."""
    contexts = contexts_of(clips, model.needs, store, clips=enrolled, known=model.speakers)
    return Dataset(clips, store, task=task, speakers=(), contexts=contexts if model.needs - {"embeddings"} else None)
