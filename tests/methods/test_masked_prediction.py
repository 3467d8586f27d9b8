"""Masked prediction: which frames are hidden, logits and loss by hand, what moves, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch

from serene.audio.batch import Batch
from serene.audio.clusters import Unlabelled
from serene.corpora.manifest import Utterance
from serene.errors import SereneError
from serene.methods import masked_prediction
from serene.methods.masked_prediction import MaskedPrediction, spans
from serene.models.encoder import Inside
from serene.models.masking import mask_of
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.speaker_embedding import PersonalVectors
from serene.speaker import SpeakerContext
from serene.training.update import MovingUpdate

TINY: dict[str, Any] = {
    "model_type": "hubert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8],
    "conv_kernel": [40, 16],
    "conv_stride": [20, 16],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}  # a frame sees 340 samples, and the next one begins 320 later
STILL = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
LENGTHS = (2000, 3300, 5200)  # samples: 6, 10 and 16 frames
FRAMES = (6, 10, 16)
Learner = Callable[..., tuple[EmotionModel, MaskedPrediction]]


@pytest.fixture
def learner() -> Learner:
    """Give a function: settings -> the same fresh model every time, and the method attached."""

    def make(place: Any = "none", config: dict[str, Any] | None = None, **settings: Any) -> Any:
        torch.manual_seed(0)
        model = EmotionModel(
            ("nothing",),
            1,
            encoder="hubert",
            encoder_settings={"config": TINY | (config or {}), "train": "all"},
            normalize="utterance",
            speakers=("a/1", "a/2") if place != "none" else (),
            parts=Parts(pooling="mean", hidden=(), head="linear", speaker_embedding=place),
        )
        method = MaskedPrediction(**{"clusters": 5, "predictor_width": 6, **settings})
        method.attach(model, 2)
        return model, method

    return make


@pytest.fixture
def batch() -> Batch:
    """Three clips of noise, whose clusters begin 0, 1, 2, ... and have a gap."""
    lengths = torch.tensor(LENGTHS)
    sound = torch.randn(3, max(LENGTHS), 1, generator=torch.Generator().manual_seed(3))
    clusters = torch.arange(17).remainder(5).repeat(3, 1)  # one more than the encoder has frames
    clusters[2, 4:6] = -1
    clusters = clusters.masked_fill(~mask_of(torch.tensor(FRAMES), 17), -1)
    inputs = sound * mask_of(lengths, max(LENGTHS)).unsqueeze(-1)
    nobody, nothing = torch.full((3,), -1), torch.zeros(3, 0)
    told = SpeakerContext(identity=nobody)
    return Batch(inputs, lengths, nothing, nobody, ("a", "b", "c"), context=told, clusters=clusters)


def hide(monkeypatch: pytest.MonkeyPatch, frames: dict[int, list[int]]) -> torch.Tensor:
    """Let these frames be hidden and no others."""
    masked = torch.zeros(3, 16, dtype=torch.bool)
    for row, hidden in frames.items():
        masked[row, hidden] = True
    monkeypatch.setattr(masked_prediction, "spans", lambda lengths, *_: masked[:, : max(lengths)].numpy())
    return masked


# --- which frames are hidden


def test_as_many_spans_begin_as_the_probability_says() -> None:
    """With spans of one frame the hidden frames are the starts, no two of which coincide: 0.3 * 37 = 11.1."""
    rng = np.random.default_rng(0)
    counts = spans([37] * 4000, 0.3, 1, rng).sum(axis=1)
    assert set(counts.tolist()) == {11, 12}
    assert counts.mean() == pytest.approx(11.1, abs=5 * math.sqrt(0.1 * 0.9 / 4000))


def test_every_frame_is_hidden_as_often_as_counted_by_hand() -> None:
    """7 or 8 spans (7.6 in expectation) begin at 86 places; one frame is reached from up to 10 of them."""
    draws, frames, length = 4000, 95, 10
    masked = spans([frames] * draws, 0.8, length, np.random.default_rng(1))
    places = frames - length + 1
    expected = []
    for frame in range(frames):
        reached = min(frame, places - 1) - max(0, frame - length + 1) + 1
        missed = [math.comb(places - reached, count) / math.comb(places, count) for count in (7, 8)]
        expected.append(1 - 0.4 * missed[0] - 0.6 * missed[1])
    off = np.abs(masked.mean(axis=0) - expected) / np.sqrt(np.array(expected) * (1 - np.array(expected)) / draws)
    assert off.max() < 5, "deviations from what was counted"
    assert masked.mean() == pytest.approx(sum(expected) / frames, abs=0.005)
    assert 0.5 < masked.mean() < 0.6, "overlaps leave far less than 0.8"


def test_a_span_is_whole_and_stays_within_its_clip() -> None:
    lengths = [200, 31, 64]
    for seed in range(200):
        masked = spans(lengths, 0.8, 10, np.random.default_rng(seed))
        assert masked.shape == (3, 200)
        for row, frames in enumerate(lengths):
            assert not masked[row, frames:].any()
            runs = [len(list(run)) for hidden, run in groupby(masked[row, :frames].tolist()) if hidden]
            assert min(runs) >= 10


@pytest.mark.parametrize("probability", [0.1, 0.8, 1.0])
def test_something_of_every_clip_is_hidden_and_something_shown(probability: float) -> None:
    for seed in range(60):
        masked = spans(list(range(1, 61)), probability, 10, np.random.default_rng(seed))
        for frames, row in enumerate(masked, 1):
            assert not row[frames:].any()
            assert min(frames, 2) - (frames == 2) <= row.sum() < max(frames, 2), f"of {frames} frames"


def test_the_masks_are_the_generators_alone() -> None:
    first, same, other = (spans([50, 80], 0.8, 10, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


# --- the loss


def cross_entropies(method: MaskedPrediction, frames: torch.Tensor, target: int) -> tuple[float, bool]:
    """Give - log p(target | one frame) by loops, and whether the target has the largest logit."""
    weight, bias = method.project.weight.tolist(), method.project.bias.tolist()
    told = [
        sum(w * x for w, x in zip(row, frames.tolist(), strict=True)) + b for row, b in zip(weight, bias, strict=True)
    ]
    logits = []
    for code in method.codes.tolist():
        dot = sum(a * b for a, b in zip(told, code, strict=True))
        cosine = dot / math.sqrt(sum(a * a for a in told)) / math.sqrt(sum(b * b for b in code))
        assert abs(cosine) <= 1
        logits.append(cosine / method.temperature)
    total = sum(math.exp(z) for z in logits)
    return -math.log(math.exp(logits[target]) / total), max(logits) == logits[target]


@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_the_loss_by_hand(temperature: float, learner: Learner, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    model, method = learner(temperature=temperature, penalty=3.0)
    model.eval()
    masked = hide(monkeypatch, {0: [0, 1, 5], 1: [3, 9], 2: [3, 4, 5, 6, 15]})
    seen: list[torch.Tensor] = []

    def look(frames: torch.Tensor) -> torch.Tensor:
        seen.append(frames)
        return frames

    with torch.no_grad():
        features = model.features(batch)
        frames = model.context(replace(features, inside=Inside(convolved=look, masked=masked))).values
        terms = method.loss(model, batch, 0.0)
    losses, right = [], []
    for row, frame in [(0, 0), (0, 1), (0, 5), (1, 3), (1, 9), (2, 3), (2, 6), (2, 15)]:  # (2, 4), (2, 5): no cluster
        loss, hit = cross_entropies(method, frames[row, frame], frame % 5)
        losses.append(loss)
        right.append(hit)
    assert terms["masked"].item() == pytest.approx(sum(losses) / 8, rel=1e-4)
    assert method.measures == {"accuracy": pytest.approx(sum(right) / 8)}
    squares = [x * x for row, count in enumerate(FRAMES) for frame in seen[0][row, :count].tolist() for x in frame]
    assert len(squares) == 8 * sum(FRAMES), "padding has no part in it"
    assert terms["penalty"].item() == pytest.approx(3.0 * sum(squares) / len(squares), rel=1e-4)
    assert set(terms) == {"masked", "penalty"}


def test_only_clusters_of_hidden_frames_count(learner: Learner, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    model, method = learner()
    model.eval()
    masked = hide(monkeypatch, {0: [2], 1: [3, 4], 2: [10]})
    assert batch.clusters is not None

    def loss(clusters: torch.Tensor) -> float:
        with torch.no_grad():
            return method.loss(model, replace(batch, clusters=clusters), 0.0)["masked"].item()

    shown = batch.clusters.clone()
    shown[:, :16][~masked] = 3
    assert loss(shown) == loss(batch.clusters)
    hidden = batch.clusters.clone()
    hidden[2, 10] = 3
    assert loss(hidden) != loss(batch.clusters)
    assert loss(batch.clusters[:, :11]) == loss(batch.clusters), "where indices end, there is none"


def test_masks_are_drawn_anew_and_by_torchs_generator(learner: Learner, batch: Batch) -> None:
    model, method = learner()
    model.eval()

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        with torch.no_grad():
            return method.loss(model, batch, 0.0)["masked"].item()

    assert loss(1) == loss(1) != loss(2)


def gradients(learner: Learner, batch: Batch, **settings: Any) -> dict[str, torch.Tensor]:
    model, method = learner(**settings)
    model.eval()
    torch.manual_seed(1)
    sum(method.loss(model, batch, 0.0).values()).backward()
    named = [*model.encoder.named_parameters(), *method.named_parameters()]
    return {name: p.grad for name, p in named if p.grad is not None}


@pytest.mark.parametrize("factor", [0.1, 0.0])
def test_the_convolutions_gradient_is_scaled_and_no_other(factor: float, learner: Learner, batch: Batch) -> None:
    whole, scaled = (gradients(learner, batch, convolution_gradient=g) for g in (1.0, factor))
    assert whole.keys() == scaled.keys()
    convolutions = [name for name in whole if name.startswith("transformer.feature_extractor.")]
    assert len(convolutions) == 4  # two kernels; the scale and the shift of the norm
    for name, gradient in whole.items():
        assert gradient.abs().max() > 0, name
        times = factor if name in convolutions else 1.0
        torch.testing.assert_close(scaled[name], times * gradient, rtol=1e-4, atol=1e-7)
    assert "transformer.masked_spec_embed" in whole, "the vector that frames are hidden behind is learned"


def test_half_precision_gives_nearly_the_same_loss(learner: Learner, batch: Batch) -> None:
    losses = []
    for enabled in (False, True):
        model, method = learner()
        model.eval()
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            terms = method.loss(model, batch, 0.0)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        losses.append([term.item() for term in terms.values()])
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.03)


def test_speakers_vectors_reach_the_frames_that_are_told_apart(learner: Learner, batch: Batch) -> None:
    model, method = learner("last")
    model.eval()
    assert isinstance(model.speaker_embedding, PersonalVectors)
    spoken = replace(batch, context=SpeakerContext(identity=torch.tensor([0, 0, -1])))
    torch.manual_seed(1)
    method.loss(model, spoken, 0.0)["masked"].backward()
    gradient = model.speaker_embedding.vectors.grad
    assert gradient is not None and gradient[0].abs().max() > 0
    assert gradient[1].abs().max() > 0, "an unknown speaker has the mean of all"


# --- what moves


def test_the_encoder_rests_while_the_predictor_learns_alone(learner: Learner, batch: Batch) -> None:
    for head_steps in (0, 2):
        model, method = learner("last", head_steps=head_steps)
        (update,) = method.updates(model)
        assert [group.name for group in update.groups] == ["encoder", "predictor"]
        moving = MovingUpdate(
            update, lambda group: torch.optim.SGD([p for p in group.parameters if p.requires_grad], 0.1)
        )
        before = {name: p.detach().clone() for name, p in (*model.named_parameters(), *method.named_parameters())}
        for at in range(2):
            moving.prepare(at, 1.0)
            terms = update.loss(replace(batch, context=SpeakerContext(identity=torch.tensor([0, 1, 1]))), 0.0)
            sum(terms.values()).backward()
            moving.step(None)
        after = dict([*model.named_parameters(), *method.named_parameters()])
        moved = {name for name, parameter in before.items() if not torch.equal(parameter, after[name])}
        own = {"project.weight", "project.bias", "codes"}
        assert own <= moved
        assert bool(moved - own) == (head_steps == 0)
        if not head_steps:
            assert {"encoder.transformer.masked_spec_embed", "speaker_embedding.vectors"} <= moved
            assert not any(name.startswith("head.") for name in moved), "there is nothing for the model's head to learn"


def tones(count: int, clusters: int) -> Batch:
    """Clips of a steady tone each, in a little noise; the tone is the cluster of all frames."""
    rng = np.random.default_rng(0)
    kinds = np.arange(count) % clusters
    time = np.arange(6400)[None] / 16_000
    waves = np.sin(2 * np.pi * 150 * 2.2 ** kinds[:, None] * time) + 0.1 * rng.standard_normal((count, 6400))
    nobody, nothing = torch.full((count,), -1), torch.zeros(count, 0)
    return Batch(
        torch.from_numpy(waves.astype(np.float32))[:, :, None],
        torch.full((count,), 6400),
        nothing,
        nobody,
        tuple(map(str, range(count))),
        clusters=torch.from_numpy(kinds)[:, None].repeat(1, 20),
    )


def test_it_learns_to_tell_hidden_frames_better_than_by_the_most_frequent_cluster(learner: Learner) -> None:
    model, method = learner(config=STILL, clusters=3, convolution_gradient=1.0, penalty=0.1)
    model.train()
    batch = tones(8, 3)
    assert batch.clusters is not None
    majority = batch.clusters.flatten().bincount().max().item() / batch.clusters.numel()
    moved = [p for p in (*model.encoder.parameters(), *method.parameters()) if p.requires_grad]
    optimizer = torch.optim.Adam(moved, 1e-2)
    losses, right = [], []
    for _ in range(70):
        optimizer.zero_grad()
        terms = method.loss(model, batch, 0.0)
        sum(terms.values()).backward()
        optimizer.step()
        losses.append(terms["masked"].item())
        right.append(method.measures["accuracy"])
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    assert np.mean(right[-10:]) > majority + 0.4


# --- validation


class Given(Unlabelled):
    """Batches as they are, of clips that are held out for a reason."""

    def __init__(self, batches: list[Batch], reasons: dict[str, str]) -> None:
        self.batches = batches
        self.utterances = tuple(Utterance(id=name, audio="nowhere", speaker="x") for name in reasons)
        self.groups = np.array(list(reasons.values()))

    def in_order(self, batch_size: int, first: int = 0, step: int = 1) -> Any:
        yield from self.batches


REASONS = {"a": "texts", "b": "speakers", "c": "speakers", "d": "texts"}


def halved(batch: Batch) -> Batch:
    """Half of the second clip as one of its own, `d`."""
    sound = batch.inputs[1:2, :1650]
    parts = (torch.tensor([1650]), torch.zeros(1, 0), torch.tensor([-1]))
    assert batch.clusters is not None
    return Batch(sound, *parts, ("d",), clusters=(batch.clusters[1:2, :5] + 1) % 5)


def test_what_is_held_out_is_measured_by_hand(learner: Learner, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of several lengths and reasons stand in one batch; `a` is the shortest of its batch."""
    model, method = learner()
    model.train()

    def odd(lengths: list[int], *_: Any) -> np.ndarray:
        return np.array([[frame % 2 == 1 and frame < n for frame in range(max(lengths))] for n in lengths])

    monkeypatch.setattr(masked_prediction, "spans", odd)
    measured = method.validate(model, Given([batch, halved(batch)], REASONS), "cpu")
    assert model.training
    model.eval()
    rows: dict[str, list[tuple[float, bool, int]]] = {"texts": [], "speakers": []}
    for part in (batch, halved(batch)):
        features = model.features(part)
        sound = model.encoder.mask_after(mask_of(part.lengths, part.inputs.shape[1]))
        masked = torch.from_numpy(odd(sound.sum(dim=1).tolist()))
        with torch.no_grad():
            frames = model.context(replace(features, inside=Inside(masked=masked))).values
        for row, name in enumerate(part.ids):
            for frame in masked[row].nonzero().flatten().tolist():
                target = part.clusters[row, frame].item()  # pyright: ignore[reportOptionalSubscript]
                if target >= 0:
                    rows[REASONS[name]].append((*cross_entropies(method, frames[row, frame], int(target)), int(target)))
    expected = {}
    for name, answers in rows.items():
        losses, right, targets = zip(*answers, strict=True)
        most = max(targets.count(target) for target in targets)
        means = {"loss": sum(losses), "accuracy": sum(right), "majority": most}
        expected |= {f"validation_{name}_{what}": total / len(answers) for what, total in means.items()}
    assert measured == pytest.approx(expected, rel=1e-4)
    assert [len(rows[name]) for name in ("texts", "speakers")] == [3 + 2, 5 + 7], "of frame 5 of c nothing is known"


