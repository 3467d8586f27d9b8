"""The tables and pictures of docs/findings.md, from what is kept under `results/`: no figure in them is typed by hand.

python benchmarks/findings.py          print the tables
python benchmarks/findings.py --write  put them between the markers of the page, and draw the pictures
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from page import put
from serene.evaluation.metrics import area_under_curve
from serene.experiment.archive import ARCHIVE, members, unpack
from serene.experiment.run import Run
from serene.experiment.run_report import COLD_START, report_of
from serene.reporting.figures import UNITS
from serene.reporting.plots import Line, curves
from serene.reporting.style import BLUE, DASHES, INK, PALETTE, dress, fields, save
from summary import ROOT, UNSEEN, against, interval, markdown, trained

RESULTS = ROOT / "results" / "whisper"
PAGE = ROOT / "docs" / "findings.md"
PICTURES = ROOT / "docs" / "images" / "findings"
CORPORA = {"crema_d": "CREMA-D", "ravdess": "RAVDESS", "emodb": "EmoDB (2 s)"}
PARTS = {  # of the picture of layers: column -> what its line is called
    "UA": "emotion, unseen speakers",
    "UA enrolled": "emotion, speakers enrolled",
    "speaker": "speaker",
}
HEAD = ("validation", "folds x seeds", UNSEEN, "training speakers %")
MEASURES = {
    "ua": "UA",
    "ccc_expressed_intensity": "CCC",
    "ccc_expressed_intensity_of_speakers": "mean CCC of a speaker",
}
WHISPER = "gat2022-whisper_ravdess-"


@dataclass(frozen=True)
class Question:
    """What the page asks, and the runs that answer.

    Attributes:
        title: of the picture.
        systems: title of a run -> what it is called.
        metric: of the report.
    """

    title: str
    systems: Mapping[str, str]
    metric: str = "ua"


QUESTIONS = {
    "heads": Question(
        "Whisper base at rest: layers and heads",
        {
            f"whisper-{corpus}-{row}": f"{name}: {system}"
            for corpus, name in CORPORA.items()
            for row, system in (
                ("layer_2", "layer 2, linear"),
                ("layer_3", "layer 3, linear"),
                ("layer_4", "layer 4, linear"),
                ("layer_3_head", "layer 3, hidden layer"),
                ("layer_4_head", "layer 4, hidden layer"),
                ("attentive_head", "layer 4, attentive pooling"),
            )
        },
    ),
    "normalisation": Question(
        "RAVDESS: the speaker normalised",
        {
            f"{WHISPER}{row}": system
            for row, system in (
                ("baseline", "nothing (baseline)"),
                ("projector", "projector, no step (SNP, λ = 0)"),
                *((f"snp_1e-{n}", f"SNP, λ = 1e-{n}") for n in (4, 3, 2, 1)),
                ("confusion", "confusion loss"),
                ("whitened_10", "whitened by training speakers"),
                ("whitened_100", "the same, ten times as strongly"),
                ("whitened_elsewhere", "whitened by speechocean762's"),
            )
        },
    ),
    "fine_tuned": Question(
        "RAVDESS: the last two of three layers free",
        {
            f"{WHISPER}{row}": system
            for row, system in (
                ("two_layers", "fine-tuned alone (TAP, λ = 0)"),
                *((f"tap_1e-{n}", f"TAP, λ = 1e-{n}") for n in (4, 3, 2, 1)),
            )
        },
    ),
    "adversaries": Question(
        "RAVDESS: Tu et al.'s training modes on a projector",
        {
            f"tu2019-whisper_ravdess-{row}": system
            for row, system in (("ser_only", "SER-only"), ("mtl", "MTL"), ("dat", "DAT"), ("cgt", "CGT"))
        },
    ),
    "mixup": Question(
        "RAVDESS: dropout, mixup, centre loss and pooling, two layers free",
        {
            f"kang2023-whisper_ravdess-{row}": system
            for row, system in (
                ("none", "no mixup"),
                ("dropout_0.2", "no mixup, dropout 0.2"),
                ("dropout_0.4", "no mixup, dropout 0.4"),
                ("conventional", "conventional mixup"),
                ("label_adaptive", "label-adaptive mixup"),
                ("none_centre", "no mixup, centre loss"),
                ("label_adaptive_centre", "label-adaptive, centre loss"),
                ("first_frame", "no mixup, first frame"),
                ("mean", "no mixup, mean"),
                ("attentive", "no mixup, attentive"),
            )
        },
    ),
    "personalised": Question(
        "CREMA-D: the Brown report's rows",
        {
            f"brown-whisper_speaker_{split}-{row}": f"{name}: {system}"
            for split, name in (("dependent", "random split"), ("disjoint", "unseen speakers"))
            for row, system in (
                ("base", "base"),
                ("personalised", "vector per speaker"),
                ("mfcc", "raw MFCC of the speaker"),
                ("mfcc_learned", "mapped MFCC of the speaker"),
            )
        },
    ),
    "calibrated": Question(
        "CREMA-D, expressed intensity: Tran et al.'s vectors and calibration",
        {
            f"tran2023-whisper_crema_d-{row}": system
            for row, system in (
                ("vanilla", "neither"),
                ("vanilla_pldc", "PLDC"),
                ("personalised", "speakers' vectors"),
                ("personalised_pldc", "both"),
            )
        },
        metric="ccc_expressed_intensity",
    ),
}
FEW = {"projector": "projector, no step (SNP, λ = 0)", "snp_1e-2": "SNP, λ = 1e-2"}  # rows of the recipe of few clips
CLIPS = (5, 20, 50)  # of each emotion
ENROLLED = {  # title of a run -> what it is called
    f"{WHISPER}baseline": "RAVDESS, baseline",
    f"{WHISPER}snp_1e-2": "RAVDESS, SNP, λ = 1e-2",
    f"{WHISPER}two_layers": "RAVDESS, two layers free",
    f"{WHISPER}tap_1e-3": "RAVDESS, TAP, λ = 1e-3",
    "whisper-crema_d-layer_3_head": "CREMA-D, layer 3",
    "whisper-emodb-layer_3_head": "EmoDB (2 s), layer 3",
}


@functools.cache
def kept() -> dict[str, dict[str, Any]]:
    """Read the archive: title of a run -> its report, with its curve of enrolled speakers where it has one.

    A point of a curve over the number of clips has that number in its title.
    """
    runs: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, text in members(RESULTS / ARCHIVE):
        run, _, file = name.partition("/")
        if file in ("report.json", COLD_START.as_posix()):
            runs[run][file] = json.loads(text)
    return {
        _title(files["report.json"]): files["report.json"] | {"cold_start": files.get(COLD_START.as_posix())}
        for files in runs.values()
    }


def _title(report: Mapping[str, Any]) -> str:
    clips = yaml.safe_load(report["recipe"])["protocol"].get("per_class")
    return report["title"] if clips is None else f"{report['title']} {clips}"


def reports(question: Question) -> dict[str, dict[str, Any]]:
    """Give the reports of a question's runs that were made, by what the page calls them.

    Where some have fewer folds, the others are given on these folds too, since folds differ in how easy they are.
    """
    made_of = {name: kept()[title] for title, name in question.systems.items() if title in kept()}
    found = {name + ", enrolled" * report["saw_unlabelled_test_audio"]: report for name, report in made_of.items()}
    made = dict[str, dict[str, Any]]()
    for name, report in found.items():
        group = [other for of, other in found.items() if _group(of) == _group(name)]
        few = min((other["folds"] for other in group), key=len)
        if all(other["folds"] == few for other in group):
            made[name] = report
            continue
        if report["folds"] != few:
            made[name], report = report, on_folds(report["recipe_hash"], tuple(few))
        made[f"{name}, {_folds(few)}"] = report
    return made


def _folds(names: Sequence[str]) -> str:
    return f"fold{'s' * (len(names) > 1)} {' and '.join(names)}"


@functools.cache
def on_folds(identity: str, folds: tuple[str, ...]) -> dict[str, Any]:
    """Report a kept run as if only some of its folds had been trained."""
    with tempfile.TemporaryDirectory() as scratch:
        unpack(RESULTS / ARCHIVE, Path(scratch))
        run = Run.open(next(Path(scratch).glob(f"*-{identity}")))
        for trial in run.finished():
            if trial.fold not in folds:
                shutil.rmtree(trial.folder)
        return dict(report_of(run).content)


def _group(name: str) -> str:
    """Give what the names of rows that may be compared begin with, where a question has several corpora or splits."""
    return name.partition(":")[0] if ":" in name else ""


def table(question: Question) -> str:
    """Write a line for each run."""
    rows, unit, measures = [], UNITS[question.metric[:3].rstrip("_")], [m for m in MEASURES if question.metric in m]
    for name, report in reports(question).items():
        probe, before = report["speaker_probe"], report["validation"]
        validation = unit.one(before and before[question.metric]["value"], "")
        cells = (name, *(unit.interval(report["metrics"][m]) for m in measures), validation, trained(report))
        rows.append((*cells, against(probe), against(probe and probe["train_speakers"])))
    return markdown(rows, ("system", *(f"{MEASURES[m]} [95 % interval]" for m in measures), *HEAD))


def picture(question: Question) -> Figure:
    """Draw each run's measure with its interval, and beside it what a fresh probe reads of unseen speakers."""
    found = reports(question)
    figure, (left, right) = fields(2, 5.2, 0.9 + 0.36 * len(found))
    for place, report in enumerate(found.values()):
        metric, probe = report["metrics"][question.metric], report["speaker_probe"]
        left.plot([metric["low"], metric["high"]], [-place, -place], color=INK, lw=1.6)
        left.plot(metric["value"], -place, "o", color=BLUE, ms=7)
        if probe:
            right.plot(probe["accuracy"], -place, "s", color=PALETTE[4], ms=7)
            right.plot([probe["chance"]] * 2, [-place - 0.3, -place + 0.3], color=INK, lw=1.2, ls=DASHES)
    left.set_yticks([-place for place in range(len(found))], list(found))
    right.set_yticks([-place for place in range(len(found))], [])
    left.set(xlabel="CCC, 95 % interval" if question.metric.startswith("ccc") else "UA, 95 % interval")
    right.set(xlabel="speaker probe, dashed: chance", xlim=(0, 1.02))
    for axes in (left, right):
        axes.set_ylim(0.5 - len(found), 0.5)
        _shares(axes, question.metric.startswith("ccc") and axes is left)
    left.set_title(question.title, loc="left", fontsize=10, color=INK)
    return figure


