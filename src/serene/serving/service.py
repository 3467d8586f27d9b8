"""An upload's way through the service: a place, a decoder, the network, an answer; or why there is none."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from serene.errors import AudioError, SereneError
from serene.inference.emotion import Emotion
from serene.inference.features import Clip
from serene.inference.profile import Profile
from serene.inference.recognizer import Recognizer
from serene.serving.decoding import DecoderLost, Decoders, NoDecoder
from serene.serving.uploads import Limits, Refused

ELSEWHERE = "other"  # paths that do not exist share a name, or a client could fill the memory with them
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Counters:
    """Counts of one service; another in the same process has its own.

    Args:
        inside: says how many files are in the service.
    """

    def __init__(self, inside: Callable[[], float]) -> None:
        """Begin all counts."""
        own = self.registry = CollectorRegistry()
        self._requests = Counter("serene_requests", "Requests answered.", ["path", "status"], registry=own)
        self._seconds = Histogram(
            "serene_request_seconds", "From a request to its answer.", ["path"], buckets=SECONDS, registry=own
        )
        outcomes = "Files: answered, without speech, refused, or the end of a decoder."
        self._files = Counter("serene_files", outcomes, ["outcome"], registry=own)
        self._audio = Counter("serene_audio_seconds", "Seconds of sound answered for.", registry=own)
        self._network = Histogram(
            "serene_network_seconds", "A clip's time in the network.", buckets=SECONDS, registry=own
        )
        Gauge("serene_files_inside", "Files in the service now.", registry=own).set_function(inside)
        ProcessCollector(registry=own)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def file(self, outcome: str, seconds: float = 0.0) -> None:
        """Count a file by its outcome, and its duration where it is known."""
        self._files.labels(outcome).inc()
        self._audio.inc(seconds)

    def network(self, seconds: float) -> None:
        """Count a clip's time in the network."""
        self._network.observe(seconds)

    def page(self) -> bytes:
        """Write all counts in Prometheus' text format."""
        return generate_latest(self.registry)


def counted(app: Any, counters: Counters) -> Callable[..., Awaitable[None]]:
    """Stand before an ASGI application, and count its answers."""

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await app(scope, receive, sending)
        finally:
            path = getattr(scope.get("route"), "path", ELSEWHERE)
            counters.request(path, status, time.perf_counter() - began)

    return serve


class Service:
    """A recognizer at work for many clients; what is not thread-safe here belongs to the event loop.

    Every clip goes through the network by itself, `at_once` of them at a time in threads of their own, as many as there
    are cores without it: batches of what is asked together were slower on a CPU, since waiting for company and padding
    cost more than they save (`benchmarks/server.py`). `abstain` is the threshold where a request names none; `decoders`
    are processes.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        limits: Limits | None = None,
        abstain: float | None = None,
        at_once: int | None = None,
        decoders: int = 2,
    ) -> None:
        """Check the settings; `open` starts what runs."""
        self._at_once, self._processes = os.cpu_count() or 1 if at_once is None else at_once, decoders
        if self._at_once < 1 or decoders < 1:
            raise SereneError(
                f"A service with {self._at_once} clips in the network at once and {decoders} decoders cannot run: at "
                "least 1 of each was expected."
            )
        folder = recognizer.folder
        folder.task.check_abstain(abstain)
        self.recognizer, self.limits, self._abstain = recognizer, limits or Limits(), abstain
        self._identity = folder.identity if folder.widths else None  # of large weights it takes seconds
        self.counters = Counters(lambda: self._inside)
        self._inside, self._requests = 0, collections.Counter[str]()

    def open(self) -> None:
        """Start the decoders and the network's threads."""
        extractor, limits = self.recognizer.extractor, self.limits
        extractor = replace(extractor, longest=min(extractor.longest, limits.longest))
        self._decoders = Decoders(extractor, processes=self._processes, seconds=limits.decode_seconds)
        self._network = ThreadPoolExecutor(self._at_once, "serene-network")

    def close(self) -> None:
        """Answer what has been decoded, and end the decoders and the threads."""
        self._decoders.close()
        self._network.shutdown()

    @contextlib.contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Count a request of a client for as long as the block lasts.

        Raises:
            Refused: with 429, the client has too many already.
        """
        if self._requests[client] >= self.limits.per_client:
            said = f"You have {self.limits.per_client} requests here already. Wait for an answer."
            raise Refused(429, said, later=True)
        self._requests[client] += 1
        try:
            yield
        finally:
            self._requests[client] -= 1
            self._requests += collections.Counter()  # forgets those who have none

    @contextlib.contextmanager
    def places(self, files: int) -> Iterator[None]:
        """Hold places for files for as long as the block lasts.

        Raises:
            Refused: with 503, there are too few left.
        """
        if self._inside + files > self.limits.queue:
            left = self.limits.queue - self._inside
            raise Refused(503, f"The service is busy: {files} files asked for a place, {left} are left.", later=True)
        self._inside += files
        try:
            yield
        finally:
            self._inside -= files

    async def answer(self, content: bytes, profile: Profile | None = None, abstain: float | None = None) -> Emotion:
        """Answer for the bytes of one sound file.

        Raises:
            AudioError: not audio, cut off, too long, or the end of its decoder.
            Refused: with 503, it took too long or no decoder would start; with 422, the scores are not finite.
        """
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                emotion = await self._emotion(content, profile)
        except TimeoutError as error:
            self.counters.file("late")
            said = f"There was no answer within {self.limits.answer_seconds:g} s: the service is busy."
            raise Refused(503, said, later=True) from error
        except NoDecoder as error:
            self.counters.file("no decoder")
            raise Refused(503, str(error), later=True) from error
        except DecoderLost as error:
            self.counters.file(error.how)
            raise
        except AudioError:
            self.counters.file("refused")
            raise
        if not all(map(math.isfinite, emotion.scores.values())):  # an honest profile does no such thing
            self.counters.file("refused")
            raise Refused(422, "The scores are not finite numbers: the sound or the profile is beyond all bounds.")
        self.counters.file("answered" if emotion.note is None else emotion.note, emotion.duration)
        return emotion.abstaining(self._abstain if abstain is None else abstain)

    async def _emotion(self, content: bytes, profile: Profile | None) -> Emotion:
        clip = await asyncio.wrap_future(self._decoders.submit(content))
        return await asyncio.get_running_loop().run_in_executor(self._network, self._answered, clip, profile)

    def _answered(self, clip: Clip, profile: Profile | None) -> Emotion:
        began = time.perf_counter()
        [emotion] = self.recognizer.answer([clip], profile=[profile])
        self.counters.network(time.perf_counter() - began)
        return emotion

    def check(self, profile: Profile | None, abstain: float | None) -> None:
        """Refuse what the model cannot use, before anything is decoded.

        Raises:
            Refused: with 422, a profile that is another model's, or of another shape; a threshold for dimensions.
        """
        folder = self.recognizer.folder
        if profile is not None and self._identity is None:
            raise Refused(422, f"The model {folder.name} answers for one clip at a time: it knows no 'profile'.")
        try:
            folder.task.check_abstain(abstain)
            if profile is not None:
                profile.check(folder)
        except SereneError as error:
            raise Refused(422, str(error)) from error

    def facts(self) -> dict[str, Any]:
        """Return the model's facts and the limits."""
        return {**self.recognizer.info, "limits": asdict(self.limits)}
