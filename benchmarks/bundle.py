"""The model that comes with the package, from a run of `recipes/bundled/crema_d.yaml`: exported, its card written.

    serene train recipes/bundled/crema_d.yaml corpus.path=crema_d.jsonl
    serene evaluate runs/bundled-crema_d-* --on emodb.jsonl
    serene evaluate runs/bundled-crema_d-* --on ravdess.jsonl
    serene evaluate runs/bundled-crema_d-* --enrolled
    python benchmarks/bundle.py runs/bundled-crema_d-* -o src/serene/bundled

The model is that of the first fold and the first seed, chosen before anything was measured: so anybody can check that
the test speakers of that fold are unseen to it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.experiment.enrolment_curve import UnseenSpeakers
from serene.experiment.run import Run
from serene.experiment.run_report import COLD_START, elsewhere_of, write_cards
from serene.export.to_onnx import export_onnx
from serene.files import write_text
from serene.reporting.model_card import CARD

RESULTS = Path(__file__).parents[1] / "results"
LICENCE = "apache-2.0"
# What a test speaker is -> clips that are enrolled, and what openSMILE's ComParE 2016 with a balanced linear
# SVM reaches then, with its interval over speakers: measured once for this project, on five folds of sorted speaker
# ids, as these are. `benchmarks/classical.py` measures it anew, in hours.
ENROLLED = {
    "unseen: one clip at a time": (0, "59.6 [57.7 to 61.7]"),
    "enrolled with all of the speaker's clips, unlabelled": (None, "69.3 [67.7 to 70.8]"),
}


def bundle(run: Run, out: Path) -> None:
    """Export the model of the first trial, and write its card with all that was measured of the run."""
    write_cards(run, licence=LICENCE)
    for line in export_onnx(run.finished()[0].folder / "model", out).lines():
        print(line)
    compared = beside(run)
    write_text(out / CARD, f"{(out / CARD).read_text().rstrip()}\n\n## Beside openSMILE\n\n{compared}\n")
    kept = RESULTS / "bundled"
    write_text(kept / "beside.md", compared + "\n")  # which benchmarks/summary.py quotes
    curves = {run.recipe.corpus.name: json.loads((run.folder / COLD_START).read_text())}
    curves |= {one["corpus"]: one["cold_start"] for one in elsewhere_of(run)}
    write_text(kept / "cold-start.json", json.dumps(curves, indent=2) + "\n")
    shutil.copyfile((run.folder / COLD_START).with_suffix(".png"), kept / "cold-start.png")


def beside(run: Run) -> str:
    """Compare with openSMILE and an SVM, on unseen speakers and once they are enrolled with unlabelled clips."""
    unseen = [UnseenSpeakers.of(trial) for trial in run.finished()]
    lines = [
        "UA in per cent with its 95 % interval over speakers, on five folds of sorted speaker ids: openSMILE's ComParE "
        "2016 functionals with a balanced linear SVM, which trains on validation's speakers too, and this model.",
        "",
        "| a test speaker is | openSMILE and SVM | this model |",
        "| --- | --- | --- |",
    ]
    for how, (clips, theirs) in ENROLLED.items():
        ours = intervals(Predictions.concatenate(own.answered(clips) for own in unseen))["ua"]
        shown = f"{100 * ours.value:.1f} [{100 * ours.low:.1f} to {100 * ours.high:.1f}]"
        lines.append(f"| {how} | {theirs} | {shown} |")
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
