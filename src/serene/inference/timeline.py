"""Timeline: what a model says of a long sound, window by window, in memory that does not grow with its length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from serene import sound as decoder
from serene.errors import AudioError, SereneError
from serene.inference.emotion import Emotion, Segment
from serene.inference.features import Clip, joined
from serene.inference.profile import Profile
from serene.inference.recognizer import Recognizer
from serene.inference.segments import mean_scores, merged, pauses_of, watched
from serene.inference.sounds import refuse_loud, samples_of
from serene.sound import SAMPLE_RATE
from serene.task import Task

WINDOW, HOP = 3.0, 1.0  # seconds
SHORTEST = 0.5  # seconds of a window
BATCHES = 4  # of the network, whose windows are answered together
ENCODED = str | Path | bytes | bytearray | memoryview  # what is a file, or its content
UNLIKELY = 1e6  # seconds; a header that says so does not know

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Timeline:
    """What a model says of a long sound.

    Attributes:
        name: of the sound.
        task: what the model predicts.
        window: seconds of a window.
        hop: seconds from a window's beginning to the next one's.
        windows: every window with its own scores, or the note why it has none; they overlap where `hop` is shorter. The
            last one ends with the sound, and may be shorter than the others by less than a hop.
        emotion: of the whole sound: the mean scores over the windows that have some. Its segments follow each other
            without a gap, as `serene.inference.segments.merged` makes them of the windows and of pauses in the speech.
    """

    name: str
    task: Task
    window: float
    hop: float
    windows: tuple[Segment, ...]
    emotion: Emotion

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json` writes."""
        own = {"path": self.name, "window": self.window, "hop": self.hop, **self.emotion.to_dict()}
        return own | {"windows": [window.to_dict() for window in self.windows]}


def timeline(
    sound: Any,
    recognizer: Recognizer,
    rate: int | None = None,
    *,
    window: float = WINDOW,
    hop: float = HOP,
    profile: Profile | None = None,
    adapt: bool | None = None,
    progress: Progress | None = None,
) -> Timeline:
    """Go through a sound of any length in windows, in blocks of which only the windows' scores are kept.

    Args:
        sound: as a recognizer takes it.
        recognizer: answers for each window, or says why there is no speech in it.
        rate: of samples, in hertz.
        window: seconds.
        hop: seconds from a window's beginning to the next one's.
        profile: of the speaker.
        adapt: go through the sound once before, and adapt to it; by default where the model can, and has no profile.
        progress: is told `("answering", done, of)`, in windows.

    Raises:
        AudioError: the sound cannot be decoded, is empty or not finite.
        SereneError: a window or hop that cannot be, or the profile is another model's.
    """
    refuse_odd(window, hop, recognizer)
    name = decoder.named(sound)
    sound = sound.read() if hasattr(sound, "read") else sound  # its header is looked at before it is decoded
    windows, remarks, found = list[Segment](), list[str](), list[np.ndarray]()

    def clips() -> Iterator[list[tuple[int, Clip]]]:
        found.clear()
        return _extracted(_cut(watched(_blocks(sound, rate, name, remarks), found), window, hop), recognizer)

    adapt = _adapts(recognizer, profile) if adapt is None else adapt
    profile = _of_recording(clips(), recognizer, hop / window) if adapt else profile
    expected = _count(sound, window, hop) if progress else 0
    for few in clips():
        answers = recognizer.answer([clip for _, clip in few], profile=profile)
        windows += [_segment(first / SAMPLE_RATE, own) for (first, _), own in zip(few, answers, strict=True)]
        remarks += [own.remark for own in answers if own.remark]
        if progress:
            progress("answering", len(windows), max(len(windows), expected))
    if not windows:
        raise AudioError(f"{name} holds no samples.")
    emotion = _whole(windows, merged(windows, hop, pauses_of(found), recognizer.abstain), recognizer)
    emotion = replace(emotion, remark=joined(remarks), adapted_to=profile and profile.name)
    return Timeline(name, recognizer.folder.task, window, hop, tuple(windows), emotion)


