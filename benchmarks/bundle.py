"""The model that comes with the package: exported from one run, its card written from that and from five folds.

    serene train recipes/bundled/shipped.yaml corpus.path=crema_d.jsonl
    serene train recipes/bundled/crema_d.yaml:whisper corpus.path=crema_d.jsonl
    serene evaluate runs/bundled-shipped-* --on emodb.jsonl
    serene evaluate runs/bundled-shipped-* --on ravdess.jsonl
    serene evaluate runs/bundled-crema_d-whisper-* --enrolled
    python benchmarks/robustness.py crema_d.jsonl emodb.jsonl ravdess.jsonl --model exported --json > robustness.json
    python benchmarks/bundle.py runs/bundled-shipped-* runs/bundled-crema_d-whisper-* robustness.json -o bundled

The weights are of the first run, whose test speakers are the sample's: anybody can check the model on them. How
accurate the recipe is on CREMA-D is measured on the five folds of the second.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from robustness import table
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
CHANGED_ONCE = (
    "Every clip changed once; UA in per cent with its 95 % interval over speakers, and the share of labels that differ "
    "from those of the clips as they are; what gets too loud is cut off at full scale, as recorders do, and EmoDB's "
    "loud clips are by 10 dB. Every third clip; of CREMA-D those of the sample's twelve test speakers."
)
MADE_OF = """
## What it is made of

The first three layers of the encoder of OpenAI's Whisper base (Radford et al. 2022, Robust Speech Recognition via
Large-Scale Weak Supervision; MIT licence), the third of them fine-tuned, under a head that was trained on CREMA-D (Cao
et al. 2014; Open Database License 1.0) and on copies of it in other rooms, with noise, through telephones and codecs.
"""
# What a test speaker is -> clips that are enrolled, and what openSMILE's ComParE 2016 with a balanced linear
# SVM reaches then, with its interval over speakers: measured once for this project, on five folds of sorted speaker
# ids, as these are. `benchmarks/classical.py` measures it anew, in hours.
ENROLLED = {
    "unseen: one clip at a time": (0, "59.6 [57.7 to 61.7]"),
    "enrolled with all of the speaker's clips, unlabelled": (None, "69.3 [67.7 to 70.8]"),
}


def bundle(shipped: Run, folds: Run, robustness: dict[str, dict[str, dict[str, Any]]], out: Path) -> None:
    """Export the model of the first run's only trial, and write its card with all that was measured."""
    write_cards(shipped, licence=LICENCE)
    for line in export_onnx(shipped.finished()[0].folder / "model", out, small=True).lines():
        print(line)
    compared, card = beside(folds), (out / CARD).read_text().rstrip()
    card += f"\n\n## The same recipe on folds of CREMA-D, beside openSMILE\n\n{compared}\n"
    card += f"\n## Other levels, rooms and recorders\n\n{CHANGED_ONCE}\n\n{table(robustness)}\n"
    write_text(out / CARD, f"{card}\n{MADE_OF}\n")
    kept = RESULTS / "bundled"
    write_text(kept / "beside.md", compared + "\n")  # which benchmarks/summary.py quotes
    write_text(kept / "robustness.json", json.dumps(robustness, indent=1) + "\n")
    curves = {folds.recipe.corpus.name: json.loads((folds.folder / COLD_START).read_text())}
    curves |= {one["corpus"]: one["cold_start"] for one in elsewhere_of(shipped)}
    write_text(kept / "cold-start.json", json.dumps(curves, indent=2) + "\n")
    shutil.copyfile((folds.folder / COLD_START).with_suffix(".png"), kept / "cold-start.png")


def beside(run: Run) -> str:
    """Compare with openSMILE and an SVM, on unseen speakers and once they are enrolled with unlabelled clips."""
    trials = run.finished()
    unseen, folds = [UnseenSpeakers.of(trial) for trial in trials], sorted({trial.fold for trial in trials})
    few = f", seeds: {len({trial.seed for trial in trials})}"
    if len(folds) < trials[0].facts()["of_folds"]:
        few += f", {len(folds)} of these folds ({', '.join(folds)})"
    lines = [
        "UA in per cent with its 95 % interval over speakers, on five folds of sorted speaker ids: openSMILE's ComParE "
        "2016 functionals with a balanced linear SVM, which trains on validation's speakers too; and the bundled "
        f"model's recipe{few}.",
        "",
        "| a test speaker is | openSMILE and SVM, all folds | the bundled model's recipe |",
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
    parser.add_argument("shipped", type=Path, help="the run whose model ships")
    parser.add_argument("folds", type=Path, help="the run of five folds")
    parser.add_argument("robustness", type=Path, help="what benchmarks/robustness.py --json printed")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the model folder to write")
    given = parser.parse_args()
    robustness = json.loads(given.robustness.read_text())
    bundle(Run.open(given.shipped), Run.open(given.folds), robustness, given.output)


if __name__ == "__main__":
    main()
