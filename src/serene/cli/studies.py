"""The verbs that answer a question with a table: leaderboard, reproduce, probe, gap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from serene.cli.terminal import Jobs, Json, Runs, Trust, app, bars, out, print_json, print_table, training
from serene.errors import SereneError
from serene.task import TASKS

SHOWN = ("system", "UA", "UA interval", "WA", "speaker probe, test speakers")  # columns of a table, on a screen

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="key.sub=value for all recipes; upstream.key for what they need.")
]


@app.command()
def leaderboard(
    runs: Annotated[Path, typer.Argument(help="A folder of runs, or an archive of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the tables and their archive.")],
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Write one table per protocol, and keep what a later table needs of every run in `runs.tar.bz2`."""
    with training():
        from serene.experiment.leaderboard import leaderboard as write_tables

        tables = write_tables(runs, output)
    if json:
        print_json(tables)
        return
    for title, rows in tables.items():
        out.print(title)
        print_table([{k: v for k, v in row.items() if k in SHOWN or k.startswith("CCC ")} for row in rows])


@app.command()
def reproduce(
    table: Annotated[str | None, typer.Argument(help="A table's name; see --list.")] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="CORPUS=FOLDER or CORPUS=MANIFEST; once for each corpus.")
    ] = None,
    overrides: Overrides = None,
    weights: Annotated[
        list[str] | None, typer.Option("--weights", help="NAME=FOLDER, in place of weights of that name.")
    ] = None,
    rows: Annotated[list[str] | None, typer.Option("--row", help="Measure this row and no other.")] = None,
    columns: Annotated[list[str] | None, typer.Option("--column", help="Measure this column and no other.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Name the tables.")] = False,
    tiny: Annotated[bool, typer.Option("--tiny", help="Made-up speech, few epochs: shows that it works.")] = False,
    output: Runs = Path("runs"),
    jobs: Jobs = None,
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Run a paper's table: published, ours, interval, and where the protocols differ."""
    from serene.published import TABLES

    if listed or table is None:
        known = {n: f"{t.title} ({t.source}; needs {' and '.join(t.corpora)})" for n, t in TABLES.items()}
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
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Measure how much of the speaker is left in a model's embedding: fresh probes, on a manifest's speakers."""
    with training():
        from serene.experiment.cross_corpus import probe_model

        with bars() as progress:
            found = probe_model(model, manifest, progress)
    if json:
        print_json(found)
        return
    for name in ("linear", "nonlinear"):
        out.print(f"{name} probe: {found[name]['mean']:.1%} of {found['n_speakers']} speakers told apart")
    eer = "unknown" if found["eer"] is None else f"{found['eer']:.1%}"
    out.print(f"chance {found['chance']:.1%}, majority {found['majority']:.1%}, equal-error rate {eer}")


@app.command()
def gap(
    manifest: Annotated[Path, typer.Argument(help="A manifest with many speakers of many clips.")],
    weights: Annotated[str | None, typer.Option("--weights", help="A frozen encoder; MFCC without it.")] = None,
    target: Annotated[
        str, typer.Option("--target", help=f"One of {', '.join(name for name in TASKS if name != 'speaker')}.")
    ] = "emotion",
    use: Annotated[list[str] | None, typer.Option("--use", help="A class or dimension; may be repeated.")] = None,
    speakers: Annotated[list[int] | None, typer.Option("--speakers", help="How many are trained on; repeated.")] = None,
    draws: Annotated[int, typer.Option("--draws", help="Of speakers and their clips.")] = 50,
    output: Runs = Path("runs"),
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Measure what a linear model gains from training on the speakers it is tested on, by how many there are."""
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
    _say(found, json, "Table and pictures")


@app.command()
def layers(
    weights: Annotated[str, typer.Argument(help="A pretrained encoder: a folder, or a name on huggingface.co.")],
    manifest: Annotated[Path, typer.Argument(help="A manifest with emotions and speakers.")],
    output: Runs = Path("runs"),
    json: Json = False,
) -> None:
    """Probe every layer of an encoder for the emotion, on unseen speakers, and for the speaker."""
    with training():
        from serene.experiment.layers import probe_layers

        with bars() as progress:
            found = probe_layers(weights, manifest, output, progress=progress)
    _say(found, json, "Table and picture")


def _say(found: Any, json: bool, what: str) -> None:
    """Print a study's facts and rows as JSON, or its rows and where they were written."""
    if json:
        print_json({"folder": str(found.folder), **found.facts, "rows": found.rows})
        return
    rows = ({k: f"{v:.3f}" if isinstance(v, float) else str(v) for k, v in row.items()} for row in found.rows)
    print_table(list(rows))
    out.print(f"{what}: {found.folder.resolve()}")


def _pairs(option: str, kind: str, given: list[str] | None) -> dict[str, str]:
    """Read an option that is given as NAME=FOLDER, any number of times."""
    folders = {}
    for item in given or []:
        name, equals, folder = item.partition("=")
        if not (name and equals and folder):
            raise SereneError(f"{option} {item} is not of the form {kind}=FOLDER.")
        folders[name] = folder
    return folders
