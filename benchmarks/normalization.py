"""What speaker normalisation (Gat et al. 2022) costs: seconds per iteration of SNP and TAP over the baseline.

An iteration of the baseline is one pass forward and one back through the encoder. TAP adds the same on the batch of
speakers; SNP adds a pass forward alone, since the encoder does not move. Both batches hold as much sound here, so that
with a pass back that costs two forward, SNP should cost 4/3 of the baseline and TAP twice as much. That leaves out what
SNP does behind the encoder, which is much beside a small one, and that the way back is shorter where the convolutions
of a HuBERT are at rest. The second expectation counts both: it is computed from the parts of SNP's second update, each
timed by itself.

The iterations are the trainer's own; the clips are random arrays, all of one length. All models have a projector.

    python benchmarks/normalization.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from serene.audio.dataset import Dataset
from serene.audio.input_spec import InputSpec
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.corpora.manifest import Utterance
from serene.methods.baseline import Baseline
from serene.methods.method import Method
from serene.methods.speaker_normalization import SpeakerNormalization
from serene.models.model import EmotionModel, Normalization
from serene.models.parts import Parts
from serene.task import Task
from serene.training.trainer import Trainer

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
SPEAKERS = 16
SECONDS = 2.0  # of every clip, and of every part of the speaker corpus's
METHODS: dict[str, Callable[[], Method]] = {
    "baseline": Baseline,
    "snp": lambda: SpeakerNormalization(strategy="snp"),
    "tap": lambda: SpeakerNormalization(strategy="tap"),
}
SMALL = {"model_type": "hubert", "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4}
SMALL |= {"intermediate_size": 768, "conv_dim": [96] * 7, "num_conv_pos_embeddings": 32}


@dataclass(frozen=True)
class Encoder:
    """An encoder that is measured.

    Attributes:
        name: of the class, as recipes have it.
        settings: keyword arguments of it.
        rate: input frames per second.
        width: features per input frame.
        normalize: of its input.
        batch_size: clips per batch.
    """

    name: str
    settings: dict[str, Any]
    rate: float
    width: int
    normalize: Normalization
    batch_size: int


ENCODERS = {
    "TDNN-BiLSTM": Encoder("tdnn_bilstm", {}, 100.0, 39, "training_set", 16),
    "small HuBERT, all trained": Encoder("hubert", {"config": SMALL, "train": "all"}, 16_000.0, 1, "utterance", 4),
    "small HuBERT, convolutions at rest": Encoder("hubert", {"config": SMALL}, 16_000.0, 1, "utterance", 4),
}


class Noise(Store):
    """A store of random arrays, all of one length, in memory."""

    def __init__(self, encoder: Encoder) -> None:
        """Draw one array; every clip is it, cyclically shifted."""
        frames = round(SECONDS * encoder.rate)
        self.front_end: Any = SimpleNamespace(spec=InputSpec(width=encoder.width, rate=encoder.rate))
        self.array = np.random.default_rng(0).standard_normal((frames, encoder.width), dtype=np.float32)

    def get(self, audio_hash: str, samples: Callable[[], np.ndarray]) -> np.ndarray:
        """Return a clip's array (frame, feature)."""
        return np.roll(self.array, 7 * int(audio_hash), axis=0)


def clips(count: int) -> list[Utterance]:
    """Name clips of every speaker and emotion."""
    return [
        Utterance(id=f"{n}", audio="none", speaker=f"{n % SPEAKERS}", emotion=EMOTIONS[n % 4], audio_hash=f"{n}")
        for n in range(count)
    ]


