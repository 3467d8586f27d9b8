"""What storing the frozen part of an encoder saves: memory that does not grow with the corpus, and time per epoch.

Memory is the peak of the anonymous kind (RssAnon: what a process has for itself; mapped files are not in it) of
processes of their own. They fill the store with a small encoder's frames, train a head for an epoch over it and, as the
alternative, do the same with all frames held in memory: each at some number of clips, and at ten times as many.

Time is that of an epoch of training a head on HuBERT of Base's size, all of it frozen: from the store and, as the
alternative, encoding every clip again.

    python benchmarks/frozen.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers

from serene import sound
from serene.audio.dataset import Dataset, warm
from serene.audio.input_spec import FrontEnd
from serene.audio.store import Store
from serene.audio.waveform import Waveform
from serene.corpora.manifest import Manifest, Utterance
from serene.methods.baseline import Baseline
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.prefix import Prefix
from serene.task import Task
from serene.training.trainer import Trainer

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
GROWTH = 10
SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256}
SMALL |= {"conv_dim": [32] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        clips: in the smaller store of the memory part.
        base: settings of a HubertConfig, whose defaults are those of HuBERT Base.
        encoded: clips of the time part.
        repeats: of either epoch.
    """

    clips: int
    base: dict[str, Any]
    encoded: int
    repeats: int


FULL = Size(clips=500, base={}, encoded=30, repeats=2)
TINY = Size(clips=20, base=SMALL, encoded=6, repeats=1)


