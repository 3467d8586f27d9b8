"""Arrays on disk, memory-mapped, keyed by what made them and by the decoded audio they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from serene.audio.input_spec import FrontEnd
from serene.audio.shards import Shards
from serene.errors import SereneError
from serene.files import regular


class Store:
    """A folder of arrays that several processes may fill and read at once: each array appears whole or not at all.

    They lie, made by the front end, in shards in `<folder>/<front end>` (`serene.audio.shards`). Older versions wrote a
    file for each, `<folder>/<front end>/<first two digits>/<audio hash>.npy`, which are read where they are there.
    """

    def __init__(self, folder: str | Path, front_end: FrontEnd) -> None:
        """Make no folder yet: the first array does."""
        self.folder = Path(folder) / front_end.identity
        self.front_end = front_end
        self.shards = Shards(self.folder)
        self._checked = set[str]()  # whose arrays were looked through

    def get(self, audio_hash: str, samples: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array for a sound, read-only and memory-mapped, computing and keeping it where it is missing.

        What was cut off, as a power loss may leave it, is missing.

        Args:
            audio_hash: identity of the decoded samples (`serene.sound.content_hash`).
            samples: decodes the sound (sample,); called only where the array is missing.

        Raises:
            SereneError: the array is damaged, of another width, or what the front end makes is no finite number.
        """
        if not self.front_end.declared.stored:
            return self.front_end(samples())
        path = self.folder / audio_hash[:2] / f"{audio_hash}.npy"
        try:
            found = self.shards.get(audio_hash)
            if found is None and path.exists() and (path.is_dir() or regular(path).stat().st_size):
                found = np.load(path, mmap_mode="r")
            if found is None:
                self.shards.put(audio_hash, self._made(samples))
                found = self.shards.get(audio_hash)
                assert found is not None
            if audio_hash not in self._checked:
                self.shards.check(audio_hash, found)
                self._check(found)
                self._checked.add(audio_hash)
            return found
        except (ValueError, OSError, EOFError) as error:
            place = path if path.exists() else self.shards.where(audio_hash)
            raise SereneError(f"The stored array {place} is damaged ({error}); delete it and run again.") from error

    def _made(self, samples: Callable[[], np.ndarray]) -> np.ndarray:
        made = self.front_end(samples())
        if not np.isfinite(made).all():
            raise SereneError(
                "The features of a clip are no finite numbers, and were not kept: a setting in 'features' is out of "
                "range, or the weights of an encoder are damaged."
            )
        return made

    def _check(self, found: np.ndarray) -> None:
        width = self.front_end.spec.width
        if found.ndim != 2 or found.dtype.kind not in "fi" or not len(found) or found.shape[1] != width:
            raise ValueError(f"it holds {found.dtype} {found.shape}, and (frame, {width}) was expected")
        if not np.isfinite(found).all():
            raise ValueError("it holds what is no finite number")
