"""Fine-tuning throughput of HuBERT-Base: serene's training step against the Hugging Face Trainer.

Weights are random and of real size; the sound is noise. Durations are those of `padding.py`, made up to look like
IEMOCAP's (mean 4.55 s, from 0.6 s to 34 s), cut at 15 s. Each contestant puts all 5531 of them into batches in its own
way; of these, a few at evenly spaced ranks of their total duration are trained on, so that little time shows how a
whole epoch goes. The unit is seconds of real sound, without padding, per second. Repeats are interleaved, and medians
are compared.

What trains is all but the convolutions, or the last two layers alone.

* serene: batches of like length, bf16 autocast, frames masked exactly; what the frozen part makes is read as float16
  from disk, as from the second epoch on.
* serene, computed: the same, with the frozen part computed anew.
* Trainer, defaults: random batches, everything trains in float32, no attention mask (this model's feature extractor
  makes none), SpecAugment, and layer drop, which skips a tenth of the layers.
* Trainer, best settings: grouped by length, bf16, the same parts frozen, an attention mask; SpecAugment and layer drop
  are off as in serene, so that both train the same network.

    python benchmarks/finetuning.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import transformers
from torch.utils.data import SequentialSampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from padding import CLIPS, fit, overhead, random_batches
from serene.audio.batch import Batch, length_buckets, padded
from serene.models.heads import cross_entropy
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.sound import SAMPLE_RATE

LONGEST = 15.0  # seconds of a clip that are trained on
CLASSES = 4
RATE = 1e-5
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
TRAINED = ("transformer", 2)  # all but the convolutions; the last two layers
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

Clips = Sequence[Sequence[np.ndarray]]  # batches of waveforms (sample,)
Batching = Callable[[np.ndarray, int, np.random.Generator], list[np.ndarray]]


class Contestant(Protocol):
    """Something that trains."""

    def train(self, batches: Clips) -> float:
        """Take a step on each batch; return the seconds it took."""
        ...


class Serene:
    """The step of `serene.training.trainer`, without its evaluation and checkpoints."""

    def __init__(self, config: dict[str, Any], trained: Any, *, stored: bool) -> None:
        """Build the model."""
        self.stored, self.folder = stored, tempfile.TemporaryDirectory()
        self.model = EmotionModel(
            [str(number) for number in range(CLASSES)],
            1,
            encoder="hubert",
            encoder_settings={"config": config, "train": trained},
            normalize="utterance",
            parts=Parts(pooling="mean", hidden=(256,), head="relu"),
        ).to(DEVICE)

    def train(self, batches: Clips) -> float:
        """Take a step on each batch; return the seconds it took."""
        parameters = [parameter for parameter in self.model.train().parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, RATE)
        kept = [[self._kept(clip, f"{i}-{j}") for j, clip in enumerate(clips)] for i, clips in enumerate(batches)]
        started = _now()
        for clips, paths in zip(batches, kept, strict=True):
            batch = (_encoded([np.load(path) for path in paths]) if self.stored else _batch(clips)).to(DEVICE)
            with torch.autocast(DEVICE, torch.bfloat16):
                loss = cross_entropy(self.model(batch), batch.target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            loss.item()
        return _now() - started

    @torch.no_grad()
    def _kept(self, clip: np.ndarray, name: str) -> Path:
        """Write what the frozen part makes of a clip, in the first epoch so to speak."""
        path = Path(self.folder.name) / f"{name}.npy"
        if self.stored:
            features = self.model.features(_batch([clip]).to(DEVICE))
            frames = self.model.encoder.eval().prefix(features.values, features.mask)[0]
            np.save(path, frames.half().cpu().numpy())
            self.model.train()
        return path


class HuggingFace:
    """The Trainer of transformers; batches come as they were made, and all else is its own."""

    def __init__(self, config: dict[str, Any], trained: Any, *, best: bool) -> None:
        """Build the model."""
        self.best = best
        like_serene = {"apply_spec_augment": False, "layerdrop": 0.0} if best else {}
        described = transformers.HubertConfig(**config, **like_serene, num_labels=CLASSES)
        self.model = transformers.HubertForSequenceClassification(described)
        self.extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=best)
        if best:
            self.model.freeze_feature_encoder()
        if best and trained != "transformer":
            self.model.freeze_base_model()
            for layer in self.model.hubert.encoder.layers[-trained:]:
                layer.requires_grad_(True)

    def train(self, batches: Clips) -> float:
        """Take a step on each batch; return the seconds between the Trainer's first and last event."""
        clock = _Clock()
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=len(batches[0]),
                num_train_epochs=1,
                learning_rate=RATE,
                bf16=self.best,
                use_cpu=DEVICE == "cpu",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=DEVICE == "cuda",
            )
            trainer = _InOrder(
                model=self.model,
                args=arguments,
                data_collator=self._collate,
                train_dataset=[{"input_values": clip, "labels": 0} for clips in batches for clip in clips],
                callbacks=[clock],
            )
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.train()
        return clock.seconds

    def _collate(self, rows: list[dict[str, Any]]) -> Any:
        padded = self.extractor.pad([{"input_values": row["input_values"]} for row in rows], return_tensors="pt")
        return {**padded, "labels": torch.tensor([row["labels"] for row in rows])}


class _InOrder(transformers.Trainer):
    """A Trainer that takes the clips as they come: its own samplers have put them in order before."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)


class _Clock(transformers.TrainerCallback):
    """Seconds from the beginning of the training to its end."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.started = _now()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds = _now() - self.started


class Entry(NamedTuple):
    """A contestant, what it is called and how it makes batches of an epoch."""

    name: str
    make: Callable[[dict[str, Any], Any], Contestant]
    batching: Batching


