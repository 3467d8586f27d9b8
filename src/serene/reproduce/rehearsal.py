"""A table on made-up speech, and with a small random encoder for a pretrained one: shows that it works, in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from serene import registry
from serene.corpora import synthetic
from serene.files import whole_folder
from serene.models import ENCODERS
from serene.published import Table
from serene.recipe import Recipe
from serene.reproduce.row_recipes import Corpora

SETTINGS = ("training.epochs=2", "seeds=[0, 1]")
CONFIG = {
    "model_type": "hubert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16, 16, 16, 16, 16, 16, 16],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def corpora(table: Table, runs: Path) -> Corpora:
    """Make the speech, or take what was made before: `<runs>/synthetic`, and `<runs>/synthetic-speakers`."""
    made = Corpora(("synthetic", str(runs / "synthetic")))
    if table.speaker_corpus is not None:
        made = Corpora(made.emotion, ("synthetic", str(runs / "synthetic-speakers")))
    for seed, corpus in enumerate(filter(None, (made.emotion, made.speakers))):
        if not Path(corpus[1]).exists():
            synthetic.make(Path(corpus[1]), speakers=6, clips_per_speaker=24, seconds=0.5, seed=seed)
    return made


def rehearser(table: Table, runs: Path) -> Callable[[Recipe], Sequence[str]]:
    """Give what a recipe is overridden with: two epochs, two seeds, and a small encoder for a pretrained one."""

    def overrides(base: Recipe) -> list[str]:
        changes = [*SETTINGS, *table.tiny]
        if "config" in base.model:
            changes += ["model.weights=null", f"model.config={json.dumps(CONFIG)}"]
        if "weights" in base.front_end:
            changes.append(f"features.weights={json.dumps(str(_encoder(runs / 'tiny-encoder')))}")
        return changes

    return overrides


def _encoder(folder: Path) -> Path:
    """Save a small encoder with random weights, where there is none yet, as transformers would."""
    if not folder.exists():
        torch.manual_seed(0)
        encoder = registry.load("hubert", ENCODERS, "encoder")(1, config=CONFIG)
        with whole_folder(folder) as temporary:
            encoder.transformer.save_pretrained(temporary)
    return folder
