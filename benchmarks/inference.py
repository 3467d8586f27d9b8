"""What answers cost: int8 and bf16 beside a loop over files in transformers; the bundled model; the first answer.

* **encoders**: HuBERT of the sizes of Base and Large with random weights. `Recognizer` answers a list of clips, in int8
  (ONNX) and in bf16 (PyTorch), on a CPU each clip by itself; the alternative is what people write: a loop over
  `AutoFeatureExtractor` and `AutoModelForAudioClassification`, one clip at a time, in fp32. It reads what
  `serene export --to transformers` made of the same model, so that both give the same logits but for their precision.
  The clips are of the sample, in memory; their durations are evenly placed quantiles of those in `padding.py`, made up
  to look like IEMOCAP's (mean 4.55 s, from 0.6 s to 34 s). To an untrained network all clips are much alike, so the
  cosine to fp32 is also given after the mean over clips is taken off.
* **bundled**: seconds of sound per second of one core, decoding of WAV files included; the alternative is the same
  model one file at a time.
* **first**: seconds until `serene predict` has answered for one file, in a process of its own; the alternative is a
  script with transformers, whose model is next to nothing. With the packages that took longest to import.

Repeats are interleaved and medians compared: of processor seconds of one thread, which other processes disturb less
than they do a clock's; of the first answer both are given.

    python benchmarks/inference.py --json
    python benchmarks/inference.py --json --clips 6 --precisions int8
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
import torch
import transformers

from answering import EMOTIONS, bundled, first, make, medians
from layers import LARGE, TINY
from padding import fit
from serene.errors import SereneError
from serene.inference.recognizer import Recognizer
from serene.sound import SAMPLE_RATE
from voices import speech

SIZES: dict[str, dict[str, Any]] = {"base": {}, "large": LARGE}
TARGETS = {"base": 1.8, "large": 2.5}  # times as fast as the loop
COSINE = 0.999
LOOP, PRECISIONS = "Hugging Face, one at a time, fp32", ("int8", "bf16")
LONGEST_OF_TINY = 1.0  # seconds
Answers = tuple[np.ndarray, np.ndarray]  # centred logits (clip, emotion) and embeddings (clip, feature)


class Loop:
    """Transformers, one clip at a time."""

    def __init__(self, folder: Path) -> None:
        """Load the model; what its classifier averages is looked at on the way."""
        self.extractor: Any = transformers.AutoFeatureExtractor.from_pretrained(folder)
        self.model: Any = transformers.AutoModelForAudioClassification.from_pretrained(folder).eval()
        self.embeddings: list[np.ndarray] = []
        self.model.projector.register_forward_hook(
            lambda _m, given, _o: self.embeddings.append(given[0].mean(1)[0].numpy())
        )

    @torch.inference_mode()
    def __call__(self, clips: Sequence[np.ndarray]) -> Answers:
        """Answer for clips."""
        self.embeddings.clear()
        logits = [
            self.model(**self.extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt")).logits[0].numpy()
            for clip in clips
        ]
        return _centred(np.stack(logits)), np.stack(self.embeddings)


class Serene:
    """A recognizer, a list of clips at once."""

    def __init__(self, folder: Path, precision: Any) -> None:
        """Load the model."""
        self.recognizer = Recognizer.load(folder, device="cpu", precision=precision, threads=1)

    def __call__(self, clips: Sequence[np.ndarray]) -> Answers:
        """Answer for clips; the logits, but for what is the same for all classes, are the scores' logarithms."""
        answers = self.recognizer(list(clips), SAMPLE_RATE)
        scores = [[answer.scores[name] for name in EMOTIONS] for answer in answers]
        return _centred(np.log(scores)), np.stack([answer.embedding for answer in answers])


