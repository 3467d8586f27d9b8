"""The residual TDNN by hand; what is hidden while training; attentive pooling; embeddings standardised by speaker."""

from __future__ import annotations

import math

import pytest
import torch

from serene.errors import SereneError
from serene.models.heads import ATTENTION_HEADS, AttentivePooling, StatisticsPooling
from serene.models.masking import mask_of
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.residual_tdnn import Distortion, ResidualTdnn
from serene.speaker import Statistics

EMOTIONS = ("anger", "happiness", "neutral", "sadness")


def enrolling(prior: float = 5.0) -> EmotionModel:
    torch.manual_seed(0)
    parts = Parts(pooling="attentive", embedding_norm="speaker", embedding_prior=prior, hidden=(8,))
    return EmotionModel(EMOTIONS, 39, encoder="residual_tdnn", encoder_settings={"channels": 8}, parts=parts)


# --- encoder


@torch.no_grad()
def test_four_frames_become_one_and_the_end_of_a_clip_is_its_own() -> None:
    torch.manual_seed(0)
    encoder = ResidualTdnn(3, channels=8).eval()
    for length in range(1, 23):
        mask = mask_of(torch.tensor([length]), 22)
        after = encoder.mask_after(mask)
        assert after.sum().item() == math.ceil(length / 4)
        frames = torch.randn(1, 22, 3)
        made = encoder(frames, mask)
        assert made.shape[:2] == after.shape
        short = encoder(frames[:, :length], mask[:, :length])
        torch.testing.assert_close(made[:, : math.ceil(length / 4)], short, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_residual_layer_adds_a_dilated_convolution_to_what_it_reads() -> None:
    torch.manual_seed(0)
    layer = ResidualTdnn(3, channels=8).eval().residual[1]
    frames, weight = torch.randn(1, 9, 8), layer.convolution.weight.tolist()
    made = layer(frames, torch.ones(1, 9, dtype=torch.bool))
    for t in range(9):
        for unit in (0, 5):
            total = 0.0
            for tap in range(3):
                seen = t + 2 * (tap - 1)
                if 0 <= seen < 9:
                    total += sum(weight[unit][f][tap] * frames[0, seen, f].item() for f in range(8))
            assert made[0, t, unit].item() == pytest.approx(max(0.0, total) / math.sqrt(1 + 1e-5), abs=1e-5)


def test_a_distorted_clip_is_another_in_training_and_the_same_when_scored() -> None:
    torch.manual_seed(0)
    encoder = ResidualTdnn(30, warp=0.1, colour=1.0)
    mask, clips = torch.ones(4, 60, dtype=torch.bool), torch.randn(4, 60, 30)
    assert torch.equal(encoder.eval()(clips, mask), encoder(clips, mask))
    assert not torch.equal(encoder.train().distortion(clips, mask), encoder.distortion(clips, mask))


def test_settings_that_nothing_can_be_built_of_are_refused() -> None:
    with pytest.raises(SereneError, match=r"model.channels is 2"):
        ResidualTdnn(39, channels=2)
    with pytest.raises(SereneError, match="deals the encoder's 6 features to 4 heads"):
        AttentivePooling(6)
    with pytest.raises(SereneError, match=r"model.embedding_prior is 0; a positive number of clips"):
        Parts(embedding_prior=0)


# --- pooling


@torch.no_grad()
def test_attentive_pooling_weighs_each_quarter_of_the_features_by_its_own_head() -> None:
    torch.manual_seed(0)
    pooling, frames, lengths = AttentivePooling(8), torch.randn(2, 5, 8), (5, 3)
    made = pooling(frames, mask_of(torch.tensor(lengths), 5))
    weight, bias = pooling.attention.weight.tolist(), pooling.attention.bias.tolist()
    for clip, length in enumerate(lengths):
        for head in range(ATTENTION_HEADS):
            scores = [
                bias[head] + sum(weight[head][f] * frames[clip, t, f].item() for f in range(8)) for t in range(length)
            ]
            shares = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
            for f in (2 * head, 2 * head + 1):
                values = [frames[clip, t, f].item() for t in range(length)]
                mean = sum(share * value for share, value in zip(shares, values, strict=True))
                variance = sum(share * (value - mean) ** 2 for share, value in zip(shares, values, strict=True))
                assert made[clip, f].item() == pytest.approx(mean, abs=1e-5)
                assert made[clip, 8 + f].item() == pytest.approx(math.sqrt(variance + 1e-5), abs=1e-5)


@torch.no_grad()
def test_attention_to_nothing_in_particular_is_statistics_pooling() -> None:
    pooling, mask = AttentivePooling(8), mask_of(torch.tensor([6, 2]), 6)
    pooling.attention.weight.zero_()
    frames = torch.randn(2, 6, 8)
    torch.testing.assert_close(pooling(frames, mask), StatisticsPooling(8)(frames, mask))


# --- embeddings standardised by speaker


def test_training_standardises_embeddings_over_the_batch_and_scoring_by_what_was_seen(batch_of) -> None:
    model, batch = enrolling().train(), batch_of(30, 40, 25, 31)
    for layer in model.encoder.modules():
        if isinstance(layer, Distortion):
            layer.hidden_features = layer.hidden_frames = 0
    embedding = model.embed(batch)
    torch.testing.assert_close(embedding.mean(dim=0), torch.zeros(16), rtol=0, atol=1e-4)
    alone = model.eval().embed(batch)
    assert not torch.allclose(alone, embedding, atol=1e-2), "running statistics, not the batch's"
    assert not [name for name, _ in model.named_parameters() if name.startswith("embedding_norm")]


@torch.no_grad()
@pytest.mark.parametrize("clips", [0, 1, 7, 1000])
def test_enrolled_clips_take_the_training_sets_place_by_how_many_they_are(clips: int) -> None:
    """Mean 0 and variance 1 are the training set's: five clips' worth of them are blended in."""
    model, embedding = enrolling(prior=5.0), torch.randn(2, 16)
    statistics = torch.stack([torch.randn(2, 16), 0.2 + torch.rand(2, 16)], dim=1)
    made = model.enrolled(embedding, Statistics(statistics, torch.tensor([clips, 3])))
    for row, count in enumerate((clips, 3)):
        own = count / (count + 5)
        for f in range(16):
            mean, deviation = statistics[row, :, f].tolist()
            divisor = math.sqrt(own * deviation**2 + (1 - own))
            expected = (embedding[row, f].item() - own * mean) / divisor
            assert made[row, f].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    if clips == 0:
        assert torch.equal(made[0], embedding[0]), "nobody is enrolled"


def test_a_saved_model_keeps_the_statistics_of_its_embeddings(tmp_path, batch_of) -> None:
    model = enrolling()
    model(batch_of(30, 40, 25, 31))
    model.eval().save(tmp_path / "model", {"front_end": "mfcc"})
    loaded = EmotionModel.load(tmp_path / "model")
    batch = batch_of(20, 50, seed=3)
    assert torch.equal(loaded(batch), model(batch))
    assert loaded.config["embedding_width"] == 16
