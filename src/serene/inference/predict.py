"""Predict: every sound in files and folders gets a row of scores; a broken one gets a row that says what is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from serene import sound
from serene.errors import SereneError
from serene.files import locked, whole_file
from serene.inference.answer_file import Partial, Row, format_of, number, refuse_special, render
from serene.inference.emotion import Emotion
from serene.inference.features import REMARKS, Clip
from serene.inference.recognizer import Recognizer
from serene.inference.sounds import Found
from serene.inference.sources import Clips, Files, source_of

Outcome = Clip | str  # or why there is none
Progress = Callable[[str, int, int], None]

BATCHES = 4  # of the network, whose clips are batched by length and answered together
MOST_THREADS = 4
TOGETHER = 240.0  # seconds of sound, at most, that are answered together
LEAST = 1.0  # seconds that a clip counts for at least: also what is nothing but a message takes memory


@dataclass
class Summary:
    """What a run did."""

    output: str | None  # the file that was written; None where the rows went to a stream
    files: int = 0  # rows
    failed: int = 0  # of them, those with an error
    without_label: int = 0  # of them, those with a note in place of a label: no speech, or uncertain
    seconds: float = 0.0  # of sound in the rows
    resumed: int = 0  # rows that an earlier run had left
    passed_over: int = 0  # files in the folders whose names are not those of sounds
    anew: str | None = None  # why what an earlier run had left could not be used, if so
    first_error: str | None = None
    remarked: dict[str, int] = field(default_factory=dict)  # rows with each of the remarks on sounds that are answered
    noun: str = "file"  # what a row is of
    enrolled: Clips | None = None  # unlabelled clips that each speaker is enrolled with
    adapted_to: str | None = None  # whose clips the model was adapted to

    def counting(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Count rows as they go by."""
        for row in rows:
            self.files += 1
            self.failed += row["error"] is not None
            remarks = [remark for remark in REMARKS if remark in (row["note"] or "")]
            self.without_label += row["note"] is not None and not remarks
            self.remarked |= {remark: self.remarked.get(remark, 0) + 1 for remark in remarks}
            self.seconds += row["duration"] or 0.0
            self.first_error = self.first_error or row["error"]
            yield row

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Say it in sentences, one to a line."""
        where = "" if self.output is None else f" -> {self.output}"
        length = f"{self.seconds:.1f} seconds" if self.seconds < 60 else f"{self.seconds / 60:.1f} minutes"
        told = {
            f"Note: {self.anew}": self.anew,
            f"Answered before the run was interrupted: {self.resumed} of them.": self.resumed,
            f"Without a label: {self.without_label}, whose notes say why.": self.without_label,
            **{f"Noted {remark}: {count}.": True for remark, count in self.remarked.items()},
            f"Failed: {self.failed}, whose rows say why. The first: {self.first_error}": self.failed,
            f"Passed over: {self.passed_over}, whose names do not end as a sound's does.": self.passed_over,
        }
        if self.enrolled is not None:
            own = "all" if self.enrolled == "all" else f"up to {self.enrolled}"
            told[f"Each speaker is enrolled with {own} of their unlabelled clips, which are answered as well."] = True
        told[f"Adapted to the {self.adapted_to}, without their labels."] = self.adapted_to
        head = f"{self.files} {self.noun}{'s' * (self.files != 1)}, {length} of sound{where}"
        return [head, *(line for line, there_is_such in told.items() if there_is_such)]


def predict(
    paths: Sequence[str | Path],
    recognizer: Recognizer,
    output: str | Path | TextIO,
    form: str | None = None,
    *,
    enrol_speakers: Clips | None = None,
    adapt_to_folder: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Answer for every sound in files and folders, in the order of their sorted paths; or for a manifest's clips.

    A file is written whole at the end. Until then its rows are in `OUTPUT.partial`, from which the same call goes on
    after an interruption, and ends with the same bytes as without one; with another model or other settings it begins
    anew. Meanwhile no other process may write the same file. A stream gets each row when it is there.

    Formats are `csv`, `json` (a list) and `jsonl`; without one it is what the file's name ends in, and CSV for a
    stream. So many threads decode ahead of the network, and `progress` is told `("answering", done, of)`. A manifest's
    speakers are enrolled with so many of their unlabelled clips where `enrol_speakers` says so: see `ManifestClips`.
    With `adapt_to_folder` the model is adapted to all of the clips first, whoever speaks in them.

    Raises:
        SereneError: a path or format that there is not, no sound, or an output that cannot be written.
    """
    labels, path = recognizer.labels, Path(output) if isinstance(output, str | Path) else None
    form = format_of(path, form)
    source = source_of(paths, recognizer, enrol_speakers)
    if adapt_to_folder:
        adapt(source, recognizer, threads, progress)
    list(render([], labels, form, source.columns))  # what cannot be written is said before the work, not after it
    summary = Summary(None, passed_over=source.passed_over, noun=source.noun, enrolled=enrol_speakers)
    summary.adapted_to = source.folder and source.folder.name
    if not isinstance(output, str | Path):
        answered = _watched(_answers(source, source.names, recognizer, threads), 0, len(source.names), progress)
        rows = (row for few in answered for row in few.values())
        output.writelines(render(summary.counting(rows), labels, form, source.columns))
        return summary
    _write(Path(output), source, recognizer, summary, form, threads, progress)
    return summary


