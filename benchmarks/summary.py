"""The tables of the results, written from what is kept under `results/`, so that no figure in them is typed by hand.

python benchmarks/summary.py          print them
python benchmarks/summary.py --write  put them between the markers of results/README.md, and the first into the README
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from page import put
from serene.experiment.archive import ARCHIVE, members

ROOT = Path(__file__).parents[1]
PART = "results"
PAGES = (("README.md", 1), ("results/README.md", None))  # how many of the tables each quotes; all for None
CORPORA = {
    "emodb": ("EmoDB (2 s), 7 emotions, 5 speaker folds", "emodb"),
    "ravdess": ("RAVDESS, 8 emotions, 6 folds of 4 actors", "ravdess"),
    "crema_d": ("CREMA-D, 6 intended emotions, the first of 5 speaker folds", "crema_d_fold1"),
}
PAPERS = {  # folder of results -> the paper's systems by recipe
    "tu2019": {
        "ser_only": "SER-only",
        "mtl": "MTL",
        "dat": "DAT",
        "cgt": "CGT",
        "ser_only_enrolled": "SER-only, standardised by speaker",
        "dat_enrolled": "DAT, standardised by speaker",
    },
    "gat2022": {"baseline": "baseline", "tap": "TAP", "snp": "SNP"},
    "kang2023": {
        "none": "no mixup",
        "conventional": "conventional mixup",
        "label_adaptive": "label-adaptive mixup",
        "none_centre": "no mixup, centre loss",
        "conventional_centre": "conventional mixup, centre loss",
        "label_adaptive_centre": "label-adaptive mixup, centre loss",
    },
}
TITLES = {
    "tu2019": "Tu et al. 2019 and openSMILE",
    "gat2022": "Gat et al. 2022, lambda from 0",
    "kang2023": "Kang et al. 2023",
}
ADAPTED = {  # Tran et al. 2023: recipe -> system
    "vanilla": "no adaptive pre-training",
    "tapt": "TAPT",
    "papt": "PAPT",
}
UNSEEN, TRAINING = "speaker probe, unseen speakers %", "speaker probe, training speakers %"
RATED = ("system", "overall CCC [95 % interval]", "mean CCC of speakers [95 % interval]", "folds x seeds", UNSEEN)
HEAD = ("system", "UA % [95 % interval]", "WA %", "folds x seeds", UNSEEN, TRAINING)
ENROLLED = "enrolled with all of each test speaker's clips, unlabelled"


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        enrolled: whether with the test speakers' unlabelled clips.
        folds: how many were run.
        cells: as `HEAD` names them.
    """

    enrolled: bool
    folds: int
    cells: tuple[str, ...]


def tables() -> list[str]:
    """Write a table for each paper and corpus, and one more for systems that are enrolled with unlabelled clips."""
    found = []
    for paper, title in TITLES.items():
        for corpus, (name, classical) in CORPORA.items():
            lines = list(_ours(paper, corpus))
            if paper == "tu2019":
                lines += _classical(classical)
            most = max((line.folds for line in lines), default=0)
            for enrolled, folds in sorted({(li.enrolled, li.folds) for li in lines}, key=lambda k: (k[0], -k[1])):
                chosen = [line.cells for line in lines if (line.enrolled, line.folds) == (enrolled, folds)]
                heading = f"{name}: {title}"
                heading += f"; {ENROLLED}" if enrolled else ""
                part = f"; the first {folds} folds only, not to be compared with rows of {most}"
                found.append(f"**{heading}{part if folds < most else ''}**\n\n{markdown(chosen)}")
    return found


def adapted() -> str:
    """Write what adaptive pre-training and calibration give, of expressed intensity on CREMA-D."""
    rows = []
    for row, system in ADAPTED.items():
        for suffix, more in (("", ""), ("_pldc", ", PLDC")):
            for _, report in _of_recipe("tran2023", f"tran2023-crema_d-{row}{suffix}"):
                overall, people = (report["metrics"][f"ccc_expressed_intensity{of}"] for of in ("", "_of_speakers"))
                found = against(report["speaker_probe"])
                rows.append((system + more, _ccc(overall), _ccc(people), trained(report), found))
    title = (
        "**CREMA-D, expressed intensity, the first of 5 speaker folds: Tran et al. 2023, a small HuBERT; all "
        f"{ENROLLED}**"
    )
    return f"{title}\n\n{markdown(rows, RATED)}"


