"""The whole line on one page: recipe -> corpus -> labels -> splits x seeds -> trained trials -> report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serene import protocols, registry
from serene.audio.augment import Augment
from serene.audio.dataset import warm
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.prepare import hashed, prepare
from serene.errors import SereneError
from serene.evaluation import shift
from serene.evaluation.answers import Answers
from serene.evaluation.groups import facts_of
from serene.evaluation.label_calibration import LabelCalibration
from serene.evaluation.predictions import Predictions
from serene.evaluation.ratings import Ratings
from serene.evaluation.report import Embedding, Report, build
from serene.evaluation.tables import check_names
from serene.experiment.label_calibration import calibrate_trial
from serene.experiment.recipe import Recipe, SpeakerSettings
from serene.experiment.run import Run, Trial
from serene.experiment.trial import method_of, parts_of, store_of, stream_of, train_trial, voice_store
from serene.experiment.workers import CORES, work
from serene.files import write_text
from serene.models import ENCODERS, weights
from serene.models.training_speakers import heard_by, training_speakers_of
from serene.protocols import Split
from serene.protocols.split import in_order
from serene.reporting.model_card import write_card
from serene.reporting.plots import draw_pretraining
from serene.reporting.report_page import write_html
from serene.settings import CorpusSettings
from serene.task import Task
from serene.training.pretraining import Stage, compute, plan_stages
from serene.training.stages import Pretraining, pretraining_of
from serene.training.trainer import Trainer

SAME = 1e-3  # of a figure that was computed twice, once from scores that were rounded for a table
COLD_START = Path("enrolled") / "cold_start.json"  # in a run's folder: accuracy by clips of enrolment
Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def silent(_what: str, _done: int, _of: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Plan:
    """A recipe that has met its corpus: everything that is decided before training.

    Attributes:
        recipe: the settings.
        task: what is learnt.
        splits: the protocol's folds, all of them.
        run: where the trials go.
        speakers: the clips of the speaker corpus, where the recipe names one.
        stages: what the encoder goes through first.
        store: folder of computed features.
    """

    recipe: Recipe
    task: Task
    splits: tuple[Split, ...]
    speakers: tuple[Utterance, ...]
    stages: tuple[Stage, ...]
    run: Run
    store: Path

    @property
    def trials(self) -> list[tuple[Split, Trial]]:
        """The folds and seeds that the recipe asks for."""
        wanted = self.recipe.run
        chosen = [split for split in self.splits if wanted is None or split.fold in wanted]
        return [(split, self.run.trial(split.fold, seed)) for split in chosen for seed in self.recipe.seeds]


def plan(recipe: Recipe, runs: Path, progress: Progress = silent) -> Plan:
    """Read the corpus, choose the labels, prove the splits, and begin or take up the run's folder.

    Raises:
        SereneError: whatever is wrong with recipe, corpus or protocol, before anything is trained.
    """
    Trainer(**recipe.training)  # these refuse what makes no sense before anything is written
    store = store_of(recipe, runs / "store")
    Augment(recipe.features.augment, recipe.features.augment_probability)
    settings, parts = parts_of(recipe)
    method_of(recipe).check(parts)
    registry.load(recipe.model["encoder"], ENCODERS, "encoder").check(**settings)
    stages = _stages(recipe, runs, progress)
    beginnings = [stages[-1].identity] if stages else _weights(recipe, store)
    manifest = load_corpus(recipe.corpus, runs, progress)
    speakers = load_corpus(recipe.speakers, runs, progress, "speakers") if recipe.speakers else None
    labelled, task = choose(manifest, target=recipe.labels.target, use=recipe.labels.use, join=recipe.labels.join)
    check_names(task)
    settings = {key: value for key, value in recipe.protocol.items() if key != "name"}
    splits = protocols.make_splits(recipe.protocol["name"], labelled, settings)
    if recipe.features.normalize == "speaker" or parts.hears_voices:
        splits = [split.hearing_unlabelled(recipe.features.enrolment_clips, manifest) for split in splits]
    if recipe.calibration:  # all of a speaker's clips are heard before the first is answered
        splits = [replace(split, unlabelled=in_order((*split.validation, *split.test))) for split in splits]
    if before := _heard_before(recipe, stages, manifest):
        both = [before | {u.id: u for u in split.unlabelled} for split in splits]
        splits = [replace(s, unlabelled=in_order(heard.values())) for s, heard in zip(splits, both, strict=True)]
    if any(not split.validation for split in splits) and recipe.training["select_on"] != "last":
        raise SereneError("The protocol keeps no validation part; set training.select_on to 'last'.")
    heard = speakers.utterances if speakers else ()
    met = training_speakers_of(recipe.front_end.get("weights"))
    for split in splits:
        stream_of(recipe, heard, split, store)
        if met is not None and (recipe.run is None or split.fold in recipe.run):
            met.check(split, "the model behind features.weights")
    folds = [split.fold for split in splits]
    for fold in recipe.run or ():
        if fold not in folds:
            raise SereneError(f"protocol.run asks for fold '{fold}'; the folds are {', '.join(folds)}.")
    digests = [labelled.digest, *([speakers.digest] if speakers else []), *beginnings]
    digests += [manifest.digest] if any(split.unlabelled for split in splits) else []
    digests += [labelled.digest_of(("id", *task.columns))] if task.columns else []
    run = Run.begin(runs, recipe, "+".join(digests))
    write_text(run.folder / "corpus.json", json.dumps(manifest.summarise(), indent=2) + "\n")
    write_text(run.folder / "speakers.json", json.dumps(facts_of(manifest), indent=2) + "\n")
    return Plan(recipe, task, tuple(splits), heard, stages, run, runs / "store")


def _stages(recipe: Recipe, runs: Path, progress: Progress) -> tuple[Stage, ...]:
    if not recipe.stages:
        return ()
    before = pretraining_of(recipe.name, recipe.model, recipe.features.normalize, recipe.stages)
    return _plan_stages(before, runs, progress)


def _heard_before(recipe: Recipe, stages: tuple[Stage, ...], manifest: Manifest) -> dict[str, Utterance]:
    """Give the clips that the encoder has heard without labels: in its stages, or before it came to this recipe."""
    own = {u.corpus for u in manifest}
    given = [recipe.front_end.get("weights"), recipe.model.get("weights")]
    hashes = frozenset[str]().union(*(heard_by(name) for name in given))
    heard = {u.id: u for u in manifest if u.audio_hash in hashes}
    return heard | {u.id: u for stage in stages for u in stage.trained if u.corpus in own}


def _plan_stages(recipe: Pretraining, runs: Path, progress: Progress) -> tuple[Stage, ...]:
    return tuple(plan_stages(recipe, runs, lambda corpus, where: load_corpus(corpus, runs, progress, where)))


def pretrain(recipe: Pretraining, runs: Path, progress: Progress = silent) -> Path:
    """Compute an encoder's stages that are not there yet; return the folder of the last one's."""
    return _computed(_plan_stages(recipe, runs, progress), progress)


def _computed(stages: Sequence[Stage], progress: Progress) -> Path:
    """Give the encoder of the last stage, and draw how each that is new was trained."""
    encoder = compute(stages[-1], progress)
    for stage in stages:
        picture, log = stage.folder / "curves.png", stage.folder / "log.jsonl"
        if log.exists() and not picture.exists():
            draw_pretraining([json.loads(line) for line in log.read_text().splitlines()], picture)
    return encoder


def _weights(recipe: Recipe, store: Store) -> list[str]:
    """Identify the weights that an encoder begins with, wherever they lie, and what a frozen one's outputs hang on."""
    frozen = [store.maker.identity] if recipe.front_end.get("weights") else []
    begun = recipe.model.get("weights")
    return frozen if begun is None else [*frozen, weights.digest(begun)]


