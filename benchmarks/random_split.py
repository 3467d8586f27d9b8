"""The first picture of the docs: the same network under a random split of clips and on unseen speakers.

python benchmarks/random_split.py  draws it from the archives under `results/`, in two themes, and writes its table

The random splits were trained by `serene train recipes/tu2019/CORPUS.yaml:ser_only corpus.path=FOLDER` and what
`RANDOM` overrides (on an Intel Xeon; the others on an AMD EPYC), and archived by
`serene leaderboard runs -o results/random_split`.
"""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from page import put
from serene.experiment.archive import ARCHIVE, unpack

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "index.md"
PART = "random split"
CORPORA = {"emodb": "EmoDB (2 s), 10 speakers, 7 emotions", "ravdess": "RAVDESS, 24 speakers, 8 emotions"}
RANDOM = {  # as many clips in each part as the folds of unseen speakers have
    "emodb": "protocol={name: random_speaker_dependent, train: 0.6, validation: 0.2, test: 0.2, repeats: 5}",
    "ravdess": "protocol={name: random_speaker_dependent, train: 0.666667, validation: 0.166667, test: 0.166666, "
    "repeats: 6}",
}
ROWS = {  # archive and recipe -> who is tested
    ("random_split", "ser_only"): "random split of clips:\ntest speakers also train",
    ("tu2019", "ser_only"): "unseen speakers",
    ("tu2019", "ser_only_enrolled"): "unseen speakers, enrolled\nwith all of their\nunlabelled clips",
}
INK = {"light": "#26272d", "dark": "#e2e4ec"}
COLOURS = ("#d2573f", "#4f6bd8", "#3a9d75")


@functools.cache
def reports(folder: str) -> dict[str, dict[str, Any]]:
    """Read the reports of an archive, by run."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack(ROOT / "results" / folder / ARCHIVE, Path(scratch))
        return {path.parent.name: json.loads(path.read_text()) for path in Path(scratch).glob("*/report.json")}


def report(row: tuple[str, str], corpus: str) -> dict[str, Any]:
    """Give the one report of a row on a corpus."""
    folder, recipe = row
    (found,) = (r for name, r in reports(folder).items() if name.startswith(f"tu2019-{corpus}-{recipe}-"))
    return found


def percent(of: dict[str, Any]) -> tuple[float, float, float]:
    """Give UA and the ends of its interval in per cent."""
    ua = of["metrics"]["ua"]
    return 100 * ua["value"], 100 * ua["low"], 100 * ua["high"]


def table() -> str:
    """Write the figures of the picture as Markdown."""
    lines = [f"| UA %, splits x seeds | {' | '.join(CORPORA.values())} |", "|---|" + "---|" * len(CORPORA)]
    for row, what in ROWS.items():
        found = [report(row, corpus) for corpus in CORPORA]
        trained = [f"{len(of['folds'])} x {len(of['seeds'])}" for of in found]
        cells = [
            "{:.1f} [{:.1f} to {:.1f}]".format(*percent(of)) + f", {n}" for of, n in zip(found, trained, strict=True)
        ]
        lines.append(f"| {' '.join(what.split())} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(theme: str) -> Path:
    """Draw the picture in the ink of a theme, on transparent ground."""
    ink = INK[theme]
    style = {"svg.hashsalt": "serene", "font.size": 11, "text.color": ink, "xtick.color": ink, "ytick.color": ink}
    with pyplot.rc_context(style):
        figure, panels = pyplot.subplots(1, len(CORPORA), figsize=(9.6, 2.9), sharey=True)
        for panel, (corpus, title) in zip(panels, CORPORA.items(), strict=True):
            for place, row in enumerate(ROWS):
                value, low, high = percent(report(row, corpus))
                panel.barh(-place, value, height=0.56, color=COLOURS[place], alpha=0.85)
                panel.plot([low, high], [-place, -place], color=ink, linewidth=1.6)
                panel.text(high + 1.5, -place, f"{value:.1f} %", va="center", fontweight="bold")
            panel.set_title(title, loc="left", fontsize=11, color=ink)
            panel.set_xlim(0, 100)
            panel.set_xlabel("UA in %", color=ink)
            panel.tick_params(length=0)
            panel.spines[:].set_visible(False)
            panel.set_yticks([-place for place in range(len(ROWS))], list(ROWS.values()))
        figure.tight_layout()
        path = ROOT / "docs" / "images" / f"random-split-{theme}.svg"
        figure.savefig(path, transparent=True, metadata={"Date": None})
        pyplot.close(figure)
    return path


def main() -> None:
    """Draw the picture and put its table between the markers of the page."""
    for theme in INK:
        draw(theme)
    put(PAGE, {PART: table()})


if __name__ == "__main__":
    main()
