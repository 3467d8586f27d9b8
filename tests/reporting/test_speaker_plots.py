"""Pictures of speakers show everybody who was tested, whatever they are called, and what is not known of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from serene.reporting import speaker_plots

NAMES = ["anger", "$calm$", "_joy"]


def drawn(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=40)
    return data.getvalue()


def test_speakers_stand_in_the_order_given() -> None:
    recall = dict(zip(NAMES, ([0, 0.5, 1], [0.4, 0.5, 0.8], [0.2, 0.5, None]), strict=True))
    figure = speaker_plots.per_speaker(["_b", "c", "$a$"], {"UA": [0.2, 0.5, 0.9]}, recall, shares=True)
    top, bottom = figure.axes
    assert np.asarray(top.lines[0].get_ydata()).tolist() == [0.2, 0.5, 0.9]
    assert [label.get_text() for label in bottom.get_xticklabels()] == [" _b", "c", r"\$a\$"]
    image = np.asarray(bottom.images[0].get_array())
    assert image.shape == (3, 3, 4)
    assert image[0, 2, 3] == 1, "the best speaker's anger is fully recognised"
    assert image[2, 2, 3] == 0, "what a speaker never said is left clear"
    assert drawn(figure)


def test_many_speakers_lose_their_names_but_not_their_dots() -> None:
    n = speaker_plots.MOST_NAMES + 1
    ua, recall = {"UA": np.linspace(0, 1, n).tolist()}, dict.fromkeys(NAMES, [1.0] * n)
    figure = speaker_plots.per_speaker([f"s{i}" for i in range(n)], ua, recall, shares=True)
    assert len(figure.axes[0].lines[0].get_xdata()) == n
    assert not figure.axes[1].get_xticklabels()


def test_tsne_shows_the_same_four_speakers_twice() -> None:
    rng = np.random.default_rng(0)
    x, speakers = rng.normal(size=(60, 4)), [f"_{i % 6}" for i in range(60)]
    emotions = {"emotion": np.array([NAMES[i % 3] for i in range(60)])}
    x[:, 3] = 1.0
    figure = speaker_plots.tsne(x, emotions, speakers, seed=1)
    left, right = figure.axes
    assert len(right.collections) == 4
    assert len(left.collections) == 3
    count = [sum(len(np.asarray(dots.get_offsets())) for dots in axes.collections) for axes in (left, right)]
    assert count == [40, 40]
    legend = right.get_legend()
    assert legend is not None and len(legend.get_texts()) == 4
    again = speaker_plots.tsne(x, emotions, speakers, seed=1).axes[0].collections[0].get_offsets()
    assert np.array_equal(np.asarray(left.collections[0].get_offsets()), np.asarray(again))


def test_tsne_of_speakers_alone_is_one_picture() -> None:
    x, speakers = np.random.default_rng(0).normal(size=(30, 4)), ["a", "b", "c"] * 10
    (axes,) = speaker_plots.tsne(x, {}, speakers).axes
    assert len(axes.collections) == 3
    assert axes.get_title(loc="left") == "by speaker"


def test_tsne_does_not_lay_out_more_points_than_it_can_show(monkeypatch) -> None:
    monkeypatch.setattr(speaker_plots, "MOST_POINTS", 8)
    x = np.random.default_rng(0).normal(size=(60, 3))
    figure = speaker_plots.tsne(x, {"emotion": np.full(60, "anger")}, ["a", "b"] * 30)
    assert sum(len(np.asarray(dots.get_offsets())) for dots in figure.axes[0].collections) == 16


def test_values_are_laid_out_from_dark_to_light_with_a_bar_beside_the_speakers() -> None:
    rng = np.random.default_rng(0)
    x, speakers, values = rng.normal(size=(24, 3)), ["a", "b", "c"] * 8, {"$arousal$": np.arange(24.0)}
    figure = speaker_plots.tsne(x, values, speakers)
    field, by_speaker, bar = figure.axes
    assert [axes.get_title(loc="left") for axes in (field, by_speaker)] == [r"by \$arousal\$", "by speaker"]
    (dots,) = field.collections
    assert sorted(np.asarray(dots.get_array()).tolist()) == list(range(24))
    assert bar.get_ylim() == (0, 23)
    assert len(by_speaker.collections) == 3
    assert drawn(figure)
    three = speaker_plots.tsne(x, values | {"valence": -np.arange(24.0)}, speakers)
    shown = [axes.get_title(loc="left") for axes in three.axes if axes.get_visible()]
    assert shown[:3] == [r"by \$arousal\$", "by valence", "by speaker"]


def test_speakers_without_a_ccc_have_a_place_and_no_dot() -> None:
    ccc = {"arousal": [-0.3, 0.2, None], "valence": [0.1, 0.3, None]}
    first, second = speaker_plots.per_speaker(["a", "_b", "c"], ccc, {}, shares=False).axes
    assert np.asarray(first.lines[0].get_data()).tolist() == [[0, 1], [-0.3, 0.2]]
    assert first.get_ylim() == (pytest.approx(-0.35), 1)
    assert second.get_ylim() == (pytest.approx(-0.05), 1)
    assert first.texts[0].get_text() == " mean -0.05"
    assert [label.get_text() for label in second.get_xticklabels()] == ["a", " _b", "c"]
    assert second.get_xlim() == (-0.5, 2.5)
    nobody = speaker_plots.per_speaker(["a"], {"arousal": [None]}, {}, shares=False)
    assert not nobody.axes[0].texts and drawn(nobody)


def test_shifts_stand_over_performance_with_their_correlation() -> None:
    people = [
        {"embedding": 2.0, "labels": {"arousal": 0.5}, "performance": {"arousal": 0.1}},
        {"embedding": None, "labels": {"arousal": 0.7}, "performance": {"arousal": 0.2}},
        {"embedding": 3.0, "labels": {"arousal": 0.9}, "performance": {"arousal": None}},
    ]
    r = {"r": -0.714, "low": -0.8, "high": -0.6, "n": 50}
    found = {"per_speaker": people, "correlations": {"arousal": {"embedding": r, "labels": None}}}
    left, right = speaker_plots.shifts(found, "CCC").axes
    assert left.get_title(loc="left") == "r = -0.71 [-0.80 to -0.60]"
    assert right.get_title(loc="left") == "not measured"
    offsets = [np.ma.filled(axes.collections[0].get_offsets(), np.nan) for axes in (left, right)]
    np.testing.assert_allclose(offsets[0], [[2, 0.1], [np.nan, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(offsets[1], [[0.5, 0.1], [0.7, 0.2], [np.nan, np.nan]])
    assert (left.get_ylabel(), right.get_ylabel()) == ("CCC of the speaker", "")
    assert drawn(left.figure)  # pyright: ignore[reportArgumentType]
