"""The personalisation gap: nothing but whose clips train, and of how many speakers, differs; and tables that agree."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.experiment.personalisation_gap import accuracy, clip_features, draw_pairs, personalisation_gap
from serene.task import Dimensions, Task

SPEAKERS = [f"s{i % 9}" for i in range(9 * 20)] + ["few"] * 3


def same(a: list, b: list) -> bool:
    return all(
        np.array_equal(getattr(p, part), getattr(q, part))
        for p, q in zip(a, b, strict=True)
        for part in ("number", "dependent", "independent", "test")
    )


def who(rows: np.ndarray) -> Counter[str]:
    return Counter(SPEAKERS[row] for row in rows)


def test_only_whose_clips_they_are_differs() -> None:
    pairs = draw_pairs(SPEAKERS, numbers=(4, 1, 3), draws=5)
    assert [pair.number for pair in pairs] == [1, 3, 4] * 5
    for pair in pairs:
        dependent, independent, test = who(pair.dependent), who(pair.independent), who(pair.test)
        assert len(pair.dependent) == len(pair.independent) == 10  # half of one speaker's clips, for any number
        assert sorted(dependent.values()) == sorted(independent.values())
        assert max(dependent.values()) - min(dependent.values()) <= 1
        assert dependent.keys() == test.keys()
        assert len(dependent) == len(independent) == pair.number
        assert not independent.keys() & test.keys()
        assert set(test.values()) == {10}
        rows = [*pair.dependent.tolist(), *pair.independent.tolist(), *pair.test.tolist()]
        assert len(set(rows)) == len(rows)
        assert "few" not in dependent | independent


def test_smaller_numbers_are_part_of_larger_ones_within_a_draw() -> None:
    pairs = draw_pairs(SPEAKERS, numbers=(1, 2, 4), draws=3)
    for one, two, four in (pairs[i : i + 3] for i in (0, 3, 6)):
        for part in ("test", "dependent", "independent"):
            people = [set(who(getattr(pair, part))) for pair in (one, two, four)]
            assert people[0] < people[1] < people[2]
        assert set(one.test) < set(two.test) < set(four.test)


def test_draws_are_repeatable_and_differ() -> None:
    first = draw_pairs(SPEAKERS, numbers=(2, 4), draws=4, seed=3)
    assert same(first, draw_pairs(SPEAKERS, numbers=(2, 4), draws=4, seed=3))
    assert same(first[:4], draw_pairs(SPEAKERS, numbers=(2, 4), draws=2, seed=3))
    assert not same(first, draw_pairs(SPEAKERS, numbers=(2, 4), draws=4, seed=4))
    assert len({tuple(sorted(who(pair.test))) for pair in first if pair.number == 4}) > 1


def test_how_many_clips() -> None:
    assert {len(pair.dependent) for pair in draw_pairs(SPEAKERS, numbers=(2, 4), draws=1)} == {20}
    assert {len(pair.dependent) for pair in draw_pairs(SPEAKERS, numbers=(2, 4), clips=7, draws=1)} == {7}
    uneven = draw_pairs(["a"] * 20 + ["b"] * 8 + ["c"] * 5 + ["d"] * 6 + ["e"] * 3, numbers=(2,), draws=3)
    assert {len(pair.dependent) for pair in uneven} == {4}, "the fourth longest has five clips, of which two may train"
    (pair,) = draw_pairs(SPEAKERS, numbers=(4,), clips=10, draws=1)
    assert sorted(who(pair.dependent).values()) == sorted(who(pair.independent).values()) == [2, 2, 3, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numbers": (1, 5)}, r"1 to 5 speakers each, with 5 clips .* need 10 speakers with 10 clips .*; 9 of 10"),
        ({"numbers": (2, 4), "clips": 21}, "need 8 speakers with 22 clips .*; 0 of 10 speakers have as many"),
        ({"numbers": (2, 4), "clips": 3}, "need 8 speakers with 4 clips and at least a clip of each"),
        ({"numbers": (2, 4), "clips": 0}, "with 0 clips to train on"),
        ({"numbers": ()}, r"50 draws of \[\] speakers"),
        ({"numbers": (0, 2)}, "different numbers of speakers from 1 on"),
        ({"numbers": (2, 2)}, "different numbers of speakers from 1 on"),
        ({"numbers": (2,), "draws": 0}, "0 draws of"),
    ],
)
def test_what_cannot_be_drawn(changes: dict, message: str) -> None:
    with pytest.raises(SereneError, match=message):
        draw_pairs(SPEAKERS, **changes)


def test_values_are_scored_by_ccc() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) * [1, 100, 0] + [5, 0, 7]  # of other scales, and one constant
    y = np.stack([40 + 30 * x[:, 0], rng.normal(size=60)], axis=1)
    figures = accuracy(x, y, Dimensions(("arousal", "valence")), np.arange(40), np.arange(40, 60))
    assert list(figures) == ["CCC of arousal", "CCC of valence"]
    assert figures["CCC of arousal"] > 0.99
    assert abs(figures["CCC of valence"]) < 0.5


def test_the_ridge_by_hand() -> None:
    """One feature, of mean 2 and deviation sqrt(2/3), and two clips to test."""
    x, y = np.array([[1.0], [2.0], [3.0], [2.0], [4.0]]), np.array([[0.0], [3.0], [3.0], [1.0], [5.0]])
    z = [(value - 2) / math.sqrt(2 / 3) for value in (1, 2, 3)]
    slope = sum(a * (b - 2) for a, b in zip(z, (0, 3, 3), strict=True)) / (sum(a * a for a in z) + 0.1)
    predicted = [2 + slope * (value - 2) / math.sqrt(2 / 3) for value in (2, 4)]
    means = 3, sum(predicted) / 2
    covariance = ((1 - 3) * (predicted[0] - means[1]) + (5 - 3) * (predicted[1] - means[1])) / 2
    spread = sum((p - means[1]) ** 2 for p in predicted) / 2
    expected = 2 * covariance / (4 + spread + (means[0] - means[1]) ** 2)
    figures = accuracy(x, y, Dimensions(("valence",)), np.arange(3), np.array([3, 4]))
    assert figures == {"CCC of valence": pytest.approx(expected)}


def test_classes_are_scored_by_ua() -> None:
    x = np.array([[0.0], [0.1], [1.0], [1.1], [0.05], [1.05], [0.9], [1.2]])
    y = np.array(list("aaccacca"))
    assert accuracy(x, y, Task(tuple("abc")), np.arange(4), np.arange(4, 8)) == {"UA": pytest.approx((1 / 2 + 1) / 2)}
    assert accuracy(x, y, Task(tuple("abc")), np.arange(2), np.arange(4, 8)) == {"UA": pytest.approx((1 + 0) / 2)}


def test_a_gap_is_there_where_speakers_differ_and_not_where_they_do_not() -> None:
    """Half of the speakers mean the opposite by the same feature: only a speaker of the training is understood."""
    rng = np.random.default_rng(1)
    speakers = [f"s{i % 8}" for i in range(8 * 40)]
    x = rng.normal(size=(len(speakers), 1))
    meant = np.array([[1.0 if speaker < "s4" else -1.0] for speaker in speakers])
    for sense, lowest, highest in ((meant, 0.5, 1.5), (np.ones_like(meant), -0.02, 0.02)):
        gaps = []
        for pair in draw_pairs(speakers, numbers=(1, 2), draws=20):
            reached = [
                accuracy(x, sense * x, Dimensions(("v",)), rows, pair.test)["CCC of v"]
                for rows in (pair.dependent, pair.independent)
            ]
            gaps += [reached[0] - reached[1]] if pair.number == 1 else []
        assert lowest < sum(gaps) / len(gaps) < highest


def test_features_of_a_clip_are_its_single_frame_or_mean_and_deviation() -> None:
    clips = [SimpleNamespace(id=str(i), audio_hash=str(i)) for i in range(2)]
    for frames, expected in (
        ({"0": [[1.0, 2.0]], "1": [[3.0, 5.0]]}, [[1, 2], [3, 5]]),
        ({"0": [[1.0, 2.0]], "1": [[1.0, 5.0], [3.0, 5.0]]}, [[1, 2, 0, 0], [2, 5, 1, 0]]),
    ):
        store = SimpleNamespace(get=lambda name, _, frames=frames: np.array(frames[name]))
        assert clip_features(clips, store).tolist() == expected  # pyright: ignore[reportArgumentType]


def test_on_speech(made_up: Path, tmp_path: Path) -> None:
    told = []
    gap = personalisation_gap(
        made_up, tmp_path, numbers=(1, 3), draws=3, progress=lambda what, done, of: told.append((what, done, of))
    )
    assert [(row["metric"], row["speakers"]) for row in gap.rows] == [("UA", 1), ("UA", 3)]
    for row in gap.rows:
        assert row["gap"] == pytest.approx(row["dependent"] - row["independent"])
        for name in ("dependent", "independent", "gap"):
            assert row[f"{name} low"] <= row[name] <= row[f"{name} high"]
    assert (gap.facts["clips"], gap.facts["draws"], gap.facts["speakers"]) == (4, 3, [1, 3])
    assert told[-1] == ("draws", 6, 6)
    kept = json.loads((gap.folder / "gap.json").read_text())
    assert kept == gap.facts | {"rows": gap.rows}
    with (gap.folder / "gap.csv").open() as file:
        assert [float(row["gap"]) for row in csv.DictReader(file)] == [row["gap"] for row in gap.rows]
    assert (gap.folder / "UA.png").read_bytes().startswith(b"\x89PNG")
    assert gap.folder.name.startswith("personalisation-gap-made_up-")
    again = personalisation_gap(made_up, tmp_path, numbers=(1, 3), draws=3)
    assert (again.rows, again.folder) == (gap.rows, gap.folder)
    assert personalisation_gap(made_up, tmp_path, numbers=(1, 3), draws=3, seed=1).folder != gap.folder


def test_neither_the_order_of_the_clips_nor_speakers_names_order_matters(made_up: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(made_up)
    Manifest(manifest.utterances[::-1]).write(tmp_path / "made_up.jsonl")
    results = [
        personalisation_gap(path, tmp_path, numbers=(1, 2), draws=2) for path in (made_up, tmp_path / "made_up.jsonl")
    ]
    assert results[0].rows == results[1].rows


def test_dimensions_of_speech(made_up: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rated = tuple(
        replace(u, arousal=float(rng.integers(1, 8)), numbers={"level": 2.0 * len(str(u.emotion))})
        for u in Manifest.read(made_up)
    )
    Manifest(rated).write(tmp_path / "rated.jsonl")
    gap = personalisation_gap(
        tmp_path / "rated.jsonl", tmp_path, target="dimensions", use=["arousal", "level"], numbers=(1, 2), draws=2
    )
    places = [(row["metric"], row["speakers"]) for row in gap.rows]
    assert places == [("CCC of arousal", 1), ("CCC of arousal", 2), ("CCC of level", 1), ("CCC of level", 2)]
    assert (gap.folder / "CCC of level.png").exists()


def test_what_cannot_be_measured(made_up: Path, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match="Unknown target of a gap 'speaker'"):
        personalisation_gap(made_up, tmp_path, target="speaker")
    with pytest.raises(SereneError, match="need 80 speakers"):
        personalisation_gap(made_up, tmp_path)
    with pytest.raises(SereneError, match="No utterance has the dimension 'loudness'"):
        personalisation_gap(made_up, tmp_path, target="dimensions", use=["loudness"])
    assert not list(tmp_path.iterdir()), "nothing is computed before what is wrong is said"
