"""What filling clips up to 30 s does to Whisper's encoder: UA on unseen speakers layer by layer, and seconds per clip.

The original fills every clip up with silence. Here a clip is as long as it is; beside it the filled clip, its frames
pooled over the clip alone and over the filling too, as transformers' classifier does. The probes are those of
`serene layers`: mean and deviation of a layer's frames, a logistic regression on the other speakers.

    python benchmarks/whisper_padding.py WEIGHTS MANIFEST.jsonl --clips 500 --json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from serene import protocols, sound
from serene.audio.log_mel import LogMel
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest
from serene.evaluation.confidence import intervals
from serene.experiment.layers import answers
from serene.models.prefix import Prefix
from serene.models.whisper import Whisper
from serene.protocols.split import shuffled
from serene.settings import settings_of

WAYS = ("as long as it is", "filled, pooled over the clip", "filled, pooled over all")


def pooled(frames: np.ndarray, layers: int) -> np.ndarray:
    """Give mean and deviation of every layer (layer, 2 * width) over frames (frame, layer * width)."""
    states = frames.astype(np.float32).reshape(len(frames), layers, -1)
    return np.concatenate([states.mean(axis=0), states.std(axis=0)], axis=1)


def measure(weights: str, path: Path, clips: int) -> dict[str, Any]:
    """Probe every layer on some clips, drawn by a hash of their ids, in all three ways."""
    manifest, task = choose(Manifest.read(path), target="emotion", use=None, join={})
    by_id = {clip.id: clip for clip in manifest}
    chosen = Manifest(tuple(by_id[name] for name in shuffled(by_id, 0, "whisper padding")[:clips]))
    settings = settings_of({"weights": weights, "train": "none", "output": "weighted_sum"}, Whisper, "model")
    own, filled = (
        Prefix(front_end=LogMel(pad=pad), encoder="whisper", settings=settings, normalize="none")
        for pad in (None, 30.0)
    )
    layers = own.spec.width // own.states_width
    vectors: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    seconds = {"as long as it is": 0.0, "filled": 0.0}
    for clip in chosen:
        samples = sound.read(clip.audio, clip.start, clip.duration)
        made = {}
        for name, encoder in (("as long as it is", own), ("filled", filled)):
            started = time.process_time()
            made[name] = encoder(samples)
            seconds[name] += (time.process_time() - started) / len(chosen)
        parts = (made["as long as it is"], made["filled"][: len(made["as long as it is"])], made["filled"])
        for way, frames in zip(WAYS, parts, strict=True):
            vectors[way].append(pooled(frames, layers))
    splits = protocols.make_splits("speaker_folds", chosen, {"folds": 5})
    rows = []
    for layer in range(layers):
        row: dict[str, Any] = {"layer": layer}
        for way in WAYS:
            x = np.stack([vector[layer] for vector in vectors[way]])
            found = intervals(answers(x, chosen.utterances, task, splits))["ua"]
            row[way] = [round(value, 4) for value in (found.value, found.low, found.high)]
        rows.append(row)
    facts = {"manifest": path.stem, "clips": len(chosen), "speakers": len({u.speaker for u in chosen})}
    return facts | {"seconds_of_a_core_per_clip": {name: round(s, 4) for name, s in seconds.items()}, "rows": rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("weights", help="a folder or hub name of Whisper")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    options = parser.parse_args()
    result = measure(options.weights, options.manifest, options.clips)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['clips']} clips of {result['manifest']}; seconds of a core: {result['seconds_of_a_core_per_clip']}")
    for row in result["rows"]:
        print(f"layer {row['layer']}  " + "  ".join(f"{way}: {100 * row[way][0]:.1f} %" for way in WAYS))


if __name__ == "__main__":
    main()