def load_corpus(
    settings: CorpusSettings | SpeakerSettings, runs: Path, progress: Progress = silent, section: str = "corpus"
) -> Manifest:
    """Read a recipe's manifest, or prepare its corpus folder: once, as long as the folder does not change."""
    if settings.path is None:
        raise SereneError(
            f"The recipe does not say where the corpus '{settings.name}' lies: add {section}.path=FOLDER, or the "
            "manifest that `serene prepare` made."
        )
    path = Path(settings.path)
    if path.suffix == ".jsonl" and settings.name != "table":
        manifest = _read(path, settings.name, section, progress)
    elif (kept := _kept_manifest(runs, settings.name, path)).exists() and path.is_dir():
        manifest = Manifest.read(kept)
    else:  # a table is prepared each time: its own file does not tell whether the clips it names have changed
        manifest = prepare(settings.name, path, progress=lambda done, of: progress("decoding", done, of))
        manifest.write(_kept_manifest(runs, settings.name, path))  # `synthetic` has made its folder only now
    return manifest.only(settings.only, where=f"{section}.only") if settings.only else manifest


def _read(path: Path, corpus: str, section: str, progress: Progress) -> Manifest:
    """Read a manifest, and make sure that it is of the corpus that the recipe, and so every report, names."""
    manifest = Manifest.read(path)
    others = {u.corpus for u in manifest} - {corpus, None}
    if others:
        raise SereneError(
            f"{path} is of the corpus {' and '.join(sorted(map(str, others)))}, not of '{corpus}'; "
            f"set {section}.name to what it is."
        )
    return hashed(manifest, lambda done, of: progress("decoding", done, of))


