"""The verbs that train and report what was trained: train, evaluate, compare, quickstart."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from serene.cli.terminal import Jobs, Json, Runs, app, bars, out, print_json, print_table, training
from serene.corpora.manifest import words
from serene.errors import SereneError


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, such as recipes/tu2019/emodb/dat.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.sub=value; values are YAML.")] = None,
    output: Runs = Path("runs"),
    jobs: Jobs = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")] = False,
    json: Json = False,
) -> None:
    """Train every fold and seed of a recipe that has not finished, then report; resumes what was interrupted."""
    with training():
        from serene.experiment import train as line
        from serene.experiment.recipe import check, name_of, read
        from serene.experiment.run_report import report_of
        from serene.training.stages import pretraining

        tree = read(recipe, overrides or [])
        if "stages" in tree and "protocol" not in tree:  # it makes an encoder and learns no emotions
            with bars() as progress:
                encoder = line.pretrain(pretraining(tree, name_of(recipe)), output, progress)
            _print_encoder(encoder, json)
            return
        with bars() as progress:
            run = line.train(
                check(tree, name_of(recipe)), output, jobs=jobs, progress=progress, tensorboard=tensorboard
            )
        _print_report(report_of(run), run.folder, json)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    on: Annotated[Path | None, typer.Option("--on", help="Score another manifest with the run's models.")] = None,
    enrolled: Annotated[
        bool, typer.Option("--enrolled", help="Enrol each test speaker by their own clips, without labels.")
    ] = False,
    json: Json = False,
) -> None:
    """Rebuild a run's report from its files, or score another corpus or enrolled speakers with its models."""
    with training():
        from serene.experiment.cross_corpus import evaluate_on
        from serene.experiment.enrolment_curve import evaluate_enrolled
        from serene.experiment.run import Run
        from serene.experiment.run_report import write_report

        opened = Run.open(run)
        if on is not None and enrolled:
            raise SereneError("--on and --enrolled are two evaluations; ask for one at a time.")
        if on is None and not enrolled:
            _print_report(write_report(opened), opened.folder, json)
            return
        with bars() as progress:
            report, folder = evaluate_enrolled(opened, progress) if on is None else evaluate_on(opened, on, progress)
        _print_report(report, folder, json)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more runs over the same test utterances.")],
    json: Json = False,
) -> None:
    """Compare runs with the first: paired differences over the same utterances, speakers resampled."""
    with training():
        from serene.evaluation.confidence import paired
        from serene.evaluation.predictions import Predictions
        from serene.experiment.run import Run

        if len(runs) < 2:
            raise SereneError("compare needs two runs or more.")
        tests = [
            Predictions.concatenate(c.predictions() for c in Run.open(run).finished()).select(part="test")
            for run in runs
        ]
        rows = []
        for run, test in zip(runs[1:], tests[1:], strict=True):
            for metric, d in paired(test, tests[0]).items():
                rows.append({"run": run.name, "against": runs[0].name, "metric": metric, **d.to_dict()})
    if json:
        print_json({"differences": rows})
        return
    form, factor, unit = DIFFERENCES[tests[0].task.metric]
    out.print(f"Differences to {runs[0].name}{unit}:")
    shown = []
    for row in rows:
        value, low, high = (form.format(factor * row[key]) for key in ("value", "low", "high"))
        told = {"difference": value, "95 % interval": f"{low} to {high}", "p": f"{row['p']:.3f}"}
        shown.append({"run": row["run"], "metric": row["metric"]} | told)
    print_table(shown)


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where everything goes.")] = Path("runs/quickstart"),
    jobs: Jobs = None,
    json: Json = False,
) -> None:
    """Run the whole line on built-in data, offline, in minutes."""
    with training():
        from serene.experiment.quickstart import quickstart as run_quickstart

        with bars() as progress:
            reports, page = run_quickstart(output, jobs=jobs, progress=progress)
    if json:
        print_json({"page": str(page), "reports": [report.to_json() for report in reports]})
        return
    print_table([_summary(report) for report in reports])
    out.print(f"Made-up speech: it shows how things work, not which method is better.\nReport: {page.resolve()}")


def _summary(report: Any) -> dict[str, str]:
    """Give the headline of a report as text."""
    content = report.content
    found = content["speaker_probe"] or {}
    accuracy, chance = found.get("accuracy"), found.get("chance")
    measured = accuracy is not None and chance is not None
    probe = f"{100 * accuracy:.1f} (chance {100 * chance:.1f})" if measured else "not measured"
    figures = FIGURES[report.task.metric](content["metrics"], report.task.names)
    return {
        "system": content["title"],
        **figures,
        "speaker probe": probe,
        "unseen speakers": str(content["n_speakers"]),
    }


def _of_classes(metrics: Mapping[str, Any], _names: Sequence[str]) -> dict[str, str]:
    ua, low, high = (100 * metrics["ua"][key] for key in ("value", "low", "high"))
    return {"UA": f"{ua:.1f} [{low:.1f}-{high:.1f}]", "WA": f"{100 * metrics['wa']['value']:.1f}"}


def _of_dimensions(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    found = {name: metrics[f"ccc_{name}"] for name in names}
    return {f"CCC {n}": f"{i['value']:.3f} [{i['low']:.3f} to {i['high']:.3f}]" for n, i in found.items()}


FIGURES = {"ua": _of_classes, "ccc": _of_dimensions}  # of a report, by the task's metric
DIFFERENCES = {"ua": ("{:+.1f}", 100, ", in points"), "ccc": ("{:+.3f}", 1, "")}  # form, factor, unit


def _print_report(report: Any, folder: Path, json: bool) -> None:
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


def _print_encoder(folder: Path, json: bool) -> None:
    rows = [json_module.loads(line) for line in (folder.parent / "log.jsonl").read_text().splitlines()]
    if json:
        print_json({"encoder": str(folder), "log": rows})
        return
    shown = [key for key in rows[-1] if key.endswith(("accuracy", "majority"))]
    print_table([{key.removeprefix("validation_").replace("_", " "): f"{100 * rows[-1][key]:.1f} %" for key in shown}])
    out.print(f"Encoder: {folder.resolve()} (a transformers folder; model.weights={folder} begins with it)")
