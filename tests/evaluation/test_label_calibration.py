"""PLDC and its counterpart for classes, by hand with loops; and what they leave alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serene.errors import SereneError
from serene.evaluation.label_calibration import (
    CONFIDENT,
    NO_SPREAD,
    NO_SPREAD_THERE,
    ONE_UTTERANCE,
    LabelCalibration,
    Spoken,
    calibrate_scores,
    calibrate_values,
    speaker_vectors,
)

# training speakers: a and b are near the test speaker, c is far off, d has one clip and lies nearest of all
TOLD = {"a": [1.0, 3.0], "b": [2.0, 2.0, 8.0], "c": [40.0, 90.0], "d": [100.0]}
VECTORS = {"a": [1.0, 0.1], "b": [1.0, -0.3], "c": [0.0, 1.0], "d": [2.0, 0.0], "x": [3.0, 0.0], "y": [0.5, 0.2]}
SAID = {"x": [4.0, 5.0, 9.0], "y": [7.0, 7.5]}


def spoken(clips: dict[str, list], vectors: dict[str, list[float]] | None = None) -> Spoken:
    """Deal the speakers' clips in turn, as no speaker's clips have to stand together."""
    longest = max(map(len, clips.values()))
    rows = [(name, said[i]) for i in range(longest) for name, said in clips.items() if i < len(said)]
    table = np.array([np.atleast_1d(value) for _, value in rows])
    known = {name: np.array((vectors or VECTORS)[name]) for name in clips}
    return Spoken(table, [name for name, _ in rows], known)


def by_speaker(outputs: np.ndarray, like: Spoken, name: str) -> list[float]:
    return [float(value) for value, speaker in zip(outputs[:, 0], like.speakers, strict=True) if speaker == name]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def deviation(values: list[float]) -> float:
    return math.sqrt(sum((v - mean(values)) ** 2 for v in values) / len(values))


def cosine(a: list[float], b: list[float]) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def settings(**changes: object) -> LabelCalibration:
    return LabelCalibration(**{"neighbours": 2, **changes})  # pyright: ignore[reportArgumentType]


def test_the_defaults_are_the_papers_and_the_released_codes() -> None:
    assert LabelCalibration() == LabelCalibration(
        neighbours=15, statistics="mean_of_speakers", mode="sigma", threshold=None, limits=None, strength=1.0
    )


@pytest.mark.parametrize("statistics", ["mean_of_speakers", "pooled"])
@pytest.mark.parametrize("mode", ["sigma", "mu", "both"])
def test_values_by_hand(mode: str, statistics: str) -> None:
    if statistics == "mean_of_speakers":
        mu_bar, sigma_bar = mean([mean(TOLD[n]) for n in "ab"]), mean([deviation(TOLD[n]) for n in "ab"])
        assert (mu_bar, sigma_bar) == (3.0, pytest.approx((1 + math.sqrt(8)) / 2))
    else:
        together = [*TOLD["a"], *TOLD["b"]]
        mu_bar, sigma_bar = mean(together), deviation(together)
        assert (mu_bar, sigma_bar) == (3.2, pytest.approx(math.sqrt(6.16)))
    predicted = spoken(SAID)
    result = calibrate_values(predicted, spoken(TOLD), settings(mode=mode, statistics=statistics))
    for name, said in SAID.items():
        mu, sigma = mean(said), deviation(said)
        expected = {
            "sigma": [(y - mu) / sigma * sigma_bar + mu for y in said],
            "mu": [y - mu + mu_bar for y in said],
            "both": [(y - mu) / sigma * sigma_bar + mu_bar for y in said],
        }[mode]
        assert by_speaker(result.outputs, predicted, name) == pytest.approx(expected)
        told = result.speakers[name]
        assert told.neighbours == ("a", "b")
        assert told.confidence == pytest.approx(mean([cosine(VECTORS[name], VECTORS[n]) for n in "ab"]))
        assert told.before.tolist() == [[pytest.approx(mu)], [pytest.approx(sigma)]]
        assert told.similar.tolist() == [[pytest.approx(mu_bar)], [pytest.approx(sigma_bar)]]
        assert told.after.tolist() == [[pytest.approx(mean(expected))], [pytest.approx(deviation(expected))]]
        assert told.left_alone == (None,)


def test_shares_by_hand() -> None:
    """Half of a's clips and a third of b's are of the first class; five twelfths on average, two fifths of all."""
    first, second, third = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    known = spoken({"a": [first, second], "b": [first, second, second], "c": [third, third]})
    said = {"x": [[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.6, 0.1, 0.3], [0.2, 0.2, 0.6]]}
    predicted = spoken(said)
    for statistics, pi_bar in (("mean_of_speakers", [5 / 12, 7 / 12, 0]), ("pooled", [2 / 5, 3 / 5, 0])):
        for strength in (1.0, 0.5):
            result = calibrate_scores(predicted, known, settings(statistics=statistics, strength=strength))
            pi_hat = [mean([row[c] for row in said["x"]]) for c in range(3)]
            ratio = [((4 * pi_bar[c] + 1) / (4 * pi_hat[c] + 1)) ** strength for c in range(3)]
            for row, after in zip(said["x"], result.outputs, strict=True):
                total = sum(row[c] * ratio[c] for c in range(3))
                assert after.tolist() == pytest.approx([row[c] * ratio[c] / total for c in range(3)])
            told = result.speakers["x"]
            assert told.neighbours == ("a", "b")
            assert told.before.tolist() == [pytest.approx(pi_hat)]
            assert told.similar.tolist() == [pytest.approx(pi_bar)]
            assert told.after.tolist() == [pytest.approx(result.outputs.mean(axis=0).tolist())]
            assert (result.outputs[[0, 2, 3], 2] > 0).all(), "a class that no neighbour has is not ruled out"
            assert result.outputs[1, 2] == 0


def test_votes_are_shares_too() -> None:
    known = spoken({"a": [[0.5, 0.5], [1.0, 0.0]], "b": [[0.25, 0.75], [0.75, 0.25]]})
    result = calibrate_scores(spoken({"x": [[0.4, 0.6], [0.2, 0.8]]}), known, settings())
    assert result.speakers["x"].similar.tolist() == [[pytest.approx((0.75 + 0.5) / 2), pytest.approx((0.25 + 0.5) / 2)]]


@pytest.mark.parametrize("mode", ["sigma", "mu", "both"])
@pytest.mark.parametrize("statistics", ["mean_of_speakers", "pooled"])
def test_values_stay_where_the_statistics_agree(mode: str, statistics: str) -> None:
    known = spoken({"a": [[4.0, 0.1], [6.0, 0.5]], "b": [[6.0, 0.1], [4.0, 0.5]]})
    predicted = spoken({"x": [[6.0, 0.5], [4.0, 0.1], [4.0, 0.5], [6.0, 0.1]]})
    result = calibrate_values(predicted, known, settings(mode=mode, statistics=statistics))
    assert result.speakers["x"].left_alone == (None, None)
    assert result.outputs == pytest.approx(predicted.table, abs=1e-12)


def test_shares_stay_where_they_agree_or_nothing_is_corrected() -> None:
    known = spoken({"a": [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], "b": [[0.25, 0.75], [0.25, 0.75]]})
    predicted = spoken({"x": [[0.4, 0.6], [0.1, 0.9]]})
    result = calibrate_scores(predicted, known, settings())
    assert result.speakers["x"].left_alone == (None,)
    assert result.outputs == pytest.approx(predicted.table, abs=1e-12)
    others = spoken({"x": [[0.9, 0.1], [0.8, 0.2]]})
    assert calibrate_scores(others, known, settings()).outputs != pytest.approx(others.table, abs=0.01)
    assert calibrate_scores(others, known, settings(strength=0)).outputs == pytest.approx(others.table, abs=1e-12)


def test_dimensions_are_calibrated_apart() -> None:
    """The second dimension of both sides is another speaker's first: each comes out as it would alone."""
    known = spoken({"a": [[1.0, 5.0], [3.0, 5.5]], "b": [[2.0, 6.0], [8.0, 9.0]]})
    predicted = spoken({"x": [[4.0, 1.0], [6.0, 1.5], [5.0, 9.0]]})
    whole = calibrate_values(predicted, known, settings(mode="both")).outputs
    for one in range(2):
        alone = replace(predicted, table=predicted.table[:, [one]]), replace(known, table=known.table[:, [one]])
        assert calibrate_values(*alone, settings(mode="both")).outputs[:, 0].tolist() == whole[:, one].tolist()


