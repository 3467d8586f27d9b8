"""One table per protocol from many runs, and each run's small files kept, so that a table can be completed later."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from serene.errors import SereneError
from serene.evaluation.report import Report
from serene.experiment.recipe import Recipe
from serene.experiment.run import Run
from serene.experiment.run_report import report_of, shift_of
from serene.files import whole_file, write_text
from serene.reporting.page_words import classes_word
from serene.training.stages import StageSettings

MOST_NAMED = 10  # folds that a title names one by one
PLACE = ("run", "fold", "seed", "model")  # of a model folder of ours
OF_THE_CORPUS = ("corpus.json", "speakers.json")
SMALL = ("environment.json", "probes.json", "log.jsonl")
SHARED: tuple[str, ...] = (
    *("speaker probe, unseen", "speaker probe, training", "chance", "seeds", "folds"),
    *("heard unlabelled", "run", "machine", "core-minutes"),
)
COLUMNS: tuple[str, ...] = (
    *("system", "UA", "UA interval", "UA std", "WA", "macro-F1", "validation UA", "gap"),
    *SHARED,
)


def leaderboard(runs: Path, folder: Path) -> dict[str, list[dict[str, str]]]:
    """Write `<protocol>.md` and `.csv` for every protocol, from the runs found and those kept in the folder before.

    Rows of different corpora, classes or dimensions, protocols, or of systems that heard the test speakers' other audio
    and systems that did not, never share a table.

    Args:
        runs: a folder of runs.
        folder: where the tables go; `<folder>/runs` keeps each run's recipe, report, predictions and logs.

    Returns:
        Title of each table -> its rows.

    Raises:
        SereneError: no finished run in either folder.
    """
    if runs.resolve() != (folder / "runs").resolve():
        for run in _finished(runs):
            _keep(run, folder / "runs" / run.folder.name)
    found = [(run, report_of(run)) for run in _finished(folder / "runs")]
    if not found:
        raise SereneError(f"There is no finished run in {runs} or {folder / 'runs'}; `serene train` makes them.")
    tables: dict[str, list[tuple[Run, Report]]] = defaultdict(list)
    for run, report in found:
        report.write(run.folder / "report.json")
        tables[_table(report)].append((run, report))
    sorted_tables = {title: _rows(entries) for title, entries in tables.items()}
    for old in folder.glob("*.csv"):  # tables of before: a run that has gone on may now belong to another
        if _is_table(old):
            old.unlink()
            old.with_suffix(".md").unlink(missing_ok=True)
    for title, rows in sorted_tables.items():
        write_text(folder / f"{_stem(title)}.md", f"# {title}\n\n{markdown(rows)}")
        _write_csv(folder / f"{_stem(title)}.csv", rows)
    return sorted_tables


def markdown(rows: Iterable[Mapping[str, str]]) -> str:
    """Write rows as a Markdown table."""
    rows = list(rows)
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0]), *(" | ".join(row.values()) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _finished(folder: Path) -> list[Run]:
    found = [Run.open(path.parent) for path in sorted(folder.glob("*/recipe.yaml"))]
    return [run for run in found if any(run.folder.glob("fold-*/seed-*/predictions.csv*"))]


def _keep(run: Run, folder: Path) -> None:
    """Copy what is small: all but models and embeddings, and no word of where the corpus lay."""
    for trial in run.finished():
        target = folder / trial.folder.relative_to(run.folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in SMALL:
            if (trial.folder / name).exists():
                shutil.copyfile(trial.folder / name, target / name)
        shift = shift_of(trial)
        if shift is not None:  # embeddings are not kept
            write_text(target / "shift.json", json.dumps(shift) + "\n")
        trial.predictions().write(target / "predictions.csv.gz")
    for name in OF_THE_CORPUS:
        if (run.folder / name).exists():
            shutil.copyfile(run.folder / name, folder / name)
    write_text(folder / "recipe.yaml", _nowhere(run.recipe).to_yaml())


def _nowhere(recipe: Recipe) -> Recipe:
    """Take out of a recipe where things lie on this machine."""
    sections = {"front_end": recipe.front_end, "model": recipe.model}
    named = {
        name: settings | {"weights": _unplaced(settings["weights"])}
        for name, settings in sections.items()
        if settings.get("weights")
    }
    speakers = recipe.speakers and replace(recipe.speakers, path=None)
    stages = tuple(map(_stage_nowhere, recipe.stages))
    return replace(recipe, corpus=replace(recipe.corpus, path=None), speakers=speakers, stages=stages, **named)


def _stage_nowhere(stage: StageSettings) -> StageSettings:
    files = {key: _unplaced(value) for key, value in asdict(stage.targets).items() if isinstance(value, str)}
    corpora = [replace(corpus, path=None) for corpus in stage.corpora]
    return replace(stage, corpora=corpora, targets=replace(stage.targets, **files))


def _unplaced(weights: str) -> str:
    """Keep the name of weights: a hub's, a folder's own, and of a model folder of ours its place in the runs."""
    path = Path(weights)
    if path.name == PLACE[-1]:
        return "/".join(path.parts[-len(PLACE) :])
    return path.name if path.is_absolute() else weights


def _table(report: Report) -> str:
    """Name the task of a report; the digest tells tasks of the same description but other classes or clips apart."""
    content = report.content
    folds, dimensions = content["folds"], content.get("dimensions")
    answered = dimensions or content["classes"]
    what = " and ".join(dimensions) if dimensions else f"{len(answered)} {classes_word(content)}"
    parts = [f"{content['corpus']}, {what}: {content['protocol']}"]
    parts.append(f"folds {' '.join(folds)}" if len(folds) <= MOST_NAMED else f"{len(folds)} folds")
    parts += [f"label {content['target']}"] if content["target"] not in ("emotion", "dimensions") else []
    parts += [f"only {column} {pattern}" for column, pattern in content["only"].items()]
    parts += ["hearing the speakers' unlabelled audio"] if content["saw_unlabelled_test_audio"] else []
    task = [parts, answered, content["join"], folds, sorted(_speakers(content))]
    digest = hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()[:6]
    return f"{', '.join(parts)} [{digest}]"


def _speakers(content: Mapping[str, Any]) -> list[str]:
    return [f"{one['speaker']} {one['n']}" for one in content["per_speaker"]]


def _stem(title: str) -> str:
    """Name a table's files: short, whatever the number of folds."""
    described, _, digest = title.removesuffix("]").rpartition(" [")
    words = re.sub(r"[^a-z0-9]+", "-", described.lower()).strip("-")
    return f"{words[:80].rstrip('-')}-{digest}"


