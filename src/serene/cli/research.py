"""The verbs that prepare, split, train, measure and reproduce."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from serene.cli.terminal import Jobs, Json, Runs, app, bars, out, print_json, print_table, training
from serene.errors import SereneError


@app.command()
def prepare(
    corpus: Annotated[
        str,
        typer.Argument(help="emodb, ravdess, crema_d, iemocap, esd, voxceleb1, speechocean762, table or synthetic."),
    ],
    folder: Annotated[
        Path, typer.Argument(help="The corpus as it is shipped; for `table` the CSV or JSON-lines file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The manifest to write, such as emodb.jsonl.")],
    fast: Annotated[bool, typer.Option("--fast", help="Read headers only; audio is not checked.")] = False,
    plots: Annotated[bool, typer.Option("--plots", help="Also draw the corpus, in a folder beside.")] = False,
    json: Json = False,
) -> None:
    """Turn a corpus on disk into a manifest; say what was counted, and what was left out and why."""
    from serene.corpora.prepare import prepare as prepare_corpus

    if output.suffix != ".jsonl":
        raise SereneError(f"The manifest's name is {output.name}; one that ends in .jsonl was expected.")
    if plots:
        with training():
            import serene.reporting.corpus_report  # noqa: F401  # what is missing is said before the long decoding
    with bars() as progress:
        manifest = prepare_corpus(corpus, folder, fast=fast, progress=lambda done, of: progress("decoding", done, of))
        manifest.write(output)
        summary = {"manifest": str(output), **manifest.summarise()}
        if plots:
            from serene.reporting.corpus_report import write_corpus_report

            summary["plots"] = str(write_corpus_report(manifest, output.with_suffix(".plots"), progress))
    if json:
        print_json(summary | {"left_out_clips": [_left_out(clip) for clip in manifest.left_out]})
        return
    out.print(
        f"{summary['utterances']} utterances, {summary['speakers']} speakers, {summary['hours']} hours -> {output}"
    )
    out.print("emotions: " + ", ".join(f"{name} {count}" for name, count in summary["emotions"].items()))
    for clip in manifest.left_out:
        out.print(f"left out: {clip.id}: {clip.reason}")
    for remark in manifest.remarks:
        out.print(f"note: {remark}")
    if plots:
        out.print(f"Pictures: {Path(summary['plots']).resolve()}")


@app.command()
def audit(
    manifest: Annotated[Path, typer.Argument(help="A manifest that `prepare` wrote.")],
    splits: Annotated[list[Path] | None, typer.Option("--splits", help="Split files; see below.")] = None,
    more: Annotated[list[Path] | None, typer.Argument(help="Further split files.")] = None,
    json: Json = False,
) -> None:
    """Find speakers, sessions, texts and identical audio that the parts of a split share; exit 1 if it leaks.

    `--splits A B ...` takes one file per part, or one file with a part column: this project's, EmoBox's JSON lines,
    s3prl's JSON, CSV. Without it the manifest's own `split` column is audited.
    """
    from serene.protocols.audit import audit as audit_splits

    result = audit_splits(manifest, [*(splits or []), *(more or [])])
    if json:
        print_json(result.to_json())
    else:
        for line in result.lines():
            out.print(line)
    raise typer.Exit(1 if result.leaks else 0)


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
        from serene.experiment import experiment
        from serene.experiment.recipe import check, name_of, read
        from serene.training.stages import pretraining

        tree = read(recipe, overrides or [])
        if "stages" in tree and "protocol" not in tree:  # it makes an encoder and learns no emotions
            with bars() as progress:
                encoder = experiment.pretrain(pretraining(tree, name_of(recipe)), output, progress)
            _print_encoder(encoder, json)
            return
        with bars() as progress:
            run = experiment.train(
                check(tree, name_of(recipe)), output, jobs=jobs, progress=progress, tensorboard=tensorboard
            )
        _print_report(experiment.report_of(run), run.folder, json)


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
        from serene.experiment import experiment
        from serene.experiment.cross_corpus import evaluate_on
        from serene.experiment.run import Run

        opened = Run.open(run)
        if on is not None and enrolled:
            raise SereneError("--on and --enrolled are two evaluations; ask for one at a time.")
        if enrolled:
            from serene.experiment.enrolment_curve import evaluate_enrolled

            with bars() as progress:
                report, folder = evaluate_enrolled(opened, progress)
            _print_report(report, folder, json)
            return
        if on is None:
            _print_report(experiment.write_report(opened), opened.folder, json)
            return
        with bars() as progress:
            report, folder = evaluate_on(opened, on, progress)
        _print_report(report, folder, json)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more runs over the same test utterances.")],
    json: Json = False,
) -> None:
    """Compare runs with the first: paired differences over the same utterances, speakers resampled."""
    with training():
        from serene.evaluation.answers import Answers
        from serene.evaluation.confidence import paired
        from serene.experiment.run import Run

        if len(runs) < 2:
            raise SereneError("compare needs two runs or more.")
        tests = [
            Answers.concatenate(c.predictions() for c in Run.open(run).finished()).select(part="test") for run in runs
        ]
        rows = []
        for run, test in zip(runs[1:], tests[1:], strict=True):
            for metric, d in paired(test, tests[0]).items():
                rows.append({"run": run.name, "against": runs[0].name, "metric": metric, **d.to_dict()})
    if json:
        print_json({"differences": rows})
        return
    rated = rows[0]["metric"].startswith("ccc_")
    signed = (lambda value: f"{value:+.3f}") if rated else (lambda share: f"{100 * share:+.1f}")
    shown = [
        {
            "run": row["run"],
            "metric": row["metric"],
            "difference": signed(row["value"]),
            "95 % interval": f"{signed(row['low'])} to {signed(row['high'])}",
            "p": f"{row['p']:.3f}",
        }
        for row in rows
    ]
    out.print(f"Differences to {runs[0].name}{'' if rated else ', in points'}:")
    print_table(shown)


@app.command()
def leaderboard(
    runs: Annotated[Path, typer.Argument(help="A folder of runs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the tables.")],
    json: Json = False,
) -> None:
    """Write one table per protocol, and keep what a later table needs of every run."""
    with training():
        from serene.experiment.leaderboard import leaderboard as write_tables

        tables = write_tables(runs, output)
    if json:
        print_json(tables)
        return
    for title, rows in tables.items():
        out.print(title)
        told = [k for k in rows[0] if k in ("system", "UA", "UA interval", "WA", "leak, strangers") or k[:4] == "CCC "]
        print_table([{k: row[k] for k in told} for row in rows])


@app.command()
def reproduce(
    table: Annotated[str | None, typer.Argument(help="A table's name; see --list.")] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="CORPUS=FOLDER or CORPUS=MANIFEST; once for each corpus.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="key.sub=value for every row's recipe; upstream.key for what a row stands on."),
    ] = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="NAME=FOLDER, in place of weights of that name.")
    ] = None,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Measure this row and no other.")] = None,
    columns: Annotated[list[str] | None, typer.Option("--column", help="Measure this column and no other.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Name the tables.")] = False,
    tiny: Annotated[bool, typer.Option("--tiny", help="Made-up speech, two epochs: shows that it works.")] = False,
    output: Runs = Path("runs"),
    jobs: Jobs = None,
    json: Json = False,
) -> None:
    """Run a paper's table: published, ours, interval, and where the protocols differ."""
    from serene.published import TABLES

    if listed or table is None:
        known = {
            name: f"{entry.title} ({entry.source}; needs {' and '.join(entry.corpora)})"
            for name, entry in TABLES.items()
        }
        print_json(known) if json else [out.print(f"{name}: {text}") for name, text in known.items()]
        return
    folders, named = _pairs("--data", "CORPUS", data), _pairs("--weights", "NAME", weights)
    with training():
        from serene.reproduce import reproduce as run_table

        with bars() as progress:
            result = run_table(
                table,
                folders,
                output,
                overrides=tuple(overrides or ()),
                weights=named,
                rows=rows or (),
                columns=columns or (),
                tiny=tiny,
                jobs=jobs,
                progress=progress,
            )
    if json:
        print_json(result.to_json())
        return
    out.print(f"{result.table.title}. {result.table.source}. {result.table.unit}")
    print_table(result.lines())
    for text in result.remarks():
        out.print(text)


