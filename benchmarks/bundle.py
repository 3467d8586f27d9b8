"""The model that comes with the package, from a run of `recipes/bundled/crema_d.yaml`: exported, its card written.

    serene train recipes/bundled/crema_d.yaml corpus.path=crema_d.jsonl
    serene evaluate runs/bundled-crema_d-* --on emodb.jsonl
    serene evaluate runs/bundled-crema_d-* --on ravdess.jsonl
    serene evaluate runs/bundled-crema_d-* --enrolled
    python benchmarks/bundle.py runs/bundled-crema_d-* -o src/serene/bundled

The model is that of the first fold and the first seed, chosen before anything was measured: so anybody can check that
the test speakers of that fold are strangers to it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from serene.enrolment import Strangers
from serene.evaluation.answers import Answers
from serene.evaluation.confidence import intervals, paired
from serene.evaluation.model_card import CARD, write_card
from serene.evaluation.predictions import Predictions
from serene.experiment import COLD_START
from serene.files import write_text
from serene.inference.export import export_onnx
from serene.run import Run

RESULTS = Path(__file__).parents[1] / "results"
LICENCE = "apache-2.0"
HEARD = {  # what both systems hear of a test speaker -> the classical table's normalisation, clips that are enrolled
    "one clip at a time": ("plain", 0),
    "all clips of the speaker, without labels": ("per-speaker", None),
}


def bundle(run: Run, out: Path) -> None:
    """Export the model of the first cell, and write its card with all that was measured of the run."""
    cell = run.finished()[0]
    for line in export_onnx(cell.folder / "model", out).lines():
        print(line)
    content = json.loads((run.folder / "report.json").read_text())
    write_card(
        out,
        content,
        fold=cell.fold,
        seed=cell.seed,
        facts=cell.json("environment.json"),
        elsewhere=[json.loads(path.read_text()) for path in sorted(run.folder.glob("on/*/report.json"))],
        cold_start=json.loads((run.folder / COLD_START).read_text()),
        licence=LICENCE,
    )
    compared = beside(run)
    write_text(out / CARD, f"{(out / CARD).read_text().rstrip()}\n\n## Beside openSMILE\n\n{compared}\n")
    write_text(RESULTS / "bundled" / "beside.md", compared + "\n")  # which benchmarks/summary.py quotes


def beside(run: Run) -> str:
    """Compare with openSMILE and an SVM, which heard as much and were tested on the same clips."""
    strangers = [Strangers.of(cell) for cell in run.finished()]
    lines = [
        "UA on the same test clips of the same folds: ComParE 2016 functionals with a balanced linear SVM "
        "(`benchmarks/classical.py`), which trains on validation's speakers too, and this model.",
        "",
        "| heard of a test speaker | openSMILE and SVM | this model | difference |",
        "|---|---|---|---|",
    ]
    for heard, (normalisation, clips) in HEARD.items():
        theirs = Predictions.read(RESULTS / "classical/crema_d" / f"compare-{normalisation}" / "predictions.csv.gz")
        ours = Answers.concatenate(own.answered(clips) for own in strangers)
        shown = [
            f"{100 * found.value:.1f} % [{100 * found.low:.1f} to {100 * found.high:.1f}]"
            for found in (intervals(theirs)["ua"], intervals(ours)["ua"])
        ]
        apart = paired(ours, theirs)["ua"]
        shown.append(f"{100 * apart.value:+.1f} [{100 * apart.low:+.1f} to {100 * apart.high:+.1f}]")
        lines.append(f"| {heard} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the model folder to write")
    given = parser.parse_args()
    bundle(Run.open(given.run), given.output)


if __name__ == "__main__":
    main()
