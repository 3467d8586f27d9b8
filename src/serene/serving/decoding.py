"""Uploads are decoded in processes of their own: a hostile file can stop one of them, and never the service."""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from serene.errors import AudioError, SereneError
from serene.inference.features import Clip
from serene.quiet import set_apart
from serene.trust import Names, accept, trusted

Extract = Callable[[bytes], Clip]

MEMORY = 2 * 2**30  # bytes that a process may take for one file, on top of what it holds before
LARGEST_ANSWER = 2**28  # bytes of a clip; no honest process sends more
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a terminal, or a service manager, sends them to all processes at once
START = 60.0  # seconds within which a process is ready, on a busy machine too
STARTS = 3  # attempts to have a process ready
READY = b"+"  # what it sends then
CLIP, REFUSED = b"c", b"r"  # the first byte of a process's answer: a clip, or why there is none


class DecoderLost(AudioError):
    """A sound whose decoding ended its process, or had to be ended with it.

    Attributes:
        how: `died` or `hung`.
    """

    def __init__(self, message: str, how: str) -> None:
        """Keep what the service counts beside what the client reads."""
        super().__init__(message)
        self.how = how


class NoDecoder(SereneError):
    """A sound that was not looked at, since no process would start; a little later one may."""


class Decoders:
    """Processes that turn the bytes of sound files into clips, each looked after by a thread.

    A process that a file kills, or keeps busy for too long, is replaced at once, and only that file goes without a
    clip. What processes answer is read as JSON and plain numbers, never unpickled: one that a file has taken over can
    send nothing but a wrong clip. On Linux a process is also bound in memory, and is the first that the system ends
    when memory runs out.

    Args:
        extract: makes a clip of a file's bytes; has to be picklable, and importable without torch if it is to be light.
        processes: how many.
        seconds: within which a file has to be decoded.
    """

    def __init__(self, extract: Extract, *, processes: int = 2, seconds: float = 20.0) -> None:
        """Start the processes; the first files wait until one of them is ready."""
        self._jobs: queue.SimpleQueue[tuple[bytes, Future[Clip]] | None] = queue.SimpleQueue()
        self._closed = False
        self._decoders = [_Decoder(extract, seconds) for _ in range(processes)]
        self._threads = [
            threading.Thread(target=self._look_after, args=(decoder,), name="serene-decoder", daemon=True)
            for decoder in self._decoders
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)  # before multiprocessing waits for processes that nobody has told to end

    def submit(self, content: bytes) -> Future[Clip]:
        """Have a file decoded.

        Returns:
            A future of the clip. It fails with an AudioError for what is no sound, and with its kind DecoderLost for
            what took its process along; with NoDecoder if none would start. One cancelled in time is never begun.
        """
        if self._closed:
            raise RuntimeError("the decoders are closed")
        future: Future[Clip] = Future()
        self._jobs.put((content, future))
        return future

    def close(self) -> None:
        """End the processes now; what is not decoded yet never will be."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        with contextlib.suppress(queue.Empty):
            while job := self._jobs.get_nowait():
                job[1].cancel()
        for decoder in self._decoders:
            self._jobs.put(None)
            decoder.stop()
        for thread in self._threads:
            thread.join(START)

    def _look_after(self, decoder: _Decoder) -> None:
        while job := self._jobs.get():
            content, future = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if not any(not self._closed and decoder.is_ready() for _ in range(STARTS)):
                    raise NoDecoder("No decoder would start: the service is ending, or its machine is too busy.")
                future.set_result(decoder.decode(content))
            except Exception as error:  # the thread lives on, whatever happened; the request is told of it
                future.set_exception(error)
                if not isinstance(error, SereneError):
                    decoder.stop()
            if not (self._closed or decoder.alive):
                with contextlib.suppress(OSError):  # the next file tries again, and says so
                    decoder.start()
        decoder.stop()


class _Decoder:
    """One process, seen from the thread that looks after it."""

    def __init__(self, extract: Extract, seconds: float) -> None:
        self._extract, self._seconds = extract, seconds
        self._lock = threading.Lock()  # `stop` may come from the thread that closes the service
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        with self._lock:
            ours, theirs = context.Pipe()
            settings = (theirs, self._extract, self._seconds, trusted())
            process = context.Process(target=decode_forever, args=settings, name="serene-decoder", daemon=True)
            with _undisturbed():
                process.start()
            theirs.close()
            self._process, self._connection, self._ready = process, ours, False

    def stop(self) -> None:
        with self._lock:
            self._process.kill()
            self._process.join()

    @property
    def alive(self) -> bool:
        with self._lock:
            return self._process.is_alive()

    def is_ready(self) -> bool:
        """Wait until the process is ready; one that ended, idle or while it started, is replaced: no file's fault."""
        try:
            if not self.alive:
                self._connection.close()
                self.start()
            self._ready = self._ready or (self._connection.poll(START) and self._connection.recv_bytes(1) == READY)
        except (EOFError, OSError):
            self._ready = False
        if not self._ready:
            self.stop()
        return self._ready

    def decode(self, content: bytes) -> Clip:
        try:
            self._connection.send_bytes(content)
            if not self._connection.poll(self._seconds):
                raise self._lost("hung", f"was not decoded within {self._seconds:g} s, and its decoder was stopped")
            answer = self._connection.recv_bytes(LARGEST_ANSWER)
        except (EOFError, OSError) as error:
            raise self._lost("died", "made its decoder stop, and was given up") from error
        if answer[:1] == REFUSED:
            raise AudioError(answer[1:].decode("utf-8", "replace"))
        try:
            return unpacked(answer[1:])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._lost("died", "made its decoder answer nonsense, and was given up") from error

    def _lost(self, how: str, what: str) -> DecoderLost:
        self.stop()
        self._connection.close()
        return DecoderLost(f"the sound {what}. Is it damaged? Convert it to WAV or FLAC, and try again.", how)


