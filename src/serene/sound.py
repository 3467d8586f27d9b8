"""A file, or a part of one, becomes mono float32 samples at 16 kHz; and the hash of what was heard."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import soundfile
import soxr

from serene.errors import AudioError

SAMPLE_RATE = 16_000  # hertz: what every model of the project hears


def read(path: str | Path, start: float = 0.0, duration: float | None = None) -> np.ndarray:
    """Decode a sound to mono float32 at 16 kHz: channels are averaged, any rate is resampled.

    Args:
        path: any container that libsndfile reads (wav, flac, ogg, opus, mp3, aiff, ...).
        start: where to begin, in seconds.
        duration: how much to read, in seconds; all that is left without it.

    Returns:
        float32 array (sample,), nominally in [-1, 1].

    Raises:
        AudioError: missing, not audio, empty, or not finite. The message names the file.
    """
    samples = resample(*_decode(Path(path), start, duration))
    if samples.size == 0:
        raise AudioError(f"{path} holds no samples (start {start:g} s, duration {duration or 'to the end'}).")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path} holds samples that are not finite numbers (NaN or infinity).")
    return samples


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Bring float32 samples (sample,) from `rate` hertz to 16 kHz; a copy only where the rate differs."""
    if rate == SAMPLE_RATE or samples.size == 0:
        return samples
    return soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ").astype(np.float32, copy=False)


def seconds(path: str | Path) -> tuple[float, int]:
    """Read the header only: duration in seconds and sample rate in hertz, undecoded."""
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise AudioError(f"{path} cannot be read as audio: {error}") from error
    return info.frames / info.samplerate, info.samplerate


def content_hash(samples: np.ndarray) -> str:
    """Identify decoded samples, whatever container held them: 32 hexadecimal digits."""
    return hashlib.blake2b(np.ascontiguousarray(samples, dtype="<f4").tobytes(), digest_size=16).hexdigest()


def _decode(path: Path, start: float, duration: float | None) -> tuple[np.ndarray, int]:
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            if start:
                file.seek(min(round(start * rate), file.frames))
            frames = -1 if duration is None else round(duration * rate)
            samples = file.read(frames, dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise AudioError(f"{path} cannot be read as audio: {error}") from error
    return samples.astype(np.float32, copy=False), rate
