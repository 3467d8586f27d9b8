"""What people use today, on serene's folds: openSMILE functionals and a balanced linear SVM.

Each feature set gives two rows. `plain` takes one clip at a time. `per speaker` standardises every speaker, in
training and in test, by the mean and deviation of all of that speaker's own clips: it is enrolled with the test
speakers' unlabelled clips, so the two rows must not be compared as equals.

The penalty is chosen from a small grid on inner folds over training speakers; features are standardised by the
training part. openSMILE (`pip install 'serene-ser[train,opensmile]'`) is free for research, not for commerce, and the
package itself never imports it.

    python benchmarks/classical.py emodb.jsonl --protocol speaker_folds --folds 5 -o results/classical/emodb
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import opensmile
from rich.progress import track
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from serene import sound
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.files import whole_file, write_text
from serene.protocols import Split, make_splits, title
from serene.task import Task

FEATURES = {
    "egemaps": ("eGeMAPSv02", opensmile.FeatureSet.eGeMAPSv02),
    "compare": ("ComParE 2016", opensmile.FeatureSet.ComParE_2016),
}
NORMALISATIONS = ("plain", "per speaker")
PENALTIES = {"egemaps": (1e-4, 1e-3, 1e-2, 1e-1), "compare": (1e-6, 1e-5, 1e-4, 1e-3)}  # C of the SVM
INNER_FOLDS = 4
SHARD = 256  # clips per file of the feature cache


@dataclass(frozen=True)
class Row:
    """One line of the table: a feature set with a normalisation."""

    features: str
    normalisation: str
    predictions: Predictions
    penalties: tuple[float, ...]
    seconds: float


def extract(utterances: Sequence[Utterance], name: str, cache: Path) -> np.ndarray:
    """Compute the functionals of every clip, or take them from the cache.

    Returns:
        float32 (utterance, feature); a functional that is undefined for a clip (silence has no pitch) is 0.
    """
    folder = cache / f"{name}-{version('opensmile')}"
    known: dict[str, np.ndarray] = {}
    for shard in sorted(folder.glob("*.npz")):
        with np.load(shard) as held:
            known.update(zip(held["hashes"].tolist(), held["features"], strict=True))
    smile = opensmile.Smile(FEATURES[name][1], opensmile.FeatureLevel.Functionals)
    hashes, fresh = [], {}
    for u in track(utterances, f"{FEATURES[name][0]} features"):
        samples = sound.read(u.audio, u.start, u.duration if u.start else None)
        hashes.append(sound.content_hash(samples))
        if hashes[-1] not in known:
            row = smile.process_signal(samples, sound.SAMPLE_RATE).to_numpy(np.float32)[0]
            known[hashes[-1]] = fresh[hashes[-1]] = np.nan_to_num(row, posinf=0.0, neginf=0.0)
        if len(fresh) == SHARD or (fresh and u is utterances[-1]):
            identity = hashlib.sha256("".join(fresh).encode()).hexdigest()[:16]
            with whole_file(folder / f"{identity}.npz") as path:
                np.savez(path, hashes=list(fresh), features=np.stack(list(fresh.values())))
            fresh = {}
    return np.stack([known[h] for h in hashes])


def standardise_speakers(features: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Subtract each speaker's mean and divide by the speaker's deviation (utterance, feature); no label is used."""
    result = np.empty_like(features)
    for speaker in np.unique(speakers):
        own = features[speakers == speaker].astype(np.float64)
        deviation = own.std(axis=0)
        result[speakers == speaker] = (own - own.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return result


def fit(features: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[StandardScaler, LinearSVC]:
    """Fit scaler and SVM to one training part (utterance, feature)."""
    scaler = StandardScaler().fit(features)
    svm = LinearSVC(C=penalty, class_weight="balanced", dual=True, random_state=0, max_iter=20_000)
    return scaler, svm.fit(scaler.transform(features), labels)


def choose_penalty(features: np.ndarray, labels: np.ndarray, speakers: np.ndarray, grid: Sequence[float]) -> float:
    """Take the C with the highest mean UA on inner folds whose speakers are apart; the smaller one if equal."""
    folds = GroupKFold(min(INNER_FOLDS, len(np.unique(speakers))))
    scores = np.zeros(len(grid))
    for learn, check in folds.split(features, labels, speakers):
        for n, penalty in enumerate(grid):
            scaler, svm = fit(features[learn], labels[learn], penalty)
            scores[n] += balanced_accuracy_score(labels[check], svm.predict(scaler.transform(features[check])))
    return grid[int(scores.argmax())]


def run_split(features: np.ndarray, place: dict[str, int], split: Split, name: str) -> tuple[Predictions, float]:
    """Train on a split's training part, score its test part, and return the predictions and the penalty chosen."""
    learn = np.array([place[u.id] for u in split.train])
    labels = np.array([u.emotion for u in split.train])
    speakers = np.array([u.speaker for u in split.train])
    penalty = choose_penalty(features[learn], labels, speakers, PENALTIES[name])
    scaler, svm = fit(features[learn], labels, penalty)
    test = features[[place[u.id] for u in split.test]]
    margins = svm.decision_function(scaler.transform(test))
    predictions = Predictions.from_scores(
        ids=[u.id for u in split.test],
        speakers=[u.speaker for u in split.test],
        truth=[u.emotion or "" for u in split.test],
        scores=margins if margins.ndim == 2 else np.stack([-margins, margins], axis=1),
        task=Task(tuple(svm.classes_.tolist())),
        part="test",
        fold=split.fold,
        seed=0,
    )
    return predictions, penalty


def run_row(features: np.ndarray, manifest: Manifest, splits: Sequence[Split], name: str, normalisation: str) -> Row:
    """Run all splits with one feature set and one normalisation."""
    begun = time.perf_counter()
    place = {u.id: n for n, u in enumerate(manifest)}
    if normalisation == "per speaker":
        features = standardise_speakers(features, np.array([u.speaker for u in manifest]))
    done = [run_split(features, place, s, name) for s in track(splits, f"{FEATURES[name][0]}, {normalisation}")]
    predictions = Predictions.concatenate([p for p, _ in done])
    return Row(name, normalisation, predictions, tuple(c for _, c in done), time.perf_counter() - begun)


def describe(row: Row) -> dict[str, Any]:
    """Put a row's figures into words and numbers for the table."""
    folds = dict.fromkeys(row.predictions.fold.tolist())
    return {
        "features": FEATURES[row.features][0],
        "normalisation": row.normalisation,
        "saw_unlabelled_test_audio": row.normalisation == "per speaker",
        "metrics": figures(row.predictions),
        "per_fold": {fold: figures(row.predictions.select(fold=fold)) for fold in folds} if len(folds) > 1 else {},
        "penalties": list(row.penalties),
        "seconds": round(row.seconds, 1),
        "predictions": f"{folder_of(row)}/predictions.csv.gz",
    }


def figures(predictions: Predictions) -> dict[str, dict[str, float | None]]:
    """Give UA, WA and macro-F1 with their intervals as plain numbers."""
    return {metric: value.to_dict() for metric, value in intervals(predictions).items()}


def folder_of(row: Row) -> str:
    """Name the row's folder within the table's."""
    return f"{row.features}-{row.normalisation.replace(' ', '-')}"


def markdown(table: dict[str, Any]) -> str:
    """Lay the table out for reading, UA and WA in percent."""
    lines = [
        f"# {table['corpus']}: openSMILE and a balanced linear SVM",
        "",
        f"{table['protocol']}, folds {', '.join(table['folds'])}; {table['n_utterances']} test utterances of "
        f"{table['n_speakers']} speakers, {table['n_classes']} emotions. 95 % intervals by bootstrap over speakers, "
        "then utterances. `per speaker` is enrolled with all of each test speaker's unlabelled clips; `plain` takes "
        "one clip at a time.",
        "",
        "| features | normalisation | UA % | WA % | macro-F1 % | C per fold | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        cells = [
            f"{100 * m['value']:.1f} [{100 * m['low']:.1f}-{100 * m['high']:.1f}]" for m in row["metrics"].values()
        ]
        penalties = " ".join(f"{c:g}" for c in row["penalties"])
        lines.append(
            f"| {row['features']} | {row['normalisation']} | {' | '.join(cells)} | {penalties} | {row['seconds']:g} |"
        )
    made = table["machine"]
    return "\n".join([*lines, "", f"{made['processor']}, {made['cores']} cores, one used; {made['software']}.", ""])


def machine() -> dict[str, Any]:
    """Say what kind of machine measured this."""
    try:
        facts = dict(re.findall(r"^(model name|cpu cores)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M))
    except OSError:
        facts = {}
    libraries = ("scikit-learn", "opensmile", "numpy")
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": facts.get("cpu cores", "?"),
        "software": ", ".join([f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in libraries)]),
    }


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifest", help="JSON lines that `serene prepare` wrote")
    parser.add_argument("--protocol", default="speaker_folds", help="one of serene's protocols (default: %(default)s)")
    parser.add_argument("--folds", type=int, help="number of folds, for speaker_folds")
    parser.add_argument("--run", nargs="+", metavar="FOLD", help="only the folds of these names")
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=list(FEATURES))
    parser.add_argument("--name", help="what the table calls the corpus (default: what the manifest says)")
    parser.add_argument("--cache", type=Path, default=Path("runs/opensmile"), help="where features are kept")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for table.json and predictions")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run every row, write the folder, return the table."""
    manifest = Manifest.read(options.manifest)
    manifest = Manifest(tuple(u for u in manifest if u.emotion)).check()
    # The SVM needs no validation part: its penalty is chosen inside training, whose speakers it all keeps.
    settings = {"validation": "none"} | ({"folds": options.folds} if options.folds else {})
    splits = make_splits(options.protocol, manifest, settings)
    splits = [s for s in splits if not options.run or s.fold in options.run]
    if not splits:
        raise SereneError(f"No fold is named {' or '.join(options.run)}; see the protocol's description.")
    tested = [u for s in splits for u in s.test]
    rows = []
    for name in options.features:
        features = extract(manifest.utterances, name, options.cache)
        for normalisation in NORMALISATIONS:
            row = run_row(features, manifest, splits, name, normalisation)
            row.predictions.write(options.output / folder_of(row) / "predictions.csv.gz")
            rows.append(describe(row))
    table = {
        "corpus": options.name or manifest.utterances[0].corpus or "corpus",
        "protocol": title(options.protocol, settings),
        "folds": [s.fold for s in splits],
        "speaker_independent": all(s.speaker_independent for s in splits),
        "manifest": manifest.digest,
        "n_utterances": len(tested),
        "n_speakers": len({u.speaker for u in tested}),
        "n_classes": len({u.emotion for u in tested}),
        "rows": rows,
        "machine": machine(),
    }
    write_text(options.output / "table.json", json.dumps(table, indent=2) + "\n")
    return table


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    try:
        result = measure(chosen)
    except SereneError as mistake:
        sys.exit(f"Error: {mistake}")
    print(json.dumps(result, indent=2) if chosen.json else markdown(result))
