"""A made-up voice: a source and a filter that speak vowels with an emotion's prosody; numpy only.

The source is band-limited pulses at the F0 with some breath; the filter, applied frame by frame, is the vowels'
formants (rounded means of adult men after Peterson and Barney 1952, scaled by speaker) and a spectral tilt.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from serene.sound import SAMPLE_RATE

FRAME, HOP, BINS = 512, 128, 1024  # samples: Hann window, its step, the transform
MARGIN = (BINS - FRAME) // 2  # samples of zeros on either side: the filter has no delay, it rings both ways
TREMOR = 6.0  # Hz


class Prosody(NamedTuple):
    """How an emotion, or a clip's deviation from it, changes a voice."""

    level: float  # semitones
    reach: float  # natural logarithm of the factor on the speaker's pitch range
    slope: float  # semitones from the clip's beginning to its end
    loudness: float  # dB
    rate: float  # natural logarithm of the factor on speed
    tremor: float  # semitones
    effort: float  # dB per octave, less tilt


PROSODY = {
    "anger": Prosody(2.5, 0.4, -3.0, 5.0, 0.12, 0.2, 2.0),
    "happiness": Prosody(3.5, 0.6, 2.5, 2.0, 0.06, 0.1, 1.0),
    "neutral": Prosody(0.0, 0.0, -1.0, 0.0, 0.0, 0.05, 0.0),
    "sadness": Prosody(-1.5, -0.6, -2.0, -4.0, -0.18, 0.5, -1.5),
}
SPREAD = Prosody(1.0, 0.2, 1.2, 2.0, 0.06, 0.1, 0.8)  # standard deviations from clip to clip

VOWELS = {  # Hz
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
BANDWIDTHS = np.array([80.0, 100.0, 140.0])  # Hz


class Voice(NamedTuple):
    """What makes a made-up speaker."""

    f0_hertz: float
    formant_scale: float
    tilt: float  # dB per octave


def speak(voice: Voice, emotion: Prosody, text: str, seconds: float, draw: np.random.Generator) -> np.ndarray:
    """Make one clip.

    Args:
        voice: who speaks.
        emotion: the mean prosody, from which the clip deviates by `SPREAD`.
        text: vowels, one a syllable.
        seconds: length at the ordinary rate.
        draw: source of the clip's deviations and noise.

    Returns:
        float64 array (sample,) at 16 kHz, within full scale.
    """
    how = Prosody(*(mean + spread * draw.standard_normal() for mean, spread in zip(emotion, SPREAD, strict=True)))
    count = round(seconds * np.exp(-how.rate) * SAMPLE_RATE)
    place = np.linspace(0, len(text), count, endpoint=False)  # in syllables
    f0 = voice.f0_hertz * 2 ** (_melody(how, place, len(text), draw) / 12)
    harmonics = int(0.5 * SAMPLE_RATE / f0.max())
    phase = np.pi * np.cumsum(f0) / SAMPLE_RATE + 1e-9
    pulses = np.sin((2 * harmonics + 1) * phase) / np.sin(phase) / np.sqrt(harmonics)
    spoken = _shape(pulses + 0.15 * draw.standard_normal(count), place, text, voice, how)
    spoken *= np.sin(np.pi * (place % 1)) ** 0.5 * draw.uniform(0.6, 1.0, len(text))[place.astype(int)]
    spoken *= 0.04 * 10 ** (how.loudness / 20) / np.sqrt(np.mean(spoken**2))
    noise = 0.04 * 10 ** (-draw.uniform(15, 30) / 20) * draw.standard_normal(count)
    return np.clip(spoken + noise, -1, 1)


def _melody(how: Prosody, place: np.ndarray, syllables: int, draw: np.random.Generator) -> np.ndarray:
    """Draw a pitch contour in semitones about the voice's mean: level, slope, an accent per syllable, tremor."""
    accents = 1.5 * np.exp(how.reach) * draw.standard_normal(syllables + 1)
    drift = how.level + how.slope * (place / syllables - 0.5)
    tremor = how.tremor * np.sin(2 * np.pi * (TREMOR * np.arange(len(place)) / SAMPLE_RATE + draw.uniform()))
    return np.clip(drift + np.interp(place, np.arange(syllables + 1), accents) + tremor, -18, 18)


def _shape(source: np.ndarray, place: np.ndarray, text: str, voice: Voice, how: Prosody) -> np.ndarray:
    """Filter a source (sample,) by formants and tilt, frame by frame with overlap and addition."""
    frames = len(source) // HOP + 1
    padded = np.pad(source, (FRAME // 2, FRAME + HOP))
    starts = np.arange(frames)[:, None] * HOP + np.arange(FRAME)
    windowed = padded[starts] * np.hanning(FRAME + 1)[:-1]
    spectrum = np.fft.rfft(np.pad(windowed, ((0, 0), (MARGIN, MARGIN))))  # (frame, bin)
    centres = place[np.minimum(np.arange(frames) * HOP, len(source) - 1)]
    vowels = np.array([VOWELS[letter] for letter in text]) * voice.formant_scale  # (syllable, formant)
    middle = np.arange(len(text)) + 0.5
    formants = np.stack([np.interp(centres, middle, track) for track in vowels.T], axis=1)[:, None, :]
    frequency = np.fft.rfftfreq(BINS, 1 / SAMPLE_RATE)
    gains = formants**2 / np.hypot(formants**2 - frequency[:, None] ** 2, BANDWIDTHS * frequency[:, None])
    octaves = np.log2(np.maximum(frequency, 100) / 100)
    lifted = gains.prod(axis=2) ** 0.5  # the root stands in for the poles above the third, which lift the high end
    response = lifted * 10 ** (-(voice.tilt - how.effort) * octaves / 20)
    shaped = np.fft.irfft(spectrum * response, BINS)  # (frame, sample)
    out = np.zeros((frames + BINS // HOP, HOP))
    for step in range(BINS // HOP):  # overlap and add: each frame's parts fall into the following rows
        out[step : step + frames] += shaped[:, step * HOP : (step + 1) * HOP]
    return out.ravel()[FRAME // 2 + MARGIN :][: len(source)]