class Held(Store):
    """A store that holds every array it has given: the alternative to mapping them from disk."""

    def __init__(self, folder: str | Path, front_end: FrontEnd) -> None:
        """Hold nothing yet."""
        super().__init__(folder, front_end)
        self.held: dict[str, np.ndarray] = {}

    def get(self, audio_hash: str, samples: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the array for a sound, read at most once."""
        if audio_hash not in self.held:
            self.held[audio_hash] = np.array(super().get(audio_hash, samples))
        return self.held[audio_hash]


def write_clips(folder: Path, count: int, period: int, shortest: float, longest: float) -> Manifest:
    """Write noise as WAV files; every so many (`period`) clips the same durations, in seconds, come again."""
    folder.mkdir(parents=True)
    seconds = np.linspace(shortest, longest, period)
    clips = []
    for n in range(count):
        samples = np.random.default_rng(n).normal(scale=0.1, size=round(seconds[n % period] * sound.SAMPLE_RATE))
        path, samples = folder / f"{n}.wav", samples.astype(np.float32)
        soundfile.write(path, samples, sound.SAMPLE_RATE, subtype="FLOAT")
        labels = {"speaker": f"{n % 10}", "emotion": EMOTIONS[n % 4], "duration": len(samples) / sound.SAMPLE_RATE}
        clips.append(Utterance(id=f"{n}", audio=str(path), audio_hash=sound.content_hash(samples), **labels))
    return Manifest(tuple(clips))


def write_encoder(folder: Path, settings: dict[str, Any]) -> float:
    """Save a HuBERT with random weights; return its millions of parameters."""
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.HubertModel(transformers.HubertConfig(**settings))
    model.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters()) / 1e6


def dataset_of(manifest: Manifest, store: Store) -> Dataset:
    """Make a dataset of all clips."""
    return Dataset(
        manifest.utterances, store, task=Task(tuple(EMOTIONS)), speakers=sorted({u.speaker for u in manifest})
    )


def frozen(folder: Path) -> Prefix:
    """Give the front end of all of an encoder's layers."""
    settings = {"weights": str(folder), "train": "none"}
    return Prefix(front_end=Waveform(), encoder="hubert", settings=settings, normalize="utterance")


def new_model(part: Prefix) -> EmotionModel:
    """Make a model that learns on an encoder's outputs: the Brown report's base network."""
    torch.manual_seed(0)
    parts = Parts(pooling="mean", hidden=(256, 64), head="relu_dropout_norm", head_dropout=0.3)
    given: Any = {"encoder": part.encoder, "encoder_settings": part.settings, "normalize": part.normalize}
    return EmotionModel(EMOTIONS, part.front_end.spec.width, parts=parts, **given)


def epoch(model: EmotionModel, clips: Dataset, epochs: int = 1) -> float:
    """Train with 32 clips per step; return the mean seconds of an epoch, as the log has them."""
    trainer = Trainer(epochs=epochs, batch_size=32, optimizer="adam", select_on="last", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        rows = trainer.fit(model, Baseline(), clips, None, seed=0, folder=Path(folder)).rows
    return statistics.mean(row["seconds"] for row in rows)


def task(name: str, folder: Path, count: int) -> None:
    """Do in a process of its own what the memory of is measured; say when all is ready for it."""
    torch.set_num_threads(1)
    part = frozen(folder / "encoder")
    store = (Held if name == "held" else Store)(folder / f"store-{count}", part)
    model = new_model(part)
    print("ready", flush=True)
    manifest = Manifest.read(folder / f"{count}.jsonl")
    if name == "fill":
        warm(manifest.utterances, store)
    else:
        epoch(model, dataset_of(manifest, store))


def anonymous(process: int) -> float:
    """Read a process's anonymous memory in megabytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0.0)


def peak_of(name: str, folder: Path, count: int) -> tuple[float, float]:
    """Return the anonymous megabytes of a task's process before its first clip, and the most until its end."""
    command = [sys.executable, __file__, "--task", name, str(folder), str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the process that measures '{name}' did not begin")
        before = most = anonymous(process.pid)
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(0.005)
    if process.returncode:
        raise RuntimeError(f"the process that measures '{name}' failed")
    return before, most


def memory(folder: Path, size: Size) -> dict[str, Any]:
    """Measure the peaks of filling, of an epoch and of its alternative, at both numbers of clips."""
    counts = (size.clips, GROWTH * size.clips)
    write_encoder(folder / "encoder", SMALL)
    manifest = write_clips(folder / "audio", counts[1], size.clips, 0.5, 1.5)
    for count in counts:
        Manifest(manifest.utterances[:count]).write(folder / f"{count}.jsonl")
    titles = {
        "fill": "filling the store",
        "epoch": "an epoch from the store",
        "held": "an epoch with all held in memory",
    }
    rows = []
    for name, title in titles.items():
        peaks = [peak_of(name, folder, count) for count in counts]
        (before, few), (_, many) = peaks
        figures = {"before_mb": round(before, 1), "peak_mb": [round(few, 1), round(many, 1)]}
        rows.append({"task": title, **figures, "ratio": round(many / few, 3)})
    stored = [sum(p.stat().st_size for p in (folder / f"store-{n}").rglob("*") if p.is_file()) / 2**20 for n in counts]
    return {"clips": list(counts), "stored_mb": [round(mb, 1) for mb in stored], "anonymous_memory": rows}


def speed(folder: Path, size: Size) -> dict[str, Any]:
    """Measure epochs from the store and epochs that encode every clip again, in turn."""
    parameters = write_encoder(folder / "base", size.base)
    manifest = write_clips(folder / "speech", size.encoded, size.encoded, 2.0, 3.0)
    part = frozen(folder / "base")
    started = time.perf_counter()
    stored, encoded = (dataset_of(manifest, Store(folder / "store", read)) for read in (part, part.front_end))
    filled = time.perf_counter() - started
    model = new_model(part)
    epoch(model, stored)  # what only the first epoch of a process costs
    seconds: dict[str, list[float]] = {"store": [], "again": []}
    for _ in range(size.repeats):
        seconds["store"].append(epoch(model, stored, epochs=20))
        seconds["again"].append(epoch(model, encoded))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "encoder": f"HuBERT, {parameters:.1f} million parameters, random weights",
        "clips": size.encoded,
        "repeats": size.repeats,
        "seconds_to_fill": round(filled, 3),
        "epoch_seconds": {name: round(value, 5) for name, value in medians.items()},
        "all_epoch_seconds": {name: [round(value, 5) for value in values] for name, values in seconds.items()},
        "times_faster": round(medians["again"] / medians["store"], 1),
    }


def report(result: dict[str, Any]) -> None:
    """Print as text."""
    few, many = result["memory"]["clips"]
    print(f"peak anonymous memory (MB), {few} and {many} clips, {result['memory']['stored_mb']} MB of outputs stored")
    for row in result["memory"]["anonymous_memory"]:
        print(f"{row['task']:34} {row['peak_mb'][0]:8.1f} {row['peak_mb'][1]:8.1f}  ratio {row['ratio']:.3f}")
    found = result["time"]
    print(f"{found['encoder']}: {found['clips']} clips, medians of {found['repeats']}")
    for name, title in (("store", "an epoch from the store"), ("again", "an epoch that encodes again")):
        print(f"{title:34} {found['epoch_seconds'][name]:8.4f} s")
    print(f"{'times faster':34} {found['times_faster']:8.1f}")


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--tiny", action="store_true", help="a few clips and a small encoder: proves that it runs")
    parser.add_argument("--task", nargs=3, metavar=("NAME", "FOLDER", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.task:
        name, folder, count = options.task
        task(name, Path(folder), int(count))
        return
    torch.set_num_threads(1)
    size = TINY if options.tiny else FULL
    with tempfile.TemporaryDirectory() as folder:
        result = {"memory": memory(Path(folder), size), "time": speed(Path(folder), size)}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        report(result)


if __name__ == "__main__":
    main()
