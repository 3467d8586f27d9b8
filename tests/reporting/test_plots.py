"""The pictures show the numbers they were given, and survive whatever people call their speakers."""

from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from serene.reporting import plots

NAMES = ["anger", "$calm$", "_joy"]


def drawn(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=40)
    return data.getvalue()


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_learning_curves_draw_the_mean_of_the_trainings() -> None:
    logs = [
        [
            {"epoch": 1, "emotion/emotion": 2.0, "validation_ua": 0.4, "seconds": 9},
            {"epoch": 2, "emotion/emotion": 1.0},
        ],
        [{"epoch": 1, "emotion/emotion": 4.0, "validation_ua": 0.6, "seconds": 9}],
    ]
    left, right = plots.learning_curves(logs).axes
    (loss,), (ua,) = left.lines, right.lines
    assert np.asarray(loss.get_data()).tolist() == [[1, 2], [3.0, 1.0]]
    assert np.asarray(ua.get_data()).tolist() == [[1], [0.5]]
    assert (loss.get_label(), ua.get_label()) == ("emotion", "validation UA")


def test_learning_curves_of_more_measures_than_colours_and_of_none() -> None:
    row = {"epoch": 1, **{f"term{i}": 1.0 for i in range(12)}}
    assert drawn(plots.learning_curves([[row]]))
    assert drawn(plots.learning_curves([]))


def test_what_agrees_goes_to_the_right_on_a_scale_of_its_own() -> None:
    rows = [{"epoch": e, "emotion/emotion": 1.0, "validation_ccc": -0.2 + 0.1 * e} for e in (1, 2, 3)]
    left, right = plots.learning_curves([rows]).axes
    assert [line.get_label() for line in left.lines] == ["emotion"]
    assert [line.get_label() for line in right.lines] == ["validation CCC"]
    assert right.get_ylim() == (pytest.approx(-0.1), 1)
    assert right.get_title(loc="left") == "agreement (CCC)"
    _, right = plots.learning_curves([[row | {"speaker/accuracy": 0.5} for row in rows]]).axes
    assert right.get_title(loc="left") == "agreement (CCC) and shares recognised"


def names_at_ends(axes: Axes) -> dict[str, tuple[float, float]]:
    """Give what is written beside the lines: name -> the point it belongs to."""
    return {text.get_text(): text.xy for text in axes.texts}  # pyright: ignore[reportAttributeAccessIssue]


def test_curves_stand_where_their_numbers_say_and_are_named_at_their_ends() -> None:
    lines: dict[str, plots.Line] = {
        "$a$": ([1, 2, 4], [0.2, 0.3, 0.5], [0.1, 0.2, 0.4], [0.3, 0.4, 0.6]),
        "b": ([1, 2], [0.6, 0.7], None, None),
    }
    figure = plots.curves(lines, "clips", "UA")
    (axes,) = figure.axes
    assert [np.asarray(line.get_data()).tolist() for line in axes.lines] == [
        [[1, 2, 4], [0.2, 0.3, 0.5]],
        [[1, 2], [0.6, 0.7]],
    ]
    (band,) = axes.collections
    corners = {tuple(np.round(corner, 9)) for corner in band.get_paths()[0].vertices}
    assert corners >= {(1, 0.1), (2, 0.2), (4, 0.4), (1, 0.3), (2, 0.4), (4, 0.6)}
    assert names_at_ends(axes) == {r"\$a\$": (4, 0.5), "b": (2, 0.7)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("clips", "UA")
    assert drawn(figure)
    assert [t.get_text() for t in axes.get_yticklabels()][1:3] == ["10%", "20%"]


def test_places_that_are_words_stand_behind_the_numbers_in_even_steps() -> None:
    lines: dict[str, plots.Line] = {
        "few": ([0, 10, "all"], [0.1, 0.2, 0.3], None, None),
        "more": ([0, 1, 10, 100, "all"], [0.1, 0.2, 0.3, 0.4, 0.5], None, None),
    }
    (axes,) = plots.curves(lines, "clips", "UA").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "10", "100", "all"]
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[0, 2, 4], [0, 1, 2, 3, 4]]


def test_a_logarithmic_axis_is_marked_at_its_places() -> None:
    figure = plots.curves({"a": ([1, 5, 25], [1.5, 1.0, 0.5], None, None)}, "x", "loss", log_x=True, percent=False)
    assert drawn(figure)
    (axes,) = figure.axes
    assert (axes.get_xscale(), [label.get_text() for label in axes.get_xticklabels()]) == ("log", ["1", "5", "25"])
    assert not any("%" in label.get_text() for label in axes.get_yticklabels())


def test_names_of_lines_that_end_together_do_not_cover_each_other() -> None:
    lines: dict[str, plots.Line] = {f"line {i}": ([0, 1], [0.1 * i, 0.5], None, None) for i in range(6)}
    figure = plots.curves(lines, "x", "UA")
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = sorted((Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0)
    assert len(boxes) == 6
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))


def test_running_mean_and_spread_by_hand() -> None:
    values = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    means = []
    for i in range(6):
        around = [values[j] for j in range(6) if abs(i - j) <= 1]
        means.append(sum(around) / len(around))
    assert plots.running_mean(values, 3) == pytest.approx(means)
    squares = [(values[i] - means[i]) ** 2 for i in (3, 4, 5)]
    assert plots.spread(values, 3) == pytest.approx(math.sqrt(sum(squares) / 3))


def test_training_accuracy_of_each_batch_with_its_spread() -> None:
    values = [0.1, 0.5, 0.3, 0.7]
    figure = plots.per_batch({"base": values, "calm": [0.4] * 4}, window=3)
    (axes,) = figure.axes
    assert [np.asarray(line.get_data()).tolist() for line in axes.lines[:2]] == [
        [[1, 2, 3, 4], values],
        [[1, 2, 3, 4], plots.running_mean(values, 3).tolist()],
    ]
    assert axes.lines[0].get_linewidth() < axes.lines[1].get_linewidth()
    # last half: 0.3 lies 0.2 below the mean of 0.5, 0.3 and 0.7, and 0.7 lies 0.2 above that of 0.3 and 0.7
    assert list(names_at_ends(axes)) == ["calm ± 0.0 points", "base ± 20.0 points"]
    assert drawn(figure)