def test_what_has_no_spread_is_left_alone() -> None:
    """Of three dimensions the speaker's own is constant in the first, the neighbours' labels in the second."""
    known = spoken({"a": [[1.0, 4.0, 1.0], [3.0, 4.0, 2.0]], "b": [[2.0, 4.0, 1.0], [8.0, 4.0, 2.0]]})
    rounded = 5.0 + 1e-9
    predicted = spoken({"x": [[5.0, 1.0, 1.0], [rounded, 2.0, 3.0], [5.0, 3.0, 5.0]], "y": [[1.0, 1.0, 1.0]]})
    for mode in ("sigma", "mu", "both"):
        result = calibrate_values(predicted, known, settings(mode=mode))
        x = [row for row, name in enumerate(predicted.speakers) if name == "x"]
        assert result.outputs[x, :2].tolist() == predicted.table[x, :2].tolist()
        assert result.outputs[x, 2] != pytest.approx(predicted.table[x, 2], abs=0.1)
        assert result.speakers["x"].left_alone == (NO_SPREAD, NO_SPREAD_THERE, None)
        y = predicted.speakers.index("y")
        assert result.outputs[y].tolist() == [1.0, 1.0, 1.0]
        assert result.speakers["y"].left_alone == (ONE_UTTERANCE,) * 3
        assert result.speakers["y"].after.tolist() == result.speakers["y"].before.tolist()


