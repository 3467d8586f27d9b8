"""What filling clips up does to Whisper's encoder: UA on unseen speakers layer by layer, and seconds per clip.

The original fills every clip up with silence to 30 s. Here a clip is as long as it is; beside it the filled clip, its
frames pooled over the clip alone and over the filling too, as transformers' classifier does. The probes are those of
`serene layers`: mean and deviation of a layer's frames, a logistic regression on the other speakers.

    python benchmarks/whisper_padding.py WEIGHTS MANIFEST.jsonl --clips 500 --pad 30 --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
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


def pooled(frames: np.ndarray, layers: int) -> np.ndarray:
    """Give mean and deviation of every layer (layer, 2 * width) over frames (frame, layer * width)."""
    states = frames.astype(np.float32).reshape(len(frames), layers, -1)
    return np.concatenate([states.mean(axis=0), states.std(axis=0)], axis=1)


def measure(weights: str, path: Path, clips: int, pads: list[float]) -> dict[str, Any]:
    """Probe every layer on some clips, drawn by a hash of their ids, as long as they are and filled up."""
    manifest, task = choose(Manifest.read(path), target="emotion", use=None, join={})
    by_id = {clip.id: clip for clip in manifest}
    chosen = Manifest(tuple(by_id[name] for name in shuffled(by_id, 0, "whisper padding")[:clips]))
    settings = settings_of({"weights": weights, "train": "none", "output": "weighted_sum"}, Whisper, "model")
    encoders = {
        pad: Prefix(front_end=LogMel(pad=pad), encoder="whisper", settings=settings, normalize="none")
        for pad in (None, *pads)
    }
    layers = encoders[None].spec.width // encoders[None].states_width
    vectors: dict[str, list[np.ndarray]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for clip in chosen:
        samples = sound.read(clip.audio, clip.start, clip.duration)
        own = None
        for pad, encoder in encoders.items():
            name = "as long as it is" if pad is None else f"filled up to {pad:g} s"
            started = time.process_time()
            frames = encoder(samples)
            seconds[name] += (time.process_time() - started) / len(chosen)
            own = len(frames) if own is None else own
            vectors[name if pad is None else f"{name}, pooled over the clip"].append(pooled(frames[:own], layers))
            if pad is not None:
                vectors[f"{name}, pooled over all"].append(pooled(frames, layers))
    splits = protocols.make_splits("speaker_folds", chosen, {"folds": 5})
    rows = []
    for layer in range(layers):
        row: dict[str, Any] = {"layer": layer}
        for way, made in vectors.items():
            x = np.stack([vector[layer] for vector in made])
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
    parser.add_argument("--pad", type=float, action="append", help="seconds; repeated; 30 without it")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    options = parser.parse_args()
    result = measure(options.weights, options.manifest, options.clips, options.pad or [30.0])
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['clips']} clips of {result['manifest']}; seconds of a core: {result['seconds_of_a_core_per_clip']}")
    for row in result["rows"]:
        print(
            "  ".join(f"{way}: {found if way == 'layer' else f'{100 * found[0]:.1f} %'}" for way, found in row.items())
        )


if __name__ == "__main__":
    main()
