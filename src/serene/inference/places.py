"""Places: a number for each of many names, in 16 bytes a name."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np


class Places:
    """Where each of many names stands; a name that is given again stands in the later place, too.

    The names themselves are not kept, only their hashes: one in 2**64 pairs of names shares its places, so that who
    asks has to look whether a place is the name's.
    """

    def __init__(self, named: Iterable[tuple[str, int]]) -> None:
        """Take names with their places, a place from 0 to 2**63 - 1."""
        hashes, places = array("q"), array("q")
        for name, place in named:
            hashes.append(_hash(name))
            places.append(place)
        keys = np.frombuffer(hashes, np.int64) if hashes else np.zeros(0, np.int64)
        order = np.argsort(keys, kind="stable")
        self._keys, self._places = keys[order], np.array(places, np.int64)[order]

    def __getitem__(self, name: str) -> list[int]:
        """Give the places of a name, the latest first; none of a name that was not given."""
        key = _hash(name)
        start, end = np.searchsorted(self._keys, key), np.searchsorted(self._keys, key, "right")
        return self._places[start:end][::-1].tolist()


def _hash(name: str) -> int:
    """Hash a name alike in every process, to which places may be sent."""
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