def test_a_small_spread_on_a_small_scale_is_a_spread() -> None:
    known = spoken({"a": [1e-9, 3e-9], "b": [2e-9, 8e-9]})
    predicted = spoken({"x": [4e-9, 6e-9]})
    assert calibrate_values(predicted, known, settings()).outputs[:, 0] == pytest.approx([3e-9, 7e-9], rel=1e-6)


def test_probabilities_of_one_utterance_are_left_alone() -> None:
    known = spoken({"a": [[1.0, 0.0], [1.0, 0.0]], "b": [[1.0, 0.0], [1.0, 0.0]]})
    result = calibrate_scores(spoken({"x": [[0.3, 0.7]], "y": [[0.3, 0.7], [0.3, 0.7]]}), known, settings())
    assert result.outputs[0].tolist() == [0.3, 0.7]
    assert result.speakers["x"].left_alone == (ONE_UTTERANCE,)
    assert result.outputs[1, 0] > 0.3
    assert result.speakers["y"].left_alone == (None,)


def test_only_speakers_below_the_threshold_are_calibrated() -> None:
    predicted, known = spoken(SAID), spoken(TOLD)
    confidence = {n: calibrate_values(predicted, known, settings()).speakers[n].confidence for n in SAID}
    assert confidence["y"] < confidence["x"]
    everybody = calibrate_values(predicted, known, settings()).outputs
    for threshold, calibrated in ((confidence["y"], ""), (confidence["x"], "y"), (1.0, "xy")):
        result = calibrate_values(predicted, known, settings(threshold=threshold))
        for name in SAID:
            source = everybody if name in calibrated else predicted.table
            assert by_speaker(result.outputs, predicted, name) == by_speaker(source, predicted, name)
            assert result.speakers[name].left_alone == ((None if name in calibrated else CONFIDENT),)
    scores = spoken({"x": [[0.3, 0.7], [0.3, 0.7]]}), spoken({"a": [[1.0, 0.0]] * 2, "b": [[1.0, 0.0]] * 2})
    assert calibrate_scores(*scores, settings(threshold=-1)).speakers["x"].left_alone == (CONFIDENT,)


def test_limits_cut_calibrated_values_and_no_others() -> None:
    predicted = spoken({"x": [4.0, 5.0, 9.0], "y": [11.0]})
    free = calibrate_values(predicted, spoken(TOLD), settings(mode="both"))
    cut = calibrate_values(predicted, spoken(TOLD), settings(mode="both", limits=(2.5, 4.0)))
    assert by_speaker(free.outputs, predicted, "x")[0] < 2.5 and by_speaker(free.outputs, predicted, "x")[2] > 4
    expected = [min(max(value, 2.5), 4.0) for value in by_speaker(free.outputs, predicted, "x")]
    assert by_speaker(cut.outputs, predicted, "x") == expected
    assert by_speaker(cut.outputs, predicted, "y") == [11.0]
    assert cut.speakers["x"].after[0, 0] == pytest.approx(mean(expected))