def train(
    recipe: Recipe, runs: Path, *, jobs: int | None = 1, progress: Progress = silent, tensorboard: bool = False
) -> Run:
    """Train every fold and seed that has not finished, write the report, and return the run.

    Args:
        recipe: the settings.
        runs: folder of runs; features and prepared manifests are kept there too.
        jobs: trainings at a time, each in a process of its own and on one thread; results do not depend on it. None
            for one on a GPU, and one per core where there is none.
        progress: told about decoding, features and epochs.
        tensorboard: also write TensorBoard events into each trial's folder.
    """
    if recipe.calibration is not None:
        return _calibrate(recipe, recipe.calibration, runs, jobs=jobs, progress=progress, tensorboard=tensorboard)
    planned = plan(recipe, runs, progress)
    todo = [(split, trial) for split, trial in planned.trials if not trial.finished]
    _warm(planned, [split for split, _ in todo], progress)
    epochs = recipe.training["epochs"]
    reached: dict[Path, int] = {}

    def heard(folder: Path, epoch: int) -> None:
        reached[folder] = epoch
        progress("training", sum(reached.values()), len(todo) * epochs)

    beginning = _computed(planned.stages, progress) if planned.stages and todo else None
    before, folds = (recipe, planned.task, planned.store), len(planned.splits)
    tasks = [(*before, split, planned.speakers, beginning, folds, trial, tensorboard) for split, trial in todo]
    most = 1 if Trainer(**recipe.training).device == "cuda" else CORES
    work(train_trial, tasks, jobs=jobs or most, heard=heard)
    write_report(planned.run)
    return planned.run


def _calibrate(
    recipe: Recipe, settings: LabelCalibration, runs: Path, *, jobs: int | None, progress: Progress, tensorboard: bool
) -> Run:
    """Train the recipe without its calibration, or take up the run that has, and calibrate its answers."""
    planned = plan(recipe, runs, progress)
    trained = train(replace(recipe, calibration=None), runs, jobs=jobs, progress=progress, tensorboard=tensorboard)
    for split, trial in planned.trials:
        if not trial.finished:
            calibrate_trial(recipe, settings, planned.task, split, trained.trial(trial.fold, trial.seed), trial)
    write_report(planned.run)
    return planned.run


