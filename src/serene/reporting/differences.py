"""Paired differences as a table: of classes in points, of dimensions as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serene.reporting.figures import SHARE, UNITS, Unit

DIFFERENCE_COLUMNS = ("run", "metric", "difference", "95 % interval", "p")


def heading(differences: Sequence[Mapping[str, Any]]) -> str:
    """Say what the differences are to, and in what."""
    points = ", in points" if _unit(differences[0]) is SHARE else ""
    return f"Differences to {differences[0]['against']}{points}"


def difference_rows(differences: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Give the rows of the table as text.

    Args:
        differences: as `serene.experiment.comparison.differences` gives them.
    """
    return [
        {
            "run": row["run"],
            "metric": row["metric"],
            "difference": _signed(row, "value"),
            "95 % interval": f"{_signed(row, 'low')} to {_signed(row, 'high')}",
            "p": f"{row['p']:.3f}",
        }
        for row in differences
    ]


def _signed(row: Mapping[str, Any], key: str) -> str:
    unit = _unit(row)
    return f"{unit.scale * row[key]:+.{unit.digits}f}"


def _unit(row: Mapping[str, Any]) -> Unit:
    return UNITS["ccc"] if row["metric"].startswith("ccc_") else SHARE
