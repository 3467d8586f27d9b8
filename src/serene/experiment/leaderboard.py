"""One table per protocol from many runs, whose small files stay beside them, so that a table can be completed later."""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from serene.errors import SereneError
from serene.evaluation.report import Report
from serene.experiment.archive import ARCHIVE, finished, keep, pack, unpack
from serene.experiment.run import Run
from serene.experiment.run_report import report_of
from serene.files import whole_file, write_text
from serene.task import task_of_report

ENROLLED = "enrolled with the test speakers' unlabelled clips"
MOST_NAMED = 10  # folds that a title names one by one
SHARED: tuple[str, ...] = (
    *("speaker probe, test speakers", "speaker probe, training speakers", "chance", "seeds", "folds"),
    *("enrolled, unlabelled clips", "run", "machine", "core-minutes"),
)
COLUMNS: tuple[str, ...] = (
    *("system", "UA", "UA interval", "UA std", "WA", "macro-F1", "validation UA", "gap"),
    *SHARED,
)


def leaderboard(runs: Path, folder: Path) -> dict[str, list[dict[str, str]]]:
    """Write `tables.md` and `tables.csv`, a table per protocol, from the runs given and those the folder kept before.

    Rows of different corpora, tasks or protocols, or of systems that were enrolled with the test speakers' unlabelled
    clips and systems that were not, never share a table.

    Args:
        runs: a folder of runs, or an archive that this function wrote.
        folder: where they go, and `runs.tar.bz2`, which keeps each run's recipe, report, predictions and logs.

    Returns:
        Title of each table -> its rows.

    Raises:
        SereneError: no finished run in either place, or an archive that is not one of ours. Nothing was changed.
    """
    with tempfile.TemporaryDirectory(prefix="serene-") as scratch:
        kept = Path(scratch)
        for source in dict.fromkeys((folder / ARCHIVE, folder / "runs", runs)):  # the second is of older versions
            if source.is_file():
                unpack(source, kept)
                continue
            for run in finished(source):
                keep(run, kept / run.folder.name)
        tables: dict[str, list[tuple[Run, Report]]] = defaultdict(list)
        for run in finished(kept):
            report = report_of(run)
            report.write(run.folder / "report.json")
            tables[_table(report)].append((run, report))
        if not tables:
            raise SereneError(f"There is no finished run in {runs} or {folder / ARCHIVE}; `serene train` makes them.")
        sorted_tables = {title: _rows(tables[title]) for title in sorted(tables)}
        pack(kept, folder / ARCHIVE)
    sections = (f"## {title}\n\n{markdown(rows)}" for title, rows in sorted_tables.items())
    write_text(folder / "tables.md", "\n".join(sections))
    _write_csv(folder / "tables.csv", sorted_tables)
    return sorted_tables


def markdown(rows: Iterable[Mapping[str, str]]) -> str:
    """Write rows as a Markdown table."""
    rows = list(rows)
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0]), *(" | ".join(row.values()) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _table(report: Report) -> str:
    """Name the task of a report; the digest tells tasks of the same description but other classes or clips apart."""
    content = report.content
    folds, task = content["folds"], task_of_report(content)
    parts = [f"{content['corpus']}, {task.described}: {content['protocol']}"]
    parts.append(f"folds {' '.join(folds)}" if len(folds) <= MOST_NAMED else f"{len(folds)} folds")
    parts += [f"label {task.label_column}"] if task.label_column else []
    parts += [f"only {column} {pattern}" for column, pattern in content["only"].items()]
    parts += [ENROLLED] if content["saw_unlabelled_test_audio"] else []
    speakers = sorted(f"{one['speaker']} {one['n']}" for one in content["per_speaker"])
    decisive = [parts, list(task.names), content["join"], folds, speakers]
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:6]
    return f"{', '.join(parts)} [{digest}]"


def _rows(entries: list[tuple[Run, Report]]) -> list[dict[str, str]]:
    """Give a table's rows, best first; runs of one recipe are told apart by the settings in which they differ."""
    entries = sorted(entries, key=lambda entry: -task_of_report(entry[1].content).merit(entry[1].content["metrics"]))
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


def _row(run: Run, report: Report) -> dict[str, str]:
    content = report.content
    task = task_of_report(content)
    found = content["speaker_probe"] or {}
    training = found.get("train_speakers") or {}
    values = (
        *(_percent(found.get("accuracy")), _percent(training.get("accuracy"))),
        f"{_percent(found.get('chance'))} / {_percent(training.get('chance'))}",
        *(str(len(content["seeds"])), str(len(content["folds"]))),
        "yes" if content["saw_unlabelled_test_audio"] else "no",
        *(run.folder.name, content["machine"], f"{content['seconds'] / 60:.0f}"),
    )
    return {"system": content["title"]} | FIGURES[task.metric](content) | dict(zip(SHARED, values, strict=True))


def _of_classes(content: Mapping[str, Any]) -> dict[str, str]:
    metrics, validation = content["metrics"], content["validation"]
    ua = {key: _percent(value) for key, value in metrics["ua"].items()}
    return {
        "UA": ua["value"],
        "UA interval": f"{ua['low']} to {ua['high']}",
        "UA std": ua["std"],
        "WA": _percent(metrics["wa"]["value"]),
        "macro-F1": _percent(metrics["macro_f1"]["value"]),
        "validation UA": _percent(validation["ua"]["value"] if validation else None),
        "gap": _percent(content["gap"]),
    }


def _of_dimensions(content: Mapping[str, Any]) -> dict[str, str]:
    metrics, validation, figures = content["metrics"], content["validation"], {}
    for name in task_of_report(content).names:
        overall, of_speakers = (
            {key: _number(value) for key, value in metrics[f"ccc_{name}{of}"].items()} for of in ("", "_of_speakers")
        )
        figures |= {
            f"CCC {name}": overall["value"],
            f"CCC {name} interval": f"{overall['low']} to {overall['high']}",
            f"CCC {name} std": overall["std"],
            f"CCC {name} of speakers": of_speakers["value"],
            f"CCC {name} of speakers interval": f"{of_speakers['low']} to {of_speakers['high']}",
            f"validation CCC {name}": _number(validation[f"ccc_{name}"]["value"] if validation else None),
        }
    return figures | {"gap": _number(content["gap"])}


FIGURES: dict[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {"ua": _of_classes, "ccc": _of_dimensions}


def _write_csv(path: Path, tables: Mapping[str, list[dict[str, str]]]) -> None:
    """Write all tables as one; the first column says which one a row is of."""
    own = dict.fromkeys(column for rows in tables.values() for column in rows[0] if column not in SHARED)
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["table", *own, *SHARED], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"table": title} | row for title, rows in tables.items() for row in rows)


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
