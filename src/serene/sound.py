"""A file, or a part of one, becomes mono float32 samples at 16 kHz; and the hash of these samples."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from serene.errors import AudioError

Source = str | Path | bytes | bytearray | memoryview | BinaryIO

SAMPLE_RATE = 16_000  # hertz: what every model of the project reads
RATES = (1_000, 1_000_000)  # hertz: a header that says less or more is damaged, and resampling would fill the memory
AT_ONCE = 2**22  # values that are decoded in one go, all channels counted
UNKNOWN = 2**63 - 1  # frames that the decoder reports where a stream's header names no length
SAMPLE_DUMP = b"\xf0\x7e"  # what MIDI's begin with: no speech, and their decoder writes to the standard output
MPEG_4 = b"ftyp"  # at the fifth byte of m4a and mp4
STREAMED = 2**31 - 2**20  # bytes from which on a header's length stands for "not known yet"
CUT_OFF = 0.01  # share of the promised length whose lack is forgiven: some writers count wrongly
BROKEN = (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError)


def read(
    source: Source, start: float = 0.0, duration: float | None = None, *, longest: float | None = None
) -> np.ndarray:
    """Decode a sound to mono float32 samples (sample,) at 16 kHz, nominally in [-1, 1]; channels are averaged.

    Args:
        source: a path, the bytes of a file, or a file opened for reading bytes, in any container that libsndfile reads
            (wav, flac, ogg, opus, mp3, aiff, ...).
        start: where to begin, in seconds.
        duration: how much to read, in seconds; all that is left without it.
        longest: refuse, before it is decoded, what is longer than so many seconds.

    Raises:
        AudioError: missing, not audio, cut off, too long, empty, or not finite. The message names the file.
    """
    name = named(source)
    samples = np.concatenate([np.zeros(0, np.float32), *blocks(source, start, duration, longest=longest)])
    if samples.size == 0:
        part = f" (start {start:g} s, duration {duration or 'to the end'})" if start or duration is not None else ""
        raise AudioError(f"{name} holds no samples{part}.")
    return samples


def blocks(
    source: Source, start: float = 0.0, duration: float | None = None, *, longest: float | None = None
) -> Iterator[np.ndarray]:
    """Decode as `read` does, a part at a time: memory does not grow with the sound's length, nor with its rate.

    Yields float32 arrays (sample,), which `read` puts together.

    Raises:
        AudioError: as `read`, as soon as it is found; but nothing is said of a sound without samples.
    """
    name = named(source)
    with _opened(source) as file:
        rate = file.samplerate
        stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32", "HQ")
        for block, last in _decode(file, start, duration, longest, name):
            samples = block if stream is None else stream.resample_chunk(block, last)
            if not np.isfinite(samples).all():
                raise AudioError(f"{name} holds samples that are not finite numbers (NaN or infinity).")
            yield samples


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Bring float32 samples (sample,) from `rate` hertz to 16 kHz; a copy only where the rate differs."""
    if rate == SAMPLE_RATE or samples.size == 0:
        return samples
    return soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ").astype(np.float32, copy=False)


def seconds(source: Source) -> tuple[float, int]:
    """Read the header only: duration in seconds and sample rate in hertz, undecoded."""
    with _opened(source) as file:
        return file.frames / file.samplerate, file.samplerate


def named(source: object) -> str:
    """Name a sound for a message: by its path, by that of an open file, or as `the sound` where there is none."""
    name = source if isinstance(source, str | Path) else getattr(source, "name", None)
    if not isinstance(name, str | Path):
        return "the sound"
    return str(name).encode("utf-8", "backslashreplace").decode()  # any name that a system allows can be printed


def refuse_longer(length: float, longest: float | None, name: str) -> None:
    """Refuse a sound of so many seconds where less is read at once."""
    if longest is not None and length > longest:
        raise AudioError(
            f"{name} is {length:.1f} s long, and no more than {longest:g} s are read at once. Cut it, or ask for a "
            "timeline, which goes through it in windows: serene predict --timeline."
        )


