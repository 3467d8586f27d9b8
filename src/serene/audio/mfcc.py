"""Kaldi MFCC with deltas and energy voice activity, as Tu et al. 2019 feed their network; numpy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import kaldi_native_fbank
import numpy as np

from serene.audio.input_spec import FrontEnd, InputSpec, identity_of
from serene.errors import SereneError
from serene.sound import SAMPLE_RATE

INT16_SCALE = 32768.0  # Kaldi's log energies, and so its voice activity threshold, assume 16-bit integers
FRAME_LENGTH, FRAME_SHIFT = 0.025, 0.010  # seconds
FILTERS = 23  # mel filters, Kaldi's default; there are no more cepstra than these


@dataclass(frozen=True, kw_only=True)
class Mfcc(FrontEnd):
    """13 cepstra with log energy first, their deltas and delta-deltas, without silent frames.

    The order is that of Kaldi's x-vector recipes: deltas over all frames, then unvoiced frames are dropped. Dither is
    off, so that the same sound always gives the same numbers (Kaldi's default adds noise of one 16-bit step).

    Args:
        coefficients: cepstra per frame, the log energy in place of C0.
        deltas: order of the differences appended (2: deltas and delta-deltas).
        voice_activity: drop the frames that `voiced` calls silent.
        energy: the log energy in place of C0; voice activity needs it.
    """

    coefficients: int = 13
    deltas: int = 2
    voice_activity: bool = True
    energy: bool = True

    declared: ClassVar[InputSpec] = InputSpec(width=39, rate=1 / FRAME_SHIFT)

    def __post_init__(self) -> None:
        """Refuse what the library does not: it would read beyond its filters."""
        if not 1 <= self.coefficients <= FILTERS or self.deltas < 0:
            raise SereneError(
                f"features.coefficients is {self.coefficients} and features.deltas {self.deltas}; "
                f"1 to {FILTERS} coefficients and 0 deltas or more were expected."
            )
        if self.voice_activity and not self.energy:
            raise SereneError("features.voice_activity looks at the log energy: set features.energy=true, or drop it.")

    @property
    def spec(self) -> InputSpec:
        """The cepstra and their deltas: 39 features per frame by default."""
        return replace(self.declared, width=self.coefficients * (self.deltas + 1))

    @property
    def identity(self) -> str:
        """What the store keys the arrays by: the settings and this code's version."""
        return identity_of("mfcc", 1, asdict(self))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) at 16 kHz into features (frame, feature), float32; at least one frame."""
        cepstra = self._cepstra(samples)
        features = add_deltas(cepstra, self.deltas)
        return features[voiced(cepstra[:, 0])] if self.voice_activity else features

    def _cepstra(self, samples: np.ndarray) -> np.ndarray:
        options = kaldi_native_fbank.MfccOptions()
        options.frame_opts.dither = 0.0
        options.frame_opts.samp_freq = SAMPLE_RATE
        options.num_ceps = self.coefficients
        options.use_energy = self.energy
        shortest = round(FRAME_LENGTH * SAMPLE_RATE)
        padded = np.pad(samples, (0, max(0, shortest - len(samples))))
        return computed(kaldi_native_fbank.OnlineMfcc(options), padded * INT16_SCALE)


def computed(computer: Any, samples: np.ndarray) -> np.ndarray:
    """Give the frames, float32 (frame, feature), that a computer of Kaldi's makes of samples (sample,)."""
    computer.accept_waveform(SAMPLE_RATE, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)]).astype(np.float32)


def add_deltas(cepstra: np.ndarray, order: int, window: int = 2) -> np.ndarray:
    """Append Kaldi's regression deltas up to an order, each over a window of frames to either side.

    Edges repeat the outer frames. From (frame, feature) to (frame, feature * (order + 1)).
    """
    # Kaldi convolves the filters first and repeats the edge frames of the *cepstra*, so orders beyond the first
    # differ from a delta of the delta near the edges.
    step = np.arange(-window, window + 1) / sum(2 * n * n for n in range(1, window + 1))
    filters = [np.ones(1)]
    for _ in range(order):
        filters.append(np.convolve(filters[-1], step))
    frames = np.arange(len(cepstra))
    blocks = []
    for taps in filters:
        reach = len(taps) // 2
        neighbours = np.clip(frames[:, None] + np.arange(-reach, reach + 1), 0, len(cepstra) - 1)
        blocks.append(np.einsum("ftc,t->fc", cepstra[neighbours], taps))
    return np.concatenate(blocks, axis=1).astype(np.float32)


def voiced(log_energy: np.ndarray, threshold: float = 5.0, mean_scale: float = 0.5) -> np.ndarray:
    """Say which frames hold speech: log energy above `threshold + mean_scale * mean` (Kaldi's ComputeVadEnergy).

    Energies (frame,) are on Kaldi's 16-bit scale. All are true where nothing passes: a quiet clip keeps its frames.
    """
    speech = log_energy > threshold + mean_scale * log_energy.mean()
    return speech if speech.any() else np.ones_like(speech)


CEPSTRA = Mfcc(coefficients=20, deltas=0, voice_activity=False)  # whose mean models are told of a speaker; silence too
