"""Which of many values occur several times: found by hashes of 8 bytes, and where these agree by the values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import compress

import numpy as np

Values = Callable[[], Iterable[str]]  # goes through them, and through the same ones whenever it is called


def repeated(values: Values) -> np.ndarray:
    """Tell (value,) which values occur several times."""
    found, hashes = _agreeing(values)
    if hashes and len(set(compress(values(), found.tobytes()))) > hashes:  # different values agree by chance
        counts = Counter(compress(values(), found.tobytes()))
        found[found] = [counts[value] > 1 for value in compress(values(), found.tobytes())]
    return found


def again(values: Values) -> np.ndarray:
    """Tell (value,) which values have occurred before."""
    found, hashes = _agreeing(values)
    seen = set[str]()
    for place, value in zip(np.flatnonzero(found), compress(values(), found.tobytes()) if hashes else (), strict=True):
        found[place] = value in seen
        seen.add(value)
    return found


def _agreeing(values: Values) -> tuple[np.ndarray, int]:
    """Tell (value,) which values' hashes others have, too, and how many such hashes there are."""
    keys = np.fromiter(map(hash, values()), np.int64)
    ordered = np.sort(keys)
    several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(several):
        return np.zeros(len(keys), bool), 0
    places = np.searchsorted(several, keys)
    np.minimum(places, len(several) - 1, out=places)
    return several[places] == keys, len(several)