def _warm(planned: Plan, splits: list[Split], progress: Progress) -> None:
    """Compute the features that the trainings to come will read."""
    clips = {u.id: u for s in splits for u in (*s.train, *s.validation, *s.test, *s.unlabelled)}
    store = store_of(planned.recipe, planned.store)
    warm(list(clips.values()), store, lambda done, of: progress("features", done, of))
    warm(planned.speakers if splits else (), store, lambda done, of: progress("speakers' features", done, of))
    if parts_of(planned.recipe)[1].hears_voices:
        unlabelled = {u.id: u for s in splits for u in s.unlabelled}
        warm(list(unlabelled.values()), voice_store(planned.store), lambda done, of: progress("voices", done, of))


def write_report(run: Run) -> Report:
    """Rebuild `report.json`, `report.html` and the cards of models from what finished trials kept; none is trained."""
    report = report_of(run)
    report.write(run.folder / "report.json")
    write_html([report], run.folder / "report.html")
    write_cards(run)
    return report


def write_cards(run: Run, *, licence: str | None = None) -> None:
    """Write a card into the folder of every model that was kept, from the run's report and those on other corpora.

    Args:
        run: whose models they are.
        licence: of the weights, as the Hugging Face hub writes it; none is stated without it.
    """
    if not (run.folder / "report.json").exists():
        return
    content = json.loads((run.folder / "report.json").read_text(encoding="utf-8"))
    more = {"elsewhere": elsewhere_of(run), "cold_start": _curve(run.folder / COLD_START, content), "licence": licence}
    for trial in run.finished():
        folder, facts = trial.folder / "model", trial.json("environment.json")
        if (folder / "config.json").is_file():
            write_card(folder, content, fold=trial.fold, seed=trial.seed, facts=facts, **more)


