"""How pictures look: one ink, colours that colour-blind readers tell apart, quiet axes; and how one becomes a PNG.

All words and lines are drawn in `INK`, so that a page can recolour them, over a clear ground.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from serene.files import whole_file

INK = "#33383f"
BLUE = "#2a7fc1"  # of lines and dots
SHADE = "#135ea3"  # of fields, over a clear ground
# Okabe and Ito's colours, told apart by colour-blind readers as well; grey stands for their black
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c", "#b8a800")
MARKERS = "osD^vPX*"
DASHES = (0, (4, 3))  # of lines to compare with
ABREAST = 2  # fields of a picture beside each other
RESOLUTION = 150  # dots per inch of a PNG


def color_and_marker(place: int) -> dict[str, Any]:
    """Tell the groups of a picture apart twice: by colour and by shape."""
    return {"color": PALETTE[place % len(PALETTE)], "marker": MARKERS[place % len(MARKERS)]}


def plain(names: Iterable[str]) -> list[str]:
    """Keep matplotlib from reading a name as a formula, or as an entry that its legend hides."""
    return [(" " if name.startswith("_") else "") + name.replace("$", r"\$") for name in names]


def fields(many: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Lay out so many axes of this size in inches, two beside each other."""
    columns = min(many, ABREAST)
    rows = -(-many // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axes in places[many:]:
        axes.set_visible(False)
    return figure, places[:many]


def dress(axes: Axes, *, frame: bool = True, grid: Literal["x", "y"] = "y") -> None:
    """Draw axes in ink: a line to the left and below and a faint grid, or neither.

    Args:
        axes: what to dress.
        frame: whether there are lines at all.
        grid: the axis whose ticks the grid goes through, where there is a frame.
    """
    for side, spine in axes.spines.items():
        spine.set_visible(frame and side in ("left", "bottom"))
        spine.set_color(INK)
    axes.tick_params(which="both", colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    if frame:
        axes.grid(axis=grid, color=INK, alpha=0.12, lw=0.8)
        axes.set_axisbelow(True)
    else:
        axes.tick_params(length=0)


def legend(axes: Axes, **where: Any) -> None:
    """Name what is drawn, in ink and without a frame; `where` goes to matplotlib."""
    box = axes.legend(frameon=False, fontsize=9, handletextpad=0.4, columnspacing=1.2, **where)
    for text in box.get_texts():
        text.set_color(INK)


def dots(axes: Axes, plane: np.ndarray, kinds: Sequence[str], size: float = 22, *, counted: bool = False) -> None:
    """Draw places (dot, 2) in the colour and shape of what each is (dot,), named in a legend, maybe with its number."""
    for place, kind in enumerate(sorted(set(kinds))):
        own = plane[[one == kind for one in kinds]]
        label = plain([f"{kind} ({len(own)})" if counted else kind])[0]
        axes.scatter(own[:, 0], own[:, 1], s=size, alpha=0.8, linewidths=0, label=label, **color_and_marker(place))


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(png(figure))


def png(figure: Figure) -> bytes:
    """Draw a figure over white, the same bytes for the same figure."""
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font does not have
        figure.savefig(data, format="png", dpi=RESOLUTION, facecolor="white", metadata={"Software": None})
    return data.getvalue()


def shade(shares: np.ndarray) -> np.ndarray:
    """Turn shares (row, column) into one blue, the clearer the smaller: (row, column, 4). NaN is clear."""
    image = np.empty((*shares.shape, 4))
    image[..., :3] = to_rgb(SHADE)
    image[..., 3] = np.nan_to_num(0.04 + 0.96 * np.clip(shares, 0, 1), nan=0.0)
    return image
