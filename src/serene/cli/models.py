"""The verbs that use a model: predict, enrol, export, serve, demo."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from serene.cli.terminal import Json, On, Rows, Trust, app, aside, bars, out, print_json, training
from serene.errors import SereneError

if TYPE_CHECKING:
    from serene.inference.recognizer import Recognizer
    from serene.inference.summary import Summary

Model = Annotated[
    str | None, typer.Option("--model", "-m", help="A model folder, or its name on the Hugging Face hub.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Precision = Annotated[Literal["fp32", "bf16", "int8"], typer.Option("--precision", help="Of the network.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="That the network may use.")]
Abstain = Annotated[
    float | None, typer.Option("--abstain", help="Answer 'uncertain' where the highest score is below this.")
]
ProfileFile = Annotated[Path | None, typer.Option("--profile", help="Of the speaker, made by `serene enrol`.")]
Host = Annotated[str, typer.Option("--host", help="The address to listen at; only this machine by default.")]
AllowedHost = Annotated[
    list[str] | None, typer.Option("--allowed-host", help="Another name of the service, such as a proxy's.")
]
EnrolSpeakers = Annotated[
    str | None,
    typer.Option("--enrol-speakers", help="Enrol a manifest's speakers with so many own unlabelled clips, or all."),
]
Adapt = Annotated[
    Literal["folder", "recording", "none"] | None,
    typer.Option("--adapt", help="To all sounds together, without labels; or a timeline to its recording, or not."),
]
SpreadsheetSafe = Annotated[
    bool, typer.Option("--spreadsheet-safe", help="In CSV, put ' before text that a spreadsheet would compute.")
]
TIMELINES = ("vtt", "png")  # formats of nothing else
Sounds = Annotated[list[Path], typer.Argument(help="Sounds, or folders of them.")]


@app.command()
def predict(
    sounds: Annotated[list[Path], typer.Argument(help="Sounds, or folders of them; or a manifest (.jsonl, .parquet).")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write; else the terminal.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="csv, json, jsonl; vtt or png of timelines.")] = None,
    timeline: Annotated[bool, typer.Option("--timeline", help="Scores over time, window by window.")] = False,
    window: Annotated[float, typer.Option("--window", help="Seconds of a timeline's window.")] = 3.0,
    hop: Annotated[float, typer.Option("--hop", help="Seconds from one window to the next.")] = 1.0,
    model: Model = None,
    profile: ProfileFile = None,
    enrol_speakers: EnrolSpeakers = None,
    adapt: Adapt = None,
    abstain: Abstain = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Clips in a batch.")] = 16,
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
    spreadsheet_safe: SpreadsheetSafe = False,
    on: On = None,
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Say which emotion sounds express; an interrupted run over many files goes on where it stopped."""
    with training():
        from serene.inference.answer_file import for_spreadsheets
        from serene.inference.recognizer import Recognizer

        runs = {"device": device, "precision": precision, "threads": threads, "batch_size": batch_size}
        recognizer = Recognizer.load(model, profile=profile, abstain=abstain, **runs)
        target: Any = Rows() if output is None else output
        clips = _clips(sounds, enrol_speakers, timeline, form)
        _refuse_misplaced(adapt, on, timeline)
        alone = not timeline and output is None and form is None and clips is None and on is None
        if alone and _is_one_sound(sounds):
            _answer_one(sounds[0], recognizer, json)
            return
        form = "json" if json and output is None and form is None else form
        with bars() as progress, for_spreadsheets() if spreadsheet_safe else nullcontext():
            if timeline:
                from serene.inference.timeline_file import timelines

                cut = {"window": window, "hop": hop, "adapt": None if adapt is None else adapt == "recording"}
                done = timelines(sounds, recognizer, target, form, **cut, progress=progress)
            else:
                given = {"enrol_speakers": clips, "adapt_to_folder": adapt == "folder", "progress": progress}
                done = _answer_many(sounds, recognizer, target, form, on, given)
    _say(done, json and output is not None, to=aside if output is None and not timeline else out)


