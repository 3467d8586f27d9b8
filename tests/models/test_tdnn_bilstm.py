"""The network is that of Tu et al. 2019, table 1: every shape by hand, what each layer sees, how frames are pooled."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from serene.models.heads import StatisticsPooling
from serene.models.masking import Dropout, MaskedBatchNorm, mask_of
from serene.models.model import EmotionModel
from serene.models.tdnn_bilstm import TdnnBilstm

# (first TDNN, second TDNN, LSTM units per direction, frame-level layer, embedding, heads' hidden layers)
TABLE_1 = {"iemocap": (128, 64, 64, 256, 512, 64), "mandarin": (128, 128, 128, 512, 1024, 128)}


def norm(units: int) -> list[tuple[int, ...]]:
    return [(units,), (units,)]


def shapes(tdnn1: int, tdnn2: int, units: int, frame: int, embedding: int, hidden: int) -> list[tuple[int, ...]]:
    """List the parameters of table 1 from the input to the four emotions."""
    lstm = [(4 * units, tdnn2), (4 * units, units), (4 * units,), (4 * units,)]
    return [
        *[(tdnn1, 39, 5), (tdnn1,), *norm(tdnn1)],
        *[(tdnn2, tdnn1, 3), (tdnn2,), *norm(tdnn2)],
        *lstm,
        *lstm,
        *norm(2 * units),
        *[(frame, 2 * units), (frame,), *norm(frame)],
        *[(hidden, embedding), (hidden,), *norm(hidden)],
        *[(hidden, hidden), (hidden,), *norm(hidden)],
        *[(4, hidden), (4,)],
    ]


def network(size: str = "iemocap") -> EmotionModel:
    torch.manual_seed(0)
    return EmotionModel(["anger", "happiness", "neutral", "sadness"], 39, encoder_settings={"size": size}).eval()


@pytest.mark.parametrize("size", TABLE_1)
def test_every_layer_has_the_shape_of_table_1(size: str, batch_of) -> None:
    model = network(size)
    assert [tuple(p.shape) for p in model.parameters()] == shapes(*TABLE_1[size])
    embedding = TABLE_1[size][4]
    assert model.embedding_width == embedding
    assert model.embed(batch_of(20, 9)).shape == (2, embedding)
    speaker_head = model.new_head(200)
    assert [tuple(p.shape) for p in speaker_head.parameters() if p.dim() > 1] == [
        (TABLE_1[size][5], embedding),
        (TABLE_1[size][5], TABLE_1[size][5]),
        (200, TABLE_1[size][5]),
    ]


def test_the_small_network_has_188_thousand_parameters() -> None:
    by_hand = (
        *(128 * 39 * 5 + 128 + 2 * 128, 64 * 128 * 3 + 64 + 2 * 64),  # TDNN 1 and 2
        *(2 * (4 * 64 * (64 + 64) + 2 * 4 * 64), 2 * 128),  # both directions, then batch norm
        256 * 128 + 256 + 2 * 256,
        *(64 * 512 + 64 + 2 * 64, 64 * 64 + 64 + 2 * 64, 4 * 64 + 4),  # emotion head
    )
    assert sum(p.numel() for p in network().parameters()) == sum(by_hand) == 187_972


def test_every_layer_but_the_output_drops_half_and_is_normalised_after_its_relu(batch_of) -> None:
    model = network()
    assert [layer.p for layer in model.modules() if isinstance(layer, Dropout)] == [0.5] * 6
    lowest = {}
    for name, layer in model.named_modules():
        if isinstance(layer, MaskedBatchNorm):
            layer.register_forward_hook(lambda _, given, __, name=name: lowest.update({name: given[0].min().item()}))
    model(batch_of(30, 20))
    assert len(lowest) == 6
    assert lowest.pop("encoder.bilstm_norm") < 0, "there is no ReLU behind the LSTM"
    assert set(lowest.values()) == {0.0}


@pytest.mark.parametrize(("layer", "width", "context"), [("tdnn1", 39, (-4, -2, 0, 2, 4)), ("tdnn2", 128, (-4, 0, 4))])
def test_each_tdnn_sees_its_dilated_context_and_keeps_the_frames(layer: str, width: int, context: tuple) -> None:
    tdnn = getattr(network().encoder, layer)
    frames, mask = torch.randn(1, 30, width), torch.ones(1, 30, dtype=torch.bool)
    changed = frames.clone()
    changed[0, 15] += 1
    with torch.no_grad():
        difference = (tdnn(changed, mask) - tdnn(frames, mask)).abs().sum(dim=-1)[0]
    assert difference.shape == (30,)
    assert difference.nonzero().flatten().tolist() == [15 + offset for offset in context]


def test_a_tdnn_layer_by_loops_with_zeros_beyond_the_clips_end() -> None:
    torch.manual_seed(0)
    tdnn = TdnnBilstm(3, dropout=0.0).tdnn1.eval()
    assert isinstance(tdnn.linear, nn.Conv1d)
    frames = torch.randn(1, 12, 3)  # the clip ends after 7 frames; what follows must not be seen
    result = tdnn(frames, mask_of(torch.tensor([7]), 12))
    weight, bias = tdnn.linear.weight.tolist(), tdnn.linear.bias.tolist()
    for t in range(7):
        for unit in range(0, 128, 40):
            total = bias[unit]
            for tap in range(5):
                seen = t + 2 * (tap - 2)
                if 0 <= seen < 7:
                    total += sum(weight[unit][f][tap] * frames[0, seen, f].item() for f in range(3))
            expected = max(0.0, total) / math.sqrt(1 + 1e-5)  # running statistics of an untrained batch norm
            assert result[0, t, unit].item() == pytest.approx(expected, abs=1e-5)


def test_pooling_is_the_mean_and_population_deviation_of_the_valid_frames() -> None:
    lengths = [4, 1, 6]
    frames = torch.randn(3, 6, 5)
    pooled = StatisticsPooling(5)(frames, mask_of(torch.tensor(lengths), 6))
    assert pooled.shape == (3, 10)
    for clip, length in enumerate(lengths):
        for f in range(5):
            values = [frames[clip, t, f].item() for t in range(length)]
            mean = sum(values) / length
            variance = sum((v - mean) ** 2 for v in values) / length
            assert pooled[clip, [f, 5 + f]].tolist() == pytest.approx([mean, math.sqrt(variance + 1e-5)], abs=1e-5)


def test_pooling_one_frame_has_a_finite_gradient() -> None:
    frames = torch.randn(1, 1, 5, requires_grad=True)
    StatisticsPooling(5)(frames, torch.ones(1, 1, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(frames.grad).all()
