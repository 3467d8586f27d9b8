"""Timelines of labels that are written as letters."""

from __future__ import annotations

from types import SimpleNamespace

from serene.inference import timeline as module
from serene.inference.emotion import Segment
from serene.inference.segments import merged
from serene.inference.timeline import Timeline
from serene.task import Dimensions, Task


def made(kinds: str, *, dimensions: bool = False, name: str = "a.wav") -> Timeline:
    """Make a timeline of windows of 3 s every second: `a` and `n` for labels, `s` for silence, `u` for uncertain."""
    task = (Dimensions if dimensions else Task)(("anger", "neutral"))
    shares = {"a": {"anger": 0.75, "neutral": 0.25}, "n": {"anger": 0.25, "neutral": 0.75}}
    shares |= {"u": {"anger": 0.5, "neutral": 0.5}, "s": {}}
    windows = [
        Segment(
            float(i),
            i + 3.0,
            {"a": "anger", "n": "neutral"}.get(kind) if not dimensions else None,
            shares[kind],
            {"s": "silence", "u": "uncertain"}.get(kind),
        )
        for i, kind in enumerate(kinds)
    ]
    seen = SimpleNamespace(folder=SimpleNamespace(task=task), abstain=None)
    emotion = module._whole(windows, merged(windows, 1.0, threshold=0.6), seen)  # type: ignore[arg-type]
    return Timeline(name, task, 3.0, 1.0, tuple(windows), emotion)
