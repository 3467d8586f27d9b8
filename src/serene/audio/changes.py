"""Changes of waveforms: what another room, recorder, telephone or speaker's distance does to the same words.

Each takes samples (sample,) at 16 kHz, float32, and a random generator, and gives other samples. `speed` and `part`
change how many there are. Some take the bounds `between` which what they do is drawn, for less than the whole range.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from serene.sound import SAMPLE_RATE

Bounds = tuple[float, float]

GAIN, LEVEL = 10.0, 20.0  # dB either way; the first of Kang et al.'s released code
SNR = (5.0, 30.0)  # dB
SLOPE = 2.0  # of noise: its power falls with the frequency to at most this power, from white to brown
DECAY = (0.1, 0.8)  # seconds in which a room's sound falls by 60 dB
DIRECT = (0.0, 20.0)  # dB of the direct sound over all that the room sends back
TILT = 0.7  # of the sample before, either way
SPEED = 0.1  # faster or slower by at most so much; the pitch goes with it
PART = (1.0, 3.0)  # seconds
BAND = (300.0, 3400.0)  # hertz of a telephone
MU = 255.0  # of its companding (ITU-T G.711)
COMPRESSION = (0.88, 0.98)  # of libsndfile: Opus at some 10 to 32 kbit/s, MP3 at 20
SMALLEST = 1e-9


def gain(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make samples louder or softer by up to 10 dB."""
    return samples * np.float32(10 ** (rng.uniform(-GAIN, GAIN) / 20))


def level(samples: np.ndarray, rng: np.random.Generator, between: Bounds = (-LEVEL, LEVEL)) -> np.ndarray:
    """Make samples louder or softer by up to 20 dB, and cut off what goes beyond full scale, as recorders do."""
    return np.clip(samples * np.float32(10 ** (rng.uniform(*between) / 20)), -1, 1)


def polarity_inversion(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn samples upside down."""
    return -samples


def noise(samples: np.ndarray, rng: np.random.Generator, between: Bounds = SNR) -> np.ndarray:
    """Add steady noise between white and brown, 5 to 30 dB below the samples' mean power."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (rng.uniform(0, SLOPE) / 2)
    made = np.fft.irfft(spectrum, len(samples))
    return (samples + made * _rms(samples) / max(_rms(made), SMALLEST) * 10 ** (-rng.uniform(*between) / 20)).astype(
        np.float32
    )


def room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the samples into a room: noise that dies away follows each of them; the power stays."""
    seconds, direct = rng.uniform(*DECAY), rng.uniform(*DIRECT)
    tail = rng.standard_normal(round(seconds * SAMPLE_RATE))
    tail *= 10 ** (-3 * np.arange(len(tail)) / len(tail))
    answer = np.concatenate([[1.0], tail / np.sqrt(np.square(tail).sum()) * 10 ** (-direct / 20)])
    made = fftconvolve(samples, answer)[: len(samples)]
    return (made * _rms(samples) / max(_rms(made), SMALLEST)).astype(np.float32)


def tilt(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Favour low or high frequencies, as another microphone does: a filter of first order; the power stays."""
    made = samples + rng.uniform(-TILT, TILT) * np.pad(samples, (1, 0))[:-1]
    return (made * _rms(samples) / max(_rms(made), SMALLEST)).astype(np.float32)


def telephone(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Send samples through a telephone: 300 to 3400 Hz, 8 kHz, companded to 8 bits."""
    narrow = soxr.resample(
        sosfilt(butter(4, BAND, "bandpass", fs=SAMPLE_RATE, output="sos"), samples), SAMPLE_RATE, 8000
    )
    loudest = max(float(np.abs(narrow).max()), SMALLEST)
    small = np.sign(narrow) * np.log1p(MU * np.abs(narrow) / loudest) / np.log1p(MU)
    coarse = np.round(small * 127) / 127
    back = np.sign(coarse) * np.expm1(np.abs(coarse) * np.log1p(MU)) / MU * loudest
    return _as_long(soxr.resample(back, 8000, SAMPLE_RATE), samples)


def opus(samples: np.ndarray, rng: np.random.Generator, between: Bounds = COMPRESSION) -> np.ndarray:
    """Compress samples with Opus at some 10 to 32 kbit/s and decode them."""
    return _coded(samples, "OGG", "OPUS", rng.uniform(*between))


def mp3(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress samples as MP3 at some 20 kbit/s and decode them."""
    return _coded(samples, "MP3", "MPEG_LAYER_III", rng.uniform(*COMPRESSION))


def speed(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Play samples up to a tenth faster or slower."""
    return soxr.resample(samples, SAMPLE_RATE * (1 + rng.uniform(-SPEED, SPEED)), SAMPLE_RATE).astype(np.float32)


def part(samples: np.ndarray, rng: np.random.Generator, between: Bounds = PART) -> np.ndarray:
    """Take 1 to 3 s from a random place; what is shorter stays whole."""
    size = round(rng.uniform(*between) * SAMPLE_RATE)
    start = rng.integers(max(0, len(samples) - size) + 1)
    return samples[start : start + size]


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _coded(samples: np.ndarray, form: str, subtype: str, compression: float) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format=form, subtype=subtype, compression_level=compression)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return _as_long(decoded, samples)


def _as_long(made: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Cut what was made to as many samples as there were, or fill it up with zeros."""
    return np.pad(made[: len(samples)], (0, max(0, len(samples) - len(made)))).astype(np.float32)


CHANGES = {
    change.__name__: change
    for change in (gain, level, polarity_inversion, noise, room, tilt, telephone, opus, mp3, speed, part)
}
