"""What studies of linear models on features that stay as they are share: the features' scale, and the table."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serene.files import whole_file, write_text

PENALTY = 0.1  # on squared weights, where features have unit variance divided by the root of their number

Row = dict[str, Any]


def scaled(x: np.ndarray, train: Sequence[int] | np.ndarray) -> np.ndarray:
    """Bring features (utterance, feature) to the scale of the penalty, by those of the training rows."""
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    return (x - mean) / np.where(scale > 0, scale, 1) / np.sqrt(x.shape[1])


def write_table(name: str, stem: str, facts: dict[str, Any], rows: Sequence[Row], runs: Path, **more: Any) -> Path:
    """Write rows as `stem.json`, with the facts that identify the study and whatever `more` there is, and `stem.csv`.

    Returns:
        The study's folder, `<name>-<manifest>-<hash of the facts>`.
    """
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
    folder = runs / f"{name}-{facts['manifest']}-{identity}"
    write_text(folder / f"{stem}.json", json.dumps(facts | more | {"rows": rows}, indent=2) + "\n")
    with whole_file(folder / f"{stem}.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder
