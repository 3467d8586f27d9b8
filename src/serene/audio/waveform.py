"""The samples themselves, for encoders that read waveforms; cut to a longest length, never stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from serene.audio.input_spec import FrontEnd, InputSpec, identity_of
from serene.errors import SereneError
from serene.sound import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Waveform(FrontEnd):
    """Samples at 16 kHz as frames of one feature.

    Args:
        longest: seconds of a clip that are read, from its beginning; all without it.
        fill: `mean` fills every clip up to `longest` with its own mean, and the filling counts as sound, as the
            released code of Kang et al. 2023 has it; with `none` padding is never read.
        scale: `peak` divides a clip by its largest magnitude, filling included; `none` leaves it.
    """

    longest: float | None = None
    fill: Literal["none", "mean"] = "none"
    scale: Literal["none", "peak"] = "none"

    # a minute at most: attention over a waveform's frames grows with their square
    declared: ClassVar[InputSpec] = InputSpec(
        width=1,
        rate=SAMPLE_RATE,
        longest=60.0,
        stored=False,  # decoding again costs less than the disk that decoded sound takes
        sliced=True,
        augmented=True,
        batched=False,
    )

    def __post_init__(self) -> None:
        """Refuse to read nothing."""
        if self.longest is not None and not self.longest > 0:
            raise SereneError(f"features.longest is {self.longest}; a positive number of seconds was expected.")
        if self.fill != "none" and self.longest is None:
            raise SereneError("features.fill needs features.longest: the seconds up to which clips are filled.")

    @property
    def identity(self) -> str:
        """Names it and its settings: its outputs are never stored, and those of an encoder's frozen part are."""
        return identity_of("waveform", 1, asdict(self))

    @property
    def spec(self) -> InputSpec:
        """One feature per sample, of a clip's beginning where it is cut."""
        return self.declared if self.longest is None else replace(self.declared, longest=self.longest, beyond="cut")

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into frames (sample, 1)."""
        if self.longest is not None:
            most = round(self.longest * SAMPLE_RATE)
            samples = samples[:most]
            if self.fill == "mean":
                samples = np.pad(samples, (0, most - len(samples)), constant_values=samples.mean())
        if self.scale == "peak":
            samples = samples / max(float(np.abs(samples).max()), 1e-9)
        return samples[:, None].astype(np.float32, copy=False)
