"""Trained models on a manifest that they were not trained on: scored as they are served, or probed for the speaker."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serene.audio import front_end_of
from serene.audio.dataset import samples_of, warm
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed
from serene.errors import SereneError
from serene.evaluation import shift
from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Report, ReportFacts, build
from serene.experiment.embedding_probes import probe_of
from serene.experiment.enrolment_curve import UnseenSpeakers, cold_start
from serene.experiment.plan import Progress, silent
from serene.experiment.run import Run
from serene.experiment.run_report import COLD_START, OWN_FIGURES, write_cards
from serene.experiment.trained_models import Model, Models
from serene.files import write_text
from serene.inference.features import FeatureExtractor
from serene.inference.folder import TENSORS, ModelFolder
from serene.inference.network import network_of
from serene.inference.speech import why_not
from serene.models.model import EmotionModel
from serene.models.scoring import scored
from serene.models.training_speakers import NAMELESS
from serene.reporting.report_page import write_html
from serene.sound import SAMPLE_RATE
from serene.task import TASKS, Task, task_of

UNKNOWN = "it is unknown whether the models have met these speakers: "
MUTE = "to which `serene predict` gives no answer: no speech, or too long"


def evaluate_on(run: Run, path: Path, progress: Progress = silent, *, corpus: str | None = None) -> tuple[Report, Path]:
    """Score a manifest with every model of a run, and write the models' cards anew; see `evaluate_models`."""
    report, folder = evaluate_models(Models.of_run(run), path, progress, corpus=corpus)
    write_cards(run)
    return report, folder


def evaluate_models(
    models: Models, path: Path, progress: Progress = silent, *, corpus: str | None = None
) -> tuple[Report, Path]:
    """Score a manifest with trained models, as they are served; classes that they do not know are left out and counted.

    So are clips that lack one of the models' dimensions. Models that learnt listeners' votes are scored against the
    manifest's emotions where it holds no votes.

    Args:
        models: of a run, or one of its own.
        path: a manifest.
        progress: told about features and models.
        corpus: of the clips that do not say theirs: by it speakers are told from those that the models have met.

    Returns:
        The report, and the folder where it was written: with `cold_start.json`, accuracy by enrolled unlabelled clips,
        for models that standardise embeddings by speaker.

    Raises:
        SereneError: the manifest has fewer than two of the models' classes or lacks one of their dimensions, or the
            models name the speakers of another corpus.
    """
    manifest, first, recipe = _read(path, corpus), models.members[0].folder, models.recipe
    task, target = first.task, _target(models, manifest, path)
    chosen = _of_known_classes(manifest, target, recipe.labels.join if recipe else {}, task, path)
    clips = hashed(chosen, lambda done, of: progress("decoding", done, of)).utterances
    unanswered = _unanswered(clips, FeatureExtractor.of(first), progress)
    answered = _answered(models, clips, progress)
    answers, independent = Predictions.concatenate(one.answers for one in answered), models.unseen(clips)
    facts = ReportFacts(
        title=f"{recipe.name if recipe else models.name} on {path.stem}",
        protocol=f"cross-corpus: models of {models.name}, all of {path.stem}",
        speaker_independent=independent,
        selection=models.selection,
        saw_unlabelled_test_audio=bool(first.needs & {"features", "cepstra"}),
        stamps=_stamps(models, target, independent, len(manifest) - len(clips), unanswered, {u.corpus for u in clips}),
        target=target,
        corpus=path.stem,
        method=recipe and recipe.method.name,
        recipe_hash=models.identity,
    )
    report, folder = build(answers, facts, shifts=[one.shift for one in answered]), models.place / path.stem
    report.write(folder / "report.json")
    write_html([report], folder / "report.html")
    answers.write(folder / "predictions.csv")
    own = [one.figures(facts) for one in answered]
    write_text(folder / OWN_FIGURES, json.dumps(own, indent=2) + "\n")
    if unseen := [one.unseen for one in answered if one.unseen]:
        write_text(folder / COLD_START.name, json.dumps(cold_start(unseen), indent=2) + "\n")
    return report, folder


@dataclass(frozen=True)
class Answered:
    """What a model answered, how far its embeddings are from training's, and who can be enrolled."""

    model: Model
    answers: Predictions
    shift: dict[str, float] | None
    unseen: UnseenSpeakers | None

    def figures(self, facts: ReportFacts) -> dict[str, Any]:
        """Give the model's own figures, for its card."""
        content = build(self.answers, facts).to_json()
        own: dict[str, Any] = {"fold": self.model.fold, "seed": self.model.seed}
        own["cold_start"] = self.unseen and cold_start([self.unseen])
        return own | {key: content[key] for key in ("metrics", "per_class_recall") if key in content}


