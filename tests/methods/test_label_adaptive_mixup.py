"""Kang et al. 2023 on a linear model that is worked out by hand: what is mixed, what it is called, what is pulled."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.experiment import recipe
from serene.methods.label_adaptive_mixup import LabelAdaptiveMixup, dominant_class
from serene.methods.method import Method
from serene.models.masking import mask_of
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.training.trainer import Trainer

Rows = list[list[float]]
EMOTIONS = ("anger", "neutral", "sadness")
ANGER, NEUTRAL, SADNESS = torch.eye(3).tolist()


class Matrix(nn.Module):
    """An encoder of one matrix, frame by frame: `W x`."""

    front_end, normalize, shortest, out_width, head_width = "mfcc", "none", 1, 2, 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rebuilt: dict[str, Any] = {}
        self.linear = nn.Linear(width, 2, bias=False)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return self.linear(frames)

    def mask_after(self, mask: Tensor) -> Tensor:
        return mask


def linear(method: Method | None = None, pooling: Any = "mean") -> EmotionModel:
    """W, then the mean, then f0 and f1 of the paper without an activation between: nothing random, nothing normed."""
    torch.manual_seed(3)
    around = Parts(pooling=pooling, hidden=(2,), head="linear")
    model = EmotionModel(EMOTIONS, 2, encoder=f"{__name__}:Matrix", normalize="none", parts=around)
    if method:
        method.attach(model, 2)
    return model


def batch_of(clips: Sequence[Rows], targets: Sequence[Sequence[float]], own: Sequence[int] | None = None) -> Batch:
    """Clips (clip, frame, 2) side by side; `own` gives their true lengths where they have been filled up."""
    lengths = [len(clip) for clip in clips]
    inputs = torch.zeros(len(clips), max(lengths), 2)
    for n, clip in enumerate(clips):
        inputs[n, : len(clip)] = torch.tensor(clip)
    names = tuple(f"clip{n}" for n in range(len(clips)))
    lengths_of_own = None if own is None else torch.tensor(own)
    nobody = torch.full((len(clips),), -1)
    return Batch(inputs, torch.tensor(lengths), torch.tensor(targets), nobody, names, lengths_of_own)


def counted(*lengths: int, start: float = 1.0) -> list[Rows]:
    """Clips whose frames count on: every value is another."""
    values = iter(np.arange(start, start + 2 * sum(lengths)).tolist())
    return [[[next(values), next(values)] for _ in range(length)] for length in lengths]


OWN = batch_of(counted(3, 1, 2), [ANGER, NEUTRAL, ANGER])
PARTNERS = batch_of(counted(1, 3, 2, start=101.0), [SADNESS, SADNESS, ANGER])


def mixed(batch: Batch = OWN, partners: Batch = PARTNERS, **settings: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mix every clip (unless `probability` says otherwise); give values, mask and target."""
    method = LabelAdaptiveMixup(**({"probability": 1.0} | settings))
    model = linear(method)
    frames, target = method.mix(model.features(batch), model.features(partners), batch, partners)
    return frames.values, frames.mask, target


def terms(method: LabelAdaptiveMixup, model: EmotionModel, *batches: Batch) -> dict[str, Tensor]:
    """Ask as the trainer does."""
    (update,) = method.updates(model)
    return dict(update.loss(*batches[: len(update.streams)], 0.5))


# --- what is mixed


def test_values_are_mixed_from_the_beginning_and_valid_where_either_clip_is() -> None:
    for share in (0.5, 0.25):
        values, mask, _ = mixed(share=share)
        assert mask.tolist() == [[True] * 3, [True] * 3, [True, True, False]]
        for clip in range(3):
            for frame in range(3):
                for feature in range(2):
                    mine, theirs = (
                        float(part.inputs[clip, frame, feature]) if frame < part.lengths[clip] else 0.0
                        for part in (OWN, PARTNERS)
                    )
                    assert values[clip, frame, feature].item() == pytest.approx(share * mine + (1 - share) * theirs)


