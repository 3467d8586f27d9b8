"""Sounds are decoded in threads, ahead of the network that answers for them; memory is bounded in seconds of sound."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from serene.inference.clip import Clip

Extracted = Clip | str  # or why there is no clip

TOGETHER = 240.0  # seconds of sound, at most, that are answered together
LEAST = 1.0  # seconds that a clip counts for at least: also what is nothing but a message takes memory


class Ahead:
    """A context in which sounds are decoded, one after the other, as far ahead as so many seconds of sound fit.

    What is being decoded counts as the longest sound that there may be, since nobody knows; what is done as it is long.

    Args:
        paths: of the sounds.
        extract: makes a clip, or says why there is none.
        threads: that decode.
        longest: seconds of the longest sound.
    """

    def __init__(self, paths: Sequence[str], extract: Callable[[str], Extracted], threads: int, longest: float) -> None:
        """Note what there is to do; entering the context begins it."""
        self._left, self._extract, self._longest = iter(paths), extract, longest
        self._most = 2 * TOGETHER + threads * longest  # so that the next sound is always begun: see `together`
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="extract")
        self._lock, self._held, self._open = threading.Lock(), 0.0, True
        self._begun: deque[tuple[str, Future[Extracted]]] = deque()

    def __enter__(self) -> Self:
        """Begin."""
        with self._lock:
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being decoded, and begin nothing more."""
        with self._lock:
            self._open = False
        self._pool.shutdown(cancel_futures=True)

    def together(self, most: int) -> Iterator[list[tuple[str, Extracted]]]:
        """Give what was decoded, a few at a time: at most so many, and no more once there are `TOGETHER` seconds."""
        few: list[tuple[str, Extracted]] = []
        seconds = 0.0
        while self._begun:
            path, future = self._begun.popleft()
            few.append((path, future.result()))
            seconds += _seconds(few[-1][1])
            if len(few) == most or seconds >= TOGETHER:
                yield few
                self._hold(-seconds)
                few, seconds = [], 0.0
        if few:
            yield few

    def _begin(self) -> None:
        """Begin as many as there is room for; the lock is held."""
        while self._open and self._held + self._longest <= self._most:
            path = next(self._left, None)
            if path is None:
                return
            self._held += self._longest
            self._begun.append((path, self._pool.submit(self._work, path)))

    def _work(self, path: str) -> Extracted:
        extracted = self._extract(path)
        self._hold(_seconds(extracted) - self._longest)
        return extracted

    def _hold(self, seconds: float) -> None:
        with self._lock:
            self._held += seconds
            self._begin()


def _seconds(extracted: Extracted) -> float:
    return LEAST if isinstance(extracted, str) else max(LEAST, extracted.duration)
