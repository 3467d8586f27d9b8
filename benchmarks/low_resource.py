"""What few clips give: a head on the bundled model's vectors, of 5, 10 and 20 clips of each class, on unseen speakers.

Every fold of speakers is tested once; of the others so many clips of each class are drawn, as often as asked for, and
train. The protocol is `low_resource`, and the smaller draw is a part of the larger one. Beside it stand openSMILE's
eGeMAPSv02 and a balanced linear SVM on the same clips, where the extra `opensmile` is installed; its licence is
non-commercial. The corpora should be such as the bundled model was not trained on.

    python benchmarks/low_resource.py ravdess.jsonl emodb.jsonl -o results/low_resource
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from serene.audio import front_end_of
from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.experiment.recipe import check
from serene.experiment.run_report import report_of
from serene.experiment.train import train
from serene.files import write_text
from serene.protocols import make_splits, title

RECIPE = {  # the head of the tutorial, of the last epoch: there are no clips to choose one by
    "model": {"encoder": "bundled", "pooling": "mean", "hidden": [64]},
    "method": {"name": "baseline"},
    "training": {"epochs": 40, "batch_size": 16, "optimizer": "adam", "learning_rate": 1e-3, "schedule": "cosine"}
    | {"select_on": "last"},
}
SMILE = "eGeMAPSv02, linear SVM"


def head(manifest: Path, corpus: str, protocol: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train the head on every fold and draw, and give UA with its interval over speakers."""
    tree = {"corpus": {"name": corpus, "path": str(manifest)}, "protocol": protocol, **RECIPE}
    run = train(check(tree, f"low_resource-{corpus}-{protocol['per_class']}"), options.runs, jobs=options.jobs)
    return report_of(run).content["metrics"]["ua"]


def smile(manifest: Manifest, protocol: dict[str, Any], cache: Path) -> dict[str, Any]:
    """Train the SVM on the same clips, and give the same."""
    classical = importlib.import_module("classical")
    features = classical.extract(manifest.utterances, "egemaps", cache)
    place = {u.id: n for n, u in enumerate(manifest)}
    settings = {key: value for key, value in protocol.items() if key not in ("name", "run")}
    splits = make_splits(protocol["name"], manifest, settings)
    splits = [s for s in splits if not protocol.get("run") or s.fold in protocol["run"]]
    done = [classical.run_split(features, place, split, "egemaps")[0] for split in splits]
    return asdict(intervals(Predictions.concatenate(done))["ua"])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every corpus and number of clips, write the folder, return the table."""
    rows, why = [], ""
    for path in options.manifests:
        manifest = Manifest.read(path)
        manifest = Manifest(tuple(u for u in manifest if u.emotion)).check()
        corpus = manifest.utterances[0].corpus or "files"
        for clips in options.clips:
            protocol = {"name": "low_resource", "per_class": clips, "subsets": options.subsets, "of": "speaker_folds"}
            protocol |= {"folds": options.folds, "validation": "none"}
            row = {"corpus": corpus, "clips": clips, "classes": len({u.emotion for u in manifest})}
            row["protocol"] = title("low_resource", {k: v for k, v in protocol.items() if k != "name"})
            protocol |= {"run": options.run} if options.run else {}
            rows.append(row | {"system": "bundled vectors, small head", "ua": head(path, corpus, protocol, options)})
            try:
                rows.append(row | {"system": SMILE, "ua": smile(manifest, protocol, options.runs / "opensmile")})
            except ModuleNotFoundError as error:
                why = f"{SMILE} is left out: {error.name} is not installed (pip install 'serene-ser[train,opensmile]')."
    table = {"bundled": front_end_of({"front_end": "bundled"}, Path()).identity, "rows": rows, "left_out": why}
    write_text(options.output / "table.json", json.dumps(table, indent=2) + "\n")
    write_text(options.output / "table.md", markdown(table))
    return table


def markdown(table: dict[str, Any]) -> str:
    """Lay the table out for reading, UA in per cent."""
    lines = [
        "# Few clips of each class, unseen speakers",
        "",
        f"UA in per cent with 95 % intervals over speakers; the vectors are `{table['bundled']}`. {table['left_out']}",
        "",
        "| corpus, classes | clips of each class | system | UA % |",
        "|---|---|---|---|",
    ]
    for row in table["rows"]:
        value, low, high = (100 * row["ua"][key] for key in ("value", "low", "high"))
        shown = f"{value:.1f} [{low:.1f} to {high:.1f}]"
        lines.append(f"| {row['corpus']}, {row['classes']} | {row['clips']} | {row['system']} | {shown} |")
    return "\n".join([*lines, ""])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifests", nargs="+", type=Path, help="JSON lines that `serene prepare` wrote")
    parser.add_argument("--clips", nargs="+", type=int, default=[5, 10, 20], help="of each class")
    parser.add_argument("--subsets", type=int, default=5, help="draws of each fold")
    parser.add_argument("--folds", type=int, default=5, help="of speakers")
    parser.add_argument("--run", nargs="+", metavar="FOLD", help="only the folds of these names, such as 1-1")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where trainings and features are kept")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for table.json and table.md")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    try:
        result = measure(chosen)
    except SereneError as mistake:
        sys.exit(f"Error: {mistake}")
    print(json.dumps(result, indent=2) if chosen.json else markdown(result))
