"""A recognizer without a model, whose uploads are commands: its decoders can be made to stop, hang or stumble.

Processes import it by name, so `tests/inference` is on the path of the tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from serene.errors import AudioError
from serene.inference.emotion import Emotion
from serene.inference.features import Clip
from serene.inference.profile import Profile
from serene.task import Dimensions, Task

LABELS = ("anger", "neutral")


@dataclass(frozen=True)
class FakeExtractor:
    """Does what an upload says: a number is the loudness of a clip of so many seconds, a word is a command."""

    longest: float = 600.0

    def __call__(self, sound: bytes) -> Clip:
        word = sound.decode()
        if word in COMMANDS:
            return COMMANDS[word]()
        if word.startswith("slow"):
            time.sleep(float(word.removeprefix("slow")))
            word = "1"
        try:
            seconds = float(word)
        except ValueError as error:
            raise AudioError("the sound cannot be read as audio") from error
        if seconds > self.longest:
            raise AudioError(f"the sound is {seconds:g} s long, and no more than {self.longest:g} s are read at once")
        return Clip(seconds, np.full((3, 2), seconds, np.float32))


@dataclass(frozen=True)
class FatalExtractor(FakeExtractor):
    """Ends the first so many processes that receive it, while they start; they are counted in a file."""

    starts: str = ""
    fatal: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _started, (self.longest, self.starts, self.fatal)


def _started(longest: float, starts: str, fatal: int) -> FatalExtractor:
    with open(starts, "ab") as file:
        file.write(b".")
    if os.path.getsize(starts) <= fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return FatalExtractor(longest, starts, fatal)


@dataclass(frozen=True)
class Nonsense:
    """What no clip is."""

    other: float = 0.0


def stumble() -> Clip:
    raise ZeroDivisionError


def name_modules() -> Clip:
    raise AudioError(" ".join(name for name in ("torch", "fastapi", "onnxruntime") if name in sys.modules))


COMMANDS: dict[str, Callable[[], Any]] = {
    "stop": lambda: os._exit(3),
    "fault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hang": lambda: time.sleep(600),
    "stumble": stumble,
    "modules": name_modules,
    "memory": lambda: Clip(float(np.ones(2**29).sum())),  # four gigabytes
    "process": lambda: Clip(float(os.getpid()), note="silence"),
    "nonsense": Nonsense,
    "quiet": lambda: Clip(1.0, note="silence"),
}


class FakeRecognizer:
    """Scores a clip by its number; keeps the sizes of its batches, and answers only while `may` is set."""

    def __init__(self, *, seconds: float = 0.0, dimensions: bool = False) -> None:
        self.extractor, self.labels = FakeExtractor(), LABELS
        self.folder: Any = SimpleNamespace(
            name="fake",
            identity="abc",
            widths={"features": 2},
            task=(Dimensions if dimensions else Task)(LABELS),
            config={"width": 2},
        )
        self.info = {"name": "fake", "classes": list(LABELS), "noun": "emotion", "dimensions": dimensions}
        self.seconds, self.batches, self.threads = seconds, [], set()
        self.entered = 0
        self.may = threading.Event()
        self.may.set()

    def answer(self, clips: Sequence[Clip], *, profile: Sequence[Profile | None]) -> list[Emotion]:
        self.entered += len(clips)
        self.may.wait(30)
        time.sleep(self.seconds)
        self.batches.append(len(clips))
        self.threads.add(threading.get_ident())
        return [self._one(clip, own) for clip, own in zip(clips, profile, strict=True)]

    def _one(self, clip: Clip, profile: Profile | None) -> Emotion:
        if clip.features is None:
            return Emotion(None, {}, clip.duration, note=clip.note)
        if clip.duration == 13:
            raise RuntimeError("the network stumbles over this one")
        share = float(clip.features.mean()) / 100
        share += 0 if profile is None else float(profile.context.need("features").moments[0].mean())
        return Emotion("anger" if share > 0.5 else "neutral", {"anger": share, "neutral": 1 - share}, clip.duration)
