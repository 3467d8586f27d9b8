"""Is there speech at all? Too short, silent and steady sounds are told apart from it before any model hears them.

Two measures, over frames of 25 ms every 10 ms:

* **level**: of the loudest frame, in dB below full scale; its mean is taken off first, so that a constant is silent;
* **modulation**: how much the levels of eleven bands from 100 to 7000 Hz change within 100 ms, in dB: the standard
  deviation over time, divided by the square root of 2, averaged over bands.

Speech opens and closes its bands several times a second. Whatever its colour, steady noise does not: its modulation is
that of chance alone, 2.3 dB for white, pink and brown noise; hum is below that. In 300 clips of each of CREMA-D, EmoDB,
RAVDESS and speechocean762 the least is 3.8 dB, and the softest clip's loudest frame -51 dB. Music, applause and babble
change as speech does, and pass.
"""

from __future__ import annotations

import numpy as np

from serene.sound import SAMPLE_RATE

SHORTEST = 0.3  # seconds
SILENT = -65.0  # dB below full scale, of the loudest frame
STEADY = 2.8  # dB of modulation

FRAME, SHIFT, APART = 400, 160, 10  # samples, samples, and frames that are compared: 100 ms
BANDS = np.array([100, 200, 300, 450, 630, 900, 1250, 1750, 2500, 3500, 5000, 7000])  # hertz, their edges
FLOOR = 1e-9  # of a band's energy: below it there is nothing but rounding
BLOCK = 4096  # frames that are held at once


def why_not(samples: np.ndarray) -> str | None:
    """Say why samples (sample,) at 16 kHz hold no speech: `too short`, `silence`, `noise`; None where they may."""
    if len(samples) < SHORTEST * SAMPLE_RATE:
        return "too short"
    frames = np.lib.stride_tricks.sliding_window_view(samples - samples.mean(), FRAME)[::SHIFT]
    if level(frames) < SILENT:
        return "silence"
    return "noise" if modulation(frames) < STEADY else None


def level(frames: np.ndarray) -> float:
    """Give the level of the loudest of some frames (frame, sample), in dB; a full-scale square wave has 0."""
    loudest = max(float(np.square(block).mean(axis=1).max()) for block in _blocks(frames))
    return 10 * np.log10(max(loudest, 1e-20))


def modulation(frames: np.ndarray) -> float:
    """Give how much the bands of some frames (frame, sample) change within 100 ms, in dB."""
    window = np.hanning(FRAME).astype(np.float32)
    edges = np.searchsorted(np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE), BANDS)
    bands = [
        np.add.reduceat(np.abs(np.fft.rfft(block * window, axis=1)) ** 2, edges, axis=1)[:, :-1]
        for block in _blocks(frames)
    ]
    levels = 10 * np.log10(np.concatenate(bands) + FLOOR)
    return float((levels[APART:] - levels[:-APART]).std(axis=0).mean() / np.sqrt(2))


def _blocks(frames: np.ndarray) -> list[np.ndarray]:
    return [frames[start : start + BLOCK] for start in range(0, len(frames), BLOCK)]
