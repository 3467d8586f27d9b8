"""An upload's way through the service: a place, a decoder, a batch, an answer; or the reason why there is none."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from serene.errors import AudioError, SereneError
from serene.inference.emotion import Emotion
from serene.inference.profile import Profile
from serene.inference.recognizer import Recognizer
from serene.serving.batching import Batcher
from serene.serving.counters import Counters
from serene.serving.decoding import DecoderLost, Decoders


class Refused(SereneError):
    """A request that is not answered, and why.

    Attributes:
        status: the HTTP status.
        later: whether the same request may succeed a little later.
    """

    def __init__(self, status: int, reason: str, *, later: bool = False) -> None:
        """Name the status beside the reason."""
        super().__init__(reason)
        self.status, self.later = status, later


@dataclass(frozen=True)
class Limits:
    """What one client and all of them together may ask for.

    Args:
        upload: bytes of a request, all of its files together. With `queue` it bounds the memory for uploads.
        files: of a request to `/predict/batch`.
        longest: seconds of one sound; a model's own limit holds where it is lower.
        queue: files that are in the service at a time, from the first byte to the answer.
        per_client: requests of one address at a time.
        upload_seconds: within which an upload has arrived.
        decode_seconds: within which a file is decoded.
        answer_seconds: within which a file that has arrived is answered.
    """

    upload: int = 25_000_000
    files: int = 32
    longest: float = 120.0
    queue: int = 64
    per_client: int = 32
    upload_seconds: float = 30.0
    decode_seconds: float = 20.0
    answer_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse limits that nothing could keep."""
        for name, value in asdict(self).items():
            if not value > 0:
                raise SereneError(f"The service's limit '{name}' is {value}; more than 0 was expected.")
        if self.files > self.queue:
            raise SereneError(
                f"The service's queue holds {self.queue} files, and a request may have {self.files}: it could never "
                "be answered. Allow fewer files, or a longer queue."
            )


class Service:
    """A recognizer at work for many clients; what is not thread-safe here belongs to the event loop.

    Args:
        recognizer: answers; only one thread calls it.
        limits: on requests.
        abstain: the threshold where a request names none.
        max_batch: clips in a batch.
        max_wait_ms: milliseconds that a clip waits for others at most.
        decoders: processes that decode.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        limits: Limits | None = None,
        abstain: float | None = None,
        max_batch: int = 16,
        max_wait_ms: float = 5.0,
        decoders: int = 2,
    ) -> None:
        """Check the settings; `open` starts what runs."""
        if max_batch < 1 or decoders < 1 or max_wait_ms < 0:
            raise SereneError(
                f"A service with batches of {max_batch}, a wait of {max_wait_ms} ms and {decoders} decoders cannot "
                "run: at least 1, 0 and 1 were expected."
            )
        folder = recognizer.folder
        folder.task.check_abstain(abstain)
        self.recognizer, self.limits, self._abstain = recognizer, limits or Limits(), abstain
        self._identity = (
            folder.identity if folder.widths else None
        )  # kept by the folder: of large weights it takes seconds
        self.counters = Counters(lambda: self._inside)
        self._settings = {"most": max_batch, "wait": max_wait_ms / 1000}
        self._processes = decoders
        self._inside, self._requests = 0, Counter[str]()

    def open(self) -> None:
        """Start the decoders and the network's thread."""
        extractor, limits = self.recognizer.extractor, self.limits
        extractor = replace(extractor, longest=min(extractor.longest, limits.longest))
        self._decoders = Decoders(extractor, processes=self._processes, seconds=limits.decode_seconds)
        self._batcher = Batcher(self.recognizer.answer, told=self.counters.batch, **self._settings)

    def close(self) -> None:
        """Answer what has been decoded, and end the decoders and the thread."""
        self._decoders.close()
        self._batcher.close()

    @property
    def alive(self) -> bool:
        """Whether the network's thread runs."""
        return self._batcher.alive

    @contextlib.contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Count a request of a client for as long as the block lasts.

        Raises:
            Refused: with 429, the client has too many already.
        """
        if self._requests[client] >= self.limits.per_client:
            raise Refused(
                429, f"You have {self.limits.per_client} requests here already. Wait for an answer.", later=True
            )
        self._requests[client] += 1
        try:
            yield
        finally:
            self._requests[client] -= 1
            self._requests += Counter()  # forgets those who have none

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
            Refused: with 503, it took too long; with 422, the scores are not finite.
        """
        try:
            async with asyncio.timeout(self.limits.answer_seconds):
                emotion = await self._emotion(content, profile)
        except TimeoutError as error:
            self.counters.file("late")
            said = f"There was no answer within {self.limits.answer_seconds:g} s: the service is busy."
            raise Refused(503, said, later=True) from error
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
        with self._batcher.coming():
            clip = await asyncio.wrap_future(self._decoders.submit(content))
            answer = self._batcher.submit(clip, profile)
        return await asyncio.wrap_future(answer)

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