def _answered(models: Models, clips: Sequence[Utterance], progress: Progress) -> list[Answered]:
    """Score the clips with every model."""
    first = models.members[0].folder
    store = Store(models.place.parent.parent / "store", front_end_of(first.preprocessor, first.path))
    warm(clips, store, lambda done, of: progress("features", done, of))
    found = []
    for done, model in enumerate(models.members, 1):
        folder, task = model.folder, first.task
        dataset = model.dataset(clips, store, task, models.recipe and models.recipe.features.enrolment_clips)
        scores = scored(network_of(folder, "cpu", "fp32", 1), dataset, folder.temperature)
        answers = Predictions.of_clips(clips, scores.outputs, task, part="test", fold=model.fold, seed=model.seed)
        enrols = "embeddings" in folder.needs and (folder.path / TENSORS).is_file()
        unseen = UnseenSpeakers(EmotionModel.load(folder.path), answers, scores.embeddings) if enrols else None
        kept, speakers = model.training, [u.speaker for u in clips]
        moved = None if kept is None else shift.of_embeddings(kept, scores.embeddings, speakers)
        found.append(Answered(model, answers, moved, unseen))
        progress("scoring", done, len(models.members))
    return found


def probe_model(folder: Path, path: Path, progress: Progress = silent) -> dict[str, Any]:
    """Probe a model's embedding for the speakers of a manifest.

    Returns:
        What `serene.evaluation.probes.speaker_probe` returns.
    """
    files, model = ModelFolder.read(folder, folder.name), EmotionModel.load(folder)
    clips = hashed(Manifest.read(path), lambda done, of: progress("decoding", done, of)).utterances
    with tempfile.TemporaryDirectory() as scratch:  # nothing of a probe is kept
        store = Store(Path(scratch), front_end_of(files.preprocessor, files.path))
        warm(clips, store, lambda done, of: progress("features", done, of))
        task = Task(tuple(sorted({str(u.emotion) for u in clips})))
        return probe_of(model, Model(files, "", 0).dataset(clips, store, task, None))


def _read(path: Path, corpus: str | None) -> Manifest:
    """Read a manifest, and name the corpus of those clips that name none."""
    manifest = Manifest.read(path)
    if corpus is None:
        return manifest
    if all(str(u.corpus) not in NAMELESS for u in manifest):
        own = " and ".join(sorted({str(u.corpus) for u in manifest}))
        raise SereneError(f"All clips of {path} say their corpus, which is {own}; leave --corpus out.")
    named = (replace(u, corpus=corpus) if str(u.corpus) in NAMELESS else u for u in manifest)
    return replace(manifest, utterances=named)


def _unanswered(clips: Sequence[Utterance], extractor: FeatureExtractor, progress: Progress) -> int:
    """Count the clips that get no answer where the models are served: they hold no speech, or are too long."""
    count = 0
    for done, clip in enumerate(clips, 1):
        samples = samples_of(clip)
        count += len(samples) > extractor.longest * SAMPLE_RATE or why_not(samples) is not None
        progress("looking for speech", done, len(clips))
    return count


def _target(models: Models, manifest: Manifest, path: Path) -> str:
    """Choose what the models are scored against: what they learnt, or the emotion for want of listeners' votes."""
    others = sorted({u.corpus for u in manifest if u.corpus is not None} - {models.corpus})
    if models.target == "speaker" and models.corpus not in NAMELESS and others:
        raise SereneError(
            f"The models of {models.name} name speakers of {models.corpus}, and {path} has clips of "
            f"{' and '.join(others)}, whose speakers are others even if they bear the same names. Give a manifest of "
            "the same corpus."
        )
    return "emotion" if models.target == "votes" and not any(u.votes for u in manifest) else models.target


def _of_known_classes(manifest: Manifest, target: str, join: Mapping[str, str], task: Task, path: Path) -> Manifest:
    """Label the clips as the models' training was labelled, and keep those whose labels the models know."""
    if task.gives == "values":
        try:
            return choose(manifest, target=target, use=task.names, join=join)[0]
        except SereneError as error:
            raise SereneError(
                f"The models give {_listed(task.names)}, and {path} does not have all. {error}"
            ) from error
    present = choose(manifest, target=target, join=join)[1].names
    shared = [name for name in task.names if name in present]
    if len(shared) < 2:
        raise SereneError(
            f"{path} has the classes {_listed(present)}, and the models know {_listed(task.names)}: "
            "at least two that both have are needed."
        )
    return choose(manifest, target=target, use=shared, join=join)[0]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_CLASSES:,} more" if len(names) > MOST_CLASSES else ""
    return ", ".join(names[:MOST_CLASSES]) + more


def _stamps(
    models: Models, target: str, independent: bool | None, left: int, unanswered: int, corpora: AbstractSet[str | None]
) -> list[str]:
    task, nameless = TASKS[target], any(str(corpus) in NAMELESS for corpus in corpora)
    unknown = "the clips do not say their corpus; say it with --corpus NAME" * nameless
    unknown = unknown or "the models do not say of which corpora their training speakers are"
    scale = task_of(target, ()).scale_remark(models.corpus)
    rules = (
        (left, f"{left} clips without a label that the models know were left out"),
        (scale and corpora != {models.corpus}, scale),
        (independent is None and task.speaker_probe, UNKNOWN + unknown),
        (not task.speaker_probe, "it is not proven that the models were not trained on these clips"),
        (unanswered, f"{unanswered} clips are scored {MUTE}"),
        (target != models.target, "the models learnt listeners' votes, of which there are none here"),
    )
    return [stamp for applies, stamp in rules if applies]
