"""Arrays on disk, memory-mapped, keyed by what made them and by the decoded audio they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from serene.audio.input_spec import FrontEnd
from serene.errors import SereneError
from serene.files import whole_file


class Store:
    """A folder of arrays that several processes may fill and read at once: each file appears whole or not at all.

    They lie, made by the front end, as `<folder>/<front end>/<first two digits>/<audio hash>.npy`.
    """

    def __init__(self, folder: str | Path, front_end: FrontEnd) -> None:
        """Make no folder yet: the first array does."""
        self.folder = Path(folder) / front_end.identity
        self.front_end = front_end

    def get(self, audio_hash: str, samples: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array for a sound, read-only and memory-mapped, computing and keeping it where it is missing.

        Args:
            audio_hash: identity of the decoded samples (`serene.sound.content_hash`).
            samples: decodes the sound (sample,); called only where the array is missing.
        """
        if not self.front_end.declared.stored:
            return self.front_end(samples())
        path = self.folder / audio_hash[:2] / f"{audio_hash}.npy"
        if not path.exists():
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, self.front_end(samples()))
        try:
            return np.load(path, mmap_mode="r")
        except (ValueError, OSError, EOFError) as error:
            raise SereneError(f"The stored array {path} is damaged ({error}); delete it and run again.") from error
