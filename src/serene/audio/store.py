"""Arrays on disk, memory-mapped, keyed by what made them and by the decoded audio they were made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from serene.errors import SereneError
from serene.files import whole_file


class Maker(Protocol):
    """Something that turns samples into an array, always the same one.

    Attributes:
        stored: whether the arrays are worth keeping.
        rate: frames per second; 0 where a part of a clip has no output of its own.
    """

    stored: ClassVar[bool]
    rate: ClassVar[float]

    @property
    def shortest(self) -> int:
        """Fewest samples of a clip."""
        ...

    @property
    def identity(self) -> str:
        """Names the maker and every setting that changes its output."""
        ...

    @property
    def width(self) -> int:
        """Features per frame."""
        ...

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Turn samples (sample,) into an array."""
        ...


class Store:
    """A folder of arrays that several processes may fill and read at once: each file appears whole or not at all.

    Args:
        folder: where the arrays lie, as `<folder>/<maker>/<first two digits>/<audio hash>.npy`.
        maker: what makes them.
    """

    def __init__(self, folder: str | Path, maker: Maker) -> None:
        """Make no folder yet: the first array does."""
        self.folder = Path(folder) / maker.identity
        self.maker = maker

    def get(self, audio_hash: str, samples: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array for a sound, computing and keeping it where it is not there yet.

        Args:
            audio_hash: identity of the decoded samples (`serene.sound.content_hash`).
            samples: decodes the sound (sample,); called only where the array is missing.

        Returns:
            The array, read-only and memory-mapped where it is stored.
        """
        if not self.maker.stored:
            return self.maker(samples())
        path = self.folder / audio_hash[:2] / f"{audio_hash}.npy"
        if not path.exists():
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, self.maker(samples()))
        try:
            return np.load(path, mmap_mode="r")
        except (ValueError, OSError, EOFError) as error:
            raise SereneError(f"The stored array {path} is damaged ({error}); delete it and run again.") from error