def encoder(size: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the contestants on an encoder of a size."""
    seconds = np.minimum(fit().quantiles(options.clips), LONGEST_OF_TINY if options.tiny else np.inf)
    clips = [speech(n, float(own)) for n, own in enumerate(seconds)]
    millions, furthest = make(TINY if options.tiny else SIZES[size], folder)
    contestants: dict[str, Callable[[Sequence[np.ndarray]], Answers]] = {LOOP: Loop(folder / "stock")}
    for precision in options.precisions:
        contestants[f"serene, {precision}"] = Serene(folder / "model", precision)
    found: dict[str, Answers] = {}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant([speech(0, 1.0)])  # what is set up but once
    for _ in range(options.repeats):
        for name, contestant in contestants.items():
            began = time.process_time(), time.perf_counter()
            found[name] = contestant(clips)
            taken[name].append((time.process_time() - began[0], time.perf_counter() - began[1]))
    sound = sum(map(len, clips)) / SAMPLE_RATE
    rows = [_row(name, taken, found, sound) for name in contestants]
    near = [row for row in rows if row["cosine"] >= COSINE and row["name"] != LOOP]
    best = max(near, key=lambda row: row["faster_by"], default=None)
    return {
        "size": size,
        "weights": "random",
        "millions": millions,
        "logits_of_both_in_fp32_differ_by": furthest,
        "clips": len(clips),
        "sound_seconds": round(sound, 2),
        "cosine_between_clips": round(_cosines(found[LOOP][1][:-1], found[LOOP][1][1:])[1], 6),
        "contestants": rows,
        "fastest_that_is_near": best and best["name"],
        "target": TARGETS[size],
        "met": best is not None and best["faster_by"] >= TARGETS[size],
    }


def _centred(logits: np.ndarray) -> np.ndarray:
    return logits - logits.mean(axis=1, keepdims=True)


def _cosines(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Give the least and the mean cosine of rows."""
    found = (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    return float(found.min()), float(found.mean())


def _row(
    name: str, taken: dict[str, list[tuple[float, float]]], found: dict[str, Answers], sound: float
) -> dict[str, Any]:
    (logits, embeddings), (own_logits, own) = found[LOOP], found[name]
    times, loop = medians(taken[name]), medians(taken[LOOP])
    return {
        "name": name,
        **times,
        "sound_per_second": round(sound / times["processor"], 3),
        "faster_by": round(loop["processor"] / times["processor"], 3),
        "cosine": round(_cosines(embeddings, own)[0], 6),
        "cosine_without_the_mean": round(_cosines(embeddings - embeddings.mean(0), own - embeddings.mean(0))[0], 6),
        "cosine_of_logits": round(_cosines(logits, own_logits)[0], 6),
        "all_processor_seconds": [round(processor, 3) for processor, _ in taken[name]],
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the parts that were asked for; a part that lacks its model is a line that says so."""
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)
    transformers.utils.logging.disable_progress_bar()
    versions = {name: version(name) for name in ("torch", "transformers", "onnxruntime")}
    result: dict[str, Any] = {"threads": 1, "cores": os.cpu_count(), "load": os.getloadavg()[0], **versions}
    result["repeats"] = options.repeats
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if "encoders" in options.parts:
            result["encoders"] = [encoder(size, folder / size, options) for size in options.sizes]
        small: dict[str, Callable[[], dict[str, Any]]] = {
            "bundled": lambda: bundled(options.model, folder / "bundled", options.repeats, options.files),
            "first": lambda: first(options.model, folder / "first", options.repeats),
        }
        for name in (name for name in small if name in options.parts):
            try:
                result[name] = small[name]()
            except SereneError as error:
                result[name] = {"skipped": str(error)}
    return result


def report(result: dict[str, Any]) -> None:
    """Print as text."""
    for found in result.get("encoders", ()):
        print(
            f"HuBERT {found['size']}, {found['millions']} million random weights, {found['sound_seconds']} s of sound"
        )
        print(f"{'':36}sound/s  faster by  cosine    without the mean")
        for row in found["contestants"]:
            print(
                f"{row['name']:36}{row['sound_per_second']:7.2f}  {row['faster_by']:9.2f}  {row['cosine']:.6f}  "
                f"{row['cosine_without_the_mean']:.6f}"
            )
    for part in ("bundled", "first"):
        found = result.get(part, {})
        if "skipped" in found:
            print(f"{part}: skipped. {found['skipped']}")
        elif part == "bundled" and found:
            print(f"{found['model']} ({found['runs_on']}), times real time: {found['times_real_time']}")
        elif found:
            print(f"the first answer: {found['ways']}; imports (ms): {found['imports']}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--tiny", action="store_true", help="tiny encoders on clips of 1 s at most: does it run?")
    parts = ("encoders", "bundled", "first")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--model", help="a model folder for the last two parts; the bundled model without it")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="of the encoders")
    parser.add_argument("--clips", type=int, default=16, help="for the encoders")
    parser.add_argument("--files", type=int, default=64, help="for the bundled model")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        report(result)


if __name__ == "__main__":
    main()
