"""A run's report and its models' cards, rebuilt from what finished trials kept, and runs compared with the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serene import protocols
from serene.errors import SereneError
from serene.evaluation import shift
from serene.evaluation.confidence import paired
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Embedding, Report, ReportFacts, build
from serene.experiment.run import Run, Trial
from serene.files import read_json
from serene.reporting.model_card import write_card
from serene.reporting.report_page import write_html

SAME = 1e-3  # of a figure that was computed twice, once from scores that were rounded for a table
COLD_START = Path("enrolled") / "cold_start.json"  # in a run's folder: accuracy by clips of enrolment
REPORTED = ("title", "protocol", "stamps", "folds", "seeds", "metrics", "per_speaker", "n_utterances", "n_speakers")
COUNTED = ("utterances", "speakers", "emotions", "left_out")  # by `corpus.json`
OF_ALL = "the figures are of all models of the run; `serene evaluate RUN --on MANIFEST` measures this one"
OWN_FIGURES = "models.json"  # in the folder of a run's report on another corpus: the figures of each of its models


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
    content = read_json(run.folder / "report.json", *REPORTED)
    curve = _curve(run.folder / COLD_START, content)
    for trial in run.finished():
        folder, facts = trial.folder / "model", trial.facts()
        if (folder / "config.json").is_file():
            own: dict[str, Any] = {"fold": trial.fold, "seed": trial.seed, "elsewhere": elsewhere_of(run, trial)}
            write_card(folder, content, facts=facts, cold_start=curve, licence=licence, **own)


def elsewhere_of(run: Run, trial: Trial | None = None) -> list[dict[str, Any]]:
    """Read the reports of a run's models on other corpora, each with its `cold_start` or None.

    With a trial the figures are of its model alone, if they are there; a stamp says so where they are not.
    """
    found = []
    for path in sorted(run.folder.glob("on/*/report.json")):
        content = read_json(path, *REPORTED)
        content["cold_start"] = _curve(path.with_name(COLD_START.name), content)
        own = path.with_name(OWN_FIGURES)
        figures = read_json(own, kind=list) if own.exists() else []
        alone = [one for one in figures if trial and (one["fold"], one["seed"]) == (trial.fold, trial.seed)]
        stamps = [*content["stamps"], *[OF_ALL] * (trial is not None and not alone)]
        found.append(content | {"stamps": stamps} | (alone[0] if alone else {}))
    return found


def _curve(path: Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read a cold-start curve; None where there is none, or where it is of other trainings than the report."""
    if not path.exists():
        return None
    curve = read_json(path, "0")
    reported = next(iter(content["metrics"].values()))["value"]
    return curve if abs(curve["0"]["value"] - reported) < SAME else None


def report_of(run: Run) -> Report:
    """Compute a run's report from its finished trials.

    Raises:
        SereneError: none has finished.
    """
    trials = run.finished()
    predictions = Predictions.concatenate(trial.predictions() for trial in trials)
    kept = [trial.facts() for trial in trials]
    speakers = run.folder / "speakers.json"
    known = read_json(speakers) if speakers.exists() else {}
    return build(
        predictions,
        _facts(run, kept, len({trial.fold for trial in trials}), sorted({*known.get("language", {}).values()})),
        probes=[trial.json("probes.json", "test", "train") for trial in trials],
        shifts=[shift_of(trial) for trial in trials],
        temperatures=[entry["temperature"] for entry in kept if "temperature" in entry],
        groups_of=known,
        logs=[trial.log() for trial in trials],
        embedding=_embedding(trials[0], predictions),
    )


def _facts(run: Run, kept: Sequence[Mapping[str, Any]], folds: int, languages: list[str]) -> ReportFacts:
    """Say what a report tells beside its figures.

    Args:
        run: which it is.
        kept: the finished trials' `environment.json`.
        folds: that have finished.
        languages: that are spoken.
    """
    recipe, corpus, splits = run.recipe, run.folder / "corpus.json", [entry["split"] for entry in kept]
    stamps = [stamp for split in splits for stamp in split["stamps"]]
    if recipe.begins_random and not recipe.stages:
        stamps.append("the encoder began with random weights: this shows that it runs, not how accurate it is")
    encoder = recipe.model.encoder
    if encoder.maker.freezes(**encoder.settings) and recipe.reaches_below:
        stamps.append(f"the encoder's frozen part was computed in every epoch, because of {recipe.reaches_below}")
    if folds < kept[0]["of_folds"]:
        stamps.append(f"{folds} of the protocol's {kept[0]['of_folds']} folds were run")
    packages = kept[0]["packages"]
    rules = " and ".join(sorted({split["validation_rule"] for split in splits}))
    return ReportFacts(
        title=recipe.name,
        protocol=protocols.title(recipe.protocol.name, recipe.protocol.settings),
        speaker_independent=all(split["speaker_independent"] for split in splits),
        selection=f"{_all(entry['selection'] for entry in kept)}; validation: {rules}",
        saw_unlabelled_test_audio=any(split["saw_unlabelled_test_audio"] for split in splits),
        stamps=list(dict.fromkeys(stamps)),
        corpus=recipe.corpus.name,
        only=recipe.corpus.only,
        data=read_json(corpus, *COUNTED) if corpus.exists() else None,
        languages=languages,
        target=recipe.labels.target,
        join=recipe.labels.join,
        method=recipe.method.name,
        speaker_corpus=recipe.speakers.name if recipe.speakers else None,
        normalize=recipe.features.normalize,
        recipe=recipe.to_yaml(),
        recipe_hash=run.identity,
        machine=_all(f"{entry['processor']}, {entry['cores']} cores" for entry in kept),
        seconds=round(sum(entry["seconds"] for entry in kept), 1),
        environment={
            "python": _all(entry["python"] for entry in kept),
            "system": _all(entry["system"] for entry in kept),
            "packages": {name: _all(str(entry["packages"].get(name)) for entry in kept) for name in packages},
        },
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


def _embedding(trial: Trial, predictions: Predictions) -> Embedding | None:
    """Give the validation embedding of a trial, as Tu et al.'s figure 2 shows it, or the test's; None if not kept."""
    own = predictions.select(fold=trial.fold, seed=trial.seed)
    for part in ("validation", "test"):
        rows = own.select(part=part)
        kept = trial.embeddings(part) if len(rows) else None
        if kept is not None:
            place = {name: i for i, name in enumerate(kept[0])}
            return Embedding(kept[1][[place[name] for name in rows.id.tolist()]], rows)
    return None


def differences(runs: Sequence[tuple[str, Run]]) -> list[dict[str, Any]]:
    """Give the difference of each run to the first in every metric, over the same clips, with its 95 % interval and p.

    Args:
        runs: name and run; two at least.

    Raises:
        SereneError: fewer than two, or runs that were not tested on the same utterances.
    """
    if len(runs) < 2:
        raise SereneError("compare needs two runs or more.")
    tests = [
        (name, Predictions.concatenate(trial.predictions() for trial in run.finished()).select(part="test"))
        for name, run in runs
    ]
    (first, reference), *others = tests
    return [
        {"run": name, "against": first, "metric": metric, **asdict(difference)}
        for name, test in others
        for metric, difference in paired(test, reference).items()
    ]
