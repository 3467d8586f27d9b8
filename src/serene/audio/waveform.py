"""The samples themselves, for encoders that hear waveforms; cut to a longest length, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from serene.errors import SereneError
from serene.sound import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """Samples at 16 kHz as frames of one feature.

    Args:
        longest: seconds of a clip that are heard, from its beginning; all without it.
    """

    longest: float | None = None

    shortest: ClassVar[int] = 1
    stored: ClassVar[bool] = False  # decoding again costs less than the disk that decoded sound takes
    rate: ClassVar[float] = SAMPLE_RATE
    width: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse to hear nothing."""
        if self.longest is not None and not self.longest > 0:
            raise SereneError(f"features.longest is {self.longest}; a positive number of seconds was expected.")

    @property
    def identity(self) -> str:
        """Name of the front end."""
        return "waveform" if self.longest is None else f"waveform-{self.longest:g}"

    def frames_in(self, seconds: float) -> int:
        """Give the number of samples of a clip of so many seconds."""
        heard = seconds if self.longest is None else min(seconds, self.longest)
        return round(heard * SAMPLE_RATE)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into frames (sample, 1)."""
        return samples[: None if self.longest is None else round(self.longest * SAMPLE_RATE), None]
