"""How the report page says things: shares and other figures, counts and durations, and what the classes are called."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

Card = tuple[str, str, str]
"""What a figure is called, the figure, and what stands below it."""


def names_speakers(content: Mapping[str, Any]) -> bool:
    """Say whether the task is to name the speaker."""
    return content.get("target") == "speaker"


def classes_word(content: Mapping[str, Any]) -> str:
    """Say what the classes of a report are."""
    return "speakers" if names_speakers(content) else "emotions"


def interval(figure: Mapping[str, float]) -> str:
    """Write a figure with its interval, in percent."""
    return f"{percent(figure['value'])} [{points(figure['low'])} to {points(figure['high'])}]"


def with_interval(figure: Mapping[str, float]) -> str:
    """Say the interval of a figure, and its deviation over seeds."""
    spread = f"; deviation over seeds {points(figure['std'])}" if figure["std"] is not None else ""
    return f"95 % interval {points(figure['low'])} to {points(figure['high'])}{spread}"


def plain_interval(figure: Mapping[str, float | None]) -> str:
    """Write a figure that is no share, such as a CCC, with its interval."""
    return f"{number(figure['value'])} [{number(figure['low'])} to {number(figure['high'])}]"


def with_plain_interval(figure: Mapping[str, float | None]) -> str:
    """Say the interval of a figure that is no share, and its deviation over seeds."""
    spread = f"; deviation over seeds {number(figure['std'])}" if figure["std"] is not None else ""
    return f"95 % interval {number(figure['low'])} to {number(figure['high'])}{spread}"


def probe_card(content: Mapping[str, Any]) -> Card:
    """Give the speaker probe of test speakers, chance and majority below it."""
    probe = content["speaker_probe"] or {}
    beside = f"chance {percent(probe.get('chance'))}, majority {percent(probe.get('majority'))}"
    return "speaker probe, test speakers", percent(probe.get("accuracy")), beside


def bar(figure: Mapping[str, float]) -> str:
    """Draw a figure and its interval on a bar of 0 to 100 %."""
    low, value, high = (100 * min(max(figure[key], 0.0), 1.0) for key in ("low", "value", "high"))
    fill = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i><u style="left:{value:.1f}%"></u>'
    return f'<div class="bar">{fill}</div>'


def percent(share: float | None) -> str:
    """Write a share in percent."""
    return "not measured" if share is None else f"{100 * share:.1f}&nbsp;%"


def points(share: float | None) -> str:
    """Write a share as percentage points, where the unit is said elsewhere."""
    return "&ndash;" if share is None else f"{100 * share:.1f}"


def number(value: float | None) -> str:
    """Write a figure that is no share, such as a CCC."""
    return "&ndash;" if value is None else f"{round(value, 3) + 0.0:.3f}"  # no minus before 0


def count(how_many: int, what: str) -> str:
    """Write how many there are of something."""
    return f"{how_many} {what}{'' if how_many == 1 else 's'}"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min"
    )


def escaped(value: object) -> str:
    """Write anything as text of a page."""
    return html.escape(str(value))