def test_the_order_of_clips_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    embeddings = {part: rng.normal(size=(60, 4)) for part in ("test", "train")}
    numbers = {part: rng.normal(size=(60, 2)) for part in ("test", "train")}
    names = [f"s{i}" for i in rng.integers(0, 6, 60)]

    def run(order: dict[str, np.ndarray]) -> np.ndarray:
        sides = {}
        for part, rows in order.items():
            speakers = [names[i] for i in rows]
            sides[part] = Spoken(numbers[part][rows], speakers, speaker_vectors(embeddings[part][rows], speakers))
        back = np.empty_like(order["test"])
        back[order["test"]] = np.arange(60)
        return calibrate_values(sides["test"], sides["train"], settings(mode="both")).outputs[back]

    straight = run({"test": np.arange(60), "train": np.arange(60)})
    assert run({part: rng.permutation(60) for part in ("test", "train")}) == pytest.approx(straight, abs=1e-12)


def test_a_speakers_vector_is_the_mean_of_their_clips() -> None:
    vectors = speaker_vectors(np.array([[1, 2], [10, 20], [3, 6]], dtype=np.float32), ["b", "a", "b"])
    assert list(vectors) == ["a", "b"]
    assert vectors["b"].tolist() == [2, 4]
    assert vectors["b"].dtype == np.float64


def test_equally_similar_speakers_are_taken_by_name_and_length_does_not_count() -> None:
    vectors = {"x": [1.0, 1.0], "a": [5.0, 5.0], "b": [0.1, 0.1], "c": [0.0, 1.0], "z": [0.0, 0.0]}
    known = spoken({name: [1.0, 2.0] for name in "zcba"}, vectors)
    told = calibrate_values(spoken({"x": [1.0, 3.0]}, vectors), known, settings(neighbours=4)).speakers["x"]
    assert told.neighbours == ("a", "b", "c", "z")
    assert told.confidence == pytest.approx((1 + 1 + math.sqrt(0.5) + 0) / 4)


def test_too_few_training_speakers() -> None:
    """d is no neighbour: one label has no spread."""
    assert calibrate_values(spoken(SAID), spoken(TOLD), settings(neighbours=3)).speakers["x"].neighbours[2] == "c"
    for calibrate, clips in ((calibrate_values, TOLD), (calibrate_scores, {"a": [[1.0, 0.0]] * 2})):
        predicted = spoken({"x": [clips["a"][0], clips["a"][1]]})
        with pytest.raises(SereneError, match=r"neighbours is 4, and \d training speakers have two labelled clips"):
            calibrate(predicted, spoken(clips), settings(neighbours=4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neighbours": 0}, "calibration.neighbours is 0; at least 1 speaker"),
        ({"threshold": 1.5}, "calibration.threshold is 1.5; a cosine, from -1 to 1"),
        ({"threshold": math.nan}, "calibration.threshold is nan"),
        ({"limits": (7.0, 1.0)}, r"calibration.limits is \[7.0, 1.0\]; the lower end"),
        ({"strength": -0.5}, "calibration.strength is -0.5; a number from 0 on"),
        ({"strength": math.inf}, "calibration.strength is inf"),
        ({"statistics": "mean"}, "calibration.statistics is 'mean'; choices: mean_of_speakers, pooled"),
        ({"mode": "std"}, "calibration.mode is 'std'; choices: sigma, mu, both"),
    ],
)
def test_settings_that_make_no_sense(changes: dict, message: str) -> None:
    with pytest.raises(SereneError, match=message):
        LabelCalibration(**changes)


def test_tables_that_do_not_fit() -> None:
    known = spoken(TOLD)
    with pytest.raises(SereneError, match="labels as wide as the predictions"):
        calibrate_values(spoken({"x": [[1.0, 2.0], [2.0, 3.0]]}), known, settings())
    with pytest.raises(SereneError, match="vectors of one encoder"):
        calibrate_values(spoken({"x": [1.0, 2.0]}, {"x": [1.0, 2.0, 3.0]}), known, settings())
    with pytest.raises(SereneError, match="a row of finite numbers for each of 2 utterances"):
        Spoken(np.array([[1.0], [math.nan]]), ["x", "x"], {"x": np.ones(2)})
    with pytest.raises(SereneError, match=r"each of 1 utterances; it got an array of shape \(2, 1\)"):
        Spoken(np.ones((2, 1)), ["x"], {"x": np.ones(2)})
    with pytest.raises(SereneError, match="a vector of finite numbers for the speaker 'y'"):
        Spoken(np.ones((2, 1)), ["x", "y"], {"x": np.ones(2)})
    with pytest.raises(SereneError, match="a vector of finite numbers for the speaker 'x'"):
        Spoken(np.ones((1, 1)), ["x"], {"x": np.array([1.0, math.inf])})
    with pytest.raises(SereneError, match="shares that sum to 1 in every row"):
        calibrate_scores(spoken(SAID), known, settings())
