"""Clips are dealt into batches of like length and bounded size, and padded with zeros."""

from __future__ import annotations

import numpy as np
import pytest

from serene.audio import batch as module
from serene.audio.batch import by_length, padded


def test_batches_go_from_short_to_long_and_hold_every_clip_once() -> None:
    assert list(by_length([5, 1, 4, 2, 3], 1, 2)) == [[1, 3], [4, 2], [0]]


def test_equal_lengths_keep_their_order() -> None:
    assert list(by_length([7] * 5, 1, 3)) == [[0, 1, 2], [3, 4]]


def test_a_batch_holds_so_many_values_or_one_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", 20)
    frames = [2, 2, 3, 3, 4, 30]  # of two features: 3 x 3 x 2 fit, 4 x 3 x 2 do not, and 30 x 2 never do
    batches = list(by_length(frames, 2, 16))
    assert batches == [[0, 1, 2], [3, 4], [5]]
    assert all(len(batch) * max(frames[i] for i in batch) * 2 <= 20 for batch in batches[:-1])


def test_no_clip_makes_no_batch() -> None:
    assert list(by_length([], 39, 16)) == []


def test_what_comes_after_a_clip_is_zero() -> None:
    one, other = np.ones((2, 3), np.float32), np.full((4, 3), 2, np.float32)
    features, lengths = padded([one, other])
    assert (features.shape, features.dtype, lengths.dtype) == ((2, 4, 3), np.float32, np.int64)
    assert lengths.tolist() == [2, 4]
    assert np.array_equal(features[0, :2], one)
    assert not features[0, 2:].any()
    assert np.array_equal(features[1], other)
