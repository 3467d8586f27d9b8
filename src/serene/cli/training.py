"""The verbs that train and report what was trained: train, evaluate, compare, quickstart."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serene.cli.shown import print_differences, print_encoder, print_report, print_rows, print_table_report
from serene.cli.terminal import Jobs, Json, On, Runs, Trust, app, bars, out, print_json, print_table, training
from serene.errors import SereneError

if TYPE_CHECKING:
    from serene.experiment.sections import Recipe


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe, such as recipes/tu2019/emodb.yaml; or one row of its table, FILE.yaml:ROW.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key.sub=value, for every row; values are YAML.")
    ] = None,
    output: Runs = Path("runs"),
    jobs: Jobs = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")] = False,
    rows: Annotated[bool, typer.Option("--rows", help="List the rows of the recipe's table; train nothing.")] = False,
    print_trials: Annotated[
        bool, typer.Option("--print-trials", help="List the trials in the order of --trial; train nothing.")
    ] = False,
    trial: Annotated[
        str | None, typer.Option("--trial", help="I/N: only the I-th of N shares of the trials, and no report.")
    ] = None,
    on: On = None,
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Train what has not finished of a recipe, or of all rows of a table, then report; resumes what was interrupted.

    A recipe with rows is a table: FILE.yaml trains all of them, and one report compares them; FILE.yaml:ROW trains one.
    Several processes train one model: torchrun --nproc-per-node 2 -m serene train RECIPE.
    """
    from serene.experiment.recipe_file import find

    file, row = find(recipe)
    if rows:
        print_rows(file, json)
        return
    with training():
        from serene.experiment.recipe import check, load_table

        name, few = file.name(row), print_trials or trial is not None
        tree = None if file.rows and row is None else file.tree(row, overrides or [])
        makes_encoder = tree is not None and "stages" in tree and "protocol" not in tree
        _refuse_mixed(recipe, few, on is not None, makes_encoder)
        if makes_encoder:
            _make_encoder(tree, name, output, json)
            return
        recipes = load_table(recipe, overrides or []) if tree is None else {name: check(tree, name)}
        how: dict[str, Any] = {"jobs": jobs, "tensorboard": tensorboard}
        if few:
            _train_share([*recipes.values()], output, None if print_trials else trial, json, **how)
        else:
            _train_all(recipes, output, output / name if tree is None else None, on, json, **how)


def _refuse_mixed(recipe: str, few: bool, on: bool, makes_encoder: bool) -> None:
    """Refuse ways of sharing trials out that exclude each other, and of what has none."""
    from serene.training import distribution

    if (few or on) and distribution.asked():
        raise SereneError("torchrun has all processes train each trial: leave --on, --trial and --print-trials out.")
    if few and on:
        raise SereneError("--on has Ray share the trials out: leave --trial and --print-trials out.")
    if makes_encoder and (few or on):
        raise SereneError(f"{recipe} makes an encoder, in stages, and has no trials; leave the option out.")


def _train_all(
    recipes: Mapping[str, Recipe], output: Path, table: Path | None, on: str | None, json: bool, **how: Any
) -> None:
    """Train one recipe, or a table whose report goes to a folder; on Ray where that is asked for."""
    from serene import cluster
    from serene.experiment import train
    from serene.experiment.run_report import report_of
    from serene.training import distribution

    where = distribution.joined() if on is None else cluster.connected(on)
    with where, bars(distribution.writes()) as progress:
        how["progress"] = progress
        if on is not None:
            train.train_on(on, recipes.values(), output, tensorboard=how["tensorboard"], progress=progress)
        if table is not None:
            show = partial(print_table_report, train.train_table(recipes, output, table, **how))
        else:
            (recipe,) = recipes.values()
            run = train.train(recipe, output, **how)
            show = partial(print_report, distribution.first(lambda: report_of(run)), run.folder)
        shown = distribution.writes()
    if shown:
        show(json)


def _make_encoder(tree: Any, name: str, output: Path, json: bool) -> None:
    """Train an encoder, which learns no emotions."""
    from serene.experiment.train import pretrain
    from serene.training import distribution
    from serene.training.stages import pretraining

    with distribution.joined(), bars(distribution.writes()) as progress:
        folder, shown = pretrain(pretraining(tree, name), output, progress), distribution.writes()
    if shown:
        print_encoder(folder, json)


