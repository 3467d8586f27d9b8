"""Arrays on disk, memory-mapped, keyed by what made them and by the decoded audio they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from serene.audio.input_spec import FrontEnd
from serene.errors import SereneError
from serene.files import regular, whole_file


class Store:
    """A folder of arrays that several processes may fill and read at once: each file appears whole or not at all.

    They lie, made by the front end, as `<folder>/<front end>/<first two digits>/<audio hash>.npy`.
    """

    def __init__(self, folder: str | Path, front_end: FrontEnd) -> None:
        """Make no folder yet: the first array does."""
        self.folder = Path(folder) / front_end.identity
        self.front_end = front_end
        self._checked = set[str]()  # whose arrays were looked through

    def get(self, audio_hash: str, samples: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array for a sound, read-only and memory-mapped, computing and keeping it where it is missing.

        An empty file, as a power loss may leave one, is missing.

        Args:
            audio_hash: identity of the decoded samples (`serene.sound.content_hash`).
            samples: decodes the sound (sample,); called only where the array is missing.

        Raises:
            SereneError: the array is damaged, of another width, or holds what is no finite number.
        """
        if not self.front_end.declared.stored:
            return self.front_end(samples())
        path = self.folder / audio_hash[:2] / f"{audio_hash}.npy"
        try:
            if not path.exists() or not (path.is_dir() or regular(path).stat().st_size):
                with whole_file(path, synced=False) as temporary, temporary.open("wb") as file:
                    np.save(file, self.front_end(samples()))
            found = np.load(path, mmap_mode="r")
            if audio_hash not in self._checked:
                self._check(found)
                self._checked.add(audio_hash)
            return found
        except (ValueError, OSError, EOFError) as error:
            raise SereneError(f"The stored array {path} is damaged ({error}); delete it and run again.") from error

    def _check(self, found: np.ndarray) -> None:
        width = self.front_end.spec.width
        if found.ndim != 2 or found.dtype.kind not in "fi" or not len(found) or found.shape[1] != width:
            raise ValueError(f"it holds {found.dtype} {found.shape}, and (frame, {width}) was expected")
        if not np.isfinite(found).all():
            raise ValueError("it holds what is no finite number")