def _shares(axes: Axes, plain: bool) -> None:
    dress(axes, grid="x")
    if not plain:
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")


def layers() -> tuple[str, Figure]:
    """Write and draw what linear probes read of every layer, on three corpora."""
    rows, (figure, places) = [], fields(len(CORPORA), 5.2, 3.6)
    for axes, (corpus, name) in zip(places, CORPORA.items(), strict=True):
        found = json.loads((RESULTS / f"layers-{corpus}.json").read_text())["rows"]
        for place, (column, what) in enumerate(PARTS.items()):
            axes.plot(
                [row["layer"] for row in found], [row[column] for row in found], "o-", color=PALETTE[place], label=what
            )
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        axes.set(xlabel="layer", ylim=(0, 1.02))
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
        dress(axes)
        for row in found:
            ends = [{"value": row[c], "low": row[f"{c} low"], "high": row[f"{c} high"]} for c in ("UA", "UA enrolled")]
            speaker = against({"accuracy": row["speaker"], "chance": row["speaker chance"]})
            rows.append((name, str(row["layer"]), *map(interval, ends), speaker))
    places[0].legend(frameon=False, fontsize=9)
    head = ("corpus", "layer", "UA % [95 % interval]", "UA %, enrolled", "speaker %")
    return markdown(rows, head), figure


