"""Files and folders become the sounds in them, sorted: links are followed once, hidden names are left alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serene import sound
from serene.errors import SereneError

DECODED = (
    *(".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"),
    *(".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".sph", ".nist", ".voc"),
)
NOT_DECODED = (".m4a", ".aac", ".wma", ".amr", ".ape", ".mka", ".webm")  # sounds nonetheless: their rows say what to do
ENDINGS = frozenset(DECODED + NOT_DECODED)


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        paths: of sounds, and of folders that could not be listed; sorted, each once, as they were given or found.
        unlisted: why a folder could not be listed, by its path.
        passed_over: files in the folders whose names do not end as a sound's do.
    """

    paths: tuple[str, ...]
    unlisted: Mapping[str, str]
    passed_over: int


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
            raise SereneError(f"There is no file or folder {sound.named(path)}.")
    if not sounds and not unlisted:
        raise SereneError(
            f"No sound was found in {', '.join(map(sound.named, given)) or 'nothing'}: {passed_over} files are there, "
            f"and none ends in {', '.join(DECODED)}. Name a file itself where it is called otherwise."
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
            unlisted[folder] = f"{sound.named(folder)} cannot be listed: {error.strerror}."
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
