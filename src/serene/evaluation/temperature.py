"""Temperature scaling (Guo et al. 2017): one number by which logits are divided, so that scores mean what they say."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

SMALLEST, LARGEST = 0.05, 20.0  # beyond these a model knows nothing, or all


def fit(logits: np.ndarray, target: np.ndarray) -> float:
    """Find the temperature that makes the cross entropy of `softmax(logits / temperature)` least.

    No decision changes by it: the highest score stays the highest.

    Args:
        logits: (utterance, emotion), up to a constant per row: logarithms of probabilities will do.
        target: distributions (utterance, emotion), of clips that were not trained on.
    """
    logits, target = np.asarray(logits, dtype=float), np.asarray(target, dtype=float)

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - (target * scaled).sum(axis=1)).mean())

    found = minimize_scalar(cross_entropy, bounds=np.log([SMALLEST, LARGEST]), method="bounded")
    return float(np.exp(found.x))