def test_a_shorter_partner_fills_the_beginning_only_and_a_longer_one_is_mixed_to_its_end() -> None:
    values, _, _ = mixed()
    assert values[0, 1:].tolist() == (OWN.inputs[0, 1:] / 2).tolist()
    assert values[1, 1:].tolist() == (PARTNERS.inputs[1, 1:] / 2).tolist()
    shorter = batch_of(counted(1, 1, 1), [ANGER, ANGER, ANGER])
    assert mixed(partners=shorter)[1].tolist() == mask_of(OWN.lengths, 3).tolist()
    values, mask, _ = mixed(shorter, OWN)
    assert (values.shape, mask.tolist()) == ((3, 3, 2), mask_of(OWN.lengths, 3).tolist())


def test_what_is_mixed_has_been_standardised_clip_by_clip() -> None:
    method = LabelAdaptiveMixup(probability=1.0)
    model = linear(method)
    model.normalize = "utterance"
    own, other = model.features(OWN), model.features(PARTNERS)
    frames, _ = method.mix(own, other, OWN, PARTNERS)
    assert torch.equal(frames.values, (own.values + other.values) / 2)
    assert frames.values[2, :2].tolist() == [[-1.0, -1.0], [1.0, 1.0]]  # two frames are one below and one above


def test_a_clip_that_is_not_chosen_stays_as_it_is() -> None:
    values, mask, target = mixed(probability=0.0)
    assert torch.equal(values, OWN.inputs)
    assert torch.equal(mask, mask_of(OWN.lengths, 3))
    assert torch.equal(target, OWN.target)


def test_about_as_many_are_mixed_as_the_probability_says() -> None:
    many = 4000
    own, other = batch_of([[[1.0, 1.0]]] * many, [ANGER] * many), batch_of([[[3.0, 3.0]]] * many, [SADNESS] * many)
    for probability in (0.5, 0.2):
        torch.manual_seed(0)
        values, _, target = mixed(own, other, probability=probability)
        chosen = values[:, 0, 0] == 2.0
        assert set(values[~chosen, 0, 0].tolist()) == {1.0}
        assert target[chosen].unique(dim=0).tolist() == [[0.5, 0.0, 0.5]]
        assert target[~chosen].unique(dim=0).tolist() == [ANGER]
        deviation = math.sqrt(probability * (1 - probability) / many)
        assert chosen.float().mean().item() == pytest.approx(probability, abs=4 * deviation)


# --- what it is called


def test_lengths_of_three_and_one_give_three_quarters_and_one_quarter() -> None:
    _, _, target = mixed()
    assert target[0].tolist() == [0.75, 0.0, 0.25]
    assert target[1].tolist() == [0.0, 0.25, 0.75]


def test_two_clips_of_one_class_make_a_whole_label_of_it() -> None:
    one_class = replace(PARTNERS, target=OWN.target)
    for settings in ({}, {"share": 0.3}, {"mixup": "conventional", "beta": 1.0}):
        _, _, target = mixed(partners=one_class, **settings)
        torch.testing.assert_close(target, OWN.target)


def test_the_label_is_the_papers_formula_for_any_share() -> None:
    for share in (0.0, 0.2, 0.5, 0.9, 1.0):
        _, _, target = mixed(share=share)
        for clip in range(3):
            mine, theirs = share * int(OWN.lengths[clip]), (1 - share) * int(PARTNERS.lengths[clip])
            expected = [
                (mine * float(a) + theirs * float(b)) / (mine + theirs)
                for a, b in zip(OWN.target[clip], PARTNERS.target[clip], strict=True)
            ]
            assert target[clip].tolist() == pytest.approx(expected)


def test_soft_targets_are_mixed_in_the_same_way() -> None:
    own = batch_of(counted(3), [[0.5, 0.5, 0.0]])
    other = batch_of(counted(1), [[0.0, 0.2, 0.8]])
    _, _, target = mixed(own, other)
    assert target[0].tolist() == pytest.approx([0.75 * 0.5, 0.75 * 0.5 + 0.25 * 0.2, 0.25 * 0.8])


def test_lengths_are_the_clips_own_where_they_have_been_filled_up() -> None:
    own = batch_of(counted(4), [ANGER], own=[3])
    other = batch_of(counted(4), [SADNESS], own=[1])
    assert mixed(own, other)[2].tolist() == [[0.75, 0.0, 0.25]]
    assert mixed(replace(own, own_lengths=None), replace(other, own_lengths=None))[2].tolist() == [[0.5, 0.0, 0.5]]


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_the_conventional_weight_is_the_share_whatever_the_lengths(share: float) -> None:
    _, _, target = mixed(mixup="conventional", share=share)
    assert target[0].tolist() == pytest.approx([share, 0.0, 1 - share])
    assert target[1].tolist() == pytest.approx([0.0, share, 1 - share])


