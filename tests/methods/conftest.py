"""Clips and learners for the tests of methods: random features, a fresh model and a method attached to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from serene import registry
from serene.audio.batch import Batch
from serene.methods import METHODS
from serene.methods.method import Method, Stream
from serene.models.masking import Dropout, mask_of
from serene.models.model import EmotionModel
from serene.models.parts import Parts

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
SPEAKERS = 3


@pytest.fixture
def batch() -> Batch:
    """Six clips of three speakers, of 5 to 20 frames."""
    lengths = torch.tensor([20, 5, 13, 17, 8, 10])
    inputs = torch.randn(6, 20, 39, generator=torch.Generator().manual_seed(1))
    return Batch(
        inputs=inputs * mask_of(lengths, 20).unsqueeze(-1),
        lengths=lengths,
        target=torch.eye(4)[[0, 1, 2, 3, 0, 1]],
        speaker=torch.tensor([0, 1, 2, 2, 1, 0]),
        ids=tuple("abcdef"),
    )


@pytest.fixture
def others() -> Batch:
    """Four clips of the speaker corpus: of two of its speakers, with no emotion."""
    lengths = torch.tensor([9, 14, 14, 6])
    inputs = torch.randn(4, 14, 39, generator=torch.Generator().manual_seed(2))
    return Batch(
        inputs=inputs * mask_of(lengths, 14).unsqueeze(-1),
        lengths=lengths,
        target=torch.zeros(4, 0),
        speaker=torch.tensor([1, 2, 1, 2]),
        ids=tuple("wxyz"),
    )


@pytest.fixture
def streams(batch: Batch, others: Batch) -> dict[Stream, Batch]:
    """A batch of each stream that an update may ask for."""
    order = torch.tensor([4, 5, 0, 1, 2, 3])
    moved = {name: getattr(batch, name)[order] for name in ("inputs", "lengths", "target", "speaker")}
    return {"emotion": batch, "partners": replace(batch, **moved), "speakers": others}


@pytest.fixture
def learner() -> Callable[..., tuple[EmotionModel, Method]]:
    """Give a function: a method's name and settings -> the same fresh model every time, and the method attached."""

    def make(name: str, *, speakers: int = SPEAKERS, seed: int = 0, **settings: Any) -> tuple[EmotionModel, Method]:
        torch.manual_seed(seed)
        parts = Parts(projector="relu" if settings.get("strategy") == "snp" else "none")
        model = EmotionModel(EMOTIONS, 39, parts=parts)
        method = registry.load(name, METHODS, "method")(**settings)
        method.attach(model, speakers)
        return model, method

    return make


@pytest.fixture
def without_dropout() -> Callable[..., None]:
    """Give a function that switches the dropout of some modules off: two passes are comparable then."""

    def turn_off(*modules: torch.nn.Module) -> None:
        for module in modules:
            for layer in module.modules():
                if isinstance(layer, Dropout):
                    layer.p = 0.0

    return turn_off
