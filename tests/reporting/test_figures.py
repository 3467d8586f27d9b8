"""Figures are written in their unit, with their interval, and say so where there is none."""

from __future__ import annotations

import pytest

from serene.reporting.figures import UNITS, duration, metric_name, short_name


def test_shares_are_percentages_and_a_ccc_is_not() -> None:
    figure = {"value": 0.6126, "low": 0.582, "high": 0.64149}
    assert UNITS["ua"].interval(figure) == "61.3 % [58.2 to 64.1]"
    assert UNITS["ccc"].interval(figure) == "0.613 [0.582 to 0.641]"
    assert UNITS["ua"].interval({"value": 0.5}) == "50.0 %"
    assert UNITS["ccc"].interval({"value": None, "low": None, "high": None}) == "none"


def test_a_figure_that_rounds_to_nothing_has_no_sign() -> None:
    assert [UNITS["ccc"].bare(value) for value in (-0.0002, 0.0, -0.0006, None)] == ["0.000", "0.000", "-0.001", "–"]


@pytest.mark.parametrize(
    ("key", "name", "short"),
    [
        ("ua", "UA, mean recall over classes", "UA"),
        ("macro_f1", "macro-F1", "macro-F1"),
        ("ccc_arousal", "CCC of arousal", "CCC of arousal"),
        ("ccc_my_own_of_speakers", "CCC of my_own, mean of speakers' own", "CCC of my_own"),
    ],
)
def test_every_metric_has_a_name(key: str, name: str, short: str) -> None:
    assert (metric_name(key), short_name(key)) == (name, short)


def test_a_time_is_written_in_the_unit_that_suits_it() -> None:
    assert [duration(seconds) for seconds in (59.6, 150, 4321)] == ["60 s", "2 min", "1 h 12 min"]