@pytest.mark.parametrize("beta", [0.4, 1.0, 3.0])
def test_the_conventional_share_is_drawn_anew_for_every_clip(beta: float) -> None:
    many = 4000
    own, other = batch_of([[[1.0, 1.0]]] * many, [ANGER] * many), batch_of([[[0.0, 0.0]]] * many, [SADNESS] * many)
    torch.manual_seed(0)
    values, _, target = mixed(own, other, mixup="conventional", beta=beta)
    shares = values[:, 0, 0]
    assert torch.equal(shares, target[:, 0])
    torch.testing.assert_close(target.sum(dim=1), torch.ones(many))
    variance = 1 / (4 * (2 * beta + 1))  # of Beta(beta, beta), whose mean is a half
    assert shares.mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(variance / many))
    assert shares.var().item() == pytest.approx(variance, rel=0.1)


def test_the_released_code_leaves_a_label_of_less_than_one() -> None:
    """Its second assignment overwrites the first where both clips have one class."""
    settings = recipe.load("recipes/kang2023/iemocap.yaml:released_code").method.settings
    one_class = replace(PARTNERS, target=OWN.target)
    _, _, target = mixed(partners=one_class, **(settings | {"probability": 1.0}))
    assert target.tolist() == [[0.25, 0.0, 0.0], [0.0, 0.75, 0.0], [0.5, 0.0, 0.0]]
    _, _, target = mixed(**(settings | {"probability": 1.0}))
    assert target.tolist() == [[0.75, 0.0, 0.25], [0.0, 0.25, 0.75], [0.5, 0.0, 0.0]], "only those of one class"
    _, _, target = mixed(partners=one_class, **(settings | {"probability": 0.0}))
    assert torch.equal(target, OWN.target), "and only where clips are mixed"


def test_the_dominant_class_is_the_first_clips_in_a_tie() -> None:
    target = torch.tensor([[0.5, 0.0, 0.5], [0.5, 0.0, 0.5], [0.25, 0.0, 0.75], [0.75, 0.0, 0.25]])
    sad = torch.tensor([SADNESS] * 4)
    angry = torch.tensor([ANGER] * 4)
    assert dominant_class(target, sad).tolist() == [2, 2, 2, 0]
    assert dominant_class(target, angry).tolist() == [0, 0, 2, 0]
    third = torch.full((1, 3), 1 / 3)
    assert dominant_class(third + torch.tensor([[0.0, 1e-8, 0.0]]), torch.tensor([SADNESS])).tolist() == [2]
    assert dominant_class(torch.tensor([[0.25, 0.0, 0.0]]), torch.tensor([ANGER])).tolist() == [0], "a sum below 1"


# --- the loss


def by_hand(model: EmotionModel, values: Tensor, mask: Tensor) -> tuple[Rows, Rows]:
    """What f0 gives for each clip, and the log probabilities, in loops."""
    weights = [model.encoder.linear.weight.tolist()]
    weights += [layer.weight.tolist() for layer in (model.head.hidden[0], model.head.classify)]
    biases = [layer.bias.tolist() for layer in (model.head.hidden[0], model.head.classify)]

    def times(matrix: Rows, vector: Sequence[float]) -> list[float]:
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]

    hidden, logs = [], []
    for frames, sounds in zip(values.tolist(), mask.tolist(), strict=True):
        sound = [times(weights[0], frame) for frame, there in zip(frames, sounds, strict=True) if there]
        pooled = [sum(column) / len(sound) for column in zip(*sound, strict=True)]
        hidden.append([a + b for a, b in zip(times(weights[1], pooled), biases[0], strict=True)])
        logits = [a + b for a, b in zip(times(weights[2], hidden[-1]), biases[1], strict=True)]
        whole = math.log(sum(math.exp(value) for value in logits))
        logs.append([value - whole for value in logits])
    return hidden, logs