@app.command()
def probe(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    manifest: Annotated[Path, typer.Argument(help="A manifest whose speakers are told apart.")],
    json: Json = False,
) -> None:
    """Measure how much of the speaker is left in a model's embedding: fresh probes, on a manifest's speakers."""
    with training():
        from serene.experiment.cross_corpus import probe_model

        with bars() as progress:
            leak = probe_model(model, manifest, progress)
    if json:
        print_json(leak)
        return
    for name in ("linear", "nonlinear"):
        out.print(f"{name} probe: {leak[name]['mean']:.1%} of {leak['n_speakers']} speakers told apart")
    eer = "unknown" if leak["eer"] is None else f"{leak['eer']:.1%}"
    out.print(f"chance {leak['chance']:.1%}, majority {leak['majority']:.1%}, equal-error rate {eer}")


@app.command()
def gap(
    manifest: Annotated[Path, typer.Argument(help="A manifest with many speakers of many clips.")],
    weights: Annotated[str | None, typer.Option("--weights", help="A frozen encoder; MFCC without it.")] = None,
    target: Annotated[
        str, typer.Option("--target", help="emotion, emotion_perceived, votes or dimensions.")
    ] = "emotion",
    use: Annotated[list[str] | None, typer.Option("--use", help="A class or dimension; may be repeated.")] = None,
    speakers: Annotated[list[int] | None, typer.Option("--speakers", help="How many are trained on; repeated.")] = None,
    draws: Annotated[int, typer.Option("--draws", help="Of speakers and their clips.")] = 50,
    output: Runs = Path("runs"),
    json: Json = False,
) -> None:
    """Measure what a linear model gains from knowing the speakers it is tested on, by how many it is trained on."""
    with training():
        from serene.experiment.personalisation_gap import NUMBERS, personalisation_gap

        with bars() as progress:
            found = personalisation_gap(
                manifest,
                output,
                weights=weights,
                target=target,
                use=use,
                numbers=speakers or NUMBERS,
                draws=draws,
                progress=progress,
            )
    if json:
        print_json({"folder": str(found.folder), **found.facts, "rows": found.rows})
        return
    print_table(
        [
            {key: f"{value:.3f}" if isinstance(value, float) else str(value) for key, value in row.items()}
            for row in found.rows
        ]
    )
    out.print(f"Table and pictures: {found.folder.resolve()}")


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


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed, what is missing, and what to do about it."""
    from serene.cli.doctor import examine

    findings = examine()
    if json:
        print_json(findings)
        return
    for line in findings["lines"]:
        out.print(line)


def _summary(report: Any) -> dict[str, str]:
    """Give the headline of a report as text."""
    content = report.content
    metrics, leak = content["metrics"], content["leak"] or {}
    accuracy, chance = leak.get("accuracy"), leak.get("chance")
    if "dimensions" in content:
        named = {name: metrics[f"ccc_{name}"] for name in content["dimensions"]}
        figures = {f"CCC {n}": f"{i['value']:.3f} [{i['low']:.3f} to {i['high']:.3f}]" for n, i in named.items()}
    else:
        ua = metrics["ua"]
        figures = {
            "UA": f"{100 * ua['value']:.1f} [{100 * ua['low']:.1f}-{100 * ua['high']:.1f}]",
            "WA": f"{100 * metrics['wa']['value']:.1f}",
        }
    return {
        "system": content["title"],
        **figures,
        "speaker leak": "not measured"
        if accuracy is None or chance is None
        else f"{100 * accuracy:.1f} (chance {100 * chance:.1f})",
        "unseen speakers": str(content["n_speakers"]),
    }


def _print_report(report: Any, folder: Path, json: bool) -> None:
    if json:
        print_json({"folder": str(folder), **report.to_json()})
        return
    print_table([_summary(report)])
    out.print(f"{report.content['protocol']}; selection: {report.content['selection']}")
    left_out = (report.content.get("data") or {}).get("left_out", {})
    if left_out:
        out.print("left out of the corpus: " + ", ".join(f"{reason} {count}" for reason, count in left_out.items()))
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


def _left_out(clip: Any) -> dict[str, str]:
    """Give a left-out clip as plain values."""
    return {"id": clip.id, "audio": clip.audio, "reason": clip.reason}


def _pairs(option: str, kind: str, given: list[str] | None) -> dict[str, str]:
    """Read an option that is given as NAME=FOLDER, any number of times."""
    folders = {}
    for item in given or []:
        name, equals, folder = item.partition("=")
        if not (name and equals and folder):
            raise SereneError(f"{option} {item} is not of the form {kind}=FOLDER.")
        folders[name] = folder
    return folders
