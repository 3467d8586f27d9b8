"""The pictures of a corpus show the numbers they were given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from serene.reporting import corpus_plots
from serene.reporting.picture_style import png

HEAD = b"\x89PNG\r\n"


def bars(axes: Axes) -> dict[str, float]:
    labels = [label.get_text() for label in axes.get_yticklabels()]
    return dict(zip(labels, [bar.get_width() for bar in axes.patches], strict=True))  # pyright: ignore


def test_durations_beyond_the_limit_stand_apart() -> None:
    figure = corpus_plots.durations(np.array([1.0, 2.0, 2.02, 3.0, 3.01, 5.0]), 3.0)
    (axes,) = figure.axes
    within, beyond = (sum(bar.get_height() for bar in group) for group in axes.containers)
    assert (within, beyond) == (4, 2)
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([16.03 / 6, 3.0])
    assert [text.get_text().strip() for text in axes.texts] == ["mean 2.67 s", "33.3% are longer than 3 s"]
    assert png(figure).startswith(HEAD)


@pytest.mark.parametrize("seconds", [[2.0] * 5, [0.003], [0.5, 4000.0], [0.1 * n for n in range(1, 90)]])
def test_no_clip_is_lost_however_long_it_is(seconds: list[float]) -> None:
    figure = corpus_plots.durations(np.array(seconds), 3.0)
    (axes,) = figure.axes
    heights = [sum(bar.get_height() for bar in group) for group in axes.containers]
    assert sum(heights) == len(seconds)
    assert len(axes.containers[0]) <= corpus_plots.MOST_BARS + 1
    right = max(bar.get_x() + bar.get_width() for group in axes.containers for bar in group if bar.get_height())
    assert right <= axes.get_xlim()[1] * 1.01
    assert png(figure).startswith(HEAD)


def test_the_mean_is_named_on_its_outer_side() -> None:
    (axes,) = corpus_plots.durations(np.array([3.5, 4.5]), 3.0).axes
    assert [(t.get_text().strip(), t.get_ha()) for t in axes.texts] == [
        ("100.0% are longer than 3 s", "right"),
        ("mean 4.00 s", "left"),
    ]


def test_emotions_are_bars_with_number_and_share_the_first_on_top() -> None:
    figure = corpus_plots.emotions({"anger": 3, "$joy$": 1})
    (axes,) = figure.axes
    assert bars(axes) == {"anger": 3, r"\$joy\$": 1}
    assert [text.get_text() for text in axes.texts] == ["3 (75.0%)", "1 (25.0%)"]
    assert axes.yaxis_inverted()
    assert png(figure).startswith(HEAD)


def test_people_are_counted_as_speakers_and_as_clips_in_one_order() -> None:
    figure = corpus_plots.people({"male": 3, "female": 2}, {"female": 2000, "male": 500})
    left, right = figure.axes
    assert bars(left) == {"male": 3, "female": 2}
    assert [bar.get_width() for bar in right.patches] == [500, 2000]  # pyright: ignore
    assert [text.get_text() for text in right.texts] == ["500 (20.0%)", "2,000 (80.0%)"]
    assert (left.get_xlabel(), right.get_xlabel()) == ("5 speakers", "2,500 clips")
    assert png(figure).startswith(HEAD)


def test_voices_are_dots_of_their_kind_and_few_have_names() -> None:
    points = np.array([[0.0, 1.0, 9.0], [2.0, 3.0, 9.0], [4.0, 5.0, 9.0]])
    figure = corpus_plots.voices(points, [0.5, 0.25, 0.25], ["b", "_a", "b"], ["x", "$y", "z"])
    (axes,) = figure.axes
    assert [np.asarray(dots.get_offsets()).tolist() for dots in axes.collections] == [[[2, 3]], [[0, 1], [4, 5]]]
    shown = axes.get_legend()
    assert shown is not None
    assert [text.get_text() for text in shown.get_texts()] == [" _a (1)", "b (2)"]
    assert [text.get_text() for text in axes.texts] == ["x", r"\$y", "z"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("first component, 50% of the variance", "second component, 25%")
    assert png(figure).startswith(HEAD)
    many = corpus_plots.MOST_NAMED + 1
    plane = np.random.default_rng(0).normal(size=(many, 2))
    (axes,) = corpus_plots.voices(plane, [0.6, 0.4], ["a"] * many, [str(n) for n in range(many)]).axes
    assert not axes.texts


def test_the_same_picture_is_the_same_bytes_and_foreign_scripts_do_not_warn() -> None:
    first, second = (png(corpus_plots.emotions({"愤怒": 1})) for _ in range(2))
    assert first == second