SMALL, OTHERS = replace(OWN, inputs=OWN.inputs / 10), replace(PARTNERS, inputs=(PARTNERS.inputs > 0) * 0.7)


@pytest.mark.parametrize("kind", ["none", "conventional", "label_adaptive"])
def test_both_terms_are_the_papers(kind: Any) -> None:
    method = LabelAdaptiveMixup(mixup=kind, probability=1.0, centre_weight=0.3)
    model = linear(method)
    values, mask, target = mixed(SMALL, OTHERS, mixup=kind)
    if kind == "none":
        values, mask, target = SMALL.inputs, mask_of(SMALL.lengths, 3), SMALL.target
    hidden, logs = by_hand(model, values, mask)
    divergence = distance = correct = 0.0
    for h, log, y, own in zip(hidden, logs, target.tolist(), SMALL.target.tolist(), strict=True):
        divergence += sum(share * (math.log(share) - chance) for share, chance in zip(y, log, strict=True) if share)
        dominant = own.index(1.0) if math.isclose(y[own.index(1.0)], max(y)) else y.index(max(y))
        centre = method.centres[dominant].tolist()
        distance += sum((a - b) ** 2 for a, b in zip(h, centre, strict=True))
        correct += log.index(max(log)) == dominant
    found = terms(method, model, SMALL, OTHERS)
    assert found["emotion"].item() == pytest.approx(divergence / 3, rel=1e-5)
    assert found["centre"].item() == pytest.approx(0.3 * distance / 3, rel=1e-5)
    assert method.measures == {"accuracy": pytest.approx(correct / 3)}


def test_the_divergence_is_the_cross_entropy_up_to_the_targets_entropy() -> None:
    method = LabelAdaptiveMixup(probability=1.0, centre_weight=0.0)
    model = linear(method)
    values, mask, target = mixed(SMALL, OTHERS)
    _, logs = by_hand(model, values, mask)
    crossed = 0.0
    for row, chances in zip(target.tolist(), logs, strict=True):
        crossed -= sum(y * log for y, log in zip(row, chances, strict=True)) / 3
    entropy = -sum(y * math.log(y) for row in target.tolist() for y in row if y) / 3
    assert entropy > 0.3
    loss = terms(method, model, SMALL, OTHERS)["emotion"]
    assert loss.item() == pytest.approx(crossed - entropy, rel=1e-5)
    loss.backward()
    gradient = model.head.classify.weight.grad.clone()
    model.zero_grad()
    frames = replace(model.features(SMALL), values=values, mask=mask)
    logits = model.classify(model.hidden(model.embed_features(frames)))
    nn.functional.cross_entropy(logits, target).backward()
    torch.testing.assert_close(gradient, model.head.classify.weight.grad)


def test_a_label_below_one_has_the_loss_of_its_own_sum() -> None:
    """The released code: `sum_c y_c (log y_c - log p_c)` of a label that sums to a quarter."""
    method = LabelAdaptiveMixup(probability=1.0, centre_weight=0.0, same_class="overwritten")
    model = linear(method)
    own, other = (batch_of([[[0.3, 0.1]] * length], [ANGER]) for length in (3, 1))
    values, mask, _ = mixed(own, other)
    _, ((log, _, _),) = by_hand(model, values, mask)
    assert terms(method, model, own, other)["emotion"].item() == pytest.approx(0.25 * (math.log(0.25) - log), rel=1e-5)


@pytest.mark.parametrize("weight", [0.002, 1.0])
def test_features_and_centres_pull_each_other(weight: float) -> None:
    method = LabelAdaptiveMixup(mixup="none", centre_weight=weight)
    model = linear(method)
    hidden = model.hidden(model.embed(SMALL))
    hidden.retain_grad()
    model.hidden = lambda _: hidden  # pyright: ignore[reportAttributeAccessIssue]
    terms(method, model, SMALL)["centre"].backward()
    expected = [[0.0, 0.0] for _ in EMOTIONS]
    for clip, dominant in enumerate((0, 1, 0)):
        apart = [a - b for a, b in zip(hidden[clip].tolist(), method.centres[dominant].tolist(), strict=True)]
        assert hidden.grad[clip].tolist() == pytest.approx([2 * weight * d / 3 for d in apart], rel=1e-5)
        expected[dominant] = [kept - 2 * weight * d / 3 for kept, d in zip(expected[dominant], apart, strict=True)]
    for centre, slope in zip(method.centres.grad.tolist(), expected, strict=True):
        assert centre == pytest.approx(slope, rel=1e-5)
    assert method.centres.grad[2].tolist() == [0.0, 0.0], "nobody was sad"


