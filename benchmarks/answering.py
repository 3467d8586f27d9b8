"""What the bundled model's answers cost, and what of transformers they are compared with: parts of `inference.py`."""

from __future__ import annotations

import collections
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from layers import TINY
from padding import fit
from serene.export.to_onnx import export_onnx
from serene.export.to_transformers import export_transformers
from serene.inference.folder import ModelFolder
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.sound import SAMPLE_RATE
from voices import speech

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
REAL_TIME, FIRST = 50.0, 1.0  # what is aimed at: seconds of sound per second, and seconds
PREDICT = "import sys; from serene.cli import main; sys.argv[0] = 'serene'; main()"
SCRIPT = """
import sys, soundfile, torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
extractor = AutoFeatureExtractor.from_pretrained(sys.argv[1])
model = AutoModelForAudioClassification.from_pretrained(sys.argv[1])
samples, rate = soundfile.read(sys.argv[2])
print(model(**extractor(samples, sampling_rate=rate, return_tensors="pt")).logits.softmax(-1))
"""


def bundled(model: str | None, folder: Path, repeats: int, count: int) -> dict[str, Any]:
    """Measure a small model on files: all of them at once, and one at a time."""
    recognizer = Recognizer.load(model, device="cpu", threads=1)
    seconds = fit().quantiles(count)
    files = [_write(folder / f"{n}.wav", speech(n, float(own))) for n, own in enumerate(seconds)]
    ways: dict[str, Callable[[], Any]] = {
        "all at once": lambda: recognizer(files),
        "one at a time": lambda: [recognizer(file) for file in files],
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    recognizer(files[0])
    for _ in range(repeats):
        for way, answer in ways.items():
            began = time.process_time()
            answer()
            taken[way].append(time.process_time() - began)
    speed = {way: round(float(seconds.sum()) / statistics.median(own), 1) for way, own in taken.items()}
    return {
        "model": recognizer.info["name"],
        "runs_on": recognizer.info["runs_on"],
        "files": len(files),
        "sound_seconds": round(float(seconds.sum()), 2),
        "processor_seconds": {way: [round(value, 4) for value in own] for way, own in taken.items()},
        "times_real_time": speed,
        "target": REAL_TIME,
        "met": speed["all at once"] >= REAL_TIME,
    }


def first(model: str | None, folder: Path, repeats: int) -> dict[str, Any]:
    """Measure processes that answer once, from their start to their end."""
    ModelFolder.find(model)
    file = _write(folder / "one.wav", speech(0, 4.5))
    make(TINY, folder / "tiny", onnx=False)
    chosen = [] if model is None else ["--model", model]
    predict = [sys.executable, "-c", PREDICT, "predict", file, *chosen]
    ways = {"serene predict": predict, "transformers": [sys.executable, "-c", SCRIPT, str(folder / "tiny/stock"), file]}
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for repeat in range(repeats + 1):
        for way, command in ways.items():
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            if repeat:  # the first brings the files into memory
                taken[way].append((after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall))
    rows = {way: medians(own) for way, own in taken.items()}
    met = rows["serene predict"]["seconds"] <= FIRST
    return {"ways": rows, "target": FIRST, "met": met, "imports": _imports(predict)}


def _imports(command: list[str]) -> dict[str, float]:
    """Give the milliseconds that the ten slowest packages took to import by themselves."""
    words = [command[0], "-X", "importtime", *command[1:]]
    told = subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
    spent: collections.Counter[str] = collections.Counter()
    for line in told.splitlines():
        own, bar, name = line.removeprefix("import time:").partition("|")
        if bar and own.strip().isdigit():
            spent[name.rpartition("|")[2].strip().partition(".")[0]] += int(own)
    return {name: round(micro / 1000, 1) for name, micro in spent.most_common(10)}


def make(config: dict[str, Any], folder: Path, *, onnx: bool = True) -> tuple[float, float]:
    """Write a model with random weights and its exports; give its millions of weights and how far apart they are."""
    torch.manual_seed(0)
    model = EmotionModel(
        EMOTIONS,
        1,
        encoder="hubert",
        encoder_settings={"config": config},
        normalize="utterance",
        parts=Parts(pooling="mean", hidden=()),
    )
    model.save(folder / "model", {"front_end": "waveform"})
    millions = round(sum(weights.numel() for weights in model.parameters()) / 1e6, 1)
    del model
    likeness = export_transformers(folder / "model", folder / "stock")
    if onnx:
        export_onnx(folder / "model", folder / "model", int8=True)
    return millions, max(likeness.differences)


def _write(path: Path, samples: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE)
    return str(path)


def medians(taken: list[tuple[float, float]]) -> dict[str, float]:
    """Give the medians of pairs of processor seconds and seconds."""
    processor, wall = zip(*taken, strict=True)
    return {"processor": round(statistics.median(processor), 4), "seconds": round(statistics.median(wall), 4)}
