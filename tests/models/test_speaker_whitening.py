"""Whitening by speakers: every number by hand; the identity at strength 0, a projection at a large one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from serene.errors import SereneError
from serene.models.parts import Parts
from serene.models.speaker_whitening import SpeakerWhitening

VALUES = [[1.0, 4.0], [3.0, 1.0], [2.0, 7.0], [6.0, 2.0], [5.0, 9.0], [9.0, 3.0]]
SPEAKERS, LABELS = ["a", "a", "b", "b", "c", "c"], ["up", "down"] * 3


def whitened(strength: float) -> np.ndarray:
    layer = SpeakerWhitening(2)
    layer.standardise(np.array(VALUES, dtype=np.float32))
    layer.estimate(layer(torch.tensor(VALUES)).numpy(), SPEAKERS, LABELS, strength)
    return layer(torch.tensor(VALUES)).numpy()


def standardised(rows: list[list[float]]) -> list[list[float]]:
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    deviations = [
        math.sqrt(sum((v - m) ** 2 for v in c) / len(rows)) for c, m in zip(zip(*rows, strict=True), means, strict=True)
    ]
    return [[(v - m) / d for v, m, d in zip(row, means, deviations, strict=True)] for row in rows]


def between(rows: list[list[float]]) -> list[list[float]]:
    """Covariance of speakers' means, once the labels' means are taken off."""
    rest = []
    for row, label in zip(rows, LABELS, strict=True):
        own = [other for other, name in zip(rows, LABELS, strict=True) if name == label]
        rest.append([v - sum(o[i] for o in own) / len(own) for i, v in enumerate(row)])
    means = []
    for speaker in ("a", "b", "c"):
        own = [row for row, name in zip(rest, SPEAKERS, strict=True) if name == speaker]
        means.append([sum(o[i] for o in own) / len(own) for i in range(2)])
    return [[sum(m[i] * m[j] for m in means) / 3 for j in range(2)] for i in range(2)]


@pytest.mark.parametrize("strength", [0.5, 10.0])
def test_every_number_by_hand(strength: float) -> None:
    rows = standardised(VALUES)
    (a, b), (_, c) = between(rows)
    a, b, c = 1 + strength * a, strength * b, 1 + strength * c
    # the inverse root of a symmetric 2 x 2 matrix: (M + sqrt(det) I) / sqrt(trace + 2 sqrt(det)) is its root
    root = math.sqrt(a * c - b * b)
    scale = math.sqrt(a + c + 2 * root)
    p, q, r = (a + root) / scale, b / scale, (c + root) / scale
    determinant = p * r - q * q
    inverse = [[r / determinant, -q / determinant], [-q / determinant, p / determinant]]
    expected = [[sum(row[i] * inverse[i][j] for i in range(2)) for j in range(2)] for row in rows]
    np.testing.assert_allclose(whitened(strength), expected, rtol=0, atol=1e-5)


def test_no_strength_standardises_alone() -> None:
    np.testing.assert_allclose(whitened(0.0), standardised(VALUES), rtol=0, atol=1e-5)


def test_a_large_strength_takes_the_directions_of_speakers_out() -> None:
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(3), 40)
    values = rng.normal(size=(120, 6)) + rng.normal(size=(3, 6))[speakers] * 5
    layer = SpeakerWhitening(6)
    layer.standardise(values.astype(np.float32))
    layer.estimate(layer(torch.from_numpy(values).float()).numpy(), [str(s) for s in speakers], ["same"] * 120, 1e9)
    made = layer(torch.from_numpy(values).float()).numpy()
    means = np.stack([made[speakers == s].mean(axis=0) for s in range(3)])
    assert np.abs(means).max() < 1e-3
    assert made.std() > 0.05  # what does not tell speakers apart is left


@pytest.mark.parametrize(
    ("speakers", "labels"), [(["a"] * 6, LABELS), (["a", "a", "b", "b", "c", "c"], ["x", "x", "y", "y", "z", "z"])]
)
def test_speakers_who_cannot_be_compared_leave_nothing_to_whiten_by(speakers: list[str], labels: list[str]) -> None:
    with pytest.raises(SereneError, match=r"no direction in which the [13] speakers differ"):
        SpeakerWhitening(2).estimate(np.array(standardised(VALUES)), speakers, labels, 1.0)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SereneError, match="a strength of 0 or more"):
        Parts(speaker_whitening=-1)
    with pytest.raises(SereneError, match="a strength of 0 or more"):
        Parts(speaker_whitening=math.inf)
    with pytest.raises(SereneError, match="Drop one of them"):
        Parts(speaker_whitening=1, projector="relu")