# --- the centres


class Always:
    """A training part of one batch."""

    lengths = OWN.lengths.numpy()
    crop = None

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, _indices: object, _rng: object) -> Batch:
        return SMALL


CODE = {"optimizer": "adam", "betas": (0.9, 0.98), "epsilon": 1e-9}  # of the released code


@pytest.mark.parametrize(
    ("optimizer", "settings", "forgets", "epsilon", "decay"),
    [
        ("own", {"epochs": 6, "decay": 0.5}, (0.9, 0.999), 1e-8, 1.0),
        ("training", {"epochs": 12} | CODE, (0.9, 0.98), 1e-9, 0.8),
    ],
)
def test_the_centres_have_a_rate_of_their_own_and_the_papers_follows_the_schedule(
    optimizer: Any, settings: dict[str, Any], forgets: tuple[float, float], epsilon: float, decay: float, tmp_path: Path
) -> None:
    """The model hardly moves, so that the centres' path is followed by hand: at a constant rate, or divided by 1.25."""
    method = LabelAdaptiveMixup(mixup="none", centre_rate=0.05, centre_optimizer=optimizer)
    model = linear(method)
    hidden = model.hidden(model.embed(SMALL)).tolist()
    at = method.centres.tolist()
    first, second = ([[0.0, 0.0] for _ in EMOTIONS] for _ in range(2))
    training = {"learning_rate": 1e-12, "schedule": "decay", "clip": None, "device": "cpu", "select_on": "last"}
    trainer = Trainer(**training, **settings)  # pyright: ignore[reportArgumentType]
    trainer.fit(model, method, Always(), None, seed=0, folder=tmp_path)  # pyright: ignore[reportArgumentType]
    for step in range(1, settings["epochs"] + 1):
        slopes = [[0.0, 0.0] for _ in EMOTIONS]
        for h, dominant in zip(hidden, (0, 1, 0), strict=True):
            for n in range(2):
                slopes[dominant][n] -= 2 * 0.002 * (h[n] - at[dominant][n]) / 3
        for c in range(3):
            for n in range(2):
                first[c][n] = forgets[0] * first[c][n] + (1 - forgets[0]) * slopes[c][n]
                second[c][n] = forgets[1] * second[c][n] + (1 - forgets[1]) * slopes[c][n] ** 2
                mean, square = first[c][n] / (1 - forgets[0] ** step), second[c][n] / (1 - forgets[1] ** step)
                at[c][n] -= 0.05 * decay ** (step - 1) * mean / (math.sqrt(square) + epsilon)
    for centre, expected in zip(method.centres.tolist(), at, strict=True):
        assert centre == pytest.approx(expected, rel=1e-4)


def test_centres_are_drawn_where_f1_reads_and_do_not_ship(tmp_path: Path) -> None:
    torch.manual_seed(0)
    wide = EmotionModel(tuple("abcdef"), 5, parts=Parts(hidden=(400,), head="linear"))
    before = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    method = LabelAdaptiveMixup()
    method.attach(wide, 9)
    assert method.centres.shape == (6, 400)
    assert method.centres.mean().item() == pytest.approx(0, abs=4 / math.sqrt(2400))
    assert method.centres.var().item() == pytest.approx(1, rel=0.15)
    assert wide.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in wide.state_dict().items())
    assert list(method.state_dict()) == ["centres"]
    bare = EmotionModel(EMOTIONS, 5, parts=Parts(hidden=(), pooling="mean"))
    method.attach(bare, 9)
    assert method.centres.shape == (3, bare.embedding_width)


def test_without_their_loss_no_centre_is_moved() -> None:
    method = LabelAdaptiveMixup(centre_weight=0.0)
    model = linear(method)
    (update,) = method.updates(model)
    assert [group.name for group in update.groups] == ["all"]
    assert set(terms(method, model, OWN, PARTNERS)) == {"emotion"}
    moving = LabelAdaptiveMixup(centre_rate=0.5)
    (update,) = moving.updates(linear(moving))
    assert [(g.name, g.optimizer, g.rate, g.ascent) for g in update.groups] == [
        ("all", "trainer", 0.0, False),
        ("centres", "adam", 0.5, False),
    ]
    assert update.groups[1].parameters == (moving.centres,)


