"""The verbs about recordings and what is kept of them: prepare, audit, store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from serene.cli.terminal import Json, app, aside, bars, out, print_json, training
from serene.corpora import CORPORA
from serene.corpora.left_out import LeftOut, NothingLeft, beside, write_left_out
from serene.corpora.manifest import MANIFESTS, Manifest
from serene.corpora.spelling import alike, words
from serene.errors import SereneError, quoted

FEW = 3  # lines of a kind that are printed
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 where ids of speakers may stand for one person.")]
Folder = Annotated[
    Path | None,
    typer.Argument(
        help="The corpus as it is shipped; for `table` the table; for `huggingface` a folder or "
        "hf://datasets/OWNER/NAME; none for `sample`."
    ),
]
Pattern = Annotated[
    str | None, typer.Option("--pattern", help="For `files`: how they are named, as {speaker}_{text}_{emotion}.wav.")
]
Root = Annotated[
    Path | None, typer.Option("--root", help="For `table`: the folder that relative paths are taken from.")
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="Of a table's or list's text, such as latin-1 or utf-16.")
]


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help=f"One of {', '.join(CORPORA)}; or package.module:read.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The manifest to write, such as emodb.jsonl.")],
    folder: Folder = None,
    pattern: Pattern = None,
    root: Root = None,
    encoding: Encoding = None,
    fast: Annotated[bool, typer.Option("--fast", help="Read headers only; audio is not checked.")] = False,
    plots: Annotated[bool, typer.Option("--plots", help="Also draw the corpus, in a folder beside.")] = False,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Turn a corpus on disk into a manifest; say what was counted, and what was left out and why."""
    from serene.corpora.prepare import folder_of
    from serene.corpora.prepare import prepare as prepare_corpus

    if output.suffix.lower() not in MANIFESTS:
        raise SereneError(
            f"The manifest's name is {output.name}; one that ends in {' or '.join(MANIFESTS)} was expected."
        )
    folder = folder_of(corpus, folder)
    if folder is None:
        raise SereneError(f"Say where the corpus lies: serene prepare {corpus} FOLDER -o {output}.")
    if plots:
        with training():
            import serene.reporting.corpus_report  # noqa: F401  # what is missing is said before the long decoding
    with bars() as progress:
        try:
            told = partial(aside.print, soft_wrap=True) if pattern else None
            given = {"root": root, "encoding": encoding, "pattern": pattern, "remark": told, "fast": fast}
            asked = {name: value for name, value in given.items() if value}
            manifest = prepare_corpus(corpus, folder, progress=partial(progress, "decoding"), **asked)
        except NothingLeft as error:
            if error.left_out:
                write_left_out(error.left_out, beside(output))
                raise SereneError(f"{error} Why each was left out: {beside(output)}.") from error
            raise
        manifest.write(output)
        summary = {"manifest": str(output), **manifest.summarise()}
        if plots:
            from serene.reporting.corpus_report import write_corpus_report

            summary["plots"] = str(write_corpus_report(manifest, output.with_suffix(".plots"), progress))
    if json:
        print_json(summary | {"left_out_clips": [asdict(clip) for clip in manifest.left_out]})
    else:
        _print(manifest, summary)
    raise typer.Exit(1 if strict and alike(manifest.speakers) else 0)


def _print(manifest: Manifest, summary: dict[str, Any]) -> None:
    counted = f"{summary['utterances']} utterances, {summary['speakers']} speakers, {summary['hours']} hours"
    out.print(f"{counted} -> {summary['manifest']}")
    out.print("emotions: " + words(summary["emotions"]))
    where = f"{beside(Path(summary['manifest']))} has them all"
    reasons = [(_alike(clip), f"{quoted(clip.id)}: {quoted(clip.reason)}") for clip in manifest.left_out]
    remarks = [(remark.partition(":")[0], remark) for remark in manifest.remarks]
    _print_grouped("left out: ", reasons, where)
    _print_grouped("note: ", remarks, "--json prints them all")
    if "plots" in summary:
        out.print(f"Pictures: {Path(summary['plots']).resolve()}")


def _alike(clip: LeftOut) -> str:
    """Give a reason without what is particular to the clip; why a sound is unreadable is not."""
    return re.sub(r"\d+", "", clip.reason.replace(clip.audio, "")) if clip.kind == "unreadable" else clip.kind


def _print_grouped(head: str, said: Iterable[tuple[str, str]], rest: str) -> None:
    """Print lines, each given after its kind: all of a kind of which there are few, else the first and how many."""
    kinds: dict[str, list[str]] = {}
    for kind, line in said:
        kinds.setdefault(kind, []).append(line)
    for kind, lines in kinds.items():
        for line in lines if len(lines) <= FEW + 1 else lines[:FEW]:
            out.print(f"{head}{line}")
        if len(lines) > FEW + 1:
            out.print(f"{head}{len(lines) - FEW} more like these ({kind.partition(':')[0]}); {rest}.")


@app.command()
def audit(
    manifest: Annotated[Path, typer.Argument(help="A manifest that `prepare` wrote.")],
    splits: Annotated[list[Path] | None, typer.Option("--splits", help="Split files; see below.")] = None,
    more: Annotated[list[Path] | None, typer.Argument(help="Further split files.")] = None,
    strict: Strict = False,
    encoding: Encoding = None,
    json: Json = False,
) -> None:
    """Find speakers, sessions, texts and identical audio that the parts of a split share.

    `--splits A B ...` takes one file per part, or one file with a part column: this project's, EmoBox's JSON lines,
    s3prl's JSON, CSV. A folder or a pattern stands for the files in it. Without it the manifest's own `split` column
    is audited. The exit code is 1 where speakers or identical audio are shared.
    """
    from serene.protocols.audit import audit as audit_splits

    result = audit_splits(manifest, [*(splits or []), *(more or [])], encoding)
    if json:
        print_json(result.to_json())
    else:
        for line in result.lines():
            out.print(line)
    raise typer.Exit(0 if result.passed and not (strict and result.alike) else 1)


@app.command()
def store(
    action: Annotated[Literal["compact"], typer.Argument(help="compact: put its arrays into few files.")],
    folder: Annotated[Path, typer.Argument(help="The store, such as runs/store.")] = Path("runs/store"),
    json: Json = False,
) -> None:
    """Put what trainings keep of every clip into as few files as hold it; that of older versions as well."""
    from serene.audio.shards import compact

    done = compact(folder)
    if json:
        counts = {"arrays": done.arrays, "damaged": done.damaged, "files_before": done.before, "files": done.after}
        print_json({"action": action, **counts})
        return
    out.print(f"{done.arrays} arrays: {done.before} files before, {done.after} now.")
    if done.damaged:
        out.print(f"Damaged, left out, and computed again when needed: {done.damaged}.")
