"""The verbs about recordings: prepare, audit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from serene.cli.terminal import Json, app, bars, out, print_json, training
from serene.corpora import CORPORA
from serene.corpora.manifest import words
from serene.errors import SereneError


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help=f"One of {', '.join(CORPORA)}; or package.module:read.")],
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
        print_json(summary | {"left_out_clips": [asdict(clip) for clip in manifest.left_out]})
        return
    out.print(
        f"{summary['utterances']} utterances, {summary['speakers']} speakers, {summary['hours']} hours -> {output}"
    )
    out.print("emotions: " + words(summary["emotions"]))
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
    """Find speakers, sessions, texts and identical audio that the parts of a split share.

    `--splits A B ...` takes one file per part, or one file with a part column: this project's, EmoBox's JSON lines,
    s3prl's JSON, CSV. Without it the manifest's own `split` column is audited. The exit code is 1 where speakers or
    identical audio are shared.
    """
    from serene.protocols.audit import audit as audit_splits

    result = audit_splits(manifest, [*(splits or []), *(more or [])])
    if json:
        print_json(result.to_json())
    else:
        for line in result.lines():
            out.print(line)
    raise typer.Exit(0 if result.passed else 1)