# --- none, and never


def test_none_asks_for_no_partners() -> None:
    for kind, streams in (("none", ("emotion",)), ("label_adaptive", ("emotion", "partners"))):
        method = LabelAdaptiveMixup(mixup=kind)  # pyright: ignore[reportArgumentType]
        assert method.updates(linear(method))[0].streams == streams


def test_a_probability_of_zero_is_none(batch: Batch, learner: Callable[..., Any]) -> None:
    """With the same draws of dropout, the loss is the same; the choice of clips takes one draw of its own before."""
    shorter = replace(batch, inputs=batch.inputs[:, :9], lengths=batch.lengths.clamp(max=9))
    found: dict[str, list[float]] = {"none": [], "never": []}
    for name, settings in (("none", {"mixup": "none"}), ("never", {"probability": 0.0})):
        model, method = learner("label_adaptive_mixup", **settings)
        torch.manual_seed(1)
        if name == "none":
            torch.rand(len(batch.ids))
        loss = terms(method, model.train(), batch, shorter)
        found[name] += [loss["emotion"].item(), loss["centre"].item()]
    assert found["none"] == found["never"]


def test_longer_partners_that_are_not_mixed_in_change_nothing(
    batch: Batch, learner: Callable[..., Any], without_dropout: Callable[..., None]
) -> None:
    generator = torch.Generator().manual_seed(4)
    longer = replace(batch, inputs=torch.randn(6, 33, 39, generator=generator), lengths=torch.full((6,), 33))
    found = []
    for settings in ({"mixup": "none"}, {"probability": 0.0}):
        model, method = learner("label_adaptive_mixup", **settings)
        without_dropout(model)
        found.append(terms(method, model.train(), batch, longer)["emotion"].item())
    assert found[0] == pytest.approx(found[1], rel=1e-5)


# --- the first frame


def test_the_first_frame_stands_for_the_clip() -> None:
    model = linear(pooling="first_frame")
    batch = batch_of(counted(3, 1, 2), [ANGER] * 3)
    torch.testing.assert_close(model.embed(batch), model.encoder.linear(batch.inputs[:, 0]))
    assert model.embedding_width == model.encoder.out_width == 2
    padded = replace(batch, inputs=nn.functional.pad(batch.inputs, (0, 0, 0, 5), value=7.0))
    assert torch.equal(model.embed(padded), model.embed(batch))
    model.embed(batch)[:, 0].sum().backward()
    assert model.encoder.linear.weight.grad.abs().sum() > 0


def test_first_frames_are_pooled_in_full_precision() -> None:
    frames = torch.randn(2, 4, 3).bfloat16()
    pooled = linear(pooling="first_frame").pooling(frames, torch.ones(2, 4, dtype=torch.bool))
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, frames[:, 0].float())


# --- what is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"probability": 1.2}, "method.probability is 1.2; a number from 0 to 1 was expected."),
        ({"probability": -0.1}, "method.probability is -0.1; a number from 0 to 1 was expected."),
        ({"probability": math.nan}, "method.probability is nan; a number from 0 to 1 was expected."),
        ({"share": 1.5}, "method.share is 1.5; a number from 0 to 1 was expected."),
        ({"centre_weight": -1.0}, "method.centre_weight -1.0 must not be negative"),
        ({"centre_rate": 0.0}, "method.centre_rate 0.0 and method.beta None must be positive"),
        ({"centre_weight": math.nan}, "method.centre_weight nan must not be negative"),
        ({"centre_rate": math.nan}, "method.centre_rate nan and method.beta None must be positive"),
        ({"mixup": "conventional", "beta": 0.0}, "method.beta 0.0 must be positive"),
        ({"beta": 1.0}, "method.beta is for method.mixup: conventional; the label-adaptive share is constant."),
        ({"mixup": "none", "beta": 1.0}, "method.beta is for method.mixup: conventional"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SereneError) as caught:
        LabelAdaptiveMixup(**settings)
    assert said in str(caught.value)