def _train_share(recipes: Sequence[Recipe], output: Path, share: str | None, json: bool, **how: Any) -> None:
    """Train a share of the trials, or none; list those of the share, or all."""
    from serene.experiment.train import train_trials
    from serene.experiment.trials import share_of, trials_of

    chosen = slice(None) if share is None else share_of(share)
    with bars() as progress:
        numbered = list(enumerate(trials_of(recipes, output, progress), 1))[chosen]
        if share is not None:
            train_trials([one for _, one in numbered], progress=progress, **how)
    rows = [
        {"trial": number, "recipe": one.plan.recipe.name, "fold": one.trial.fold, "seed": one.trial.seed}
        | {"finished": one.trial.finished, "folder": str(one.trial.folder)}
        for number, one in numbered
    ]
    if json:
        print_json({"share": share, "trials": rows})
        return
    print_table([{name: str(value) for name, value in row.items()} for row in rows] or [{"trials": "none"}])
    if share is not None:
        out.print("No report is written of a share; `serene train` without --trial writes it once all have finished.")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder; with --on also a model folder, or `bundled`.")],
    on: Annotated[Path | None, typer.Option("--on", help="Score this manifest with the run's models.")] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", help="Of clips that do not say theirs, with --on.")] = None,
    enrolled: Annotated[
        bool, typer.Option("--enrolled", help="Enrol each test speaker with their own unlabelled clips.")
    ] = False,
    output: Runs = Path("runs"),
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Rebuild a run's report from its files, or score another corpus or enrolled speakers with its models.

    What is measured of a model on its own goes below the folder of runs.
    """
    with training():
        from serene.experiment.cross_corpus import Models, evaluate_models, evaluate_on
        from serene.experiment.enrolment_curve import evaluate_enrolled
        from serene.experiment.run import Run
        from serene.experiment.run_report import write_report
        from serene.inference.folder import ModelFolder

        if on is not None and enrolled:
            raise SereneError("--on and --enrolled are two evaluations; ask for one at a time.")
        if on is None and corpus is not None:
            raise SereneError("--corpus names the corpus of a manifest's clips: say with --on which manifest it is.")
        alone = str(run) == "bundled" or (run / "config.json").is_file()
        if alone and on is None:
            raise SereneError(f"{run} is a model and no run: say with --on which manifest it is to be scored on.")
        with bars() as progress:
            if alone:
                folder = ModelFolder.find(None if str(run) == "bundled" else run)
                result = evaluate_models(Models.of_folder(folder, output / "on"), on or Path(), progress, corpus=corpus)
            elif on is not None:
                result = evaluate_on(Run.open(run), on, progress, corpus=corpus)
            elif enrolled:
                result = evaluate_enrolled(Run.open(run), progress)
            else:
                result = write_report(Run.open(run)), run
        print_report(*result, json)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two or more runs over the same test utterances.")],
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Compare runs with the first: paired differences over the same utterances, speakers resampled."""
    with training():
        from serene.experiment.run import Run
        from serene.experiment.run_report import differences

        found = differences([(run.name, Run.open(run)) for run in runs])
    if json:
        print_json({"differences": found})
        return
    print_differences(found)


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where everything goes.")] = Path("runs/quickstart"),
    jobs: Jobs = None,
    json: Json = False,
) -> None:
    """Run the whole line on a sample of real speech, offline, in two minutes."""
    with training():
        from serene.experiment.train import quickstart as run_quickstart
        from serene.experiment.train import tested
        from serene.inference.recognizer import Recognizer

        with bars() as progress:
            table = run_quickstart(output, jobs=jobs, progress=progress)
        model, clip = tested(next(iter(table.runs.values())))
        answer = Recognizer.load(model)(clip.audio)
    if json:
        reports = [report.to_json() for report in table.reports.values()]
        page = str(table.folder / "report.html")
        said = {"clip": clip.id, "emotion": clip.emotion, "answer": answer.to_dict()}
        print_json({"page": page, "reports": reports, "differences": table.differences, **said})
        return
    print_table_report(table, json)
    out.print(f"The first model says {answer.label} of {clip.id}, which was meant as {clip.emotion}. Ask it yourself:")
    out.print(f"serene predict {shlex.quote(clip.audio)} --model {shlex.quote(str(model))}", soft_wrap=True)
    out.print("Twelve test speakers: it shows how things work, not which method is better.")
