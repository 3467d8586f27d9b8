"""Short trainings by every method, which one process can do as well as several that torchrun would start.

As a script it is one of those: it trains cases, and the first process keeps what came of them in a folder.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from serene import registry
from serene.audio.batch import Batch
from serene.audio.clusters import Unlabelled
from serene.audio.dataset import Dataset
from serene.audio.input_spec import InputSpec
from serene.audio.speaker_stream import SpeakerStream
from serene.corpora.manifest import Utterance
from serene.errors import SereneError
from serene.experiment.trial import measured
from serene.methods import METHODS, PRETRAINING
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.speaker import SpeakerContext
from serene.task import Dimensions, Task
from serene.training.distribution import agree, joined, writes
from serene.training.trainer import Trainer

EMOTIONS = ("anger", "joy", "sadness")
STILL = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
HUBERT = STILL | {
    **{"model_type": "hubert", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"intermediate_size": 33, "conv_dim": [8, 8], "conv_kernel": [40, 16], "conv_stride": [20, 16]},
    **{"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in (*METHODS, *PRETRAINING)} | {
    "adam ascent, now and then": ("speaker_normalization", {"ascent": "adam", "every": 2, "warmup_steps": 1}),
    "joint ascent": ("speaker_normalization", {"ascent": "grl", "step": 0.1}),
    "projector": ("speaker_normalization", {"strategy": "snp"}),
    "projector, joint": ("speaker_normalization", {"strategy": "snp", "ascent": "grl"}),
    "projector, confused": ("speaker_confusion", {"strategy": "snp", "step": 0.1}),
    "mixed by a drawn share": ("label_adaptive_mixup", {"mixup": "conventional", "beta": 0.5, "centre_weight": 0.1}),
    "dimensions": ("baseline", {}),
    "few clips at a time": ("multi_task", {}),
    "layers": ("cross_gradient", {}),
    "layers, computed again": ("domain_adversarial", {}),
}
TRAINING: dict[str, Any] = {"epochs": 2, "batch_size": 5, "learning_rate": 0.02, "accumulate": 2, "clip": 0.5}
OWN: dict[str, dict[str, Any]] = {
    "few clips at a time": {"batch_seconds": 0.8},
    "layers": {"optimizer": "adamw", "epsilon": 1e-3, "encoder_learning_rate": 1e-3},
}


class Held:
    """A store that holds noise of 20 to 40 frames for every clip, in memory; or of so many samples."""

    def __init__(self, width: int, scale: int) -> None:
        spec = InputSpec(width=width, rate=100.0)
        self.front_end, self.width, self.scale = SimpleNamespace(spec=spec, declared=spec), width, scale

    def get(self, audio_hash: str, _samples: object) -> np.ndarray:
        draw = np.random.default_rng(int(audio_hash))
        return draw.standard_normal((self.scale * int(draw.integers(20, 40)), self.width)).astype(np.float32)


class Clustered(Unlabelled):
    """Noise with a cluster for each of the encoder's frames but a few."""

    def __init__(self, clips: Dataset, groups: tuple[str, ...]) -> None:
        self.clips, self.utterances, self.lengths = clips, clips.utterances, clips.lengths
        self.store, self.crop, self.groups = clips.store, None, np.array(groups)  # pyright: ignore

    def batch(self, indices: Any, rng: np.random.Generator | None = None) -> Batch:
        batch = self.clips.batch(indices, rng)
        clusters = torch.arange(int(batch.lengths.max()) // 320).remainder(5).repeat(len(batch.ids), 1)
        clusters[:, 3] = -1
        return replace(batch, clusters=clusters, context=SpeakerContext(identity=torch.zeros(len(batch.ids)).long()))


def clips(count: int, first: int, speakers: int) -> list[Utterance]:
    numbers = range(first, first + count)
    return [
        Utterance(
            **{"id": f"{n}", "audio": "nowhere", "speaker": f"{n % speakers}", "emotion": EMOTIONS[n % 3]},
            **{"audio_hash": f"{n}", "arousal": 1 + n % 4, "valence": 1 + (n * n) % 7},
        )
        for n in numbers
    ]


def model_of(case: str, settings: dict[str, Any]) -> EmotionModel:
    """A TDNN-BiLSTM or a HuBERT of two layers, without dropout."""
    torch.manual_seed(3)
    task = Dimensions(("arousal", "valence")) if case == "dimensions" else Task(EMOTIONS)
    projector = "gelu" if settings.get("strategy") == "snp" else "none"
    around = Parts(hidden=(8,), head_dropout=0.0)
    if case in PRETRAINING or case.startswith("layers"):
        own = {"config": HUBERT, "train": "all", "checkpointing": case.endswith("again")}
        own |= {"output": "weighted_sum"} if case.endswith("again") else {}
        return EmotionModel(task, 1, encoder="hubert", encoder_settings=own, normalize="none", parts=around)
    around = replace(around, projector=projector, pooling="attentive" if case == "baseline" else "statistics")
    around = replace(around, head="relu" if case in OWN else around.head)  # two rows make a poor batch norm
    return EmotionModel(task, 5, encoder_settings={"dropout": 0.0}, parts=around)


def trained(case: str, folder: Path, mode: str = "ddp", **changes: Any) -> dict[str, Any]:
    """Train a case; give all weights, the log and the norms of the gradients of each step."""
    name, settings = CASES[case]
    model = model_of(case, settings)
    store: Any = Held(model.config["width"], 1 if model.config["width"] > 1 else 100)
    known: dict[str, Any] = {"task": model.task, "speakers": ("0", "1", "2")}
    train, held = Dataset(clips(14, 0, 3), store, **known), Dataset(clips(9, 50, 3), store, **known)
    model.set_target_statistics(train.targets)
    method = registry.load(name, METHODS | PRETRAINING, "method")(**settings)
    method.attach(model, 4 if method.speaker_corpus else 3)
    speakers = SpeakerStream(clips(9, 100, 4), store, batch_size=5, crop=0.15) if method.speaker_corpus else None
    more = TRAINING | OWN.get(case, {}) | {"distribute": mode, "device": "cpu", "select_on": "last"} | changes
    if name in PRETRAINING:
        groups = ("texts",) * 4 + ("speakers",) * 5
        train, held = Clustered(train, ()), Clustered(held, groups)
    validate = lambda one: measured(one, held) if name not in PRETRAINING else method.validate(one, held, "cpu")  # noqa: E731
    chosen = Trainer(**more).fit(model, method, train, validate, seed=5, folder=folder, speakers=speakers)
    weights: dict[str, Tensor] = {**model.state_dict(), **{f"method.{k}": v for k, v in method.state_dict().items()}}
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in chosen.rows]
    return {"weights": {name: tensor.clone() for name, tensor in weights.items()}, "rows": rows}


def main(folder: Path, **cases: str) -> None:
    torch.set_num_threads(1)
    with joined():
        for mode, names in cases.items():
            for case in names.split("/"):
                found = trained(case, folder / mode / case, mode)
                if writes():
                    torch.save(found, folder / mode / f"{case}.pt")
        agree(lambda: {"manifest": f"of {os.environ['RANK']}"})


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), ddp=sys.argv[2], fsdp=sys.argv[3])
    except SereneError as error:
        sys.exit(print(f"error: {error}", file=sys.stderr) or 2)
