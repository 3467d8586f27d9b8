"""What speaker normalisation (Gat et al. 2022) costs: seconds per iteration of SNP and TAP over the baseline.

An iteration of the baseline is one pass forward and one back through the encoder. TAP adds the same on the batch of
speakers; SNP adds a pass forward alone, since nothing behind its projector moves. Both batches hold as much sound here,
so that with a pass back that costs two forward, SNP should cost 4/3 of the baseline and TAP twice as much. Where the
convolutions of a HuBERT are at rest, the way back is shorter and SNP's share larger: the second expectation is computed
from the pass forward as it was measured.

The iterations are the trainer's own; the clips are random arrays, all of one length.

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
from serene.audio.speaker_stream import SpeakerStream
from serene.audio.store import Store
from serene.corpora.manifest import Utterance
from serene.methods.baseline import Baseline
from serene.methods.method import Method
from serene.methods.speaker_normalization import SpeakerNormalization
from serene.models.model import EmotionModel, Normalization
from serene.models.parts import Parts
from serene.trainer import Trainer

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
    """

    name: str
    settings: dict[str, Any]
    rate: float
    width: int
    normalize: Normalization


ENCODERS = {
    "TDNN-BiLSTM": Encoder("tdnn_bilstm", {}, 100.0, 39, "training_set"),
    "small HuBERT, all trained": Encoder("hubert", {"config": SMALL, "train": "all"}, 16_000.0, 1, "utterance"),
    "small HuBERT, convolutions at rest": Encoder("hubert", {"config": SMALL}, 16_000.0, 1, "utterance"),
}


class Noise(Store):
    """A store of random arrays, all of one length, in memory."""

    def __init__(self, encoder: Encoder) -> None:
        """Draw one array; every clip is it, cyclically shifted."""
        frames = round(SECONDS * encoder.rate)
        self.maker: Any = SimpleNamespace(rate=encoder.rate, stored=True)
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

    def __init__(self, encoder: Encoder, method: Callable[[], Method], steps: int, batch_size: int) -> None:
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
        self.train = Dataset(clips(steps * batch_size), store, emotions=EMOTIONS, speakers=speakers)
        self.stream = SpeakerStream(clips(4 * SPEAKERS), store, batch_size=batch_size, crop=SECONDS)
        self.trainer = Trainer(epochs=1, batch_size=batch_size, optimizer="adamw", select_on="last", device="cpu")

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

    @torch.no_grad()
    def forward(self) -> float:
        """Return the seconds of a pass through the encoder without gradients, on a batch of speakers."""
        batches = [self.stream.batch(np.random.default_rng(step)) for step in range(self.steps)]
        self.model.encoder.eval()
        started = time.perf_counter()
        for batch in batches:
            self.model.context(self.model.features(batch))
        return (time.perf_counter() - started) / self.steps


def measure(encoder: Encoder, repeats: int, steps: int, batch_size: int) -> dict[str, Any]:
    """Measure all methods on an encoder, in turn; the first epoch of each counts passes and is not timed."""
    learners = {name: Learner(encoder, method, steps, batch_size) for name, method in METHODS.items()}
    passes = {name: learner.passes() for name, learner in learners.items()}
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    forward = []
    for _ in range(repeats):
        for name, learner in learners.items():
            seconds[name].append(learner.iteration())
        forward.append(learners["baseline"].forward())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    share = statistics.median(f / s for f, s in zip(forward, seconds["baseline"], strict=True))
    extra = {"baseline": 1.0, "snp": 1 + share, "tap": 2.0}
    rows = []
    for name in learners:
        costs = {which: each["forward"] + 2 * each["backward"] for which, each in passes.items()}
        ratios = [own / plain for own, plain in zip(seconds[name], seconds["baseline"], strict=True)]
        row = {"method": name, **passes[name], "seconds": round(medians[name], 4)}
        row |= {"ratio": round(statistics.median(ratios), 3), "expected": round(costs[name] / costs["baseline"], 3)}
        rows.append(row | {"expected_from_forward": round(extra[name], 3)})
    return {"forward_seconds": round(statistics.median(forward), 4), "methods": rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--tiny", action="store_true", help="a few iterations: proves that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = {"repeats": 1, "steps": 2, "batch_size": 2} if options.tiny else {"repeats": 7, "steps": 8, "batch_size": 4}
    measured = {name: measure(encoder, **sizes) for name, encoder in ENCODERS.items()}
    if options.json:
        print(json.dumps({**sizes, "seconds_of_sound": SECONDS, "encoders": measured}, indent=2))
        return
    print(f"{sizes['batch_size']} clips of {SECONDS:g} s per batch, medians of {sizes['repeats']} interleaved repeats")
    for encoder, found in measured.items():
        print(f"{encoder}: a pass forward alone {found['forward_seconds']:.4f} s")
        for row in found["methods"]:
            print(
                f"  {row['method']:9} {row['forward']:g} forward, {row['backward']:g} back {row['seconds']:8.4f} s  "
                f"ratio {row['ratio']:.2f}, expected {row['expected']:.2f} ({row['expected_from_forward']:.2f})"
            )


if __name__ == "__main__":
    main()