def _rows(entries: list[tuple[Run, Report]]) -> list[dict[str, str]]:
    """Give a table's rows, best first; runs of one recipe are told apart by the settings in which they differ."""
    entries = sorted(entries, key=lambda entry: -_merit(entry[1].content))
    settings = {run.folder: _flat(run.recipe.resolved()) for run, _ in entries}
    rows = []
    for run, report in entries:
        own = settings[run.folder]
        others = [settings[other.folder] for other, _ in entries if other.recipe.name == run.recipe.name]
        differing = [key for key in own if any(other.get(key) != own[key] for other in others)]
        told = ", ".join(f"{key} {own[key]}" for key in differing if not key.startswith(("seeds", "protocol.run")))
        rows.append(_row(run, report) | {"system": f"{run.recipe.name} ({told})" if told else run.recipe.name})
    return rows


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested settings as `method.reversal` -> value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _merit(content: Mapping[str, Any]) -> float:
    """Give the figure by which rows are sorted: UA, or the mean of the dimensions' CCC."""
    names = [f"ccc_{name}" for name in content["dimensions"]] if "dimensions" in content else ["ua"]
    return sum(content["metrics"][name]["value"] for name in names) / len(names)


def _row(run: Run, report: Report) -> dict[str, str]:
    content = report.content
    figures = _of_dimensions(content) if "dimensions" in content else _of_classes(content)
    found = content["speaker_probe"] or {}
    training = found.get("train_speakers") or {}
    values = (
        _percent(found.get("accuracy")),
        _percent(training.get("accuracy")),
        f"{_percent(found.get('chance'))} / {_percent(training.get('chance'))}",
        str(len(content["seeds"])),
        str(len(content["folds"])),
        "yes" if content["saw_unlabelled_test_audio"] else "no",
        run.folder.name,
        content["machine"],
        f"{content['seconds'] / 60:.0f}",
    )
    return {"system": content["title"]} | figures | dict(zip(SHARED, values, strict=True))


def _of_classes(content: Mapping[str, Any]) -> dict[str, str]:
    metrics, validation = content["metrics"], content["validation"]
    ua = metrics["ua"]
    return {
        "UA": _percent(ua["value"]),
        "UA interval": f"{_percent(ua['low'])} to {_percent(ua['high'])}",
        "UA std": _percent(ua["std"]),
        "WA": _percent(metrics["wa"]["value"]),
        "macro-F1": _percent(metrics["macro_f1"]["value"]),
        "validation UA": _percent(validation["ua"]["value"] if validation else None),
        "gap": _percent(content["gap"]),
    }


def _of_dimensions(content: Mapping[str, Any]) -> dict[str, str]:
    metrics, validation, figures = content["metrics"], content["validation"], {}
    for name in content["dimensions"]:
        overall, of_speakers = metrics[f"ccc_{name}"], metrics[f"ccc_{name}_of_speakers"]
        figures |= {
            f"CCC {name}": _number(overall["value"]),
            f"CCC {name} interval": f"{_number(overall['low'])} to {_number(overall['high'])}",
            f"CCC {name} std": _number(overall["std"]),
            f"CCC {name} of speakers": _number(of_speakers["value"]),
            f"CCC {name} of speakers interval": f"{_number(of_speakers['low'])} to {_number(of_speakers['high'])}",
            f"validation CCC {name}": _number(validation[f"ccc_{name}"]["value"] if validation else None),
        }
    return figures | {"gap": _number(content["gap"])}


def _is_table(path: Path) -> bool:
    """Say whether a file is a table of ours, and not one that somebody keeps in the same folder."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        columns = tuple(next(csv.reader(file), ()))
    return columns[:1] == COLUMNS[:1] and columns[-len(SHARED) :] == SHARED


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
