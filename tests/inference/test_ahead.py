"""Decoding ahead of the network: in order, and no more than some seconds of sound in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serene.errors import SereneError
from serene.inference import predict as ahead
from serene.inference.emotion import Emotion
from serene.inference.features import Clip
from serene.inference.predict import answers
from serene.inference.profile import Profile


class Counting:
    """A recognizer whose sounds are numbers of seconds; it counts those extracted and not yet answered."""

    def __init__(self, lengths: Sequence[float], longest: float, batch_size: int = 4) -> None:
        self.lengths, self.batch_size = lengths, batch_size
        self.extractor = SimpleNamespace(longest=longest)
        self.lock, self.held, self.most, self.extracted = threading.Lock(), 0.0, 0.0, 0
        self.may = threading.Event()
        self.may.set()

    def extract(self, path: str) -> Clip:
        duration = self.lengths[int(path)]
        time.sleep(0.0005 * (int(path) % 3))  # so that they do not end in the order of their beginnings
        with self.lock:
            self.held += duration
            self.most = max(self.most, self.held)
            self.extracted += 1
        return Clip(duration, np.zeros((1, 1), np.float32))

    def answer(self, clips: Sequence[Clip], *, profile: Profile | None = None) -> list[Emotion]:
        assert self.may.wait(30)
        with self.lock:
            self.held -= sum(clip.duration for clip in clips)
        return [Emotion("neutral", {"neutral": 1.0}, clip.duration) for clip in clips]


def run(known: Counting, threads: int) -> list[dict[str, Any]]:
    paths = [str(i) for i in range(len(known.lengths))]
    return [row for rows in answers(paths, known, threads=threads) for row in rows.values()]  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("longest", [10.0, 600.0])
def test_no_more_than_some_seconds_of_sound_are_in_memory(longest: float, threads: int) -> None:
    lengths = np.random.default_rng(0).uniform(0.1, longest, 150).tolist()
    known = Counting(lengths, longest)
    rows = run(known, threads)
    assert [row["duration"] for row in rows] == [round(length, 3) for length in lengths]
    assert known.most <= 2 * ahead.TOGETHER + threads * longest
    assert known.held == pytest.approx(0, abs=1e-6)


def test_decoding_runs_ahead_while_the_network_is_busy_and_then_waits() -> None:
    known = Counting([100.0] * 40, longest=100.0)
    known.may.clear()
    worker = threading.Thread(target=run, args=(known, 2))
    worker.start()
    try:
        room = (2 * ahead.TOGETHER + 2 * 100.0) / 100.0
        for _ in range(400):
            if known.extracted >= int(room):
                break
            time.sleep(0.01)
        time.sleep(0.1)
        assert known.extracted == int(room) == 6
    finally:
        known.may.set()
        worker.join(30)
    assert known.extracted == 40


def test_broken_files_take_room_too() -> None:
    known, tried = Counting([], longest=10.0), []

    def refusing(path: str) -> Clip:
        tried.append(path)
        raise SereneError(f"{path} is broken")

    known.extract = refusing  # type: ignore[method-assign]
    few = answers([str(i) for i in range(3000)], known, threads=2)  # type: ignore[arg-type]
    first = next(few)
    assert list(first) == [str(i) for i in range(16)]
    assert first["3"]["error"] == "3 is broken"
    time.sleep(0.2)
    assert len(tried) <= (2 * ahead.TOGETHER + 2 * 10.0) / ahead.LEAST  # a second each
    assert sum(len(rows) for rows in few) == 2984


def test_what_the_front_end_stumbles_over_is_a_row_and_a_mistake_in_the_code_is_not() -> None:
    known = Counting([1.0] * 3, longest=10.0)
    extract = known.extract

    def stumbling(path: str) -> Clip:
        if path == "1":
            raise ValueError("no such frame")
        return extract(path)

    known.extract = stumbling  # type: ignore[method-assign]
    rows = run(known, 1)
    assert [row["error"] for row in rows] == [None, "1 cannot be read: ValueError('no such frame')", None]
    known.extract = lambda path: {}[path]  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        run(known, 2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("extract")]
