"""Trained models meet a manifest they were not trained on: scored, or probed for the speaker."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serene import registry
from serene.audio import FRONT_ENDS
from serene.audio.dataset import Dataset, enrolment_of, voices_of, warm
from serene.audio.store import Store
from serene.cell import leak_of, voice_store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed
from serene.errors import SereneError
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Report, build
from serene.evaluation.report_page import write_html
from serene.evaluation.scoring import predictions_of, score
from serene.experiment import Progress, silent
from serene.models.model import EmotionModel
from serene.run import Run


def evaluate_on(run: Run, path: Path, progress: Progress = silent) -> tuple[Report, Path]:
    """Score a manifest with every model of a run; classes that the models do not know are left out and counted.

    Args:
        run: trained; its models were kept.
        path: a manifest.
        progress: told about features and models.

    Returns:
        The report, and the folder inside the run's where it was written.

    Raises:
        SereneError: a model is gone, or the manifest has fewer than two of the models' classes.
    """
    cells = run.finished()
    manifest = hashed(Manifest.read(path), lambda done, of: progress("decoding", done, of))
    models = [EmotionModel.load(cell.folder / "model") for cell in cells]
    known = models[0].emotions
    labels = run.recipe.labels
    labelled, present = choose(manifest, target=labels.target, join=labels.join)
    shared = [name for name in known if name in present]
    if len(shared) < 2:
        raise SereneError(
            f"{path} has the classes {', '.join(present)}, and the models know {', '.join(known)}: "
            "at least two that both have are needed."
        )
    clips = choose(labelled, use=shared, join={})[0].utterances
    store = _store(cells[0].folder / "model", run.folder.parent / "store")
    warm(clips, store, lambda done, of: progress("features", done, of))
    enrolment_clips = run.recipe.features.enrolment_clips
    predictions = []
    for done, (cell, model) in enumerate(zip(cells, models, strict=True), 1):
        probabilities = score(model, _dataset(model, clips, store, known, enrolment_clips)).probabilities
        predictions.append(predictions_of(probabilities, clips, known, part="test", fold=cell.fold, seed=cell.seed))
        progress("scoring", done, len(cells))
    own = run.recipe.corpus.name
    strangers = own != "table" and all(u.corpus not in (None, own) for u in clips)
    left = len(manifest) - len(clips)
    stamps = [f"{left} clips of other classes than the models' were left out"] if left else []
    stamps += [] if strangers else ["it is not proven that these speakers are strangers to the models"]
    facts = {
        "title": f"{run.recipe.name} on {path.stem}",
        "protocol": f"cross-corpus: models of {run.folder.name}, all of {path.stem}",
        "speaker_independent": strangers,
        "selection": cells[0].json("environment.json")["selection"],
        "saw_unlabelled_test_audio": models[0].normalize == "speaker" or models[0].parts.hears_voices,
        "stamps": stamps,
        "corpus": path.stem,
        "method": run.recipe.method["name"],
        "recipe_hash": run.identity,
    }
    report = build(Predictions.concatenate(predictions), facts=facts)
    folder = run.folder / "on" / path.stem
    report.write(folder / "report.json")
    write_html([report], folder / "report.html")
    return report, folder


def probe_model(folder: Path, path: Path, progress: Progress = silent) -> dict[str, Any]:
    """Probe a model's embedding for the speakers of a manifest.

    Returns:
        What `serene.evaluation.probes.speaker_leak` returns.
    """
    model = EmotionModel.load(folder)
    clips = hashed(Manifest.read(path), lambda done, of: progress("decoding", done, of)).utterances
    with tempfile.TemporaryDirectory() as scratch:  # nothing of a probe is kept
        store = _store(folder, Path(scratch))
        warm(clips, store, lambda done, of: progress("features", done, of))
        return leak_of(model, _dataset(model, clips, store, sorted({str(u.emotion) for u in clips})))


def _store(model_folder: Path, folder: Path) -> Store:
    """Give the store of what a model folder's front end makes."""
    try:
        settings = json.loads((model_folder / "preprocessor_config.json").read_text())
        maker = registry.load(settings.pop("front_end"), FRONT_ENDS, "front end")(**settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SereneError(f"{model_folder} has no readable preprocessor_config.json: {error}") from error
    return Store(folder, maker)


def _dataset(
    model: EmotionModel, clips: Sequence[Utterance], store: Store, emotions: Sequence[str], enrolled: int | None = None
) -> Dataset:
    """Make a dataset of strangers, each enrolled by all or the first of their own clips where the model asks for it."""
    enrolment = enrolment_of(clips, store, enrolled) if model.normalize == "speaker" else None
    voices = voices_of(clips, voice_store(store.folder.parent)) if model.parts.hears_voices else None
    return Dataset(clips, store, emotions=emotions, speakers=model.speakers, enrolment=enrolment, voices=voices)
