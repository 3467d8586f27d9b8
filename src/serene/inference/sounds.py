"""Sounds are found in files and folders; and whatever a user calls a sound becomes mono samples at 16 kHz."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np

from serene import sound as decoder
from serene.errors import AudioError, SereneError

ARRAY = "The array"  # what messages call samples without a name
LOUDEST = 64.0  # of floating-point samples: what goes beyond is on the scale of integers
SAMPLES, RATES = ("array", "raw", "waveform"), ("sampling_rate", "sample_rate")  # as other libraries' dictionaries say


class Tensor(Protocol):
    """A torch tensor, of which nothing but this is asked here."""

    def detach(self) -> Any:
        """Give its values without their history."""
        ...


Pair = tuple[np.ndarray | Tensor, int]
Sound = str | Path | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Tensor | Pair | Mapping[str, Any]


def samples_of(
    sound: Sound, rate: int | None = None, *, longest: float | None = None, remarks: list[str] | None = None
) -> np.ndarray:
    """Turn a sound into samples (sample,) at 16 kHz, float32.

    Args:
        sound: a path; the bytes of an audio file; a file opened for reading bytes; samples as a numpy array or torch
            tensor, (sample,) or with channels along the shorter axis, integers at full scale or floats in [-1, 1];
            `(samples, rate)`; or a dictionary of `array`, `raw` or `waveform` and `sampling_rate` or `sample_rate`.
        rate: of samples, in hertz; a file says its own.
        longest: refuse what is longer, in seconds.
        remarks: gets what there is to say of a sound that is read nonetheless: `serene.sound.OPPOSITE`.

    Raises:
        AudioError: it is no sound, cannot be decoded, is empty, too long or not finite, or lacks its rate.
    """
    if isinstance(sound, str | Path | bytes | bytearray | memoryview) or hasattr(sound, "read"):
        samples = decoder.read(cast(decoder.Source, sound), longest=longest, remarks=remarks)
        refuse_loud(samples, decoder.named(sound))
        return samples
    sound, rate = _unpacked(sound, rate)
    samples = _mono(_numbers(sound), remarks)
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise AudioError(f"{ARRAY} came with the rate {rate!r}; say how many samples a second has, such as rate=16000.")
    decoder.refuse_rate(int(rate), ARRAY)
    decoder.refuse_longer(len(samples) / rate, longest, ARRAY)
    if samples.size == 0:
        raise AudioError(f"{ARRAY} holds no samples.")
    return decoder.resample(samples, int(rate))


def refuse_loud(samples: np.ndarray, name: str) -> None:
    """Refuse floating-point samples on the scale of integers, or of none."""
    if samples.size and np.abs(samples).max() > LOUDEST:
        raise AudioError(
            f"{name} holds samples up to {np.abs(samples).max():g}; floats in [-1, 1] were expected. "
            "Divide by 32768 what was 16-bit integers."
        )


def _unpacked(sound: Any, rate: int | None) -> tuple[Any, Any]:
    """Take samples and rate out of a pair or a dictionary."""
    if isinstance(sound, tuple) and len(sound) == 2:
        return sound
    if isinstance(sound, Mapping):
        samples = next((sound[key] for key in SAMPLES if key in sound), None)
        return samples, next((sound[key] for key in RATES if key in sound), rate)
    return sound, rate


def _numbers(sound: Any) -> np.ndarray:
    """Bring an array or tensor to floats in [-1, 1], in its own shape."""
    if hasattr(sound, "detach"):  # a torch tensor, on any device; torch itself is not imported for it
        sound = sound.detach().cpu()
        sound = sound.float().numpy() if sound.is_floating_point() else sound.numpy()
    if not isinstance(sound, np.ndarray) or sound.dtype.kind not in "iuf":
        raise AudioError(
            f"A {type(sound).__name__} is no sound. A path, the bytes of an audio file, an open file, an array or "
            "tensor of numbers with its rate, or (samples, rate) was expected."
        )
    if sound.dtype.kind == "f":
        if not np.isfinite(sound).all():
            raise AudioError(f"{ARRAY} holds samples that are not finite numbers (NaN or infinity).")
        refuse_loud(sound, ARRAY)
        return sound
    full = float(2 ** (8 * sound.dtype.itemsize - 1))
    middle = full if sound.dtype.kind == "u" else 0.0  # unsigned samples rest at half of their range
    return (sound.astype(np.float64) - middle) / full


def _mono(samples: np.ndarray, remarks: list[str] | None) -> np.ndarray:
    if samples.ndim == 2 and samples.size:
        samples, louder = decoder.mono(np.moveaxis(samples, int(np.argmin(samples.shape)), 1))
        if louder is not None and remarks is not None:
            remarks.append(decoder.OPPOSITE)
    elif samples.ndim == 2:
        samples = samples.reshape(-1)
    if samples.ndim != 1:
        raise AudioError(f"{ARRAY} has the shape {samples.shape}; (sample,) or (channel, sample) was expected.")
    return samples.astype(np.float32, copy=False)


ENDINGS = frozenset(decoder.DECODED + decoder.NOT_DECODED)


@dataclass(frozen=True)
class Found:
    """What was found."""

    paths: tuple[str, ...]  # of sounds, and of folders that could not be listed; sorted, each once
    unlisted: Mapping[str, str]  # why a folder could not be listed, by its path
    passed_over: int  # files in the folders whose names do not end as a sound's do


def gather(paths: Iterable[str | Path]) -> Found:
    """Find the sounds in files and folders.

    A file that is given is taken whatever it is called. In a folder, and in those below it, names that end as a sound's
    do are taken, and names that begin with a dot are left alone. Links to folders are followed after everything else,
    and no folder is entered twice, so that loops of links end.

    Raises:
        SereneError: nothing was given, a path is not there, or there is no sound.
    """
    sounds: set[str] = set()
    unlisted: dict[str, str] = {}
    entered: set[tuple[int, int]] = set()
    passed_over = 0
    given = [os.fspath(path) for path in paths]
    for path in given:
        if os.path.isdir(path):
            passed_over += _walk(path, sounds, unlisted, entered)
        elif os.path.lexists(path):
            sounds.add(path)
        else:
            raise SereneError(f"There is no file or folder {decoder.named(path)}.")
    if not sounds and not unlisted:
        where = ", ".join(map(decoder.named, given)) or "nothing"
        raise SereneError(
            f"No sound was found in {where}: {passed_over} files are there, and none ends in "
            f"{', '.join(decoder.DECODED)}. Name a file itself where it is called otherwise."
        )
    return Found(tuple(sorted({*sounds, *unlisted})), unlisted, passed_over)


def _walk(top: str, sounds: set[str], unlisted: dict[str, str], entered: set[tuple[int, int]]) -> int:
    """Add what is in a folder and below it; give the number of files that were passed over."""
    folders, links, passed_over = [top], [], 0
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)  # a real name comes before one that a link gives
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            unlisted[folder] = f"{decoder.named(folder)} cannot be listed: {error.strerror}."
            continue
        for entry in entries:
            if _is_folder(entry):
                (links if entry.is_symlink() else folders).append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in ENDINGS:
                sounds.add(entry.path)
            else:
                passed_over += 1
    return passed_over


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
