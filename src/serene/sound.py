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

from serene import inside
from serene.errors import AudioError
from serene.quiet import hushed

Source = str | Path | bytes | bytearray | memoryview | BinaryIO

SAMPLE_RATE = 16_000  # hertz: what every model of the project reads
RATES = (1_000, 1_000_000)  # hertz: a header that says less or more is damaged, and resampling would fill the memory
AT_ONCE = 2**22  # values that are decoded in one go, all channels counted
UNKNOWN = 2**63 - 1  # frames that the decoder reports where a stream's header names no length
DECODED = (  # how the names end of what libsndfile reads
    *(".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"),
    *(".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".sph", ".nist", ".voc"),
)
NOT_DECODED = (".m4a", ".aac", ".wma", ".amr", ".ape", ".mka", ".webm")  # sounds nonetheless: messages say what to do
CONVERT = "is not decoded here. Convert it first, as with ffmpeg -i IN.{} OUT.wav"
POINTER = "it is a Git LFS pointer in the place of the sound. Fetch the sound with git lfs pull"
FOREIGN = (  # bytes from which a file is told, where they stand in it, and what to say
    (b"version https://git-lfs", 0, POINTER),
    (b"<", 0, "it is a web page in the place of the sound. Download the sound again"),
    (b"ftyp", 4, f"MPEG-4 (m4a, mp4) {CONVERT.format('m4a')}"),
    (b"\x1aE\xdf\xa3", 0, f"WebM or Matroska {CONVERT.format('webm')}"),
    (b"#!AMR", 0, f"AMR {CONVERT.format('amr')}"),
    ((b"ADIF", b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9"), 0, f"AAC {CONVERT.format('aac')}"),
    (b"\x30\x26\xb2\x75", 0, f"Windows Media {CONVERT.format('wma')}"),
    (b"\xf0\x7e", 0, "it is a MIDI sample dump"),  # whose decoder writes to the standard output
)
CANCELLED = 0.25  # of the energy that the mean of independent channels has: with less, they cancel each other
OPPOSITE = "channels in opposite phase, of which the louder is read"
MOST_CHUNKS = 64  # of a WAV file that are looked at
STREAMED = 2**31 - 2**20  # bytes from which on a header's length stands for "not known yet"
CUT_OFF = 0.01  # share of the promised length whose lack is forgiven: some writers count wrongly
BROKEN = (soundfile.SoundFileError, OSError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError)


def read(
    source: Source,
    start: float = 0.0,
    duration: float | None = None,
    *,
    longest: float | None = None,
    remarks: list[str] | None = None,
) -> np.ndarray:
    """Decode a sound to mono float32 samples (sample,) at 16 kHz, nominally in [-1, 1]; channels are mixed by `mono`.

    Args:
        source: a path, which may lead into a tar file (`shards/000.tar/a.flac`); the bytes of a file; or a file opened
            for reading bytes, in any container that libsndfile reads (wav, flac, ogg, opus, mp3, aiff, ...).
        start: where to begin, in seconds.
        duration: how much to read, in seconds; all that is left without it.
        longest: refuse, before it is decoded, what is longer than so many seconds.
        remarks: gets `OPPOSITE` where that is so.

    Raises:
        AudioError: missing, not audio, cut off, too long, empty, or not finite. The message names the file.
    """
    name = named(source)
    parts = blocks(source, start, duration, longest=longest, remarks=remarks)
    samples = np.concatenate([np.zeros(0, np.float32), *parts])
    if samples.size == 0:
        part = f" (start {start:g} s, duration {duration or 'to the end'})" if start or duration is not None else ""
        raise AudioError(f"{name} holds no samples{part}.")
    return samples


def blocks(
    source: Source,
    start: float = 0.0,
    duration: float | None = None,
    *,
    longest: float | None = None,
    remarks: list[str] | None = None,
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
        channel = None
        for block, last in _decode(file, start, duration, longest, name):
            mixed, louder = mono(block, channel)
            if louder is not None and channel is None and remarks is not None:
                remarks.append(OPPOSITE)
            channel = channel if louder is None else louder
            samples = mixed if stream is None else stream.resample_chunk(mixed, last)
            if not np.isfinite(samples).all():
                raise AudioError(f"{name} holds samples that are not finite numbers (NaN or infinity).")
            yield samples


def mono(channels: np.ndarray, before: int | None = None) -> tuple[np.ndarray, int | None]:
    """Average channels (sample, channel), or take the loudest of them where the average would cancel them.

    The mean of n channels that do not depend on each other has 1 / n² of the sum of their energies; where it has less
    than a quarter of that, one side was recorded upside down, and the average holds what little the sides do not share.

    Args:
        channels: one channel or several.
        before: the channel that was taken for what precedes, and is taken again.

    Returns:
        The samples (sample,), and the channel that they are where they are one of several.
    """
    if channels.shape[1] == 1 or not len(channels):
        return channels[:, 0], None
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs; `blocks` says what is wrong
        mean = channels.mean(axis=1)
        energies = channels.var(axis=0, dtype=np.float64)
        if not mean.var(dtype=np.float64) < CANCELLED * energies.sum() / channels.shape[1] ** 2:
            return mean, None
    louder = int(energies.argmax()) if before is None else before
    return np.ascontiguousarray(channels[:, louder]), louder


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
        with hushed():
            opened = soundfile.SoundFile(_openable(source, name))  # pyright: ignore[reportArgumentType]
        with opened as file:
            refuse_rate(file.samplerate, name)
            yield file
    except BROKEN as error:
        why = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        if "possibly a pipe" in str(why):  # said of a file that is there, and holds less than one frame of MP3
            why = "the decoder finds no sound in it."
        raise AudioError(f"{name} cannot be read as audio: {why}") from error


def _openable(source: Source, name: str) -> str | bytes | BinaryIO:
    """Give what the decoder opens, unless it is sure to fail: it would wait at a pipe, and fill a cut-off file up."""
    if isinstance(source, str | Path) and (place := inside.parted(source)):
        source = inside.read(*place)
    if isinstance(source, str | Path):
        if os.path.exists(source) and not os.path.isfile(source):
            raise AudioError(f"{name} cannot be read as audio: it is a folder or device, and a file was expected.")
        with open(source, "rb") as file:
            if not _uncounted(file, _size(file, name)):
                return os.fsencode(source) if os.name == "posix" else str(source)  # names need not be UTF-8
        source = Path(source).read_bytes()
    content = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else source.read()
    file = _Held(content)
    if place := _uncounted(file, _size(file, name)):
        left = min(len(content) - place - 4, 2**32 - 1)
        file.getbuffer()[place : place + 4] = left.to_bytes(4, "little")
    file.seek(0)
    return file


class _Held(io.BytesIO):
    """The bytes of a file; a damaged header may send its decoder to a place before the first."""

    def seek(self, place: int, whence: int = 0) -> int:
        try:
            return super().seek(place, whence)
        except ValueError:
            return super().seek(0)


def _size(file: BinaryIO, name: str) -> int:
    """Give a file's size, if its first bytes are of what is decoded here and agree with it.

    A RIFF or AIFF file says how long it is, and decoders hand out in silence what is there.
    """
    head, size = file.read(24), file.seek(0, os.SEEK_END)
    if not size:
        raise AudioError(f"{name} cannot be read as audio: it is empty.")
    for start, place, what in FOREIGN:
        if head[place:].startswith(start):
            raise AudioError(f"{name} cannot be read as audio: {what}.")
    claimed = 8 + int.from_bytes(head[4:8], "little" if head[:4] == b"RIFF" else "big")
    if head[:4] in (b"RIFF", b"FORM") and size < claimed * (1 - CUT_OFF) and claimed < STREAMED:
        raise AudioError(f"{name} cannot be read as audio: it is cut off after {size} of {claimed} bytes.")
    return size


def _uncounted(file: BinaryIO, size: int) -> int:
    """Find where a WAV file says that its samples take 0 bytes although some follow; 0 where it does not.

    So it is left by what could not go back to its beginning. After no samples comes another chunk, or nothing.
    """
    file.seek(0)
    riff, place, found = file.read(12), 12, 0
    for _ in range(MOST_CHUNKS if riff[:4] == b"RIFF" and riff[8:] == b"WAVE" else 0):
        file.seek(place)
        kind, length = file.read(4), int.from_bytes(file.read(4), "little")
        if not kind.strip().isalnum():
            break
        found = found or (place + 4 if kind == b"data" and not length else 0)
        place += 8 + length + length % 2
    return 0 if place in (size, size + 1) else found


def _decode(
    file: soundfile.SoundFile, start: float, duration: float | None, longest: float | None, name: str
) -> Iterator[tuple[np.ndarray, bool]]:
    """Give samples (sample, channel) at the file's own rate, block by block, and whether it is the last one."""
    rate, first = file.samplerate, min(round(start * file.samplerate), file.frames)
    wanted = file.frames - first if duration is None else min(file.frames - first, round(duration * rate))
    known = file.frames != UNKNOWN
    refuse_longer(wanted / rate if known else 0, longest, name)
    if first:
        with hushed():
            file.seek(first)
    got, last = 0, False
    while not last:
        asked = min(wanted - got, max(1, AT_ONCE // file.channels))
        with hushed():
            block = file.read(asked, dtype="float32", always_2d=True)
        got += len(block)
        last = not len(block) or got >= wanted
        refuse_longer(got / rate, longest, name)
        if last and known and got < wanted * (1 - CUT_OFF):
            raise AudioError(
                f"{name} cannot be read as audio: it is cut off after {got / rate:.1f} of {wanted / rate:.1f} s."
            )
        yield block, last