def test_validation_hides_the_same_frames_every_time(learner: Learner, batch: Batch) -> None:
    model, method = learner()
    held = Given([batch, halved(batch)], REASONS)
    first = method.validate(model, held, "cpu")
    torch.manual_seed(7)
    assert method.validate(model, held, "cpu") == first
    assert list(first) == [f"validation_{name}_{what}" for name in ("speakers", "texts") for what in MEASURES]


MEASURES = ("loss", "accuracy", "majority")


# --- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_probability": 0.0}, "method.mask_probability is 0.0 and method.mask_length 10; a share of the"),
        ({"mask_probability": 1.5}, "method.mask_probability is 1.5"),
        ({"mask_length": 0}, "method.mask_length 0; .* at least 1 frame were expected"),
        ({"clusters": 1}, "method.clusters is 1, method.predictor_width 256 and .* at least 2, at least 1 and a pos"),
        ({"predictor_width": 0}, "method.predictor_width 0"),
        ({"temperature": 0.0}, "method.temperature 0.0"),
        ({"penalty": -1.0}, "method.penalty is -1.0, .* none of them may be negative"),
        ({"convolution_gradient": -0.1}, "method.convolution_gradient -0.1"),
        ({"head_steps": -1}, "method.head_steps -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        MaskedPrediction(**settings)


def test_the_defaults_are_huberts() -> None:
    method = MaskedPrediction()
    assert (method.mask_probability, method.mask_length, method.temperature) == (0.8, 10, 0.1)
    assert (method.penalty, method.convolution_gradient, method.predictor_width) == (10, 0.1, 256)


def test_an_encoder_that_cannot_be_pretrained_is_refused(learner: Learner) -> None:
    method = MaskedPrediction(clusters=5)
    for settings in ({}, {"encoder": "hubert", "encoder_settings": {"config": TINY, "train": "transformer"}}):
        model = EmotionModel(("nothing",), 1, **settings)
        with pytest.raises(SereneError, match=r"trains all of an encoder of waveforms: set model.encoder=hubert"):
            method.attach(model, 0)
    with pytest.raises(
        SereneError, match=r"has no vector to hide frames behind: .* Set model.config.mask_time_prob to"
    ):
        learner(config={"mask_time_prob": 0.0, "mask_feature_prob": 0.0})


def test_clips_without_clusters_are_refused(learner: Learner, batch: Batch) -> None:
    model, method = learner()
    with pytest.raises(SereneError, match="needs the cluster of each frame; these clips come without"):
        method.loss(model, replace(batch, clusters=None), 0.0)
