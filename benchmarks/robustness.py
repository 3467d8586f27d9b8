"""What a model answers for other levels, rooms, noise, recorders and shorter clips than those it was given.

    python benchmarks/robustness.py crema_d.jsonl emodb.jsonl ravdess.jsonl [--model MODEL] [--speakers sample] [--json]

Every clip is changed once, drawn by its own sound. For each change: UA with its 95 % interval over speakers, the share
of labels that differ from those of the clips as they are, and the share of clips in which no speech was found. Clips of
emotions that the model does not know are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from serene import sound
from serene.audio import changes
from serene.audio.augment import Change
from serene.corpora.manifest import Manifest, Utterance
from serene.evaluation.confidence import intervals
from serene.evaluation.predictions import Predictions
from serene.inference.emotion import Emotion
from serene.inference.recognizer import Recognizer

OPUS_12 = 0.967  # libsndfile's compression that gives some 12 kbit/s of speech
CHANGED: dict[str, Change | None] = {
    "as it is": None,
    **{f"{decibels:+d} dB": partial(changes.level, between=(decibels, decibels)) for decibels in (-20, -10, 10, 20)},
    **{f"noise at {snr} dB SNR": partial(changes.noise, between=(snr, snr)) for snr in (20, 10, 5)},
    "a room": changes.room,
    "Opus at 12 kbit/s": partial(changes.opus, between=(OPUS_12, OPUS_12)),
    "telephone band": changes.telephone,
    **{f"{seconds} s of it": partial(changes.part, between=(seconds, seconds)) for seconds in (3, 2, 1)},
}


def measure(clips: Sequence[Utterance], model: Recognizer, change: Change | None) -> list[Emotion]:
    """Answer for clips after a change."""
    answers = []
    for clip in clips:
        samples = sound.read(clip.audio, clip.start, clip.duration)
        if change is not None:
            rng = np.random.default_rng(int(sound.content_hash(samples), 16))
            samples = np.asarray(change(samples, rng), dtype=np.float32)
        answers.append(model.answer([model.extract(samples, sound.SAMPLE_RATE)])[0])
    return answers


def row_of(clips: Sequence[Utterance], answers: Sequence[Emotion], plain: Sequence[Emotion], model: Recognizer) -> dict:
    """Give the figures of one change; a clip without speech counts as a wrong answer."""
    task = model.folder.task
    even = np.full(len(task.names), 1 / len(task.names))
    scores = np.stack([[own.scores[name] for name in task.names] if own.scores else even for own in answers])
    found = intervals(Predictions.of_clips(clips, scores, task, part="test", fold="1", seed=0))["ua"]
    differ = np.mean([own.label != other.label for own, other in zip(answers, plain, strict=True)])
    recalls = {
        name: float(
            np.mean([own.label == name for own, clip in zip(answers, clips, strict=True) if clip.emotion == name])
        )
        for name in task.names
        if any(clip.emotion == name for clip in clips)
    }
    mute = float(np.mean([own.label is None for own in answers]))
    return {
        "ua": found.value,
        "low": found.low,
        "high": found.high,
        "changed": float(differ),
        "mute": mute,
        "recall": recalls,
    }


def table(results: dict[str, dict[str, dict]]) -> str:
    """Write Markdown: a row for each change, and for each corpus UA and the share of labels that change."""
    lines = [
        "| | " + " | ".join(f"{corpus}: UA | labels changed" for corpus in results) + " |",
        "| --- |" + " --- | --- |" * len(results),
    ]
    for name in CHANGED:
        cells = []
        for rows in results.values():
            row = rows[name]
            cells.append(f"{100 * row['ua']:.1f} [{100 * row['low']:.1f} to {100 * row['high']:.1f}]")
            cells.append("" if name == "as it is" else f"{100 * row['changed']:.1f} %")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--model", help="a model folder; the bundled model without it")
    parser.add_argument("--speakers", nargs="*", default=[], help="of the first manifest: these alone")
    parser.add_argument("--every", type=int, default=1, help="of the clips, every so many-th alone")
    parser.add_argument("--json", action="store_true", help="print figures instead of a table")
    given = parser.parse_args()
    model, results = Recognizer.load(given.model), {}
    for place, path in enumerate(given.manifests):
        clips = [clip for clip in Manifest.read(path) if clip.emotion in model.labels][:: given.every]
        clips = [clip for clip in clips if place or not given.speakers or clip.speaker in given.speakers]
        plain = measure(clips, model, None)
        results[path.stem] = {
            name: row_of(clips, plain if change is None else measure(clips, model, change), plain, model)
            for name, change in CHANGED.items()
        }
    print(json.dumps(results, indent=1) if given.json else table(results))


if __name__ == "__main__":
    main()
