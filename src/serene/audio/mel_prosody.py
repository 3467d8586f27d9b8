"""Log-mel energies beside pitch, voicing and loudness, from the first loud frame to the last; numpy only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import kaldi_native_fbank
import numpy as np
import soxr

from serene.audio.input_spec import FrontEnd, InputSpec, identity_of
from serene.audio.mfcc import computed
from serene.errors import SereneError
from serene.sound import SAMPLE_RATE

PROSODY = 4  # features that follow the mel energies: pitch, its correlation, voicing, power
SHORTEST = 400  # samples of the mel filters' window, 25 ms
MARGIN = 8  # frames that are kept before the first loud frame and after the last
LOUDEST = 95  # percentile of a clip's frames that tells how loud its loud frames are
LOUD = 5.0  # nepers of power below the loud frames' level: what is softer there is no speech

PITCH_RATE = 8_000  # hertz: the pitch of speech needs no more
SHIFT, WINDOW, SPECTRUM = 80, 320, 1024  # samples at that rate: 10 ms, 40 ms, and a transform without wrap-around
LOWEST, HIGHEST = 65, 550  # hertz
MIDDLE = 165.0  # hertz, between men's and women's usual pitch: unvoiced frames stand there, and change no mean by much
LAGS = np.arange(PITCH_RATE // HIGHEST, PITCH_RATE // LOWEST)
OCTAVE, JUMP = 0.03, 0.15  # correlation that an octave costs: below the highest pitch, and away from the clip's median
SURE, VOICED = 0.6, 0.5  # correlation of frames that the median is taken over, and that count as voiced
BLOCK = 4096  # frames whose spectra are held at once
AUDIBLE = 7.0  # nepers of power below the loudest frame: softer ones are not voiced


@dataclass(frozen=True, kw_only=True)
class MelProsody(FrontEnd):
    """Log-mel energies, then pitch in octaves from 165 Hz (0 where unvoiced), correlation, voicing and log power.

    A frame is 10 ms. The mel energies are Kaldi's, without dither, of samples within [-1, 1]. The pitch is the lag of
    the largest autocorrelation, that of the window divided out (Boersma 1993), found twice: the second time octaves
    away from the clip's own median cost something, which leaves few of the usual slips.

    Recordings differ in how far their own noise lies below the speech, and a quiet one makes everybody sound excited.
    So what is far softer than the loud frames is raised to one level, filter by filter, and the power likewise.

    Args:
        filters: mel filters.
        contrast: nepers of power below the level of the loudest twentieth of frames that are still told apart; a neper
            is 4.3 dB.
    """

    filters: int = 64
    contrast: float = 8.0

    declared: ClassVar[InputSpec] = InputSpec(width=64 + PROSODY, rate=100.0)

    def __post_init__(self) -> None:
        """Refuse filters that hold no point of the spectrum, or none."""
        if not 3 <= self.filters <= 80:
            raise SereneError(f"features.filters is {self.filters}; 3 to 80 were expected.")
        if not self.contrast > 0:
            raise SereneError(f"features.contrast is {self.contrast}; a positive number of nepers was expected.")

    @property
    def spec(self) -> InputSpec:
        """The filters and four more features per frame."""
        return replace(self.declared, width=self.filters + PROSODY)

    @property
    def identity(self) -> str:
        """What the store keys the arrays by: the settings and this code's version."""
        return identity_of("mel_prosody", 1, asdict(self))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) at 16 kHz into features (frame, feature), float32; at least one frame."""
        samples = np.pad(samples, (0, max(0, SHORTEST - len(samples)))).astype(np.float32, copy=False)
        energies = self._energies(samples)
        features = np.concatenate([energies, prosody(samples, len(energies))], axis=1)
        return self._raised(features[spoken(features[:, -1])])

    def _raised(self, features: np.ndarray) -> np.ndarray:
        levels = [*range(self.filters), self.spec.width - 1]
        loud = np.percentile(features[:, levels], LOUDEST, axis=0)
        features[:, levels] = np.maximum(features[:, levels], loud - self.contrast)
        return features

    def _energies(self, samples: np.ndarray) -> np.ndarray:
        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.dither = 0.0
        options.frame_opts.samp_freq = SAMPLE_RATE
        options.frame_opts.snip_edges = False
        options.mel_opts.num_bins = self.filters
        return computed(kaldi_native_fbank.OnlineFbank(options), samples)


def spoken(log_power: np.ndarray) -> slice:
    """Give the frames from the first loud one to the last, with a margin, by their log power (frame,) in nepers."""
    loud = np.flatnonzero(log_power > np.percentile(log_power, LOUDEST) - LOUD)
    return slice(max(int(loud[0]) - MARGIN, 0), int(loud[-1]) + MARGIN + 1)


def prosody(samples: np.ndarray, frames: int) -> np.ndarray:
    """Give pitch in octaves from 165 Hz (0 where unvoiced), correlation, voicing and log power: float32 (frames, 4).

    Samples are at 16 kHz, frames of 10 ms; the last is repeated where the samples end before.
    """
    windows = _windows(soxr.resample(samples, SAMPLE_RATE, PITCH_RATE), frames)
    windows = windows - windows.mean(axis=1, keepdims=True)
    log_power = np.log(np.square(windows).mean(axis=1) + 1e-8)
    correlation = _autocorrelation(windows)
    lag, strength = _tracked(correlation, log_power > log_power.max() - AUDIBLE)
    voiced = (strength > VOICED) & (log_power > log_power.max() - AUDIBLE)
    pitch = _median_of_three(np.log2(PITCH_RATE / MIDDLE / _refined(correlation, lag)))
    found = np.stack([np.where(voiced, pitch, 0), np.clip(strength, 0, 1), voiced, log_power], axis=1)
    return np.pad(found, ((0, frames - len(found)), (0, 0)), mode="edge").astype(np.float32)


def _windows(samples: np.ndarray, frames: int) -> np.ndarray:
    """Cut samples at 8 kHz into windows (frame, sample) around the frames' middles."""
    around = np.pad(samples, (WINDOW // 2, WINDOW // 2 + 2 * SHIFT))
    return np.lib.stride_tricks.sliding_window_view(around, WINDOW)[SHIFT // 2 :: SHIFT][:frames]


def _autocorrelation(windows: np.ndarray) -> np.ndarray:
    """Give the normalised autocorrelation (frame, lag) up to the longest lag, that of the window divided out."""
    taper = np.hanning(WINDOW).astype(np.float32)
    blocks = [windows[start : start + BLOCK] * taper for start in range(0, len(windows), BLOCK)]
    own = np.concatenate([_correlated(block) for block in blocks])
    window = _correlated(taper)
    return own / (own[:, :1] + 1e-5) / (window / window[0])


def _correlated(signal: np.ndarray) -> np.ndarray:
    """Give the autocorrelation (..., lag) of signals (..., sample) up to the longest lag and one more."""
    power = np.abs(np.fft.rfft(signal, SPECTRUM)) ** 2
    return np.fft.irfft(power)[..., : LAGS[-1] + 2].copy()  # a copy, so that the rest of it is let go


def _tracked(correlation: np.ndarray, audible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give each frame's lag in samples and its correlation (frame,)."""
    inner, frame = correlation[:, LAGS], np.arange(len(correlation))
    peak = (inner >= correlation[:, LAGS - 1]) & (inner >= correlation[:, LAGS + 1])
    merit = np.where(peak, inner - OCTAVE * np.log2(LAGS / LAGS[0]), -1)
    best = merit.argmax(axis=1)
    sure = (inner[frame, best] > SURE) & audible
    if sure.sum() > 3:
        usual = np.median(np.log2(LAGS[best[sure]]))
        best = (merit - JUMP * np.abs(np.log2(LAGS) - usual)).argmax(axis=1)
    return LAGS[best], inner[frame, best]


def _refined(correlation: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Give lags between the samples: the top of the parabola through a peak and its neighbours."""
    before, at, after = (correlation[np.arange(len(lag)), lag + step] for step in (-1, 0, 1))
    return lag + np.clip(0.5 * (before - after) / (before - 2 * at + after - 1e-9), -0.5, 0.5)


def _median_of_three(values: np.ndarray) -> np.ndarray:
    """Replace each value by the median of itself and its neighbours; the outer ones count twice."""
    around = np.pad(values, 1, mode="edge")
    return np.median(np.stack([around[:-2], around[1:-1], around[2:]]), axis=0)
