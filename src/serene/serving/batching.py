"""What many ask at the same time becomes one batch: a single thread runs the network."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from serene.inference.emotion import Emotion
from serene.inference.features import Clip
from serene.inference.profile import Profile

STRETCH = 1.25  # how much longer than the shortest clip of a batch the longest may be


@dataclass(frozen=True, eq=False)
class _Asked:
    clip: Clip
    profile: Profile | None
    future: Future[Emotion] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def frames(self) -> int:
        """How long it is; 1 where there is nothing for the network."""
        return 1 if self.clip.features is None else len(self.clip.features)


class Batcher:
    """Answers for clips in batches that are as large as what is asked at the same time.

    A batch begins when it is full, when its oldest clip has waited long enough, or when nothing else is on its way
    (`coming`): one client alone never waits. While the network is busy the next batch gathers by itself. It takes the
    oldest clip and those that are nearest to it in length: random lengths side by side are mostly padding, and cost
    more than one clip after the other.

    Args:
        answer: a recognizer's `answer`; only ever called by one thread.
        most: clips in a batch.
        wait: seconds that a clip waits for others at most, if the network has nothing to do.
        told: called after each batch with its size and the seconds it took.
    """

    def __init__(
        self,
        answer: Callable[..., list[Emotion]],
        *,
        most: int = 16,
        wait: float = 0.005,
        told: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        """Start the thread."""
        self._answer, self._most, self._wait, self._told = answer, most, wait, told
        self._asked: deque[_Asked] = deque()
        self._coming, self._closed = 0, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="serene-network", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Say that a clip is on its way, and will be submitted in this block if it can be decoded."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                self._changed.notify()

    def submit(self, clip: Clip, profile: Profile | None = None) -> Future[Emotion]:
        """Ask for a clip's emotion; a future that is cancelled in time is never begun."""
        asked = _Asked(clip, profile)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._asked.append(asked)
            self._changed.notify()
        return asked.future

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Answer what was asked, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            running = [asked for asked in batch if asked.future.set_running_or_notify_cancel()]
            if running:
                began = time.perf_counter()
                self._settle(running)
                self._told(len(running), time.perf_counter() - began)

    def _next(self) -> list[_Asked]:
        """Wait for a batch; an empty one is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked or self._closed)
            if self._asked:
                waited = time.monotonic() - self._asked[0].since
                self._changed.wait_for(self._is_due, max(self._wait - waited, 0.0))
            return self._taken()

    def _taken(self) -> list[_Asked]:
        """Take the oldest and what is like it in length out of the queue."""
        if not self._asked:
            return []
        shortest = longest = self._asked[0].frames
        batch: list[_Asked] = []
        for asked in sorted(self._asked, key=lambda asked: abs(math.log(asked.frames / self._asked[0].frames))):
            shortest, longest = min(shortest, asked.frames), max(longest, asked.frames)
            if len(batch) == self._most or longest > STRETCH * shortest:
                break
            batch.append(asked)
        taken = set(map(id, batch))
        self._asked = deque(asked for asked in self._asked if id(asked) not in taken)
        return batch

    def _is_due(self) -> bool:
        return len(self._asked) >= self._most or not self._coming or self._closed

    def _settle(self, batch: list[_Asked]) -> None:
        """Answer for a batch; if that fails, for each of its clips alone, so that one cannot spoil the others'."""
        try:
            emotions = self._answer([asked.clip for asked in batch], profile=[asked.profile for asked in batch])
            settled = list(zip(batch, emotions, strict=True))
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for asked in batch:
                self._settle([asked])
            return
        for asked, emotion in settled:
            asked.future.set_result(emotion)
