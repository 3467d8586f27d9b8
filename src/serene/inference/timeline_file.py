"""Timelines become files: windows as CSV, everything as JSON, segments as WebVTT subtitles, and a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from serene import sound
from serene.errors import MissingExtra, SereneError
from serene.files import whole_file, write_text
from serene.inference.answer_file import csv_line, format_of, number, refuse_special
from serene.inference.emotion import Segment
from serene.inference.recognizer import Recognizer
from serene.inference.sounds import gather
from serene.inference.timeline import HOP, WINDOW, Progress, Timeline, refuse_odd, timeline

TEXTS, PICTURE = ("csv", "json", "vtt"), "png"
FORMATS = (*TEXTS, PICTURE)


@dataclass(frozen=True)
class Written:
    """The files that were made of timelines, why a sound has none (by its path), and what else there is to say."""

    files: tuple[str, ...]
    failed: Mapping[str, str]
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say it in sentences, one to a line."""
        return [*self.files, *(f"failed: {why}" for why in self.failed.values()), *self.remarks]


def timelines(
    paths: Sequence[str | Path],
    recognizer: Recognizer,
    output: str | Path | TextIO,
    form: str | None = None,
    *,
    window: float = WINDOW,
    hop: float = HOP,
    adapt: bool | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write a timeline for every sound in files and folders.

    Of one sound, `output` is the file. Where it ends in no format and none is wanted, all of them are written: `call`
    makes `call.csv`, `call.json`, `call.vtt` and `call.png`. Of several sounds it is a folder, which takes a file (or
    one of each format) for every sound, called as the sound is; a broken one fails by itself.

    It may be a stream, too, for the text of a single timeline. Formats are `csv`, `json`, `vtt` and `png`; window and
    hop are in seconds, and `adapt` is as of `timeline`; `progress` is told `(sound, done, of)`, in windows.

    Raises:
        SereneError: a path, format, window or hop that cannot be, no sound, or an output that cannot be written.
        AudioError: the only sound cannot be decoded.
        MissingExtra: nothing but a picture is wanted, and matplotlib is not installed.
    """
    refuse_odd(window, hop, recognizer)
    found = gather(paths)

    def of(path: str) -> Timeline:
        if path in found.unlisted:
            raise SereneError(found.unlisted[path])
        name = os.path.basename(sound.named(path))
        told = progress and (lambda _, done, of, tell=progress: tell(name, done, of))
        return timeline(path, recognizer, window=window, hop=hop, adapt=adapt, progress=told)

    alone = len(found.paths) == 1
    if not isinstance(output, str | Path):
        form = _streamed(len(found.paths), form)
        output.writelines(text_of(of(found.paths[0]), form))
        return Written((), {})
    forms, name = _forms(Path(output), form, alone)
    if list(forms.values()) == [PICTURE]:
        _drawer()  # what is missing for it is said before the work, not after it
    return _write_all(dict(zip(found.paths, [name] if alone else _names(found.paths, name), strict=True)), of, forms)


def _write_all(targets: Mapping[str, Path], of: Callable[[str], Timeline], forms: Mapping[str, str]) -> Written:
    """Write the timelines of some sounds; where there are several, one that cannot be had fails by itself."""
    made: list[str] = []
    remarks: dict[str, None] = {}
    failed: dict[str, str] = {}
    for path, target in targets.items():
        try:
            line = of(path)
        except SereneError as error:
            if len(targets) == 1:
                raise
            failed[sound.named(path)] = str(error)
            continue
        if line.emotion.remark:
            remarks[f"{line.name}: {line.emotion.remark}."] = None
        for suffix, form in forms.items():
            file = target.with_name(target.name + suffix)
            try:
                write(line, file, form)
                made.append(sound.named(file))
            except MissingExtra as error:
                if len(forms) == 1:
                    raise
                remarks[f"There is no picture: {error}"] = None
    return Written(tuple(made), failed, tuple(remarks))


def _streamed(sounds: int, form: str | None) -> str:
    """Give the format of what goes to a stream, which takes the text of one timeline."""
    if sounds > 1:
        raise SereneError(f"{sounds} sounds were given: name a folder for their timelines, as -o FOLDER.")
    if form == PICTURE:
        raise SereneError("A picture needs a file: name one, as -o call.png.")
    return format_of(None, form, TEXTS)


def write(line: Timeline, output: str | Path, form: str | None = None) -> None:
    """Write a timeline whole or not at all, as `csv`, `json`, `vtt` or `png`: what the name ends in without `form`.

    Raises:
        SereneError: there is no such format, or the disk refuses.
        MissingExtra: a picture is wanted, and matplotlib is not installed.
    """
    form = format_of(output, form, FORMATS)
    refuse_special(Path(output))
    if form != PICTURE:
        write_text(output, "".join(text_of(line, form)))
        return
    picture = _drawer()(line)
    with whole_file(output) as temporary:
        temporary.write_bytes(picture)


def _drawer() -> Callable[[Timeline], bytes]:
    try:
        from serene.inference.timeline_picture import figure_of
        from serene.reporting.style import png
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("matplotlib"):
            raise
        raise MissingExtra("matplotlib", "train") from error
    return lambda line: png(figure_of(line))


def text_of(line: Timeline, form: str) -> Iterator[str]:
    """Write a timeline as text, a piece at a time: `csv` has rows of windows, `vtt` cues of segments, `json` all."""
    if form == "json":
        yield json.dumps(_rounded(line.to_dict()), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    elif form == "vtt":
        yield "WEBVTT\n"
        for segment in line.emotion.segments:
            start, end = timestamp(segment.start), timestamp(segment.end)
            if start < end:  # a cue of no time is not one
                yield f"\n{start} --> {end}\n{_escaped(words(segment))}\n"
    else:
        yield csv_line(["start", "end", "label", *line.task.names, "note"])
        for window in line.windows:
            scores = [number(window.scores[label]) if window.scores else None for label in line.task.names]
            yield csv_line([window.start, window.end, window.label, *scores, window.note])


def words(segment: Segment) -> str:
    """Say what a segment is: `anger 83 %`, `(silence)`, or `arousal 3.2, valence 4.1`."""
    if segment.note and not segment.label:
        return f"({segment.note})"
    if segment.label:
        return f"{segment.label} {100 * segment.scores[segment.label]:.0f} %"
    return ", ".join(f"{name} {value:.3g}" for name, value in segment.scores.items())


def timestamp(seconds: float) -> str:
    """Write a time as WebVTT does: `hh:mm:ss.mmm`; hours may have more digits."""
    thousandths = round(1000 * seconds)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _escaped(text: str) -> str:
    """Keep a player from reading names as tags, as the end of a cue, or as its times."""
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, name)
    return " ".join(text.split())


def _rounded(value: Any) -> Any:
    """Keep the digits of numbers that are certain."""
    if isinstance(value, float):
        return number(value) if abs(value) < 1 else round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(own) for name, own in value.items()}
    return [_rounded(own) for own in value] if isinstance(value, list) else value


def _forms(output: Path, form: str | None, alone: bool) -> tuple[dict[str, str], Path]:
    """Give the formats that are written, by what a file's name gets to end in; and the file or folder without it."""
    if form is not None:
        form = format_of(output, form, FORMATS)
        return {"" if alone else f".{form}": form}, output
    if alone and output.suffix and not output.is_dir():
        return {"": format_of(output, None, FORMATS)}, output
    if not alone and output.suffix.removeprefix(".") in FORMATS and not output.is_dir():
        raise SereneError(
            f"Several sounds were given, and {sound.named(output)} is called as a file is: name a folder for their "
            "timelines."
        )
    return {f".{name}": name for name in FORMATS}, output


def _names(paths: Sequence[str], folder: Path) -> list[Path]:
    """Name the timelines of several sounds: as these lie below the folder that they share."""
    whole = [os.path.abspath(path) for path in paths]
    shared = os.path.commonpath([os.path.dirname(path) for path in whole])
    return [folder / os.path.relpath(path, shared) for path in whole]