class Learner:
    """A model, a method and the sound that it learns from, ready for one epoch after the other."""

    def __init__(self, encoder: Encoder, method: Callable[[], Method], steps: int) -> None:
        """Build all of it."""
        torch.manual_seed(0)
        store, speakers = Noise(encoder), [str(n) for n in range(SPEAKERS)]
        self.model = EmotionModel(
            EMOTIONS,
            encoder.width,
            encoder=encoder.name,
            encoder_settings=encoder.settings,
            normalize=encoder.normalize,
            parts=Parts(pooling="mean", projector="relu", hidden=(64,), head="relu"),
        )
        self.method, self.steps = method(), steps
        self.method.attach(self.model, SPEAKERS)
        size = encoder.batch_size
        self.train = Dataset(clips(steps * size), store, task=Task(tuple(EMOTIONS)), speakers=speakers)
        self.stream = SpeakerStream(clips(4 * SPEAKERS), store, batch_size=size, crop=SECONDS)
        self.trainer = Trainer(epochs=1, batch_size=size, optimizer="adamw", select_on="last", device="cpu")

    def iteration(self) -> float:
        """Train for one epoch; return the seconds of an iteration."""
        with tempfile.TemporaryDirectory() as folder:
            chosen = self.trainer.fit(
                self.model, self.method, self.train, None, seed=0, folder=Path(folder), speakers=self.stream
            )
        return chosen.rows[0]["seconds"] / self.steps

    def passes(self) -> dict[str, float]:
        """Train for one epoch; return how often an iteration goes through the encoder, forward and back."""
        counted = {"forward": 0, "backward": 0}

        def count(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            counted["forward"] += 1
            counted["backward"] += output.requires_grad

        with self.model.encoder.register_forward_hook(count):
            self.iteration()
        return {name: number / self.steps for name, number in counted.items()}

    def parts(self) -> tuple[float, float]:
        """Return the seconds of a pass through the encoder without gradients, and of both ways through what is behind.

        Both are of a batch of speakers; behind the encoder are projector, pooling and a head.
        """
        through = behind = 0.0
        self.model.encoder.eval()
        for step in range(self.steps):
            batch = self.stream.batch(np.random.default_rng(step))
            started = time.perf_counter()
            with torch.no_grad():
                frames = self.model.context(self.model.features(batch))
            reached = time.perf_counter()
            self.model.head(self.model.pool(self.model.project(frames))).sum().backward()
            through, behind = through + reached - started, behind + time.perf_counter() - reached
        return through / self.steps, behind / self.steps


def measure(encoder: Encoder, repeats: int, steps: int) -> dict[str, Any]:
    """Measure all methods on an encoder; the first epoch of each counts passes and is not timed."""
    learners = {name: Learner(encoder, method, steps) for name, method in METHODS.items()}
    passes = {name: learner.passes() for name, learner in learners.items()}
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    parts = []
    for _ in range(repeats):
        for name, learner in learners.items():
            seconds[name].append(learner.iteration())
        parts.append(learners["snp"].parts())
    costs = {name: each["forward"] + 2 * each["backward"] for name, each in passes.items()}
    share = statistics.median(sum(part) / own for part, own in zip(parts, seconds["baseline"], strict=True))
    from_parts = {"baseline": 1.0, "snp": 1 + share, "tap": 2.0}
    rows = []
    for name, own in seconds.items():
        ratio = statistics.median(one / plain for one, plain in zip(own, seconds["baseline"], strict=True))
        row = {"method": name, **passes[name], "seconds": round(statistics.median(own), 4), "ratio": round(ratio, 3)}
        row["expected_from_passes"] = round(costs[name] / costs["baseline"], 3)
        rows.append(row | {"expected_from_parts": round(from_parts[name], 3)})
    through, behind = (round(statistics.median(values), 4) for values in zip(*parts, strict=True))
    return {"batch_size": encoder.batch_size, "forward_seconds": through, "behind_seconds": behind, "methods": rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--tiny", action="store_true", help="a few iterations: proves that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = {"repeats": 1, "steps": 2} if options.tiny else {"repeats": 7, "steps": 8}
    measured = {name: measure(encoder, **sizes) for name, encoder in ENCODERS.items()}
    if options.json:
        print(json.dumps({**sizes, "seconds_of_sound": SECONDS, "encoders": measured}, indent=2))
        return
    for encoder, found in measured.items():
        print(f"{encoder}: {found['batch_size']} clips of {SECONDS:g} s, medians of {sizes['repeats']}")
        print(f"  forward alone {found['forward_seconds']:.4f} s, behind the encoder {found['behind_seconds']:.4f} s")
        for row in found["methods"]:
            expected = f"{row['expected_from_passes']:.2f} from passes, {row['expected_from_parts']:.2f} from parts"
            print(
                f"  {row['method']:9} {row['forward']:g} forward, {row['backward']:g} back {row['seconds']:8.4f} s  "
                f"ratio {row['ratio']:.2f}, expected {expected}"
            )


if __name__ == "__main__":
    main()