def elsewhere_of(run: Run) -> list[dict[str, Any]]:
    """Read the reports of a run's models on other corpora, each with its `cold_start` or None."""
    found = []
    for path in sorted(run.folder.glob("on/*/report.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found.append(content | {"cold_start": _curve(path.with_name(COLD_START.name), content)})
    return found


def _curve(path: Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a cold-start curve; None where there is none, or where it is of other trainings than the report."""
    if not path.exists():
        return None
    curve = json.loads(path.read_text(encoding="utf-8"))
    reported = next(iter(content["metrics"].values()))["value"]
    return curve if abs(curve["0"]["value"] - reported) < SAME else None


def report_of(run: Run) -> Report:
    """Compute a run's report from its finished trials.

    Raises:
        SereneError: none has finished.
    """
    trials = run.finished()
    predictions = Answers.concatenate(trial.predictions() for trial in trials)
    kept = [trial.json("environment.json") for trial in trials]
    settings = {key: value for key, value in run.recipe.protocol.items() if key != "name"}
    rules = {entry["split"]["validation_rule"] for entry in kept}
    stamps = [stamp for entry in kept for stamp in entry["split"]["stamps"]]
    folds, of_folds = len({trial.fold for trial in trials}), kept[0]["of_folds"]
    if run.recipe.model.get("config") and not run.recipe.model.get("weights") and not run.recipe.stages:
        stamps.append("the encoder began with random weights: this shows that it runs, not how accurate it is")
    if folds < of_folds:
        stamps.append(f"{folds} of the protocol's {of_folds} folds were run")
    labels, corpus, speakers = run.recipe.labels, run.folder / "corpus.json", run.folder / "speakers.json"
    known = json.loads(speakers.read_text()) if speakers.exists() else {}
    facts: dict[str, Any] = {
        "title": run.recipe.name,
        "protocol": protocols.title(run.recipe.protocol["name"], settings),
        "speaker_independent": all(entry["split"]["speaker_independent"] for entry in kept),
        "selection": f"{_all(e['selection'] for e in kept)}; validation: {' and '.join(sorted(rules))}",
        "saw_unlabelled_test_audio": any(entry["split"]["saw_unlabelled_test_audio"] for entry in kept),
        "stamps": list(dict.fromkeys(stamps)),
        "corpus": run.recipe.corpus.name,
        "only": run.recipe.corpus.only,
        "data": json.loads(corpus.read_text()) if corpus.exists() else None,
        "languages": sorted({*known.get("language", {}).values()}),
        "target": labels.target,
        "join": labels.join,
        "method": run.recipe.method["name"],
        "speaker_corpus": run.recipe.speakers.name if run.recipe.speakers else None,
        "normalize": run.recipe.features.normalize,
        "recipe": run.recipe.to_yaml(),
        "recipe_hash": run.identity,
        "machine": _all(f"{e['processor']}, {e['cores']} cores" for e in kept),
        "seconds": round(sum(entry["seconds"] for entry in kept), 1),
        "environment": {
            "python": _all(e["python"] for e in kept),
            "system": _all(e["system"] for e in kept),
            "packages": {name: _all(str(e["packages"].get(name)) for e in kept) for name in kept[0]["packages"]},
        },
    }
    return build(
        predictions,
        facts=facts,
        probes=[trial.json("probes.json") for trial in trials],
        shifts=[shift_of(trial) for trial in trials],
        temperatures=[entry["temperature"] for entry in kept if "temperature" in entry],
        groups_of=known,
        logs=[trial.log() for trial in trials],
        embedding=_embedding(trials[0], predictions),
    )


def _all(values: Iterable[str]) -> str:
    """Name the different values: one, where all trials agree."""
    return " and ".join(dict.fromkeys(values))


def shift_of(trial: Trial) -> dict[str, float] | None:
    """Tell how far each test speaker's embeddings are from the training's; None where neither is kept."""
    kept, training, test = trial.json("shift.json"), trial.embeddings("train"), trial.embeddings("test")
    if kept is not None or training is None or test is None:
        return kept
    answers = trial.predictions().select(part="test")
    speaker = dict(zip(answers.id.tolist(), answers.speaker.tolist(), strict=True))
    return shift.of_embeddings(training[1], test[1], [speaker[name] for name in test[0]])


def _embedding(trial: Trial, predictions: Predictions | Ratings) -> Embedding | None:
    """Give the validation embedding of a trial, as Tu et al.'s figure 2 shows it, or the test's; None if not kept."""
    own = predictions.select(fold=trial.fold, seed=trial.seed)
    for part in ("validation", "test"):
        rows = own.select(part=part)
        kept = trial.embeddings(part) if len(rows) else None
        if kept is not None:
            place = {name: i for i, name in enumerate(kept[0])}
            vectors, speakers = kept[1][[place[name] for name in rows.id.tolist()]], rows.speaker.tolist()
            name = f"{part}, fold {trial.fold}, seed {trial.seed}"
            if isinstance(rows, Ratings):
                return Embedding(vectors, None, speakers, name, dict(zip(rows.dimensions, rows.truth.T, strict=True)))
            return Embedding(vectors, [rows.classes[i] for i in rows.truth], speakers, name)
    return None


def _kept_manifest(runs: Path, corpus: str, folder: Path) -> Path:
    """Name the prepared manifest of a corpus folder as it is now."""
    return runs / "manifests" / f"{corpus}-{_fingerprint(folder)}.jsonl"


def _fingerprint(folder: Path) -> str:
    """Identify a corpus folder's files by name, size and time, without reading them."""
    if not folder.exists():
        return "absent"  # the reader says what is missing, and where the corpus is had
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    lines = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths]
    return hashlib.sha256("\n".join([str(folder.resolve()), *lines]).encode()).hexdigest()[:12]
