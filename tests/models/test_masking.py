"""Each masked layer is the ordinary layer on the valid frames alone, whatever lies in the padding."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from serene.models.heads import Head, cross_entropy
from serene.models.masking import Dropout, MaskedBatchNorm, MaskedBiLSTM, mask_of, reverse_within, statistics_kept

LENGTHS = torch.tensor([4, 9, 1, 6])
MASK = mask_of(LENGTHS, 9)


def frames(width: int = 5, seed: int = 0) -> torch.Tensor:
    return 3 + 2 * torch.randn(4, 9, width, generator=torch.Generator().manual_seed(seed))


def norms(width: int = 5) -> tuple[MaskedBatchNorm, nn.BatchNorm1d]:
    torch.manual_seed(1)
    plain, ours = nn.BatchNorm1d(width), MaskedBatchNorm(width)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    ours.load_state_dict(plain.state_dict())
    return ours, plain


@pytest.mark.parametrize("padding", [0.0, 1e6, math.nan])
def test_batch_norm_is_torchs_over_the_valid_frames(padding: float) -> None:
    ours, plain = norms()
    for seed in range(3):
        values = frames(seed=seed)
        valid = torch.cat([clip[:length] for clip, length in zip(values, LENGTHS, strict=True)])
        expected = plain(valid)
        result = ours(values.masked_fill(~MASK.unsqueeze(-1), padding), MASK)
        torch.testing.assert_close(result[MASK], expected)
        assert not result[~MASK].any()
        torch.testing.assert_close(ours.state_dict(), plain.state_dict())
    assert (plain.running_mean.abs() > 0.5).all(), "the statistics did move"


def test_batch_norm_scores_with_the_running_statistics() -> None:
    ours, plain = norms()
    ours(frames(), MASK)
    plain.load_state_dict(ours.state_dict())
    values = frames(seed=1)
    expected = plain.eval()(values.flatten(0, 1)).view_as(values)
    torch.testing.assert_close(ours.eval()(values, MASK), expected)
    torch.testing.assert_close(ours(values[1:2], MASK[1:2]), expected[1:2])


def test_batch_norm_without_a_mask_is_torchs() -> None:
    ours, plain = norms()
    values = frames()[:, 0]
    torch.testing.assert_close(ours(values), plain(values))


@pytest.mark.parametrize("masked", [True, False])
def test_a_single_row_is_normalised_by_the_running_statistics(masked: bool) -> None:
    """It has no variance: PyTorch's own refuses it with a ValueError."""
    ours, plain = norms()
    ours(frames(), MASK)
    before = ours.running_mean.tolist(), ours.running_var.tolist()
    row = torch.tensor([[[1.0, -2.0, 0.5, 3.0, 0.0]]])
    with pytest.raises(ValueError, match="Expected more than 1 value"):
        plain(row[0])
    found = ours(row, torch.ones(1, 1, dtype=torch.bool)) if masked else ours(row[0])
    expected = [
        (value - mean) / math.sqrt(variance + ours.eps) * weight + bias
        for value, mean, variance, weight, bias in zip(
            row.flatten().tolist(), *before, ours.weight.tolist(), ours.bias.tolist(), strict=True
        )
    ]
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-5)
    assert (ours.running_mean.tolist(), ours.running_var.tolist()) == before


def test_running_statistics_are_kept_inside_the_block_alone() -> None:
    torch.manual_seed(0)
    head = Head(5, (6, 6), 3)
    slow = head.hidden[2]
    slow.momentum = 0.3

    def statistics() -> list[torch.Tensor]:
        return [b.clone() for name, b in head.named_buffers() if "running" in name]

    before, kept = statistics(), head(frames()[:, 0]).detach()
    moved = statistics()
    with pytest.raises(RuntimeError, match="interrupted"), statistics_kept(head):
        torch.manual_seed(0)
        assert head(frames(seed=2)[:, 1]).shape == kept.shape
        torch.testing.assert_close(statistics(), moved, rtol=0, atol=0)
        raise RuntimeError("interrupted")
    head(frames(seed=3)[:, 1])
    after = statistics()
    assert len(before) == 4
    assert all(not torch.equal(a, b) for a, b in zip(before + moved, moved + after, strict=True))
    expected = 0.7 * moved[0] + 0.3 * head.hidden[:2](frames(seed=3)[:, 1]).mean(dim=0)
    torch.testing.assert_close(after[0], expected)


