"""Pictures of answers show the numbers they were given, and survive whatever people call their classes."""

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
