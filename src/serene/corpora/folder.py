"""The folder of a corpus: its sound files, the clips made of them, and what to say when it is another folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from serene.corpora.manifest import LeftOut, Manifest, Utterance
from serene.errors import SereneError

EXTENSIONS = (
    *(".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist"),
)


def sounds(folder: Path) -> list[Path]:
    """List the sound files below a folder, sorted by path; a folder that is not there has none.

    A sound is told by its extension, whatever container libsndfile then finds in it. Hidden files and folders are no
    clips and are passed over: above all the `._*` companions that macOS writes beside every file (AppleDouble), which
    carry a clip's name and no sound. Links to folders are followed, each real folder once.

    Raises:
        SereneError: a folder that may not be read, since its clips would be missed without a word.
    """
    found: list[Path] = []
    visited: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()  # walk no further here
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, n) for n in files if not n.startswith(".") and Path(n).suffix.lower() in EXTENSIONS]
    return sorted(found)


def not_found(corpus: str, folder: Path, expected: str, home: str, licence: str) -> SereneError:
    """Make the error of a folder that does not hold a corpus: what was expected, where it is had, under what licence.

    Args:
        corpus: its usual name.
        folder: what the user gave.
        expected: what should be in it, such as "Actor_01/03-01-01-01-01-01-01.wav".
        home: a sentence saying where the corpus is officially had.
        licence: the terms stated by its authors.
    """
    wrong = f"{folder} does not hold {corpus}" if folder.is_dir() else f"There is no folder {folder}"
    return SereneError(f"{wrong}. Expected: {expected}. {home} Licence: {licence}.")


def gather(clips: Iterable[Utterance | LeftOut], missing: SereneError, remarks: Sequence[str] = ()) -> Manifest:
    """Part what a reader found into utterances and clips left out; of several files with one id the first stays.

    Raises:
        SereneError: `missing`, where there is no utterance at all.
    """
    kept: dict[str, Utterance] = {}
    left_out: list[LeftOut] = []
    for clip in clips:
        if isinstance(clip, LeftOut):
            left_out.append(clip)
        elif clip.id in kept:
            left_out.append(LeftOut(clip.id, clip.audio, f"the same clip again: {kept[clip.id].audio} is used"))
        else:
            kept[clip.id] = clip
    if not kept:
        raise missing
    return Manifest(tuple(kept.values()), tuple(left_out), tuple(remarks))


def stray(path: Path, expected: str) -> LeftOut:
    """Leave out a sound whose name is not of the corpus."""
    return LeftOut(path.stem, str(path), f"not a name of the corpus: expected {expected}")


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise SereneError(f"Cannot look into {error.filename}: {error.strerror}.") from error