def test_inside_the_block_batches_are_still_normalised_by_themselves() -> None:
    ours, plain = norms()
    with statistics_kept(ours):
        torch.testing.assert_close(ours(frames()[:, 0]), plain(frames()[:, 0]))


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_keeps_its_share_and_scales_it(p: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(p)(torch.full((400, 500), 3.0))
    kept = dropped != 0
    assert dropped[kept].unique().tolist() == [pytest.approx(3 / (1 - p))]
    deviation = math.sqrt(p * (1 - p) / 200_000)
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=5 * deviation)
    rows = kept.float().mean(dim=1)
    assert rows.std().item() == pytest.approx(math.sqrt(p * (1 - p) / 500), rel=0.2), "each value has its own draw"


def test_dropout_is_off_when_scoring_or_at_zero() -> None:
    values = frames()
    assert Dropout(0.5).eval()(values) is values
    assert torch.equal(Dropout(0.0)(values), values)


def test_dropout_passes_gradients_through_what_it_kept() -> None:
    values = frames().requires_grad_()
    dropped = Dropout(0.5)(values)
    dropped.sum().backward()
    assert torch.equal(values.grad, 2.0 * (dropped != 0))


def test_clips_are_reversed_within_their_own_length() -> None:
    values = frames()
    mirrored = reverse_within(values, LENGTHS)
    for clip, length in enumerate(LENGTHS.tolist()):
        for t in range(9):
            source = length - 1 - t if t < length else t
            assert torch.equal(mirrored[clip, t], values[clip, source])


def test_the_bilstm_is_torchs_on_packed_sequences() -> None:
    torch.manual_seed(0)
    ours, theirs = MaskedBiLSTM(5, 7), nn.LSTM(5, 7, batch_first=True, bidirectional=True)
    for name, direction in (("", ours.onward), ("_reverse", ours.backward_)):
        for kind in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(theirs, kind + name).data.copy_(getattr(direction, kind))
    values = frames()
    packed = nn.utils.rnn.pack_padded_sequence(values, LENGTHS, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    result = ours(values, LENGTHS)
    assert result.shape == (4, 9, 14)
    torch.testing.assert_close(result[MASK], expected[MASK], rtol=0, atol=1e-6)


def test_a_head_has_two_hidden_layers_and_a_bare_output() -> None:
    head = Head(512, (64, 64), 4)
    kinds = [type(layer) for layer in head.hidden]
    assert kinds == [nn.Linear, nn.ReLU, MaskedBatchNorm, Dropout] * 2
    assert [layer.p for layer in head.hidden if isinstance(layer, Dropout)] == [0.5, 0.5]
    assert isinstance(head.classify, nn.Linear)
    head.eval()
    pooled = torch.randn(3, 512)
    torch.testing.assert_close(head(pooled), head.classify(head.hidden(pooled)))


def test_cross_entropy_takes_distributions_and_classes() -> None:
    logits = [[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]]
    target = [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]
    by_hand = 0.0
    for row, wanted in zip(logits, target, strict=True):
        total = math.log(sum(math.exp(z) for z in row))
        by_hand += sum(w * (total - z) for w, z in zip(wanted, row, strict=True)) / 2
    assert cross_entropy(torch.tensor(logits), torch.tensor(target)).item() == pytest.approx(by_hand)
    hard = torch.eye(3)[[0, 2]]
    z = torch.tensor(logits, dtype=torch.bfloat16)
    assert cross_entropy(z, torch.tensor([0, 2])).item() == pytest.approx(cross_entropy(z, hard).item())
    assert cross_entropy(z, hard).dtype == torch.float32
