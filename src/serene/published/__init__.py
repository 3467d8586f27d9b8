"""The papers' own figures as data, each with its source; none of them ever stands in for a figure of ours."""

from __future__ import annotations

from serene.published import brown, cold_start, gat2022, kang2023, tran2023, tu2019
from serene.published.table import Column, Derived, Figure, Picture, Row, Table, Upstream

TABLES = {**tu2019.TABLES, **gat2022.TABLES, **brown.TABLES, **kang2023.TABLES, **tran2023.TABLES, **cold_start.TABLES}

__all__ = ["TABLES", "Column", "Derived", "Figure", "Picture", "Row", "Table", "Upstream"]