def refuse_rate(rate: int, name: str) -> None:
    """Refuse a sample rate, in hertz, that no sound has."""
    if not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"{name} claims {rate} samples per second; {RATES[0]} to {RATES[1]} were expected.")


def content_hash(samples: np.ndarray) -> str:
    """Identify decoded samples, whatever container held them: 32 hexadecimal digits."""
    return hashlib.blake2b(np.ascontiguousarray(samples, dtype="<f4").tobytes(), digest_size=16).hexdigest()


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[soundfile.SoundFile]:
    """Open a sound; whatever the decoder stumbles over, inside the block too, is an AudioError that names it."""
    name = named(source)
    try:
        with soundfile.SoundFile(_openable(source, name)) as file:  # pyright: ignore[reportArgumentType]
            refuse_rate(file.samplerate, name)
            yield file
    except BROKEN as error:
        why = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise AudioError(f"{name} cannot be read as audio: {why}") from error


def _openable(source: Source, name: str) -> str | bytes | BinaryIO:
    """Give what the decoder opens, unless it is sure to fail: it would wait at a pipe, and fill a cut-off file up."""
    if isinstance(source, str | Path):
        if os.path.exists(source) and not os.path.isfile(source):
            raise AudioError(f"{name} cannot be read as audio: it is a folder or device, and a file was expected.")
        with open(source, "rb") as file:
            _refuse_cut_off(file.read(8), file.seek(0, os.SEEK_END), name)
        return os.fsencode(source) if os.name == "posix" else str(source)  # names need not be UTF-8
    content = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else source.read()
    _refuse_cut_off(content[:8], len(content), name)
    return _Held(content)


class _Held(io.BytesIO):
    """The bytes of a file; a damaged header may send its decoder to a place before the first."""

    def seek(self, place: int, whence: int = 0) -> int:
        try:
            return super().seek(place, whence)
        except ValueError:
            return super().seek(0)


def _refuse_cut_off(head: bytes, size: int, name: str) -> None:
    """Compare a RIFF or AIFF file's size with what its header says: decoders hand out in silence what is there."""
    if not size:
        raise AudioError(f"{name} cannot be read as audio: it is empty.")
    if head[4:8] == MPEG_4:
        raise AudioError(
            f"{name} cannot be read as audio: MPEG-4 (m4a, mp4) is not decoded here. Convert it first, as with "
            "ffmpeg -i IN.m4a OUT.wav."
        )
    if head[:2] == SAMPLE_DUMP:
        raise AudioError(f"{name} cannot be read as audio: it is a MIDI sample dump.")
    claimed = 8 + int.from_bytes(head[4:], "little" if head[:4] == b"RIFF" else "big")
    if head[:4] in (b"RIFF", b"FORM") and size < claimed * (1 - CUT_OFF) and claimed < STREAMED:
        raise AudioError(f"{name} cannot be read as audio: it is cut off after {size} of {claimed} bytes.")


def _decode(
    file: soundfile.SoundFile, start: float, duration: float | None, longest: float | None, name: str
) -> Iterator[tuple[np.ndarray, bool]]:
    """Give mono samples (sample,) at the file's own rate, block by block, and whether it is the last one."""
    rate, first = file.samplerate, min(round(start * file.samplerate), file.frames)
    wanted = file.frames - first if duration is None else min(file.frames - first, round(duration * rate))
    known = file.frames != UNKNOWN
    refuse_longer(wanted / rate if known else 0, longest, name)
    if first:
        file.seek(first)
    got, last = 0, False
    while not last:
        asked = min(wanted - got, max(1, AT_ONCE // file.channels))
        block = file.read(asked, dtype="float32", always_2d=True)
        got += len(block)
        last = not len(block) or got >= wanted
        refuse_longer(got / rate, longest, name)
        if last and known and got < wanted * (1 - CUT_OFF):
            raise AudioError(
                f"{name} cannot be read as audio: it is cut off after {got / rate:.1f} of {wanted / rate:.1f} s."
            )
        with np.errstate(invalid="ignore"):  # infinities of both signs; `blocks` says what is wrong
            yield block.mean(axis=1), last