def bundled() -> str:
    """Give what `benchmarks/bundle.py` wrote of the model that comes with the package."""
    text = (ROOT / "results" / "bundled" / "beside.md").read_text()
    return f"**CREMA-D, 6 intended emotions, 5 speaker folds: the bundled model and openSMILE**\n\n{text}"


def _ccc(metric: Mapping[str, Any]) -> str:
    return f"{metric['value']:.3f} [{metric['low']:.3f} to {metric['high']:.3f}]"


def own_speakers() -> str:
    """Write what fresh probes read of the very speakers that the adversaries of Gat et al.'s methods learnt."""
    probed = json.loads((ROOT / "results" / "gat2022" / "own_speakers.json").read_text())
    rows = []
    for row, system in sorted(PAPERS["gat2022"].items()):
        for run, report in _of_recipe("gat2022", f"gat2022-crema_d-{row}"):
            found = probed[run]
            figures = (found["linear"]["mean"], found["nonlinear"]["mean"], found["eer"])
            rows.append((system + _step(report["method"]), *(f"{100 * figure:.1f}" for figure in figures)))
    title = "**speechocean762's 250 speakers, whom TAP and SNP should unlearn: how many fresh probes still name**"
    return f"{title}\n\n{markdown(rows, ('system', 'linear probe %', 'non-linear probe %', 'equal-error rate %'))}"


def quoted(count: int | None) -> str:
    """Give the first so many tables as one text."""
    return "\n".join([bundled(), *tables()[:count], *([adapted(), own_speakers()] if count is None else [])])


@functools.cache
def _reports(paper: str) -> dict[str, dict[str, Any]]:
    """Give the report of each run in a paper's archive, with its recipe's `method`."""
    files = members(ROOT / "results" / paper / ARCHIVE)
    found = {name.partition("/")[0]: json.loads(text) for name, text in files if name.endswith("/report.json")}
    return {run: report | {"method": yaml.safe_load(report["recipe"])["method"]} for run, report in found.items()}


def _of_recipe(paper: str, recipe: str) -> list[tuple[str, dict[str, Any]]]:
    """Give the runs of a recipe and their reports, by method and step."""
    found = [(run, report) for run, report in _reports(paper).items() if report["title"] == recipe]
    return sorted(found, key=lambda own: (own[1]["method"]["name"], own[1]["method"].get("step", 0.0)))


def _ours(paper: str, corpus: str) -> Iterator[Line]:
    for row, system in PAPERS[paper].items():
        for _, report in _of_recipe(paper, f"{paper}-{corpus}-{row}"):
            found, metrics = report["speaker_probe"], report["metrics"]
            cells = (
                f"TDNN-BiLSTM, {system}{_step(report['method'])}",
                interval(metrics["ua"]),
                f"{100 * metrics['wa']['value']:.1f}",
                trained(report),
                against(found),
                against(found["train_speakers"]),
            )
            yield Line(report["saw_unlabelled_test_audio"], len(report["folds"]), cells)


def trained(report: Mapping[str, Any]) -> str:
    """Count folds and seeds."""
    return f"{len(report['folds'])} x {len(report['seeds'])}"


def _step(method: Mapping[str, Any]) -> str:
    """Tell apart the rows of one recipe by the step against the speaker."""
    if method["name"] == "speaker_confusion":
        return f" by confusion, step {method['step']:g}"
    return f", lambda {method['step']:g}" if method["name"] == "speaker_normalization" else ""


def _classical(folder: str) -> Iterator[Line]:
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
        cells = (name, interval(metrics["ua"]), f"{100 * metrics['wa']['value']:.1f}", folds, "", "")
        yield Line(row["saw_unlabelled_test_audio"], len(table["folds"]), cells)


def interval(metric: Mapping[str, Any]) -> str:
    """Write a share in per cent with its interval."""
    return f"{100 * metric['value']:.1f} [{100 * metric['low']:.1f} to {100 * metric['high']:.1f}]"


def against(probe: Mapping[str, Any] | None) -> str:
    """Write how many speakers a probe names, and what chance is."""
    return "" if not probe else f"{100 * probe['accuracy']:.1f} (chance {100 * probe['chance']:.0f})"


def markdown(rows: list[tuple[str, ...]], head: tuple[str, ...] = HEAD) -> str:
    """Write a table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> None:
    """Print the tables, or write them into the pages."""
    if "--write" not in sys.argv:
        sys.stdout.write(quoted(None))
        return
    for page, count in PAGES:
        put(ROOT / page, {PART: quoted(count)})


if __name__ == "__main__":
    main()
