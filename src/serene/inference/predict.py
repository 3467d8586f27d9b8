"""Predict: every sound in files and folders gets a row of scores; a broken one gets a row that says what is wrong."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from serene import sound
from serene.errors import SereneError
from serene.files import whole_file
from serene.inference.ahead import Ahead, Extracted
from serene.inference.answer_file import Partial, Row, format_of, number, render
from serene.inference.clip import Clip
from serene.inference.emotion import Emotion
from serene.inference.gather import Found, gather
from serene.inference.recognizer import Recognizer

Progress = Callable[[str, int, int], None]

BATCHES = 4  # of the network, whose clips are batched by length and answered together
MOST_THREADS = 4


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        output: the file that was written; None where the rows went to a stream.
        files: rows.
        failed: of them, those with an error.
        without_label: of them, those with a note in place of a label: no speech, or uncertain.
        seconds: of sound in the rows.
        resumed: rows that an earlier run had left.
        passed_over: files in the folders whose names are not those of sounds.
        anew: why what an earlier run had left could not be used, if so.
        first_error: of the first row that failed.
    """

    output: str | None
    files: int
    failed: int
    without_label: int
    seconds: float
    resumed: int = 0
    passed_over: int = 0
    anew: str | None = None
    first_error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say it in sentences, one to a line."""
        where = "" if self.output is None else f" -> {self.output}"
        length = f"{self.seconds:.1f} seconds" if self.seconds < 60 else f"{self.seconds / 60:.1f} minutes"
        told = [f"{self.files} file{'s' * (self.files != 1)}, {length} of sound{where}"]
        if self.anew:
            told.append(f"Note: {self.anew}")
        if self.resumed:
            told.append(f"Answered before the run was interrupted: {self.resumed} of them.")
        if self.without_label:
            told.append(f"Without a label: {self.without_label}, whose notes say why.")
        if self.failed:
            told.append(f"Failed: {self.failed}, whose rows say why. The first: {self.first_error}")
        if self.passed_over:
            told.append(f"Passed over: {self.passed_over}, whose names do not end as a sound's does.")
        return told


def predict(
    paths: Sequence[str | Path],
    recognizer: Recognizer,
    output: str | Path | TextIO,
    form: str | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Answer for every sound in files and folders, in the order of their sorted paths.

    A file is written whole at the end. Until then its rows are in `OUTPUT.partial`, from which the same call goes on
    after an interruption; with another model or other settings it begins anew. A stream gets each row when it is there.

    Args:
        paths: files and folders; see `gather`.
        recognizer: answers.
        output: a file, or a stream for text.
        form: `csv`, `json` (a list) or `jsonl`; what the file's name ends in without it, and CSV for a stream.
        threads: that decode ahead of the network.
        progress: is told `("answering", done, of)`.

    Raises:
        SereneError: a path or format that there is not, no sound, or an output that cannot be written.
    """
    to_file = isinstance(output, str | Path)
    form = format_of(output if to_file else None, form)
    list(render([], recognizer.labels, form))  # a class that cannot be written is said before the work, not after it
    found = gather(paths)
    if to_file:
        return _to_file(found, recognizer, Path(output), form, threads, progress)
    tally = _Tally()
    answered = _watched(answers(found.paths, recognizer, found.unlisted, threads), len(found.paths), 0, progress)
    for text in render(tally.of(row for rows in answered for row in rows.values()), recognizer.labels, form):
        output.write(text)
    return tally.summary(None, passed_over=found.passed_over)


def answers(
    paths: Sequence[str],
    recognizer: Recognizer,
    failed: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> Iterator[dict[str, Row]]:
    """Answer for sounds in their order, decoding ahead in threads; memory does not grow with their number.

    Args:
        paths: of the sounds.
        recognizer: answers.
        failed: why there is nothing to read at a path.
        threads: that decode.

    Yields:
        The rows of the next few sounds, by path; see `row_of`.
    """
    failed = failed or {}

    def extract(path: str) -> Extracted:
        try:
            return failed[path] if path in failed else recognizer.extract(path)
        except SereneError as error:
            return str(error)
        except sound.BROKEN as error:  # of the front end; one odd file must not end a run over many
            return f"{sound.named(path)} cannot be read: {error!r}"

    with Ahead(paths, extract, threads or _cores(), recognizer.extractor.longest) as extracted:
        for few in extracted.together(BATCHES * recognizer.batch_size):
            clips = [clip for _, clip in few if isinstance(clip, Clip)]
            answer = iter(recognizer.answer(clips))
            yield {path: row_of(path, next(answer) if isinstance(clip, Clip) else clip) for path, clip in few}


def row_of(path: str, answer: Emotion | str) -> Row:
    """Make a row of an answer, or of the reason why there is none: plain data, with as many digits as are certain."""
    own: Row = {"path": sound.named(path), "label": None, "scores": {}, "duration": None, "note": None, "error": None}
    if isinstance(answer, str):
        return own | {"error": answer}
    scores = {label: number(score) for label, score in answer.scores.items()}
    return own | {
        "label": answer.label,
        "scores": scores,
        "duration": round(answer.duration, 3),
        "note": answer.note,
    }


def _to_file(
    found: Found, recognizer: Recognizer, output: Path, form: str, threads: int | None, progress: Progress | None
) -> Summary:
    partial = Partial.begin(output, _made_by(recognizer))
    before = partial.answered(found.paths)
    left = [path for path in found.paths if path not in before]
    answered = answers(left, recognizer, found.unlisted, threads)
    for rows in _watched(answered, len(found.paths), len(before), progress):
        partial.add(rows)
    tally = _Tally()
    with whole_file(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.writelines(render(tally.of(partial.rows(found.paths)), recognizer.labels, form))
    partial.path.unlink()
    kept = {"resumed": len(before), "passed_over": found.passed_over, "anew": partial.anew}
    return tally.summary(sound.named(output), **kept)


def _made_by(recognizer: Recognizer) -> dict[str, Any]:
    """Say what answers depend on besides the sounds."""
    profile = recognizer.profile and json.dumps(recognizer.profile.to_dict(), sort_keys=True)
    return {
        "model": recognizer.folder.identity,
        "labels": list(recognizer.labels),
        "runs_on": recognizer.network.what,
        "temperature": recognizer.folder.temperature,
        "abstain": recognizer.abstain,
        "profile": profile and hashlib.sha256(profile.encode()).hexdigest(),
    }


def _watched(
    answered: Iterator[dict[str, Row]], of: int, done: int, progress: Progress | None
) -> Iterator[dict[str, Row]]:
    for rows in answered:
        yield rows
        done += len(rows)
        if progress:
            progress("answering", done, of)


def _cores() -> int:
    return min(MOST_THREADS, os.cpu_count() or 1)


class _Tally:
    """Counts rows as they go by."""

    def __init__(self) -> None:
        self.counts = {"files": 0, "failed": 0, "without_label": 0}
        self.seconds, self.first_error = 0.0, None

    def of(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            self.counts["files"] += 1
            self.counts["failed"] += row["error"] is not None
            self.counts["without_label"] += row["note"] is not None
            self.seconds += row["duration"] or 0.0
            self.first_error = self.first_error or row["error"]
            yield row

    def summary(self, output: str | None, **more: Any) -> Summary:
        return Summary(output, **self.counts, seconds=self.seconds, first_error=self.first_error, **more)
