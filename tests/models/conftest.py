"""Clips for the tests of models: random features of uneven scale, like MFCC, that differ from clip to clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from serene.audio.batch import Batch
from serene.models.masking import mask_of
from serene.models.model import EmotionModel
from serene.speaker import SpeakerContext, Statistics


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """Give a function: lengths (clip,) -> a padded Batch of random clips and of all that models may ask for."""

    def make(*lengths: int, width: int = 39, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        clips, longest = len(lengths), max(lengths)
        scale = torch.linspace(0.5, 20, width)
        inputs = scale * (1 + torch.randn(clips, longest, width, generator=generator))
        statistics = torch.stack([scale.expand(clips, -1), scale * (1 + torch.rand(clips, 1, generator=generator))], 1)
        return Batch(
            inputs=inputs * mask_of(torch.tensor(lengths), longest).unsqueeze(-1),
            lengths=torch.tensor(lengths),
            target=torch.eye(4)[torch.arange(clips) % 4],
            speaker=torch.arange(clips) % 3,
            ids=tuple(f"clip{i}" for i in range(clips)),
            context=SpeakerContext(
                identity=torch.full((clips,), -1),
                features=Statistics(statistics, 50 * (1 + torch.arange(clips))),
                cepstra=torch.linspace(15, -4, 20) * (1 + torch.rand(clips, 20, generator=generator)),
            ),
        )

    return make


@pytest.fixture
def awake(batch_of) -> Callable[..., EmotionModel]:
    """Give a function that brings a model's batch norms close to the statistics of random clips, as training would.

    An untrained model shrinks its signal layer by layer: all clips would score alike, and every comparison would hold.
    """

    def wake(model: EmotionModel, lengths: Sequence[int] = range(20, 60)) -> EmotionModel:
        norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm1d)]
        for layer in norms:
            layer.momentum = 0.99
        with torch.no_grad():
            model.train()(batch_of(*lengths, width=model.config["width"], seed=9))
        for layer in norms:
            layer.momentum = 0.1
        return model.eval()

    return wake