def grouped_by_length(lengths: np.ndarray, batch_size: int, _rng: np.random.Generator) -> list[np.ndarray]:
    """Make batches as the Trainer does with `train_sampling_strategy="group_by_length"`."""
    generator = torch.Generator().manual_seed(0)
    order = np.array(list(LengthGroupedSampler(batch_size, lengths=lengths.tolist(), generator=generator)))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


ENTRIES = (
    Entry("serene", lambda *given: Serene(*given, stored=True), length_buckets),
    Entry("serene, computed", lambda *given: Serene(*given, stored=False), length_buckets),
    Entry("Trainer, defaults", lambda *given: HuggingFace(*given, best=False), random_batches),
    Entry("Trainer, best settings", lambda *given: HuggingFace(*given, best=True), grouped_by_length),
)


def measure(
    config: dict[str, Any], trained: Any, *, longest: float, batch_size: int, batches: int, repeats: int
) -> dict[str, Any]:
    """Train each contestant on its own batches, in turns; return seconds of sound per second and the ratios."""
    torch.set_num_threads(1)
    lengths = np.round(np.minimum(fit().quantiles(CLIPS), longest) * SAMPLE_RATE).astype(np.int64)
    contestants, chosen, seconds = {}, {}, {entry.name: [] for entry in ENTRIES}
    for entry in ENTRIES:
        torch.manual_seed(0)
        contestants[entry.name] = entry.make(config, trained)
        chosen[entry.name] = _evenly(entry.batching(lengths, batch_size, np.random.default_rng(0)), lengths, batches)
        contestants[entry.name].train([[_noise(0, 8000), _noise(1, 8000)]])  # what is set up but once
    for _ in range(repeats):
        for name, contestant in contestants.items():
            clips = [[_noise(i, int(lengths[i])) for i in batch] for batch in chosen[name]]
            seconds[name].append(contestant.train(clips))
    rows = [_row(name, lengths, chosen[name], seconds[name]) for name in contestants]
    for row in rows:
        row["serene_is_faster_by"] = round(rows[0]["sound_per_second"] / row["sound_per_second"], 3)
    settings = {
        "trained": trained,
        "longest": longest,
        "batch_size": batch_size,
        "batches": batches,
        "repeats": repeats,
    }
    return {**settings, "device": DEVICE, "torch": torch.__version__, "transformers": transformers.__version__} | {
        "throughput": rows
    }


def _row(name: str, lengths: np.ndarray, chosen: list[np.ndarray], seconds: list[float]) -> dict[str, Any]:
    sound = sum(int(lengths[batch].sum()) for batch in chosen) / SAMPLE_RATE
    return {
        "name": name,
        "sound": round(sound, 2),
        "computed_per_real": round(overhead(lengths[np.concatenate(chosen)], _places(chosen)), 3),
        "seconds": [round(taken, 3) for taken in seconds],
        "sound_per_second": round(sound / statistics.median(seconds), 3),
    }


def _places(chosen: list[np.ndarray]) -> list[np.ndarray]:
    """Number the clips of some batches anew, one batch after the other."""
    ends = np.cumsum([len(batch) for batch in chosen])
    return [np.arange(end - len(batch), end) for end, batch in zip(ends, chosen, strict=True)]


def _evenly(made: list[np.ndarray], lengths: np.ndarray, count: int) -> list[np.ndarray]:
    """Choose full batches at evenly spaced ranks of their total duration."""
    full = sorted((b for b in made if len(b) == len(made[0])), key=lambda batch: int(lengths[batch].sum()))
    return [full[int((place + 0.5) / count * len(full))] for place in range(count)]


def _noise(seed: int, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)


def _batch(clips: Sequence[np.ndarray]) -> Batch:
    waveforms = [torch.from_numpy(clip)[:, None] for clip in clips]
    return Batch(
        inputs=torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True),
        lengths=torch.tensor([len(clip) for clip in clips]),
        target=torch.eye(CLASSES)[torch.zeros(len(clips), dtype=torch.long)],
        speaker=torch.zeros(len(clips), dtype=torch.long),
        ids=tuple(str(number) for number in range(len(clips))),
    )


def _encoded(frames: Sequence[np.ndarray]) -> Batch:
    inputs, lengths = padded(frames)
    like = _batch([np.zeros(1, np.float32)] * len(frames))
    return replace(like, inputs=torch.from_numpy(inputs), lengths=torch.from_numpy(lengths), encoded=True)


def _now() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--tiny", action="store_true", help="a tiny encoder on clips of 1 s at most: does it run?")
    parser.add_argument("--batch-size", type=int, default=8, help="clips per step; 8 is the Trainer's own default")
    parser.add_argument("--batches", type=int, default=2, help="steps per repeat")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not transformers.utils.is_accelerate_available():
        sys.exit("The Hugging Face Trainer needs accelerate: pip install accelerate")
    transformers.logging.set_verbosity_error()
    sizes = {"batch_size": options.batch_size, "batches": options.batches, "repeats": options.repeats}
    config, longest = (TINY, 1.0) if options.tiny else ({}, LONGEST)
    results = [measure(config, trained, longest=longest, **sizes) for trained in TRAINED]
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for result in results:
        name = f"HuBERT{'-Base' if not options.tiny else ', tiny'}, {result['trained']} trained"
        print(f"{name}, batches of {result['batch_size']}, {result['device']}")
        print(f"{'':24}sound/s  computed/real  serene is faster by")
        for row in result["throughput"]:
            figures = (row["sound_per_second"], row["computed_per_real"], row["serene_is_faster_by"])
            print(f"{row['name']:24}{figures[0]:7.2f}  {figures[1]:13.2f}  {figures[2]:19.2f}")


if __name__ == "__main__":
    main()
