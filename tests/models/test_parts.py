"""What stands around the encoder, every kind of it: by hand, alone and in a batch, saved and read again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.models.heads import POOLINGS, FirstFrame, Head, MeanPooling, Projector
from serene.models.masking import Dropout, MaskedBatchNorm, mask_of
from serene.models.model import EmotionModel
from serene.models.parts import HeadKind, Parts, Pooling, Projection, SpeakerEmbedding
from serene.models.speaker_embedding import SpeakerMfcc, SpeakerTable

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
SPEAKERS = ("A", "B", "C")
WIDTH = 24  # of stored outputs, which their encoder passes on as they are: all that happens is the parts' doing
LENGTHS = (1, 12, 7, 30, 21)
KINDS = {
    **{f"pooling-{kind}": Parts(pooling=kind) for kind in get_args(Pooling)},
    **{f"projector-{kind}": Parts(projector=kind) for kind in get_args(Projection)},
    **{f"head-{kind}": Parts(head=kind, hidden=(9, 7)) for kind in get_args(HeadKind)},
    **{f"speaker-{kind}": Parts(speaker_embedding=kind, speaker_width=6) for kind in get_args(SpeakerEmbedding)[:5]},
    "no-hidden-layer": Parts(hidden=(), pooling="mean"),
    "of-all-something": Parts(pooling="mean", projector="gate", hidden=(8,), speaker_embedding="mfcc_learned"),
}
every_kind = pytest.mark.parametrize("parts", KINDS.values(), ids=KINDS)


def new_model(parts: Parts, encoder: str = "frozen", width: int = WIDTH) -> EmotionModel:
    torch.manual_seed(0)
    speakers = SPEAKERS if "identity" in parts.needs("none") else ()
    model = EmotionModel(EMOTIONS, width, encoder=encoder, normalize="none", speakers=speakers, parts=parts)
    if isinstance(model.speaker_embedding, SpeakerMfcc):
        model.speaker_embedding.set_statistics(torch.tensor([[0.0] * 20, [14.0] * 20]))
    if isinstance(model.projector, Projector) and model.projector.kind == "residual":
        nn.init.normal_(model.projector.back.weight, std=0.1)  # as after training: untrained it does nothing
    return model


@pytest.fixture
def batch(batch_of) -> Batch:
    """Five clips of the speakers 0, 1, 2 and two whom the model does not know."""
    told, made = torch.tensor([0, 1, -1, 2, -1]), batch_of(*LENGTHS, width=WIDTH)
    return replace(made, speaker=told, context=replace(made.context, identity=told))


def alone(batch: Batch, clip: int) -> Batch:
    own = batch.mapped(lambda tensor: tensor[[clip]])
    return replace(own, inputs=own.inputs[:, : LENGTHS[clip]], ids=(batch.ids[clip],))


# --- all kinds alike


@every_kind
@torch.no_grad()
def test_batch_mates_and_padding_change_no_score(parts: Parts, batch: Batch, awake) -> None:
    model = awake(new_model(parts))
    together = model(batch)
    assert together.shape == (5, 4)
    assert together.std(dim=0).min() > 0.01, "the clips do differ"
    torch.testing.assert_close(torch.cat([model(alone(batch, n)) for n in range(5)]), together, rtol=0, atol=1e-5)
    wider = nn.functional.pad(batch.inputs, (0, 0, 0, 9))
    noisy = wider.masked_fill(~mask_of(batch.lengths, wider.shape[1]).unsqueeze(-1), 1e3)
    torch.testing.assert_close(model(replace(batch, inputs=noisy)), together, rtol=0, atol=1e-5)


@every_kind
@torch.no_grad()
def test_a_saved_model_gives_the_same_scores(parts: Parts, batch: Batch, awake, tmp_path: Path) -> None:
    model = awake(new_model(parts))
    model.save(tmp_path / "model", {"front_end": "frozen"})
    loaded = EmotionModel.load(tmp_path / "model")
    assert torch.equal(loaded(batch), model(batch))
    assert json.dumps(loaded.config) == json.dumps(model.config)
    assert loaded.speakers == model.speakers


@every_kind
def test_all_of_it_learns(parts: Parts, batch: Batch) -> None:
    model = new_model(parts).train()
    model(batch).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@every_kind
def test_a_fresh_head_has_the_emotion_heads_shape(parts: Parts) -> None:
    model = new_model(parts)
    ours, theirs = model.new_head(9), model.head
    assert [str(layer) for layer in ours.hidden] == [str(layer) for layer in theirs.hidden]
    assert ours.classify.weight.shape == (9, theirs.classify.in_features)


# --- pooling


def test_every_pooling_has_a_name_and_says_how_wide_it_is() -> None:
    assert POOLINGS.keys() == set(get_args(Pooling))
    frames, mask = torch.randn(2, 5, 8), mask_of(torch.tensor([5, 2]), 5)
    for name, pooling in POOLINGS.items():
        assert pooling(8)(frames, mask).shape == (2, 8 * pooling.widening), name


def test_mean_pooling_is_the_mean_of_the_valid_frames() -> None:
    lengths = [4, 1, 6]
    frames = torch.randn(3, 6, 5)
    pooled = MeanPooling(5)(frames, mask_of(torch.tensor(lengths), 6))
    for clip, length in enumerate(lengths):
        by_hand = [sum(frames[clip, t, f].item() for t in range(length)) / length for f in range(5)]
        assert pooled[clip].tolist() == pytest.approx(by_hand, abs=1e-6)


def test_the_first_frame_is_the_first_frame() -> None:
    frames = torch.randn(3, 6, 5)
    assert torch.equal(FirstFrame(5)(frames, mask_of(torch.tensor([4, 1, 6]), 6)), frames[:, 0])


# --- projector


@pytest.mark.parametrize("kind", [kind for kind in get_args(Projection) if kind != "none"])
@torch.no_grad()
def test_a_projector_by_hand(kind: Projection) -> None:
    torch.manual_seed(0)
    projector, frames = Projector(3, kind), torch.randn(1, 2, 3)
    if kind == "residual":
        assert torch.equal(projector(frames), frames), "it begins as the identity"
        nn.init.normal_(projector.back.weight)
    result = projector(frames)
    assert result.shape == frames.shape
    weight, bias = projector.linear.weight.tolist(), projector.linear.bias.tolist()

    def gelu(value: float) -> float:
        return value * (1 + math.erf(value / math.sqrt(2))) / 2

    for t in range(2):
        z = frames[0, t].tolist()
        mapped = [bias[i] + sum(weight[i][j] * z[j] for j in range(3)) for i in range(3)]
        if kind == "residual":
            back = projector.back.weight.tolist()
            expected = [z[i] + sum(back[i][j] * gelu(mapped[j]) for j in range(3)) for i in range(3)]
        else:
            expected = {
                "relu": [max(0.0, m) for m in mapped],
                "gelu": [gelu(m) for m in mapped],
                "gate": [own / (1 + math.exp(-m)) for own, m in zip(z, mapped, strict=True)],
            }[kind]
        assert result[0, t].tolist() == pytest.approx(expected, abs=1e-6)


def test_what_starts_at_zero_does_not_stay_there() -> None:
    projector = Projector(3, "residual")
    projector(torch.randn(1, 2, 3)).square().sum().backward()
    assert projector.back.weight.grad.any()


def test_the_projector_lies_between_the_encoder_and_every_head(batch: Batch) -> None:
    model = new_model(Parts(projector="gate")).eval()
    frames = model.context(model.features(batch))
    assert torch.equal(model.project(frames).values, model.projector(frames.values))
    assert torch.equal(model.embed(batch), model.pool(model.project(frames)))
    plain = new_model(Parts())
    assert plain.projector is None
    assert plain.project(frames) is frames


# --- head


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("relu_norm_dropout", [nn.Linear, nn.ReLU, MaskedBatchNorm, Dropout]),
        ("relu_dropout_norm", [nn.Linear, nn.ReLU, Dropout, MaskedBatchNorm]),
        ("relu", [nn.Linear, nn.ReLU]),
        ("linear", [nn.Linear]),
    ],
)
def test_a_head_has_its_layers_in_the_order_of_its_name(kind: HeadKind, layers: list[type]) -> None:
    head = Head(10, (6, 5), 3, kind=kind, dropout=0.2)
    assert [type(layer) for layer in head.hidden] == layers * 2
    assert [layer.p for layer in head.hidden if isinstance(layer, Dropout)] == [0.2] * 2 * (Dropout in layers)
    shapes = [tuple(layer.weight.shape) for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert shapes == [(6, 10), (5, 6), (3, 5)]


def test_a_head_without_hidden_layers_is_one_linear_map() -> None:
    head, pooled = Head(4, (), 3), torch.randn(2, 4)
    assert torch.equal(head(pooled), head.classify(pooled))
    assert torch.equal(head.hidden(pooled), pooled)


def test_hidden_layers_are_the_encoders_own_unless_they_are_said(batch: Batch) -> None:
    def widths(encoder: str, width: int, hidden: tuple[int, ...] | None) -> list[int]:
        head = new_model(Parts(hidden=hidden), encoder, width).head
        return [layer.out_features for layer in head.modules() if isinstance(layer, nn.Linear)]

    assert widths("tdnn_bilstm", 39, None) == [64, 64, 4]
    assert widths("frozen", WIDTH, None) == [256, 256, 4]
    assert widths("tdnn_bilstm", 39, (5,)) == [5, 4]
    assert widths("tdnn_bilstm", 39, ()) == [4]
    assert new_model(Parts(hidden=(5,))).hidden(torch.randn(2, 2 * WIDTH)).shape == (2, 5)


# --- who speaks


def test_the_table_adds_a_speakers_own_vector_to_every_frame(batch: Batch) -> None:
    model = new_model(Parts(speaker_embedding="table", speaker_width=6)).eval()
    assert isinstance(model.speaker_embedding, SpeakerTable)
    features = model.features(batch)
    added = model.context(features).values - model.encoder(features.values, features.mask)
    table = model.speaker_embedding.table.weight.tolist()
    dense, bias = model.speaker_embedding.dense.weight.tolist(), model.speaker_embedding.dense.bias.tolist()
    mean = [sum(row[i] for row in table) / 3 for i in range(6)]
    for clip, own in enumerate([table[0], table[1], mean, table[2], mean]):  # unknown speakers get the mean
        expected = [bias[f] + sum(dense[f][i] * own[i] for i in range(6)) for f in range(WIDTH)]
        for frame in (0, LENGTHS[clip] - 1):
            assert added[clip, frame].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_clip_of_an_unknown_speaker_teaches_every_speakers_vector() -> None:
    embedding = SpeakerTable(3, 5, 2)
    embedding(torch.tensor([1])).sum().backward()
    assert embedding.table.weight.grad.any(dim=1).tolist() == [False, True, False]
    embedding.zero_grad()
    embedding(torch.tensor([-1])).sum().backward()
    assert embedding.table.weight.grad.any(dim=1).tolist() == [True] * 3


def test_raw_cepstra_fill_the_first_features_of_every_frame(batch: Batch) -> None:
    model = new_model(Parts(speaker_embedding="mfcc_raw")).eval()
    assert not list(model.speaker_embedding.parameters())
    features = model.features(batch)
    added = model.context(features).values - model.encoder(features.values, features.mask)
    for clip in range(5):
        expected = [*batch.context.cepstra[clip].tolist(), 0.0, 0.0, 0.0, 0.0]
        for frame in (0, LENGTHS[clip] - 1):
            assert added[clip, frame].tolist() == pytest.approx(expected, abs=1e-5)


def test_learned_cepstra_are_standardised_by_the_training_speakers_and_mapped() -> None:
    torch.manual_seed(0)
    embedding, voices = SpeakerMfcc(3, learned=True), 10 + 5 * torch.randn(4, 20)
    voices[:, 7] = 2.0  # a coefficient that all share must not divide by nothing
    embedding.set_statistics(voices)
    voice = voices[2].clone()
    weight, bias = embedding.dense.weight.tolist(), embedding.dense.bias.tolist()
    standard = []
    for c in range(20):
        own = [voices[s, c].item() for s in range(4)]
        mean = sum(own) / 4
        deviation = max(math.sqrt(sum((v - mean) ** 2 for v in own) / 4), 1e-5)
        standard.append((voice[c].item() - mean) / deviation)
    expected = [bias[f] + sum(weight[f][c] * standard[c] for c in range(20)) for f in range(3)]
    assert embedding(voice[None])[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_model_that_is_told_no_cepstra_says_so(batch: Batch) -> None:
    silent = replace(batch, context=replace(batch.context, cepstra=None))
    for kind in ("mfcc_raw", "mfcc_learned"):
        with pytest.raises(SereneError, match="This model needs some of the speaker's clips, for their cepstra"):
            new_model(Parts(speaker_embedding=kind))(silent)
    plain = new_model(Parts()).eval()
    assert torch.equal(plain(replace(silent, speaker=batch.speaker + 1)), plain(batch)), "nobody asks"


def test_a_table_of_nobody_is_refused() -> None:
    with pytest.raises(SereneError, match="A model with vectors of speakers has to be told the speakers' names"):
        EmotionModel(EMOTIONS, WIDTH, encoder="frozen", parts=Parts(speaker_embedding="table"))


# --- what no layer can be made of


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head_dropout": 1.0}, r"model\.head_dropout is 1\.0; a probability below 1 was expected"),
        ({"head_dropout": -0.1}, r"model\.head_dropout is -0\.1"),
        ({"hidden": (64, 0)}, r"model\.hidden is \(64, 0\) and model\.speaker_width 64; a width is at least 1"),
        ({"speaker_width": 0}, r"model\.speaker_width 0; a width is at least 1"),
    ],
)
def test_parts_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(SereneError, match=message):
        Parts(**settings)


def test_only_cepstra_ask_for_the_speakers_audio() -> None:
    asking = {kind for kind in get_args(SpeakerEmbedding) if "cepstra" in Parts(speaker_embedding=kind).needs("none")}
    assert asking == {"mfcc_raw", "mfcc_learned"}