def enrolment() -> tuple[str, Figure]:
    """Write and draw UA by the number of unlabelled clips with which each unseen speaker is enrolled."""
    made = {name: kept()[title] for title, name in ENROLLED.items() if title in kept()}
    found = {f"{name} ({len(r['folds'])} folds)": r["cold_start"] for name, r in made.items() if r["cold_start"]}
    counts = [count for curve in list(found.values())[:1] for count in curve]
    rows = [(name, *(interval(curve[count]) for count in counts)) for name, curve in found.items()]
    where: Sequence[float | str] = [int(count) if count.isdecimal() else count for count in counts]
    lines: dict[str, Line] = {
        name: (where, [curve[count]["value"] for count in counts], None, None) for name, curve in found.items()
    }
    drawn = curves(lines, "unlabelled clips with which each unseen speaker is enrolled", "UA")
    return markdown(rows, ("model", *(f"{count} clips" for count in counts))), drawn


def few_clips() -> tuple[str, Figure]:
    """Write and draw UA by the number of training clips of each emotion, with the area under the curve over its range.

    Gat et al. 2022 sum their curves up so.
    """
    rows, lines = [], dict[str, Line]()
    for row, name in FEW.items():
        points = [kept()[f"gat2022-whisper_ravdess_few_clips-{row} {clips}"]["metrics"]["ua"] for clips in CLIPS]
        means = [point["value"] for point in points]
        rows.append((name, *map(interval, points), f"{100 * area_under_curve(CLIPS, means):.1f}"))
        lines[name] = (CLIPS, means, [point["low"] for point in points], [point["high"] for point in points])
    head = ("system", *(f"{clips} clips, UA %" for clips in CLIPS), "area, UA %")
    return markdown(rows, head), curves(lines, "training clips of each emotion", "UA")


def answers() -> dict[str, Callable[[], tuple[str, Figure]]]:
    """Give what is put between each pair of markers: a table and a picture."""
    made = {name: functools.partial(_answer, question) for name, question in QUESTIONS.items() if reports(question)}
    return {"layers": layers, **made, "few_clips": few_clips, "enrolment": enrolment}


def _answer(question: Question) -> tuple[str, Figure]:
    return table(question), picture(question)


def main() -> None:
    """Print the tables, or write the page and its pictures."""
    parts = {}
    for name, answer in answers().items():
        written, drawn = answer()
        parts[name] = written
        if "--write" in sys.argv:
            parts[name] = f"![{name.replace('_', ' ')}](images/findings/{name}.png)\n\n{written}"
            save(drawn, PICTURES / f"{name}.png")
    if "--write" in sys.argv:
        put(PAGE, parts)
    else:
        sys.stdout.writelines(f"{name}\n\n{part}\n" for name, part in parts.items())


if __name__ == "__main__":
    main()