@app.command()
def enrol(
    sounds: Sounds,
    output: Annotated[Path, typer.Option("-o", "--output", help="The profile to write, such as anna.json.")],
    model: Model = None,
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Make a profile of a speaker from some of their sounds, without labels, for `predict --profile`."""
    with training():
        from serene.inference.recognizer import Recognizer
        from serene.inference.sounds import gather
        from serene.sound import named

        paths = gather(sounds).paths
        profile = Recognizer.load(model).enrol(paths)
        profile.write(output)
    mute = len(paths) - profile.clips
    if json:
        told = {"profile": named(output), "clips": profile.clips, "without_speech": mute}
        print_json(told | {"seconds": profile.seconds, "counts_for": round(profile.varied * profile.clips)})
        return
    clips = f"{profile.clips} clip{'s' * (profile.clips != 1)}, {profile.seconds:.0f} seconds -> {named(output)}"
    out.print(clips + f" (left out: {mute} without speech)" * (mute > 0))
    if profile.varied < 1:
        said = ", ".join(f"{label} {count}" for label, count in profile.said.items() if count)
        aside.print(
            f"These clips count for {round(profile.varied * profile.clips)}: they seem to hold few emotions ({said}), "
            "which would be taken for the speaker's own voice. Enrol clips of more emotions."
        )


def _answer_many(
    sounds: list[Path], recognizer: Recognizer, target: Any, form: str | None, on: str | None, given: dict[str, Any]
) -> Summary:
    from serene import cluster
    from serene.inference.predict import predict as predict_all

    if on is None:
        return predict_all(sounds, recognizer, target, form, **given)
    with cluster.connected(on):  # before anything is written
        from serene.inference.on_ray import answers_on

        return predict_all(sounds, recognizer, target, form, answering=partial(answers_on, on), **given)


def _refuse_misplaced(adapt: str | None, on: str | None, timeline: bool) -> None:
    if on is not None and timeline:
        raise SereneError("--on is for answers of one sound each: leave it out with --timeline.")
    if adapt == "folder" and timeline:
        raise SereneError("--adapt folder is for answers of one sound each: a timeline takes --adapt recording.")
    if adapt == "recording" and not timeline:
        raise SereneError("--adapt recording is for --timeline: sounds take --adapt folder.")


@app.command()
def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    model: Annotated[str | None, typer.Argument(help="A model folder, or its name on the Hugging Face hub.")] = None,
    to: Annotated[Literal["onnx", "transformers"], typer.Option("--to", help="What to write.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="Also a quantised ONNX file.")] = False,
    small: Annotated[bool, typer.Option("--small", help="Weights of 8 bits, and none for torch.")] = False,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="Labelled clips: what does int8 cost?")] = None,
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Write a model for use elsewhere, and compare what it answers there with what it answers here."""
    with training():
        if to == "transformers":
            from serene.export.to_transformers import export_transformers

            if int8 or small or manifest:
                raise SereneError("--int8, --small and --manifest are for --to onnx; drop them.")
            compared = export_transformers(model, output)
        else:
            from serene.export.to_onnx import export_onnx
            from serene.inference.folder import ModelFolder

            folder = model or ModelFolder.find(None).path
            compared = export_onnx(folder, output, int8=int8, small=small, manifest=manifest)
    _say(compared, json, folder=str(output))
    if not json:
        out.print(f"Folder: {output.resolve()}")


@app.command()
def serve(
    model: Model = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="To listen at; 0 for any that is free.")] = 8000,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="What requests have to carry; SERENE_API_KEY says it, too.")
    ] = None,
    allowed_host: AllowedHost = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option("--allow-origin", help="A page elsewhere whose scripts may ask.")
    ] = None,
    no_docs: Annotated[bool, typer.Option("--no-docs", help="Without the pages that describe it.")] = False,
    decoders: Annotated[int, typer.Option("--decoders", min=1, help="Processes that decode uploads.")] = 2,
    at_once: Annotated[int | None, typer.Option("--at-once", min=1, help="Clips in the network at a time.")] = None,
    abstain: Abstain = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Answer over HTTP, with limits and metrics, until told to end; /docs describes it."""
    with training():
        from serene.serving.server import serve as serve_model

        serve_model(
            model,
            host=host,
            port=port,
            api_key=os.environ.get("SERENE_API_KEY") if api_key is None else api_key,  # an empty one is refused
            allowed_hosts=allowed_host or (),
            allow_origins=allow_origin or (),
            docs=not no_docs,
            decoders=decoders,
            at_once=at_once,
            abstain=abstain,
            device=device,
            precision=precision,
            threads=threads,
            ready=_told(json),
        )


@app.command()
def demo(
    model: Model = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="To listen at; 0 for any that is free.")] = 7860,
    share: Annotated[bool, typer.Option("--share", help="Also a public address, through gradio.")] = False,
    allowed_host: AllowedHost = None,
    abstain: Abstain = None,
    device: Device = "auto",
    precision: Precision = "fp32",
    trust: Trust = None,
    json: Json = False,
) -> None:
    """Show a web page with microphone, scores, timeline and the model's card."""
    with training():
        from serene.inference.recognizer import Recognizer
        from serene.serving.demo import demo as show

        recognizer = Recognizer.load(model, device=device, precision=precision, abstain=abstain)
        show(recognizer, host, port, share, allowed_hosts=allowed_host or (), ready=_told(json))


def _say(done: Any, json: bool, *, to: Console = out, **more: str) -> None:
    """Print what was done as JSON, or in sentences, one to a line."""
    if json:
        print_json({**more, **done.to_dict()})
        return
    for line in done.lines():
        to.print(line)


def _clips(sounds: list[Path], given: str | None, timeline: bool, form: str | None) -> int | Literal["all"] | None:
    """Read how many clips a speaker is enrolled with, and refuse what does not go together."""
    from serene.inference.sources import is_table

    if not timeline and form in TIMELINES:
        raise SereneError(f"--format {form} is for timelines: ask for one, with --timeline.")
    if timeline and (given or any(map(is_table, sounds))):
        raise SereneError("A timeline is of sounds, and a manifest holds clips: leave --timeline out.")
    if given is None or given == "all":
        return given
    if not given.isdecimal() or int(given) < 1:
        raise SereneError(f"--enrol-speakers is {given}; a number of clips from 1 on, or all, was expected.")
    return int(given)


def _is_one_sound(sounds: list[Path]) -> bool:
    from serene.inference.sources import is_table

    return len(sounds) == 1 and not sounds[0].is_dir() and not is_table(sounds[0])


def _told(json: bool) -> Callable[[str], None]:
    """Give what prints the address once it answers."""
    return lambda url: print_json({"url": url}) if json else out.print(url)


def _answer_one(path: Path, recognizer: Recognizer, json: bool) -> None:
    from serene.inference.sounds import gather
    from serene.sound import named

    gather([path])  # says so if there is nothing
    answer = recognizer(path)
    if json:
        print_json({"path": named(path), **answer.to_dict()})
        return
    out.print(f"{answer.label or answer.note or 'values'}  ({answer.duration:.1f} s)")
    if answer.remark:
        out.print(f"note: {answer.remark}")
    for name, score in sorted(answer.scores.items(), key=lambda item: -item[1]):
        out.print(f"{name:<14}{score:6.2f}")
