"""InputSpec: what a front end makes of sound, declared beside it; whoever handles features asks it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

LONGEST = 600.0  # seconds of a sound that is taken at once, where nothing says otherwise


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a front end makes of sound, as an encoder reads it.

    Attributes:
        width: features per frame; 0 where only the settings tell.
        rate: frames per second, dropped ones counted in; 0 where a clip's frames have no place in time.
        shortest: samples at 16 kHz of the shortest clip.
        longest: seconds of the longest clip that is read at once.
        beyond: what happens to a longer one: it is `cut` to its beginning, read in `windows` whose frames are joined
            before they are pooled, or `refused` where sounds are answered for.
        stored: whether features are worth keeping on disk; they are computed anew where reading sound costs less.
        sliced: whether the features of a part of a clip are that part of the clip's features.
        augmented: whether its frames are samples, which waveform augmentation may change anew in every epoch.
        weights: where those lie that it has of its own: `elsewhere` than the model's, or in this `package`.
        encoded: whether it is the frozen part of the model's own encoder, whose outputs the rest of it reads.
        batched: whether a batch costs less on a CPU than its clips one by one; to the large encoders of waveforms and
            log-mel energies it costs more, since what they pass on no longer fits a core's cache.
    """

    width: int
    rate: float
    shortest: int = 1
    longest: float = LONGEST
    beyond: Literal["cut", "windows", "refused"] = "refused"
    stored: bool = True
    sliced: bool = False
    augmented: bool = False
    weights: Literal["none", "elsewhere", "package"] = "none"
    encoded: bool = False
    batched: bool = True

    @property
    def accepted(self) -> float:
        """Seconds of the longest sound that is answered for at once."""
        return self.longest if self.beyond == "refused" else LONGEST

    def frames(self, seconds: float) -> int:
        """Give how many frames a part of so many seconds has."""
        return round(seconds * self.rate)

    def frames_of(self, duration: float) -> int:
        """Give how many frames a clip of so many seconds has, of a front end whose features are `sliced`."""
        return self.frames(min(duration, self.longest) if self.beyond == "cut" else duration)


class FrontEnd:
    """Base of what turns samples into features, always the same ones; settings are the constructor's keywords.

    What is `declared` holds whatever the settings are, before anything is read from disk.
    """

    declared: ClassVar[InputSpec]

    @property
    def folder(self) -> Path | None:
        """Where weights of its own lie, and what is said of their training; None where it has none."""
        return None

    @property
    def spec(self) -> InputSpec:
        """What it makes with its settings."""
        return self.declared

    @property
    def identity(self) -> str:
        """Names the front end and every setting that changes its output: what the store keys arrays by."""
        raise NotImplementedError

    def __call__(self, samples: np.ndarray) -> Any:
        """Turn samples (sample,) at 16 kHz into features float32 (frame, feature)."""
        raise NotImplementedError


def identity_of(name: str, version: int, settings: Mapping[str, Any]) -> str:
    """Identify a front end by its name, its settings, and the version of its code."""
    text = json.dumps({"name": name, "version": version, **settings}, sort_keys=True)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
