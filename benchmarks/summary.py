"""The README's results, written from the files under `results/`, so that no figure in it is typed by hand.

python benchmarks/summary.py          print the tables
python benchmarks/summary.py --write  put them between the README's markers
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from serene.files import write_text

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- results -->", "<!-- /results -->"
CORPORA = {
    "emodb": ("EmoDB (2 s), 7 emotions, 5 speaker folds", ("emodb",)),
    "ravdess": ("RAVDESS, 8 emotions, 6 folds of 4 actors", ("ravdess",)),
    "crema_d": ("CREMA-D, 6 intended emotions, the first of 5 speaker folds", ("crema_d_fold1",)),
}
SYSTEMS = {
    "ser_only": "TDNN-BiLSTM, SER-only",
    "mtl": "TDNN-BiLSTM, MTL",
    "dat": "TDNN-BiLSTM, DAT",
    "cgt": "TDNN-BiLSTM, CGT",
    "ser_only_enrolled": "TDNN-BiLSTM, SER-only, standardised by speaker",
    "dat_enrolled": "TDNN-BiLSTM, DAT, standardised by speaker",
}
HEAD = ("system", "UA % [95 % interval]", "WA %", "folds x seeds", "leak, strangers %", "leak, training speakers %")


def tables() -> str:
    """Write the tables of every corpus: first what hears one clip at a time, then what hears the speaker's others."""
    parts = []
    for corpus, (title, classical) in CORPORA.items():
        rows = [*_ours(corpus), *(row for folder in classical for row in _classical(folder))]
        most = max(folds for _, folds, _ in rows)
        for heard, folds in sorted({(heard, folds) for heard, folds, _ in rows}, key=lambda k: (k[0], -k[1])):
            chosen = [cells for own_heard, own_folds, cells in rows if (own_heard, own_folds) == (heard, folds)]
            heading = title + ("; hearing all of the test speaker's clips, unlabelled" if heard else "")
            heading += f"; the first {folds} folds only, not to be compared with rows of {most}" if folds < most else ""
            parts.append(f"**{heading}**\n\n{_markdown(chosen)}")
    return "\n".join(parts)


def _ours(corpus: str) -> Iterator[tuple[bool, int, tuple[str, ...]]]:
    for row, system in SYSTEMS.items():
        for path in sorted(ROOT.glob(f"results/tu2019/runs/tu2019-{corpus}-{row}-*/report.json")):
            report = json.loads(path.read_text())
            leak = report["leak"]
            yield (
                report["saw_unlabelled_test_audio"],
                len(report["folds"]),
                (
                    system,
                    _interval(report["metrics"]["ua"]),
                    f"{100 * report['metrics']['wa']['value']:.1f}",
                    f"{len(report['folds'])} x {len(report['seeds'])}",
                    _against(leak),
                    _against(leak["train_speakers"]),
                ),
            )


def _classical(folder: str) -> Iterator[tuple[bool, int, tuple[str, ...]]]:
    path = ROOT / "results" / "classical" / folder / "table.json"
    if not path.exists():
        return
    table = json.loads(path.read_text())
    for row in table["rows"]:
        name = f"{row['features']}, linear SVM" + (
            "" if row["normalisation"] == "plain" else ", standardised by speaker"
        )
        metrics = row["metrics"]
        folds = f"{len(table['folds'])} x 1"
        cells = (name, _interval(metrics["ua"]), f"{100 * metrics['wa']['value']:.1f}", folds, "", "")
        yield row["saw_unlabelled_test_audio"], len(table["folds"]), cells


def _interval(metric: Mapping[str, Any]) -> str:
    return f"{100 * metric['value']:.1f} [{100 * metric['low']:.1f} to {100 * metric['high']:.1f}]"


def _against(leak: Mapping[str, Any] | None) -> str:
    return "" if not leak else f"{100 * leak['accuracy']:.0f} (chance {100 * leak['chance']:.0f})"


def _markdown(rows: list[tuple[str, ...]]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> None:
    """Print the tables, or write them into the README."""
    if "--write" not in sys.argv:
        sys.stdout.write(tables())
        return
    readme = (ROOT / "README.md").read_text()
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(ROOT / "README.md", f"{before}{BEGIN}\n{tables()}\n{END}{after}")


if __name__ == "__main__":
    main()
