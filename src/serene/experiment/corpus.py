"""A recipe's corpus: a manifest that is read, or a folder that is prepared once, as long as it does not change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from serene.corpora.manifest import Manifest
from serene.corpora.prepare import hashed, prepare
from serene.errors import SereneError
from serene.experiment.sections import SpeakerSettings
from serene.settings import CorpusSettings

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is done, of how much


def silent(_what: str, _done: int, _of: int) -> None:
    """Show no progress."""


def load_corpus(
    settings: CorpusSettings | SpeakerSettings, runs: Path, progress: Progress = silent, section: str = "corpus"
) -> Manifest:
    """Read a recipe's manifest, or prepare its corpus folder: once, as long as the folder does not change."""
    if settings.path is None:
        raise SereneError(
            f"The recipe does not say where the corpus '{settings.name}' lies: add {section}.path=FOLDER, or the "
            "manifest that `serene prepare` made."
        )
    path = Path(settings.path)
    if path.suffix == ".jsonl" and settings.name != "table":
        manifest = _read(path, settings.name, section, progress)
    elif (kept := _kept_manifest(runs, settings.name, path)).exists() and path.is_dir():
        manifest = Manifest.read(kept)
    else:  # a table is prepared each time: its own file does not tell whether the clips it names have changed
        manifest = prepare(settings.name, path, progress=lambda done, of: progress("decoding", done, of))
        manifest.write(_kept_manifest(runs, settings.name, path))  # `synthetic` has made its folder only now
    return manifest.only(settings.only, where=f"{section}.only") if settings.only else manifest


def _read(path: Path, corpus: str, section: str, progress: Progress) -> Manifest:
    """Read a manifest, and make sure that it is of the corpus that the recipe, and so every report, names."""
    manifest = Manifest.read(path)
    others = {u.corpus for u in manifest} - {corpus, None}
    if others:
        raise SereneError(
            f"{path} is of the corpus {' and '.join(sorted(map(str, others)))}, not of '{corpus}'; "
            f"set {section}.name to what it is."
        )
    return hashed(manifest, lambda done, of: progress("decoding", done, of))


def _kept_manifest(runs: Path, corpus: str, folder: Path) -> Path:
    """Name the prepared manifest of a corpus folder as it is now."""
    return runs / "manifests" / f"{corpus}-{_fingerprint(folder)}.jsonl"


def _fingerprint(folder: Path) -> str:
    """Identify a corpus folder's files by name, size and time, without reading them."""
    if not folder.exists():
        return "absent"  # the reader says what is missing, and where the corpus is had
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    lines = [f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in paths]
    return hashlib.sha256("\n".join([str(folder.resolve()), *lines]).encode()).hexdigest()[:12]