def _adapts(recognizer: Recognizer, profile: Profile | None) -> bool:
    """By default where it can: it helped recordings of several emotions, and cost others a point (results/bundled)."""
    return profile is None and recognizer.profile is None and bool(recognizer.folder.widths)


def _extracted(cut: Iterator[tuple[int, np.ndarray]], recognizer: Recognizer) -> Iterator[list[tuple[int, Clip]]]:
    """Extract the clips of windows, as many at a time as are answered together, each with its first sample."""
    read = ((first, recognizer.extract(samples, SAMPLE_RATE)) for first, samples in cut)
    while few := list(islice(read, BATCHES * recognizer.batch_size)):
        yield few


def _segment(start: float, own: Emotion) -> Segment:
    return Segment(round(start, 3), round(start + own.duration, 3), own.label, own.scores, own.note)


def _of_recording(
    several: Iterable[Sequence[tuple[int, Clip]]], recognizer: Recognizer, share: float
) -> Profile | None:
    """Make a profile of a recording's windows, of which this share is new to each; None where nobody speaks."""
    recognizer.check_enrols()
    profile = recognizer.together(([clip for _, clip in few] for few in several), "recording")
    return profile and replace(profile, context=profile.context.counting(share))


def refuse_odd(window: float, hop: float, recognizer: Recognizer) -> None:
    """Refuse a window that the model cannot take, and a hop that leaves gaps or does not go on; both in seconds.

    Raises:
        SereneError: one of them is such.
    """
    longest = recognizer.extractor.longest
    if not SHORTEST <= window <= longest:
        raise SereneError(f"A window of {window:g} s was asked for; {SHORTEST:g} to {longest:g} s were expected.")
    if not 0 < hop <= window:
        raise SereneError(f"A hop of {hop:g} s was asked for; more than 0 s, and at most the window's {window:g} s.")


def _cut(blocks: Iterable[np.ndarray], window: float, hop: float) -> Iterator[tuple[int, np.ndarray]]:
    """Cut blocks of samples (sample,) into windows; give each one's first sample, counted from the sound's, and itself.

    The last one holds what is left: its end is the sound's.
    """
    size, step = round(window * SAMPLE_RATE), max(1, round(hop * SAMPLE_RATE))
    held, first = np.zeros(0, np.float32), 0
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > size:
            yield first, held[:size]
            held, first = held[step:], first + step
    if len(held):
        yield first, held


def _blocks(sound: Any, rate: int | None, name: str, remarks: list[str]) -> Iterator[np.ndarray]:
    """Give samples at 16 kHz: of files in blocks, of what is in memory anyway in one."""
    if not isinstance(sound, ENCODED):
        yield samples_of(sound, rate, remarks=remarks)
        return
    for block in decoder.blocks(sound, remarks=remarks):
        refuse_loud(block, name)
        yield block


def _count(sound: Any, window: float, hop: float) -> int:
    """Count the windows that a file's header promises; 0 where nobody knows before the end."""
    if not isinstance(sound, ENCODED):
        return 0
    seconds, _ = decoder.seconds(sound)
    return 1 + max(0, math.ceil((seconds - window) / hop)) if seconds < UNLIKELY else 0


def _whole(windows: Sequence[Segment], segments: tuple[Segment, ...], recognizer: Recognizer) -> Emotion:
    """Answer for the whole sound, by the mean of its windows' scores."""
    duration, scores = windows[-1].end, mean_scores([window.scores for window in windows])
    if not scores:
        note = Counter(window.note for window in windows).most_common(1)[0][0]
        return Emotion(None, {}, duration, segments=segments, note=note)
    label = recognizer.folder.task.label(scores)
    return Emotion(label, scores, duration, segments=segments).abstaining(recognizer.abstain)
