"""What trainings and their reports look like in a terminal, or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serene.cli.terminal import out, print_json, print_table
from serene.corpora.spelling import words
from serene.files import read_json_lines

if TYPE_CHECKING:
    from serene.evaluation.report import Report
    from serene.experiment.recipe_file import RecipeFile
    from serene.experiment.train import TableReport


def _summary(report: Report) -> dict[str, str]:
    """Give the headline of a report as text."""
    content = report.content
    found = content["speaker_probe"] or {}
    accuracy, chance = found.get("accuracy"), found.get("chance")
    probe = "not measured"
    if accuracy is not None and chance is not None:
        probe = f"{100 * accuracy:.1f} (chance {100 * chance:.1f})"
    figures = FIGURES[report.task.metric](content["metrics"], report.task.names)
    figures |= {"speaker probe": probe, "unseen speakers": str(content["n_speakers"])}
    return {"system": content["title"], **figures}


def _of_classes(metrics: Mapping[str, Any], _names: Sequence[str]) -> dict[str, str]:
    ua, low, high = (100 * metrics["ua"][key] for key in ("value", "low", "high"))
    return {"UA": f"{ua:.1f} [{low:.1f}-{high:.1f}]", "WA": f"{100 * metrics['wa']['value']:.1f}"}


def _of_dimensions(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    found = {name: metrics[f"ccc_{name}"] for name in names}
    return {f"CCC {n}": f"{i['value']:.3f} [{i['low']:.3f} to {i['high']:.3f}]" for n, i in found.items()}


FIGURES = {"ua": _of_classes, "ccc": _of_dimensions}  # of a report, by the task's metric


def print_report(report: Report, folder: Path, json: bool) -> None:
    """Show a run's report, or print it as JSON."""
    if json:
        print_json({"folder": str(folder), **report.to_json()})
        return
    print_table([_summary(report)])
    out.print(f"{report.content['protocol']}; selection: {report.content['selection']}")
    left_out = (report.content.get("data") or {}).get("left_out", {})
    if left_out:
        out.print(f"left out of the corpus: {words(left_out)}")
    for stamp in report.content["stamps"]:
        out.print(f"note: {stamp}")
    out.print(f"Report: {(folder / 'report.html').resolve()}")


def print_table_report(table: TableReport, json: bool) -> None:
    """Show the report of a table's rows, or print it as JSON."""
    if json:
        print_json({"folder": str(table.folder), **table.to_json()})
        return
    print_table([_summary(report) for report in table.reports.values()])
    if table.differences:
        print_differences(table.differences)
    else:
        out.print(f"note: {table.remark}")
    out.print(f"Report: {(table.folder / 'report.html').resolve()}")


def print_differences(found: list[dict[str, Any]]) -> None:
    """Show how far runs are apart."""
    from serene.reporting.figures import difference_rows, heading

    out.print(f"{heading(found)}:")
    print_table(difference_rows(found))


def print_rows(file: RecipeFile, json: bool) -> None:
    """List the rows of a recipe file, or print them as JSON."""
    if json:
        rows = [
            {"row": row, "recipe": file.name(row), "remark": file.remarks.get(row), "overrides": overrides}
            for row, overrides in file.rows.items()
        ]
        print_json({"recipe": file.name(), "rows": rows})
        return
    for row in file.rows:
        out.print(f"{file.path}:{row}  {file.about(row)}")
    if not file.rows:
        out.print(f"{file.path} has no rows; it is a single recipe.")


def print_encoder(folder: Path, json: bool) -> None:
    """Say where an encoder that was pre-trained lies, and how well it predicts, or print that as JSON."""
    rows = read_json_lines(folder.parent / "log.jsonl")
    if json:
        print_json({"encoder": str(folder), "log": rows})
        return
    shown = [key for key in rows[-1] if key.endswith(("accuracy", "majority"))]
    print_table([{key.removeprefix("validation_").replace("_", " "): f"{100 * rows[-1][key]:.1f} %" for key in shown}])
    out.print(f"Encoder: {folder.resolve()} (a transformers folder; model.weights={folder} begins with it)")