def _write(
    output: Path,
    source: Files,
    recognizer: Recognizer,
    summary: Summary,
    form: str,
    threads: int | None,
    progress: Progress | None,
) -> None:
    refuse_special(output)
    with locked(output):
        partial = Partial.begin(output, _made_by(recognizer) | source.made_by, source.state)
        left = partial.left(source.names)
        summary.resumed = len(source.names) - len(left)
        answered = _answers(source, left, recognizer, threads)
        for rows in _watched(answered, summary.resumed, len(source.names), progress):
            partial.add(rows)
        summary.output, summary.anew = sound.named(output), partial.anew
        kept = zip(source.names, partial.rows(source.names), strict=True)
        rows = (row | {"path": sound.named(source.audio(name))} for name, row in kept)
        with whole_file(output) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            file.writelines(render(summary.counting(rows), recognizer.labels, form, source.columns))
        partial.path.unlink()


def adapt(source: Files, recognizer: Recognizer, threads: int | None = None, progress: Progress | None = None) -> None:
    """Take the statistics of all clips of a source, which its answers are then adapted to; memory does not grow.

    Raises:
        SereneError: the model has no use for statistics, or has a profile.
    """
    recognizer.check_enrols()
    if recognizer.profile is not None:
        raise SereneError("--profile and --adapt folder both say what to adapt to; choose one.")
    source.adapting()

    def several() -> Iterator[list[Clip]]:
        done = 0
        for few in _extracted(source, source.names, recognizer, threads):
            yield [clip for _, clip in few if isinstance(clip, Clip)]
            done += len(few)
            if progress:
                progress("adapting", done, len(source.names))

    source.folder = recognizer.together(several(), "folder")


def _watched(few: Iterable[dict[str, Row]], done: int, of: int, progress: Progress | None) -> Iterator[dict[str, Row]]:
    for rows in few:
        yield rows
        done += len(rows)
        if progress:
            progress("answering", done, of)


def answers(
    paths: Sequence[str], recognizer: Recognizer, failed: Mapping[str, str] | None = None, threads: int | None = None
) -> Iterator[dict[str, Row]]:
    """Answer for sounds in their order, decoding ahead in threads; memory does not grow with their number.

    There is nothing to read at paths that `failed` already.

    Yields:
        The rows of the next few sounds, by path: plain data, or the reason why there is none.
    """
    return _answers(Files(Found(tuple(paths), failed or {}, 0)), paths, recognizer, threads)


def _answers(
    source: Files, names: Sequence[str], recognizer: Recognizer, threads: int | None
) -> Iterator[dict[str, Row]]:
    """Answer for some sounds of a source, as `answers` does."""
    for few in _extracted(source, names, recognizer, threads):
        read = {name: clip for name, clip in few if isinstance(clip, Clip)}
        answered = dict(zip(read, source.answer(list(read), list(read.values()), recognizer), strict=True))
        outcomes = {name: answered.get(name, clip) for name, clip in few}
        yield {name: _row(source.head(name, recognizer), outcome) for name, outcome in outcomes.items()}


def _extracted(
    source: Files, names: Sequence[str], recognizer: Recognizer, threads: int | None
) -> Iterator[list[tuple[str, Outcome]]]:
    """Give the next few clips of a source, or why there are none; the next are decoded meanwhile."""

    def extract(name: str) -> Outcome:
        try:
            return source.extract(name, recognizer)
        except SereneError as error:
            return str(error)
        except sound.BROKEN as error:  # of the front end; one odd file must not end a run over many
            return f"{sound.named(source.audio(name))} cannot be read: {error!r}"

    threads = threads or min(MOST_THREADS, os.cpu_count() or 1)
    most, longest = BATCHES * recognizer.batch_size, recognizer.extractor.longest
    with contextlib.closing(_ahead(names, extract, threads, most, longest)) as extracted:
        yield from extracted


def _ahead(
    paths: Sequence[str], extract: Callable[[str], Outcome], threads: int, most: int, longest: float
) -> Generator[list[tuple[str, Outcome]], None, None]:
    """Extract in threads, as far ahead as so many seconds of sound fit; give at most so many clips at a time, in order.

    A clip on its way counts as the longest sound that there may be, since nobody knows; one that is done as it is long.
    """
    left, lock, begun = iter(paths), threading.Lock(), deque[tuple[str, Future[Outcome]]]()
    room = 2 * TOGETHER + threads * longest  # so that the next sound is always begun
    pool = ThreadPoolExecutor(threads, thread_name_prefix="extract")

    def free(seconds: float) -> None:
        nonlocal room
        with lock:
            room += seconds
            while room >= longest and (path := next(left, None)) is not None:
                room -= longest
                begun.append((path, pool.submit(work, path)))

    def work(path: str) -> Outcome:
        outcome = extract(path)
        free(longest - _seconds(outcome))
        return outcome

    try:
        free(0.0)
        few: list[tuple[str, Outcome]] = []
        while begun:
            path, future = begun.popleft()
            few.append((path, future.result()))
            seconds = sum(_seconds(outcome) for _, outcome in few)
            if len(few) == most or seconds >= TOGETHER or not begun:
                yield few
                free(seconds)
                few = []
    finally:
        with lock:
            left = iter(())  # begins nothing more
        pool.shutdown(cancel_futures=True)


def _seconds(outcome: Outcome) -> float:
    return LEAST if isinstance(outcome, str) else max(LEAST, outcome.duration)


def _row(head: Row, answer: Emotion | Outcome) -> Row:
    """Make a row of an answer, or of the reason why there is none: plain data, with as many digits as are certain."""
    own: Row = {**head, "label": None, "scores": {}, "duration": None, "note": None, "error": None}
    if not isinstance(answer, Emotion):
        return own | {"error": answer}
    scores = {label: number(score) for label, score in answer.scores.items()}
    return own | answer.to_dict() | {"scores": scores, "duration": round(answer.duration, 3)}


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
