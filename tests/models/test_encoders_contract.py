"""What holds for every encoder under every normalisation: a clip's score is its own, and a saved model is the same."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from serene import registry
from serene.audio import FRONT_ENDS
from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models import ENCODERS
from serene.models.heads import cross_entropy
from serene.models.masking import Dropout
from serene.models.model import EmotionModel, Normalization

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
NORMALIZATIONS = get_args(Normalization)
LENGTHS = (1, 30, 7, 58, 21)


def width_of(encoder: str) -> int:
    front_end = registry.load(encoder, ENCODERS, "encoder").front_end
    return registry.load(front_end, FRONT_ENDS, "front end")().width


def pick(batch: Batch, *clips: int) -> Batch:
    """Keep some clips, in this order, padded no further than the longest of them needs."""
    rows, longest = list(clips), int(batch.lengths[list(clips)].max())
    return Batch(
        inputs=batch.inputs[rows, :longest],
        lengths=batch.lengths[rows],
        target=batch.target[rows],
        speaker=batch.speaker[rows],
        ids=tuple(batch.ids[i] for i in rows),
        enrolment=None if batch.enrolment is None else batch.enrolment[rows],
    )


def padded(batch: Batch, frames: int, value: float) -> Batch:
    """Add frames at the end, and write a value into all padding."""
    wider = torch.nn.functional.pad(batch.inputs, (0, 0, 0, frames))
    wider = replace(batch, inputs=wider)
    return replace(wider, inputs=wider.inputs.masked_fill(~wider.mask.unsqueeze(-1), value))


@pytest.fixture(params=[(e, n) for e in ENCODERS for n in NORMALIZATIONS], ids=lambda pair: "-".join(pair))
def model(request: pytest.FixtureRequest, awake) -> EmotionModel:
    encoder, normalize = request.param
    torch.manual_seed(0)
    made = EmotionModel(EMOTIONS, width_of(encoder), encoder=encoder, normalize=normalize)
    scale = np.linspace(0.5, 20, width_of(encoder), dtype=np.float32)
    made.set_feature_statistics(np.stack([0.8 * scale, 1.3 * scale]))
    return awake(made)


@pytest.fixture
def batch(model: EmotionModel, batch_of) -> Batch:
    return batch_of(*LENGTHS, width=model.config["width"])


@torch.no_grad()
def test_batch_mates_and_padding_change_no_score(model: EmotionModel, batch: Batch) -> None:
    together = model(batch)
    assert together.shape == (5, 4)
    assert together.std(dim=0).min() > 0.01, "the clips do differ"
    alone = torch.cat([model(pick(batch, clip)) for clip in range(5)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(padded(batch, 40, 1e3)), together, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_order_of_a_batch_changes_no_score(model: EmotionModel, batch: Batch) -> None:
    order = (3, 0, 4, 2, 1)
    torch.testing.assert_close(model(pick(batch, *order)), model(batch)[list(order)], rtol=0, atol=1e-6)


def test_training_is_finite_and_padding_changes_no_batch_statistics(model: EmotionModel, batch: Batch) -> None:
    """Gradients reach every layer, and with dropout off a wider batch learns the same."""
    model.train()
    loss = cross_entropy(model(batch), batch.target)
    loss.backward()
    assert math.isfinite(loss.item())
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.p = 0.0
    with torch.no_grad():
        torch.testing.assert_close(model(padded(batch, 40, 1e3)), model(batch), rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_saved_model_gives_the_same_scores(model: EmotionModel, batch: Batch, tmp_path: Path) -> None:
    model.save(tmp_path / "model", {"front_end": model.encoder.front_end})
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["config.json", "model.safetensors", "preprocessor_config.json"], "nothing is pickled"
    loaded = EmotionModel.load(tmp_path / "model")
    assert not loaded.training
    assert (loaded.emotions, loaded.config) == (model.emotions, model.config)
    assert torch.equal(loaded(batch), model(batch))


@torch.no_grad()
def test_the_seams_compose_to_the_scores(model: EmotionModel, batch: Batch) -> None:
    frames = model.context(model.features(batch))
    assert frames.values.shape == (5, 58, model.encoder.out_width)
    embedding = model.pool(model.project(frames))
    assert torch.equal(embedding, model.embed(batch))
    assert torch.equal(model.classify(model.hidden(embedding)), model(batch))


@torch.no_grad()
def test_features_are_standardised_as_asked_and_padding_stays_zero(model: EmotionModel, batch: Batch) -> None:
    features = model.features(batch)
    scale = [0.5 + 19.5 * f / 38 for f in range(39)]
    for clip, length in enumerate(LENGTHS):
        for f in (0, 17, 38):
            own = [batch.inputs[clip, t, f].item() for t in range(length)]
            mean = sum(own) / length
            deviation = max(math.sqrt(sum((v - mean) ** 2 for v in own) / length), 1e-5)
            shift, divisor = {
                "none": (0.0, 1.0),
                "training_set": (0.8 * scale[f], 1.3 * scale[f]),
                "speaker": batch.enrolment[clip, :, f].tolist(),
                "utterance": (mean, deviation),
            }[model.normalize]
            expected = [(v - shift) / divisor for v in own]
            assert features.values[clip, :length, f].tolist() == pytest.approx(expected, abs=1e-4)
        assert not features.values[clip, length:].any()


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_only_a_model_of_the_training_sets_statistics_takes_them(normalize: Normalization) -> None:
    model = EmotionModel(EMOTIONS, 39, normalize=normalize)
    model.set_feature_statistics(np.full((2, 39), 3, dtype=np.float32))
    expected = (3.0, 3.0) if normalize == "training_set" else (0.0, 1.0)
    assert (model.feature_mean[0].item(), model.feature_deviation[0].item()) == expected


def test_a_speaker_normalised_model_says_what_it_needs(batch_of) -> None:
    model = EmotionModel(EMOTIONS, 39, normalize="speaker")
    with pytest.raises(SereneError, match="standardises features by speaker and needs some of the speaker's clips"):
        model(replace(batch_of(5, 6), enrolment=None))
