"""A table on made-up speech, and with a small random encoder for a pretrained one: shows that it works, in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch

from serene import registry
from serene.corpora import synthetic
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import prepare
from serene.experiment.sections import Recipe
from serene.files import whole_folder
from serene.models import ENCODERS, weights
from serene.published import Table
from serene.reproduce.row_recipes import Corpora

SETTINGS = ("training.epochs=2", "training.precision=fp32", "seeds=[0, 1]")
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
    emotion = ("synthetic", str(_speech(runs / "synthetic", 0)))
    return Corpora(emotion, ("synthetic", str(_other_speakers(runs))) if table.speaker_corpus else None)


def rehearser(table: Table, runs: Path) -> Callable[[Recipe], Sequence[str]]:
    """Give what a recipe is overridden with: two epochs, two seeds, and a small encoder for a pretrained one."""

    def overrides(base: Recipe) -> list[str]:
        changes = [*SETTINGS, *table.tiny]
        for number, _ in enumerate(base.stages):
            changes += [f"stages.{number}.targets={{source: mfcc}}", f"stages.{number}.method.clusters=12"]
            changes += [f"stages.{number}.training.epochs=1", f"stages.{number}.training.precision=fp32"]
        if base.calibration:
            changes.append("calibration.neighbours=2")
        if "config" in base.model.encoder.settings:
            changes += ["model.weights=null", f"model.config={json.dumps(CONFIG)}"]
        if base.frozen_weights:
            changes.append(f"features.weights={json.dumps(str(_encoder(runs / 'tiny-encoder')))}")
        return changes

    return overrides


def _speech(folder: Path, seed: int) -> Path:
    if not folder.exists():
        synthetic.make(folder, speakers=6, clips_per_speaker=28, shortcut=0.0, seconds=0.5, seed=seed)
    return folder


def _other_speakers(runs: Path) -> Path:
    """Write the manifest of a second corpus, whose speakers bear other names: they are no one of the first."""
    manifest = runs / "synthetic-speakers.jsonl"
    if not manifest.exists():
        others = prepare("synthetic", _speech(runs / "synthetic-speakers", 1))
        renamed = tuple(replace(clip, speaker=f"other {clip.speaker}") for clip in others)
        Manifest(renamed).write(manifest)
    return manifest


def _encoder(folder: Path) -> Path:
    """Save a small encoder with random weights, where there is none yet, as transformers would."""
    if not folder.exists():
        torch.manual_seed(0)
        encoder = registry.load("hubert", ENCODERS, "encoder")(1, config=CONFIG).transformer
        with whole_folder(folder) as temporary:
            encoder.config.to_json_file(temporary / weights.CONFIG)
            safetensors.torch.save_file(encoder.state_dict(), temporary / weights.TENSORS[0], {"format": "pt"})
    return folder
