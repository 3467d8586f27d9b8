"""Pictures of answers and speakers show the numbers they were given, and survive whatever people call their classes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serene.evaluation.predictions import Predictions
from serene.evaluation.reliability import THRESHOLDS, described
from serene.reporting import answer_plots
from serene.task import Task

NAMES = ["anger", "$calm$", "_joy"]


def drawn(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=40)
    return data.getvalue()


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_confusion_shows_shares_and_counts() -> None:
    figure = answer_plots.confusion(np.array([[3, 1, 0], [0, 2000, 0], [0, 0, 0]]), NAMES)
    assert words(figure.axes[0])[:4] == ["75%", "3", "25%", "1"]
    assert words(figure.axes[0])[8:10] == ["100%", "2,000"]
    assert words(figure.axes[0])[-2:] == ["0%", "0"], "an emotion that does not occur divides by nothing"
    assert drawn(figure)


def test_few_predictions_are_dots_beside_the_line_of_agreement() -> None:
    truth, prediction = np.array([[1.0, 10], [2, 30], [4, 20]]), np.array([[2.0, 10], [2, 20], [3, 60]])
    figure = answer_plots.agreement(truth, prediction, ["_arousal", "$v$"])
    for place, axes in enumerate(figure.axes):
        dots = np.asarray(axes.collections[0].get_offsets())
        assert dots.tolist() == np.stack([truth[:, place], prediction[:, place]], axis=1).tolist()
        x, y = axes.lines[0].get_data()
        assert np.array_equal(x, y) and tuple(x) == axes.get_xlim() == axes.get_ylim()
        assert axes.get_xlim()[0] < min(truth[:, place].min(), prediction[:, place].min())
    assert figure.axes[0].get_xlabel() == "true _arousal"
    assert drawn(figure)
    assert (
        len(
            [
                axes
                for axes in answer_plots.agreement(np.ones((2, 3)), np.ones((2, 3)), "abc").axes
                if axes.get_visible()
            ]
        )
        == 3
    )


def test_many_predictions_are_a_field_that_is_strongest_where_most_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_plots, "MOST_DOTS", 5)
    truth = np.array([1.0] * 4 + [3.0, 2.0])[:, None]
    prediction = np.array([2.0] * 4 + [3.0, 1.0])[:, None]
    (axes,) = answer_plots.agreement(truth, prediction, ["arousal"]).axes
    image = np.asarray(axes.images[0].get_array())[..., 3]
    low, high = axes.get_xlim()
    assert tuple(axes.images[0].get_extent()) == (low, high, low, high)
    strength = {}
    for x, y in ((1, 2), (3, 3), (2, 1), (3, 1)):
        column, row = (int((value - low) / (high - low) * answer_plots.CELLS) for value in (x, y))
        strength[x, y] = image[row, column]
    assert strength[1, 2] == 1
    assert strength[3, 3] == strength[2, 1] == pytest.approx(0.04 + 0.96 / 2), "a quarter as many: half, by the root"
    assert strength[3, 1] == 0


def test_the_picture_draws_bins_curve_and_thresholds() -> None:
    scores, truth = np.array([0.55, 0.58, 0.61, 0.9, 0.92, 0.99]), np.array([0, 1, 0, 0, 0, 1])
    predictions = Predictions.from_scores(
        ids=list("abcdef"),
        speakers=list("xyzxyz"),
        truth=truth,
        scores=np.stack([scores, 1 - scores], axis=1),
        task=Task(("anger", "calm")),
        part="test",
        fold="1",
        seed=0,
    )
    found = described(predictions)
    assert found is not None
    left, right = answer_plots.reliability(found).axes
    places = np.asarray(left.collections[0].get_offsets())
    assert places[:, 0].tolist() == pytest.approx([one["score"] for one in found["bins"]])
    assert places[:, 1].tolist() == pytest.approx([one["right"] for one in found["bins"]])
    assert np.asarray(right.lines[1].get_ydata()).tolist() == pytest.approx(found["curve"]["risk"])
    assert [text.get_text() for text in right.texts] == [f"{threshold:g}" for threshold in THRESHOLDS]


def test_speakers_stand_in_the_order_given() -> None:
    recall = dict(zip(NAMES, ([0, 0.5, 1], [0.4, 0.5, 0.8], [0.2, 0.5, None]), strict=True))
    figure = answer_plots.per_speaker(["_b", "c", "$a$"], {"UA": [0.2, 0.5, 0.9]}, recall, shares=True)
    top, bottom = figure.axes
    assert np.asarray(top.lines[0].get_ydata()).tolist() == [0.2, 0.5, 0.9]
    assert [label.get_text() for label in bottom.get_xticklabels()] == [" _b", "c", r"\$a\$"]
    image = np.asarray(bottom.images[0].get_array())
    assert image.shape == (3, 3, 4)
    assert image[0, 2, 3] == 1, "the best speaker's anger is fully recognised"
    assert image[2, 2, 3] == 0, "what a speaker never said is left clear"
    assert drawn(figure)


def test_many_speakers_lose_their_names_but_not_their_dots() -> None:
    n = answer_plots.MOST_NAMES + 1
    ua, recall = {"UA": np.linspace(0, 1, n).tolist()}, dict.fromkeys(NAMES, [1.0] * n)
    figure = answer_plots.per_speaker([f"s{i}" for i in range(n)], ua, recall, shares=True)
    assert len(figure.axes[0].lines[0].get_xdata()) == n
    assert not figure.axes[1].get_xticklabels()


def test_tsne_shows_the_same_four_speakers_twice() -> None:
    rng = np.random.default_rng(0)
    x, speakers = rng.normal(size=(60, 4)), [f"_{i % 6}" for i in range(60)]
    emotions = {"emotion": np.array([NAMES[i % 3] for i in range(60)])}
    x[:, 3] = 1.0
    figure = answer_plots.tsne(x, emotions, speakers, seed=1)
    left, right = figure.axes
    assert len(right.collections) == 4
    assert len(left.collections) == 3
    count = [sum(len(np.asarray(dots.get_offsets())) for dots in axes.collections) for axes in (left, right)]
    assert count == [40, 40]
    legend = right.get_legend()
    assert legend is not None and len(legend.get_texts()) == 4
    again = answer_plots.tsne(x, emotions, speakers, seed=1).axes[0].collections[0].get_offsets()
    assert np.array_equal(np.asarray(left.collections[0].get_offsets()), np.asarray(again))


def test_tsne_of_speakers_alone_is_one_picture() -> None:
    x, speakers = np.random.default_rng(0).normal(size=(30, 4)), ["a", "b", "c"] * 10
    (axes,) = answer_plots.tsne(x, {}, speakers).axes
    assert len(axes.collections) == 3
    assert axes.get_title(loc="left") == "by speaker"


def test_tsne_does_not_lay_out_more_points_than_it_can_show(monkeypatch) -> None:
    monkeypatch.setattr(answer_plots, "MOST_POINTS", 8)
    x = np.random.default_rng(0).normal(size=(60, 3))
    figure = answer_plots.tsne(x, {"emotion": np.full(60, "anger")}, ["a", "b"] * 30)
    assert sum(len(np.asarray(dots.get_offsets())) for dots in figure.axes[0].collections) == 16


def test_values_are_laid_out_from_dark_to_light_with_a_bar_beside_the_speakers() -> None:
    rng = np.random.default_rng(0)
    x, speakers, values = rng.normal(size=(24, 3)), ["a", "b", "c"] * 8, {"$arousal$": np.arange(24.0)}
    figure = answer_plots.tsne(x, values, speakers)
    field, by_speaker, bar = figure.axes
    assert [axes.get_title(loc="left") for axes in (field, by_speaker)] == [r"by \$arousal\$", "by speaker"]
    (dots,) = field.collections
    assert sorted(np.asarray(dots.get_array()).tolist()) == list(range(24))
    assert bar.get_ylim() == (0, 23)
    assert len(by_speaker.collections) == 3
    assert drawn(figure)
    three = answer_plots.tsne(x, values | {"valence": -np.arange(24.0)}, speakers)
    shown = [axes.get_title(loc="left") for axes in three.axes if axes.get_visible()]
    assert shown[:3] == [r"by \$arousal\$", "by valence", "by speaker"]


def test_speakers_without_a_ccc_have_a_place_and_no_dot() -> None:
    ccc = {"arousal": [-0.3, 0.2, None], "valence": [0.1, 0.3, None]}
    first, second = answer_plots.per_speaker(["a", "_b", "c"], ccc, {}, shares=False).axes
    assert np.asarray(first.lines[0].get_data()).tolist() == [[0, 1], [-0.3, 0.2]]
    assert first.get_ylim() == (pytest.approx(-0.35), 1)
    assert second.get_ylim() == (pytest.approx(-0.05), 1)
    assert first.texts[0].get_text() == " mean -0.05"
    assert [label.get_text() for label in second.get_xticklabels()] == ["a", " _b", "c"]
    assert second.get_xlim() == (-0.5, 2.5)
    nobody = answer_plots.per_speaker(["a"], {"arousal": [None]}, {}, shares=False)
    assert not nobody.axes[0].texts and drawn(nobody)


def test_shifts_stand_over_performance_with_their_correlation() -> None:
    people = [
        {"embedding": 2.0, "labels": {"arousal": 0.5}, "performance": {"arousal": 0.1}},
        {"embedding": None, "labels": {"arousal": 0.7}, "performance": {"arousal": 0.2}},
        {"embedding": 3.0, "labels": {"arousal": 0.9}, "performance": {"arousal": None}},
    ]
    r = {"r": -0.714, "low": -0.8, "high": -0.6, "n": 50}
    found = {"per_speaker": people, "correlations": {"arousal": {"embedding": r, "labels": None}}}
    left, right = answer_plots.shifts(found, "CCC").axes
    assert left.get_title(loc="left") == "r = -0.71 [-0.80 to -0.60]"
    assert right.get_title(loc="left") == "not measured"
    offsets = [np.ma.filled(axes.collections[0].get_offsets(), np.nan) for axes in (left, right)]
    np.testing.assert_allclose(offsets[0], [[2, 0.1], [np.nan, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(offsets[1], [[0.5, 0.1], [0.7, 0.2], [np.nan, np.nan]])
    assert (left.get_ylabel(), right.get_ylabel()) == ("CCC of the speaker", "")
    assert drawn(left.figure)  # pyright: ignore[reportArgumentType]
