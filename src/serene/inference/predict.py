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
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from serene import sound
from serene.errors import SereneError
from serene.files import locked, whole_file
from serene.inference.answer_file import Partial, Row, format_of, number, refuse_special, render
from serene.inference.emotion import Emotion
from serene.inference.features import Clip
from serene.inference.recognizer import Recognizer
from serene.inference.sounds import Found
from serene.inference.sources import Clips, Files, source_of
from serene.inference.summary import Summary

Outcome = Clip | str  # or why there is none
Blocks = Sequence[np.ndarray]  # numbers (sound,) of sounds that may be answered together
Progress = Callable[[str, int, int], None]
Answering = Callable[[Files, Blocks, Recognizer, int | None], Iterator[dict[str, Row]]]

BATCHES = 4  # of the network, whose clips are batched by length and answered together
MOST_THREADS = 4
TOGETHER = 240.0  # seconds of sound, at most, that are answered together
LEAST = 1.0  # seconds that a clip counts for at least: also what is nothing but a message takes memory


def predict(
    paths: Sequence[str | Path],
    recognizer: Recognizer,
    output: str | Path | TextIO,
    form: str | None = None,
    *,
    enrol_speakers: Clips | None = None,
    adapt_to_folder: bool = False,
    threads: int | None = None,
    answering: Answering | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Answer for every sound in files and folders, in the order of their sorted paths; or for a manifest's clips.

    A file is written whole at the end. Until then its rows are in `OUTPUT.partial`, from which the same call goes on
    after an interruption, and ends with the same bytes as without one; with another model or other settings it begins
    anew. Meanwhile no other process may write the same file. A stream gets each row when it is there.

    Formats are `csv`, `json` (a list) and `jsonl`; without one it is what the file's name ends in, and CSV for a
    stream. So many threads decode ahead of the network, and `progress` is told `("answering", done, of)`. A manifest's
    speakers are enrolled with so many of their unlabelled clips where `enrol_speakers` says so: see `ManifestClips`.
    With `adapt_to_folder` the model is adapted to all of the clips first, whoever speaks in them. `answering` answers
    elsewhere, as `serene.inference.on_ray.answers_on` does; it is `answers_of` without it.

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

    def answer(left: np.ndarray) -> Iterator[dict[str, Row]]:
        few = (answering or answers_of)(source, blocks_of(left, recognizer.batch_size), recognizer, threads)
        return _watched(few, len(source.names) - len(left), len(source.names), progress)

    if not isinstance(output, str | Path):
        rows = (row for few in answer(np.arange(len(source.names))) for row in few.values())
        output.writelines(render(summary.counting(rows), labels, form, source.columns))
        return summary
    _write(Path(output), source, recognizer, summary, form, answer)
    return summary


def _write(
    output: Path,
    source: Files,
    recognizer: Recognizer,
    summary: Summary,
    form: str,
    answer: Callable[[np.ndarray], Iterator[dict[str, Row]]],
) -> None:
    refuse_special(output)
    with locked(output):
        partial = Partial.begin(output, made_by(recognizer) | source.made_by, source.state)
        left = partial.left(source.names)
        summary.resumed = len(source.names) - len(left)
        for rows in answer(left):
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
        for few in _extracted(
            source, blocks_of(np.arange(len(source.names)), recognizer.batch_size), recognizer, threads
        ):
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
    source = Files(Found(tuple(paths), failed or {}, 0))
    return answers_of(source, blocks_of(np.arange(len(paths)), recognizer.batch_size), recognizer, threads)


def answers_of(
    source: Files, blocks: Blocks, recognizer: Recognizer, threads: int | None = None
) -> Iterator[dict[str, Row]]:
    """Answer for some sounds of a source, as `answers` does; no batch reaches across the end of a block."""
    for few in _extracted(source, blocks, recognizer, threads):
        read = {name: clip for name, clip in few if isinstance(clip, Clip)}
        answered = dict(zip(read, source.answer(list(read), list(read.values()), recognizer), strict=True))
        outcomes = {name: answered.get(name, clip) for name, clip in few}
        yield {name: _row(source.head(name, recognizer), outcome) for name, outcome in outcomes.items()}


def blocks_of(numbers: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut some of a source's sounds where all of them are cut, so that batches are the same whoever answers which."""
    ends = np.flatnonzero(np.diff(numbers // (BATCHES * batch_size))) + 1
    return np.split(numbers, ends) if len(numbers) else []


def _extracted(
    source: Files, blocks: Blocks, recognizer: Recognizer, threads: int | None
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
    named = ([source.names[int(number)] for number in block] for block in blocks)
    with contextlib.closing(_ahead(named, extract, threads, recognizer.extractor.longest)) as extracted:
        yield from extracted


def _ahead(
    blocks: Iterable[Sequence[str]], extract: Callable[[str], Outcome], threads: int, longest: float
) -> Generator[list[tuple[str, Outcome]], None, None]:
    """Extract in threads, as far ahead as so many seconds of sound fit; give at most a block at a time, in order.

    A clip on its way counts as the longest sound that there may be, since nobody knows; one that is done as it is long.
    """
    left = ((path, number == len(block)) for block in blocks for number, path in enumerate(block, 1))
    lock, begun = threading.Lock(), deque[tuple[str, bool, Future[Outcome]]]()
    room = 2 * TOGETHER + threads * longest  # so that the next sound is always begun
    pool = ThreadPoolExecutor(threads, thread_name_prefix="extract")

    def free(seconds: float) -> None:
        nonlocal room
        with lock:
            room += seconds
            while room >= longest and (one := next(left, None)) is not None:
                room -= longest
                begun.append((*one, pool.submit(work, one[0])))

    def work(path: str) -> Outcome:
        outcome = extract(path)
        free(longest - _seconds(outcome))
        return outcome

    try:
        free(0.0)
        few: list[tuple[str, Outcome]] = []
        while begun:
            path, last, future = begun.popleft()
            few.append((path, future.result()))
            seconds = sum(_seconds(outcome) for _, outcome in few)
            if last or seconds >= TOGETHER:
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


def made_by(recognizer: Recognizer) -> dict[str, Any]:
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