def decode_forever(connection: Connection, extract: Extract, seconds: float, names: Names = None) -> None:
    """Be a decoding process: answer for one file after the other until the connection ends."""
    accept(names)
    set_apart()
    for number in SIGNALS:  # the service takes them, and lets what has begun be finished
        signal.signal(number, signal.SIG_IGN)
    _confine()
    limit = math.ceil(seconds) + 1  # should the service be gone by then, the system ends a decoder that hangs
    alarm = getattr(signal, "alarm", lambda after: None)
    with contextlib.suppress(EOFError, OSError):
        connection.send_bytes(READY)
        while True:
            content = connection.recv_bytes()
            alarm(limit)
            connection.send_bytes(_answer(extract, content))
            alarm(0)


def _answer(extract: Extract, content: bytes) -> bytes:
    try:
        return CLIP + packed(extract(content))
    except SereneError as error:
        return REFUSED + str(error).encode()
    except Exception as error:  # a decoder that stumbles is a sound that cannot be read
        return REFUSED + f"the sound cannot be read as audio: its decoder failed ({type(error).__name__}).".encode()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Start a process that signals cannot end before it is far enough to ignore them: it is born with them blocked."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # in the block it would be started unblocked, and leave this thread so
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _confine() -> None:
    """Leave no core file with somebody's voice in it; bound the memory; be what the system ends first."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(ImportError, OSError, ValueError):  # elsewhere than on Linux
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sizes = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        held = int(sizes["VmData"].split()[0]) * 1024  # with many cores, libraries set aside gigabytes they never touch
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY, hard))


def packed(clip: Clip) -> bytes:
    """Write a clip as a line of JSON and the numbers of its arrays."""
    values = {field.name: getattr(clip, field.name) for field in fields(clip)}
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    head: dict[str, Any] = {name: value for name, value in values.items() if name not in arrays}
    head["shapes"] = {name: array.shape for name, array in arrays.items()}
    return b"".join([json.dumps(head).encode(), b"\n", *(array.astype("<f4").tobytes() for array in arrays.values())])


def unpacked(content: bytes) -> Clip:
    """Read what `packed` wrote.

    Raises:
        ValueError: it is something else; or TypeError, KeyError, AttributeError.
    """
    line, _, rest = content.partition(b"\n")
    head = json.loads(line)
    numbers = np.frombuffer(rest, "<f4")
    for name, shape in head.pop("shapes").items():
        head[name], numbers = numbers[: (size := math.prod(shape))].reshape(shape), numbers[size:]
    if numbers.size:
        raise ValueError("more numbers than the shapes say")
    return Clip(**head)
