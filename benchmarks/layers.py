"""What an encoder's last layers cost: a step with the first N layers alone against one with all of them.

The encoder is a HuBERT of the size of Large, with random weights; the sound is noise, cut where Kang et al. 2023 cut
theirs. A step is what training takes beside the optimiser: forward without gradient through the convolutions, forward
and backward through the layers, in float32. The cut encoder is loaded from the same folder as the whole one; its output
is compared with what the whole one's Nth layer gives. Steps of the two are interleaved, and the medians of their
processor seconds (on a GPU of their seconds) are compared.

    python benchmarks/layers.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from serene.models.hubert import Hubert
from serene.sound import SAMPLE_RATE

LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
TINY = LARGE | {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
TINY |= {"conv_dim": [32] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
DROPOUT = 0.4  # of the attention's output, as in the paper
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def measure(
    config: dict[str, Any], *, layers: Sequence[int], batch_size: int, seconds: float, repeats: int
) -> dict[str, Any]:
    """Compare encoders cut to so many layers with the whole one, each in turn with it."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(batch_size, round(seconds * SAMPLE_RATE), 1, generator=generator).to(DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        transformers.HubertModel(transformers.HubertConfig(**config)).save_pretrained(folder)
        whole = _encoder(folder, None)
        rows = [_row(whole, _encoder(folder, kept), clips, repeats) for kept in layers]
    settings = {"batch_size": batch_size, "seconds": seconds, "repeats": repeats, "device": DEVICE}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {**settings, **versions, "layers": config["num_hidden_layers"], "millions": _millions(whole), "cuts": rows}


def _row(whole: Hubert, cut: Hubert, clips: Tensor, repeats: int) -> dict[str, Any]:
    kept = len(cut.transformer.encoder.layers)
    difference, largest = _difference(whole, cut, clips, kept)
    taken: dict[str, list[float]] = {"cut": [], "whole": []}
    for encoder in (cut, whole):
        _step(encoder, clips)  # what is set up but once
    for _ in range(repeats):
        for name, encoder in (("cut", cut), ("whole", whole)):
            taken[name].append(_step(encoder, clips))
    cost = statistics.median(taken["cut"]) / statistics.median(taken["whole"])
    return {
        "layers": kept,
        "millions": _millions(cut),
        "step_seconds": {name: [round(value, 4) for value in values] for name, values in taken.items()},
        "cost_of_the_whole": round(cost, 3),
        "largest_difference": difference,
        "largest_output": round(largest, 3),
    }


def _encoder(folder: str | Path, layers: int | None) -> Hubert:
    return Hubert(1, weights=str(folder), layers=layers, attention_output_dropout=DROPOUT).to(DEVICE)


@torch.no_grad()
def _difference(whole: Hubert, cut: Hubert, clips: Tensor, kept: int) -> tuple[float, float]:
    """Give the largest difference between a cut encoder's output and that layer of the whole one, and its size."""
    seen: list[Tensor] = []

    def look(_layer: Any, _inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    hook = whole.transformer.encoder.layers[kept - 1].register_forward_hook(look)
    mask = torch.ones(clips.shape[:2], dtype=torch.bool, device=clips.device)
    whole.eval()(clips, mask)
    hook.remove()
    output = cut.eval()(clips, mask)
    if cut.ends_in_norm:  # of all layers: the norm belongs to the encoder's end
        seen[0] = cut.transformer.encoder.layer_norm(seen[0])
    return (output - seen[0]).abs().max().item(), output.abs().max().item()


def _step(encoder: Hubert, clips: Tensor) -> float:
    """Go forward and backward once in training mode; return the seconds."""
    encoder.train().zero_grad(set_to_none=True)
    mask = torch.ones(clips.shape[:2], dtype=torch.bool, device=clips.device)
    started = _now()
    encoder(clips, mask).square().mean().backward()
    return _now() - started


def _millions(encoder: Hubert) -> float:
    return round(sum(parameter.numel() for parameter in encoder.parameters()) / 1e6, 3)


def _now() -> float:
    """Read a clock; a CPU's is that of the process, which other processes disturb less."""
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--tiny", action="store_true", help="a tiny encoder on clips of 1 s: does it run?")
    parser.add_argument("--layers", type=int, nargs="+", help="how many are kept; several, one after the other")
    parser.add_argument("--batch-size", type=int, default=2, help="clips per step")
    parser.add_argument("--seconds", type=float, default=6.25, help="of each clip")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    config = TINY if options.tiny else LARGE
    layers = options.layers or ([1, 2, 3, 4] if options.tiny else [12, 18, 22])
    sizes = {"batch_size": options.batch_size, "repeats": options.repeats}
    result = measure(config, layers=layers, seconds=1.0 if options.tiny else options.seconds, **sizes)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"HuBERT of {result['layers']} layers, {result['millions']:.1f} million parameters, {result['device']}")
    print("layers  millions  cost of the whole  largest difference")
    for row in result["cuts"]:
        cost = f"{row['layers']:6}  {row['millions']:8.1f}  {row['cost_of_the_whole']:17.3f}"
        print(f"{cost}  {row['largest_difference']:.1e} of {row['largest_output']:.1f}")


if __name__ == "__main__":
    main()
