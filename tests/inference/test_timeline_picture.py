"""A timeline's picture: areas over a strip of labels, or a line for each dimension; any number and any names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_timeline import made

from serene.inference import timeline as module
from serene.inference.emotion import Segment
from serene.inference.recognizer import Recognizer
from serene.inference.segments import merged
from serene.inference.timeline import Timeline
from serene.inference.timeline_file import write as write_timeline
from serene.inference.timeline_picture import MOST_POINTS, figure_of
from serene.task import Task


def test_the_picture_names_classes_and_segments_and_leaves_silence_blank() -> None:
    figure = figure_of(made("a" * 20 + "s" * 20 + "n" * 20))
    areas, strip = figure.axes
    assert [text.get_text() for text in areas.texts] == ["anger", "neutral"]
    assert [text.get_text() for text in strip.texts] == ["anger", "silence", "neutral"]
    assert areas.get_title(loc="left") == "a.wav"
    shapes = [area.get_paths()[0].vertices for area in areas.collections]
    # two stretches of speech with an area for each class, and the ground of what lies between
    assert [shape[:, 1].max() for shape in shapes] == pytest.approx([0.75, 1.0, 0.25, 1.0, 1.0])
    ends = [(shape[:, 0].min(), shape[:, 0].max()) for shape in shapes]
    assert ends == [(0, 21), (0, 21), (41, 62), (41, 62), (21, 41)]


def test_a_picture_of_dimensions_has_a_line_for_each(recognizer: Recognizer) -> None:
    figure = figure_of(made("anans", dimensions=True))
    assert all(0.2 < axes.get_ylim()[0] < axes.get_ylim()[1] < 0.8 for axes in figure.axes)
    assert [axes.get_ylabel() for axes in figure.axes] == ["anger", "neutral"]
    assert [axes.lines[0].get_ydata().tolist() for axes in figure.axes] == [
        [0.75, 0.75, 0.25, 0.75, 0.25, 0.25],
        [0.25, 0.25, 0.75, 0.25, 0.75, 0.75],
    ]


def test_a_long_picture_averages_neighbours() -> None:
    figure = figure_of(made("an" * 1500 + "s" * 1000))
    anger, _, _ = figure.axes[0].collections
    shape = anger.get_paths()[0].vertices
    assert len(np.unique(shape[:, 0])) <= MOST_POINTS + 2
    # five neighbours: three of one kind and two of the other
    assert {round(y, 3) for y in shape[:, 1]} == {0.0, 0.45, 0.55}
    assert shape[:, 0].max() == pytest.approx(3001, abs=5)


def test_any_number_of_classes_and_any_names_are_drawn(tmp_path: Path) -> None:
    labels = tuple(["$a_b$", "_hidden", *(f"class {i}" for i in range(18))])
    scores = dict.fromkeys(labels, 1 / 20)
    windows = (Segment(0.0, 0.5, labels[0], scores),)
    seen: Any = SimpleNamespace(folder=SimpleNamespace(task=Task(("anger", "neutral"))), abstain=None)
    emotion = module._whole(windows, merged(windows, 1.0), seen)
    line = Timeline("odd $name_.wav", Task(labels), 3.0, 1.0, windows, emotion)
    write_timeline(line, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    write_timeline(line, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
