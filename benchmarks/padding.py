"""What padding costs: computed frames per real frame, in batches of like length and in random batches.

The durations are made up to look like IEMOCAP's usual 5531 clips of four classes, since the corpus cannot be shipped.
They are the quantiles of a lognormal cut off at the shortest and the longest clip. Its mean is the corpus's; of the
two shares that are known as well (clips beyond 6.25 s and from 20 s on) no such lognormal has both, so it is the one
that is nearest in both ratios. The output says how near.

    python benchmarks/padding.py --json
"""

from __future__ import annotations

import argparse
import json
import math
from statistics import NormalDist
from typing import Any

import numpy as np

from serene.audio.batch import length_buckets
from serene.audio.mfcc import FRAME_LENGTH, FRAME_SHIFT

CLIPS = 5531
MEAN, SHORTEST, LONGEST = 4.549, 0.585, 34.14  # seconds
SHARES = {6.25: 0.218, 20.0: 16 / 5531}  # seconds -> share of the clips that are longer
SIGMAS = np.arange(0.40, 1.20, 0.01)
BATCH_SIZES = (4, 8, 16, 32)
EPOCHS = 50


class CutLognormal:
    """A lognormal of durations, in seconds, between the shortest and the longest."""

    def __init__(self, mu: float, sigma: float) -> None:
        """Take the mean and deviation of the uncut logarithm."""
        self.mu, self.sigma = mu, sigma
        self.normal = NormalDist(mu, sigma)
        self.low, self.high = (self.normal.cdf(math.log(end)) for end in (SHORTEST, LONGEST))

    @classmethod
    def with_mean(cls, mean: float, sigma: float) -> CutLognormal:
        """Find the mu that gives a mean, by bisection."""
        low, high = -1.0, 3.0
        while high - low > 1e-9:
            middle = (low + high) / 2
            low, high = (middle, high) if cls(middle, sigma).mean < mean else (low, middle)
        return cls(low, sigma)

    @property
    def mean(self) -> float:
        """Mean duration in seconds."""
        lifted = NormalDist(self.mu + self.sigma**2, self.sigma)
        inside = lifted.cdf(math.log(LONGEST)) - lifted.cdf(math.log(SHORTEST))
        return math.exp(self.mu + self.sigma**2 / 2) * inside / (self.high - self.low)

    def share_beyond(self, seconds: float) -> float:
        """Share of durations that are longer."""
        return (self.high - self.normal.cdf(math.log(seconds))) / (self.high - self.low)

    def quantiles(self, count: int) -> np.ndarray:
        """Give so many durations (clip,), evenly placed."""
        places = self.low + (self.high - self.low) * (np.arange(count) + 0.5) / count
        return np.exp([self.normal.inv_cdf(place) for place in places])


def fit() -> CutLognormal:
    """Find the sigma whose shares of long clips are nearest to the corpus's, as ratios."""

    def miss(candidate: CutLognormal) -> float:
        return sum(math.log(candidate.share_beyond(s) / share) ** 2 for s, share in SHARES.items())

    return min((CutLognormal.with_mean(MEAN, float(sigma)) for sigma in SIGMAS), key=miss)


def frames_of(seconds: np.ndarray) -> np.ndarray:
    """Count the MFCC frames (clip,) of durations, none of them dropped as silent."""
    return 1 + np.floor((seconds - FRAME_LENGTH) / FRAME_SHIFT).astype(np.int64)


def overhead(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Computed frames, every clip as long as its batch's longest, per real frame."""
    computed = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return computed / int(lengths.sum())


def random_batches(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Put the clips into batches without a look at their lengths."""
    order = rng.permutation(len(lengths))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def measure() -> dict[str, Any]:
    """Return the fit and, for every batch size, the mean overhead over epochs of both ways to make them."""
    fitted = fit()
    seconds = fitted.quantiles(CLIPS)
    lengths = frames_of(seconds)
    rng = np.random.default_rng(0)
    rows = [
        {
            "batch_size": size,
            **{
                name: round(float(np.mean([overhead(lengths, batches(lengths, size, rng)) for _ in range(EPOCHS)])), 4)
                for name, batches in (("length_buckets", length_buckets), ("random", random_batches))
            },
        }
        for size in BATCH_SIZES
    ]
    facts = {"mean": (MEAN, seconds.mean()), "shortest": (SHORTEST, seconds.min()), "longest": (LONGEST, seconds.max())}
    facts |= {f"share beyond {s:g} s": (share, float(np.mean(seconds > s))) for s, share in SHARES.items()}
    return {
        "clips": CLIPS,
        "epochs": EPOCHS,
        "lognormal": {"mu": round(fitted.mu, 4), "sigma": round(fitted.sigma, 2)},
        "fit": {name: {"IEMOCAP": round(a, 5), "made up": round(float(b), 5)} for name, (a, b) in facts.items()},
        "overhead": rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    options = parser.parse_args()
    result = measure()
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['clips']} clips, lognormal {result['lognormal']}, mean over {result['epochs']} epochs")
    for name, pair in result["fit"].items():
        print(f"{name:20} IEMOCAP {pair['IEMOCAP']:<8g} made up {pair['made up']:g}")
    print("batch  by length  random")
    for row in result["overhead"]:
        print(f"{row['batch_size']:>5}  {row['length_buckets']:>9.3f}  {row['random']:>6.3f}")


if __name__ == "__main__":
    main()
