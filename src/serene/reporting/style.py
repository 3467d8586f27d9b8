"""How pages and pictures look: style sheet, frame, tables; one ink, colours for colour-blind readers, quiet axes.

A page is printable, and light or dark by the reader's setting. All words and lines of a picture are drawn in `INK`, so
that a page can recolour them, over a clear ground.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
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

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --panel: #f5f7f9; --ink: #1f252c; --soft: #5d6772;
  --line: #dde2e7; --accent: #1769aa; --warn: #8a5300; --warn-ground: #fff5e0; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181c; --panel: #1d2329; --ink: #e4e8ec; --soft: #9aa5b0;
  --line: #333c45; --accent: #6db3ec; --warn: #f0c070; --warn-ground: #33291a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.5rem 5rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.45rem; margin: 0 0 .2rem; letter-spacing: -.01em; }
h3 { font-size: 1.05rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 48rem; }
a { color: var(--accent); }
section { margin-top: 3.2rem; padding-top: 2rem; border-top: 1px solid var(--line); }
.soft { color: var(--soft); font-size: .92rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.card { background: var(--panel); border-radius: .6rem; padding: .9rem 1rem; }
.card b { display: block; font-size: 1.75rem; font-weight: 650; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card .name { font-size: .82rem; color: var(--soft); }
.card .more { font-size: .85rem; color: var(--soft); line-height: 1.4; }
.stamps { list-style: none; margin: 1rem 0; padding: .7rem 1rem; border-left: 4px solid var(--warn);
  background: var(--warn-ground); border-radius: 0 .5rem .5rem 0; }
.stamps li { margin: .15rem 0; color: var(--warn); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; font-size: .9rem; }
th, td { text-align: right; padding: .38rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; line-height: 1.25; }
th { font-weight: 600; color: var(--soft); font-size: .84rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.summary { width: 100%; }
.summary td:first-child { white-space: normal; min-width: 12rem; }
.bar { position: relative; width: 9rem; height: 1rem; margin-left: auto; background: var(--panel);
  border-radius: .2rem; }
.bar i { position: absolute; top: .3rem; height: .4rem; border-radius: .2rem; background: var(--accent); opacity: .4; }
.bar u { position: absolute; top: .1rem; height: .8rem; width: 3px; margin-left: -1.5px; background: var(--accent); }
svg { display: block; width: 100%; height: auto; margin: .3rem 0 .6rem; }
details { margin: .7rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { background: var(--panel); border-radius: .5rem; padding: .9rem 1rem; overflow-x: auto; font-size: .83rem;
  line-height: 1.45; }
@media print { body { max-width: none; padding: 0; } section { break-before: page; } }
"""

FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def page(title: str, body: str) -> str:
    """Make a page that needs nothing else; the title is no HTML, the body is."""
    return FRAME.format(title=escaped(title), style=STYLE, body=body.replace(" %", "&nbsp;%"))


def escaped(value: object) -> str:
    """Write anything as text of a page."""
    return html.escape(str(value))


def soft(text: str) -> str:
    """Make a note of what is HTML already."""
    return f'<p class="soft">{text}</p>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Make a table of cells that are HTML already, below names that are not."""
    names = "".join(f"<th>{escaped(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table{kind}><tr>{names}</tr>{lines}</table></div>'


def svg(figure: Figure, name: str) -> str:
    """Draw a figure as an `<svg>` element that refers to nothing outside itself.

    Its words take the page's fonts, and what is drawn in `INK` the page's colour. The name is unique on the page: the
    parts of the picture that refer to each other are named after it.
    """
    data = io.StringIO()
    nameless = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's fonts have what the layout's has not
        figure.savefig(data, format="svg", transparent=True, metadata=nameless)
    picture = data.getvalue()
    picture = re.sub(r' xmlns(:xlink)?="[^"]*"', "", picture[picture.index("<svg") :])
    picture = re.sub(r'(<svg[^>]*?) width="([\d.]+)pt" height="[^"]*"', r'\1 style="max-width: \2pt"', picture, count=1)
    for mark in ('id="', "url(#", 'href="#'):
        picture = picture.replace(mark, f"{mark}{name}-")
    return picture.replace(INK, "currentColor")


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
    """Draw axes in ink: a line to the left and below and a faint grid through one axis' ticks, or neither."""
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
    """Draw places (dot, 2) in the colour and shape of what each is (dot,), named for a legend, maybe with number."""
    for place, kind in enumerate(sorted(set(kinds))):
        own = plane[[one == kind for one in kinds]]
        label = plain([f"{kind} ({len(own)})" if counted else kind])[0]
        color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        axes.scatter(*own[:, :2].T, s=size, alpha=0.8, linewidths=0, label=label, color=color, marker=marker)


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
