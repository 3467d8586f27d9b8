"""Whisper's log-mel spectrogram (Radford et al. 2022), clips as long as they are or filled up; numpy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np

from serene.audio.input_spec import FrontEnd, InputSpec, identity_of
from serene.errors import FrontEndError, SereneError
from serene.sound import SAMPLE_RATE

WINDOW, SHIFT = 400, 160  # samples: 25 and 10 ms
LONGEST = 30.0  # seconds that the encoder was trained on, and has positions for
RANGE = 8.0  # decades of power below the loudest value that are told apart
BLOCK = 3000  # frames whose spectra are held at once
LINEAR, STEP, OCTAVES = 1000.0, 200 / 3, 27 / np.log(6.4)  # Slaney's scale: hertz a mel up to 1 kHz, mels above it


@dataclass(frozen=True, kw_only=True)
class LogMel(FrontEnd):
    """Log-mel energies as OpenAI's encoder was trained on them: (frame, filter), a frame every 10 ms.

    A longer clip than 30 s is cut into windows of 30 s, each computed by itself, as the encoder reads them.

    Args:
        filters: mel filters; 128 for large-v3, 80 for all others.
        pad: seconds up to which zeros fill a clip, 30 in the original, and the filling counts as sound; as long as it
            is without it, which costs a twelfth for a clip of 2.5 s.
        loudest: bring the loudest value of a clip, or of a window of 30 s, to this one, so that its level makes no
            difference; speech at ordinary levels has 0.8 to 1.5.
    """

    filters: int = 80
    pad: float | None = None
    loudest: float | None = None

    declared: ClassVar[InputSpec] = InputSpec(width=80, rate=100.0, longest=LONGEST, beyond="windows", batched=False)

    def __post_init__(self) -> None:
        """Refuse filters that hold no point of the spectrum, and a filling that no encoder has positions for."""
        if not 3 <= self.filters <= 128:
            raise SereneError(f"features.filters is {self.filters}; 3 to 128 were expected.")
        if self.pad is not None and not 0 < self.pad <= LONGEST:
            raise SereneError(f"features.pad is {self.pad}; seconds above 0 and up to {LONGEST:g} were expected.")
        if self.loudest is not None and not np.isfinite(self.loudest):
            raise SereneError(f"features.loudest is {self.loudest}; a number such as 1 was expected.")

    @property
    def spec(self) -> InputSpec:
        """The filters, and what is longer than the filling refused."""
        filled = {} if self.pad is None else {"longest": self.pad, "beyond": "refused"}
        return replace(self.declared, width=self.filters, **filled)

    @property
    def identity(self) -> str:
        """What the store keys the arrays by: the settings and this code's version."""
        return identity_of("log_mel", 1, asdict(self))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) at 16 kHz into log-mel energies (frame, filter), float32; at least one frame.

        Raises:
            FrontEndError: there are more samples than `pad` has room for.
        """
        if self.pad is not None:
            samples = _filled(samples, self.pad)
        size = round(LONGEST * SAMPLE_RATE)
        windows = [samples[start : start + size] for start in range(0, max(len(samples), 1), size)]
        return np.concatenate([self._window(window) for window in windows])

    def _window(self, samples: np.ndarray) -> np.ndarray:
        """Compute at most 30 s, on whose loudest value the range hangs."""
        frames = max(1, -(-len(samples) // SHIFT))
        beyond = frames * SHIFT + WINDOW - len(samples)  # the original fills clips with zeros up to 30 s
        if len(samples) + beyond > LONGEST * SAMPLE_RATE:
            beyond = max(0, round(LONGEST * SAMPLE_RATE) - len(samples))
        around = np.pad(np.pad(samples, (0, beyond)).astype(np.float64), WINDOW // 2, mode="reflect")
        cut = np.lib.stride_tricks.sliding_window_view(around, WINDOW)[::SHIFT][:frames]
        taper = np.hanning(WINDOW + 1)[:-1]
        power = (np.abs(np.fft.rfft(cut[at : at + BLOCK] * taper)) ** 2 for at in range(0, frames, BLOCK))
        energies = np.concatenate([block @ mel_filters(self.filters) for block in power])
        decades = np.log10(np.maximum(energies, 1e-10))
        values = (np.maximum(decades, decades.max() - RANGE) + 4) / 4
        return (values if self.loudest is None else values + self.loudest - values.max()).astype(np.float32)


def _filled(samples: np.ndarray, seconds: float) -> np.ndarray:
    size = round(seconds * SAMPLE_RATE)
    if len(samples) > size:
        raise FrontEndError(
            f"The clip has {len(samples) / SAMPLE_RATE:.1f} s, and features.pad fills clips up to {seconds:g} s. Leave "
            "it out of the manifest, or drop features.pad: longer clips are read in windows then."
        )
    return np.pad(samples, (0, size - len(samples)))


@cache
def mel_filters(count: int) -> np.ndarray:
    """Give triangular filters of area 1 (in hertz, halved) at equal steps of Slaney's mel scale up to 8 kHz.

    Shape: (point of the spectrum, filter).
    """
    points = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    highest = LINEAR / STEP + OCTAVES * np.log(SAMPLE_RATE / 2 / LINEAR)
    mels = np.linspace(0, highest, count + 2)
    linear = mels < LINEAR / STEP
    edges = np.where(linear, STEP * mels, LINEAR * np.exp((mels - LINEAR / STEP) / OCTAVES))
    rising = (points[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - points[:, None]) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
