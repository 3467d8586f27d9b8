"""Column: a value for each clip in few bytes: as the code of a value that recurs, as a number, or as packed text."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

FEW, SHARE = 4096, 4  # values are coded as long as there are no more than this, or than one in so many clips
AT_ONCE = 512  # values that are objects at the same time while a column is gone through
WIDER = {"B": "H", "H": "I"}  # of codes: how they are kept when there are more values than fit
NOTHING, OTHER, HEXADECIMAL = b"\xff", b"\xfe", b"\xfd"  # bytes that no text in UTF-8 begins with
HASH = re.compile("(?:[0-9a-f]{2}){8,}")  # text that takes half its room as a number


class Column:
    """The values of one column, appended one after the other; texts, numbers, None, or mappings of texts and numbers.

    Nothing has to be said of a column before: values that recur are kept once each, and when too many of them differ,
    the column is kept as float64, or where some are no floats, as bytes one behind the other.
    """

    def __init__(self) -> None:
        """Begin without values."""
        self._kept: _Coded | _Numbers | _Packed = _Coded()

    def __len__(self) -> int:
        """Count the values."""
        return len(self._kept)

    def __iter__(self) -> Iterator[Any]:
        """Go through the values, few of which are objects at the same time."""
        for start in range(0, len(self), AT_ONCE):
            yield from self.at(np.arange(start, min(start + AT_ONCE, len(self))))

    def append(self, value: Any) -> None:
        """Add a value."""
        if not self._kept.add(value):
            before = self.at(np.arange(len(self)))
            numbers = isinstance(self._kept, _Coded) and all(_is_number(one) for one in (*self._kept.values, value))
            self._kept = _Numbers() if numbers else _Packed()
            for one in (*before, value):
                self._kept.add(one)

    def at(self, rows: np.ndarray) -> list[Any]:
        """Give the values of some clips, by their indices (clip,)."""
        return self._kept.at(rows)

    def values(self, rows: np.ndarray) -> Iterator[Any]:
        """Go through the values of some clips, few of which are objects at the same time."""
        for start in range(0, len(rows), AT_ONCE):
            yield from self.at(rows[start : start + AT_ONCE])

    def coded(self, rows: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        """Give the code (clip,) of each of these clips' values, and the value that each code is of."""
        if isinstance(self._kept, _Coded):
            return np.frombuffer(self._kept.codes, self._kept.kind)[rows], self._kept.values
        codes = _Coded()
        for value in self.values(rows):
            codes.code(value)
        return np.frombuffer(codes.codes, codes.kind), codes.values

    def meant(self, rows: np.ndarray, is_meant: Callable[[Any], bool]) -> np.ndarray:
        """Tell (clip,) which of these clips' values are meant; a value that recurs is asked about once."""
        if isinstance(self._kept, _Coded):
            codes, values = self.coded(rows)
            return np.array([is_meant(value) for value in values], bool)[codes]
        return np.fromiter(map(is_meant, self.values(rows)), bool, len(rows))

    def keys(self, rows: np.ndarray) -> np.ndarray:
        """Give an int64 (clip,) for each of these clips: equal where values are; of others but for one in 2**64."""
        if isinstance(self._kept, _Coded):
            return np.frombuffer(self._kept.codes, self._kept.kind)[rows].astype(np.int64)
        return np.fromiter(map(hash, self.values(rows)), np.int64, len(rows))

    def replaced(self, rows: np.ndarray, values: Iterable[Any]) -> Column:
        """Give a column of the same length with these values at these places, and any elsewhere."""
        own, column = _Coded(), Column()
        for value in values:
            own.code(value)
        codes = np.zeros(len(self), own.kind)
        codes[rows] = np.frombuffer(own.codes, own.kind)
        column._kept, own.codes = own, array(own.kind, codes.tobytes())
        return column


class _Coded:
    def __init__(self) -> None:
        self.kind, self.codes, self.values = "B", array("B"), list[Any]()
        self._code_of: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self.codes)

    def add(self, value: Any) -> bool:
        code = self._code_of.get(value if type(value) is str else _key(value))
        if code is not None:
            self.codes.append(code)
            return True
        if len(self.values) < FEW or len(self.values) * SHARE < len(self.codes):
            self.code(value)
            return True
        return False

    def code(self, value: Any) -> None:
        key = _key(value)
        code = self._code_of.get(key)
        if code is None:
            code = self._code_of[key] = len(self.values)
            self.values.append(value)
            if code >> 8 * self.codes.itemsize:
                self.kind = WIDER[self.kind]
                self.codes = array(self.kind, self.codes)
        self.codes.append(code)

    def at(self, rows: np.ndarray) -> list[Any]:
        values = self.values
        return [values[code] for code in np.frombuffer(self.codes, self.kind)[rows].tolist()]


class _Numbers:
    """Floats, of which NaN stands for None."""

    def __init__(self) -> None:
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: Any) -> bool:
        if _is_number(value):
            self._values.append(np.nan if value is None else value)
            return True
        return False

    def at(self, rows: np.ndarray) -> list[Any]:
        return [None if value != value else value for value in np.frombuffer(self._values)[rows].tolist()]


class _Packed:
    """Texts in UTF-8 one behind the other, less the folder that a path shares with others; what is no text in JSON."""

    def __init__(self) -> None:
        self._folders, self._bytes, self._ends = _Coded(), bytearray(), array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, value: Any) -> bool:
        folder, slash, name = value.rpartition("/") if isinstance(value, str) else ("", "", value)
        if not self._folders.add(folder + slash):
            self._folders.code("")
            name = value
        self._bytes += _packed(name)
        self._ends.append(len(self._bytes))
        return True

    def at(self, rows: np.ndarray) -> list[Any]:
        ends = np.frombuffer(self._ends, np.uint64)
        places = zip(ends[rows].tolist(), ends[rows + 1].tolist(), strict=True)
        names = (_unpacked(self._bytes[start:end]) for start, end in places)
        return [folder + name if folder else name for folder, name in zip(self._folders.at(rows), names, strict=True)]


def _packed(value: Any) -> bytes:
    if value is None:
        return NOTHING
    if not isinstance(value, str):
        return OTHER + json.dumps(dict(value) if isinstance(value, Mapping) else value).encode()
    if HASH.fullmatch(value):
        return HEXADECIMAL + bytes.fromhex(value)
    return value.encode("utf-8", "surrogatepass")


def _unpacked(found: bytearray) -> Any:
    kind, rest = found[:1], found[1:]
    if kind == NOTHING:
        return None
    if kind == HEXADECIMAL:
        return rest.hex()
    return json.loads(rest) if kind == OTHER else found.decode("utf-8", "surrogatepass")


def _key(value: Any) -> Any:
    """Tell values apart that are equal and differ in kind, such as 1 and 1.0."""
    if value is None or type(value) is str:
        return value
    if type(value) is float:
        return float, value
    return (dict, json.dumps(dict(value))) if isinstance(value, Mapping) else (type(value), value)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value == value)
