"""Gat et al. 2022 on a linear model that is worked out by hand: who climbs, who descends, who rests, and how far."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods.method import Method, Update
from serene.methods.speaker_normalization import SpeakerConfusion, SpeakerNormalization, TwoCorpora
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.training.trainer import Selected, Trainer

Rows = list[list[float]]
SPEAKERS = 3
ETA = 0.2  # the trainer's learning rate


class Matrix(nn.Module):
    """An encoder of one matrix, frame by frame: `h = W x`."""

    front_end, normalize, shortest, out_width, head_width = "mfcc", "none", 1, 2, 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rebuilt: dict[str, Any] = {}
        self.linear = nn.Linear(width, 2, bias=False)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return self.linear(frames)

    def mask_after(self, mask: Tensor) -> Tensor:
        return mask


class Always:
    """Both corpora in one: gives the same batch whatever is asked for."""

    def __init__(self, frames: Sequence[Rows], target: Sequence[int], speaker: Sequence[int]) -> None:
        lengths = [len(clip) for clip in frames]
        inputs = torch.full((len(frames), max(lengths), 2), 9.0)  # padding that would be noticed
        for n, clip in enumerate(frames):
            inputs[n, : len(clip)] = torch.tensor(clip)
        emotions = torch.eye(2)[list(target)] if target else torch.zeros(len(frames), 0)
        names = tuple(f"clip{n}" for n in range(len(frames)))
        self.lengths, self.crop, self.batch_size = np.array(lengths), None, len(lengths)
        self.given = Batch(inputs, torch.tensor(lengths), emotions, torch.tensor(speaker), names)

    def batch(self, *_: object) -> Batch:
        return self.given


ACTING: list[Rows] = [[[0.5, -1.0]], [[1.0, 2.0], [0.3, -0.4]]]
ACTED = Always(ACTING, target=[0, 1], speaker=[-1, -1])
SPOKEN: list[Rows] = [[[3.0, 1.0], [-1.0, 2.0]], [[-2.0, 0.5]], [[0.4, -3.0], [1.5, 1.5], [2.0, -0.7]]]
WHO = [2, 0, 1]
HEARD = Always(SPOKEN, target=[], speaker=WHO)


def toy(method: TwoCorpora, projector: str = "none", *, idle_emotion: bool = False) -> EmotionModel:
    """A linear model without hidden layers; an emotion head of zeros sends the encoder no gradient at first."""
    torch.manual_seed(5)
    around = Parts(pooling="mean", hidden=(), head="linear", projector=projector)  # pyright: ignore[reportArgumentType]
    model = EmotionModel(("anger", "sadness"), 2, encoder=f"{__name__}:Matrix", normalize="none", parts=around)
    method.attach(model, SPEAKERS)
    if idle_emotion:
        nn.init.zeros_(model.head.classify.weight)
    return model


def fit(model: nn.Module, method: Method, folder: Path, **settings: Any) -> Selected:
    """Train by plain SGD without clipping, one iteration per epoch."""
    plain = {"epochs": 1, "learning_rate": ETA, "momentum": 0.0, "nesterov": False, "clip": None, "select_on": "last"}
    more = {"seed": 0, "folder": folder, "speakers": HEARD, "on_epoch": settings.pop("on_epoch", None)}
    return Trainer(**(plain | {"device": "cpu"} | settings)).fit(model, method, ACTED, None, **more)  # pyright: ignore


Values = dict[str, Any]


def values(model: EmotionModel, method: TwoCorpora) -> Values:
    """All parameters as plain numbers: W of the encoder; P, c projector; E, e emotion head; V, b speaker head."""
    named = {"W": model.encoder.linear.weight, "V": method.speaker_head.classify.weight}
    named |= {"b": method.speaker_head.classify.bias, "E": model.head.classify.weight, "e": model.head.classify.bias}
    if model.projector is not None:
        named |= {"P": model.projector.linear.weight, "c": model.projector.linear.bias}
    return {letter: parameter.tolist() for letter, parameter in named.items()}


def times(matrix: Rows, vector: Sequence[float]) -> list[float]:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def transposed(matrix: Rows) -> Rows:
    return [list(column) for column in zip(*matrix, strict=True)]


def by_hand(at: Values, clips: Sequence[Rows], wanted: Rows, head: str = "Vb") -> tuple[float, Values]:
    """Mean cross entropy of a head on the mean frame, and its slopes, in loops: the error `p - y` walks back."""
    weight, bias = (at[letter] for letter in head)
    slopes: Values = {letter: np.zeros_like(np.array(at[letter])) for letter in (*head, "W", *("Pc" * ("P" in at)))}
    loss = 0.0
    for clip, target in zip(clips, wanted, strict=True):
        inner = [times(at["W"], frame) for frame in clip]
        outer = inner
        if "P" in at:
            outer = [[max(0.0, a + c) for a, c in zip(times(at["P"], h), at["c"], strict=True)] for h in inner]
        pooled = [sum(column) / len(clip) for column in zip(*outer, strict=True)]
        logits = [score + shift for score, shift in zip(times(weight, pooled), bias, strict=True)]
        whole = sum(math.exp(score) for score in logits)
        chances = [math.exp(score) / whole for score in logits]
        loss -= sum(y * math.log(p) for y, p in zip(target, chances, strict=True)) / len(clips)
        error = [(p - y) / len(clips) for y, p in zip(target, chances, strict=True)]
        slopes[head[0]] += np.outer(error, pooled)
        slopes[head[1]] += error
        back = [slope / len(clip) for slope in times(transposed(weight), error)]
        for frame, h, z in zip(clip, inner, outer, strict=True):
            into = back
            if "P" in at:
                passed = [slope if value > 0 else 0.0 for slope, value in zip(back, z, strict=True)]
                slopes["P"] += np.outer(passed, h)
                slopes["c"] += passed
                into = times(transposed(at["P"]), passed)
            slopes["W"] += np.outer(into, frame)
    return loss, slopes


def speakers_by_hand(at: Values) -> tuple[float, Values]:
    return by_hand(at, SPOKEN, [[float(s == who) for s in range(SPEAKERS)] for who in WHO])


def emotions_by_hand(at: Values) -> tuple[float, Values]:
    return by_hand(at, ACTING, [[1.0, 0.0], [0.0, 1.0]], head="Ee")


def moved(at: Values, slopes: Values, step: float, letters: str) -> Values:
    """Go so far along the slopes of some parameters; against them where the step is negative."""
    return at | {letter: (np.array(at[letter]) + step * slopes[letter]).tolist() for letter in letters}


def norm(slopes: Values, letters: str) -> float:
    return math.sqrt(sum(float(np.square(slopes[letter]).sum()) for letter in letters))


def assert_same(found: Values, expected: Values) -> None:
    for letter, numbers in expected.items():
        np.testing.assert_allclose(found[letter], numbers, rtol=2e-5, atol=1e-6, err_msg=letter)


CASES = [("tap", "none", "W", "WEe"), ("tap", "relu", "WPc", "WPcEe"), ("snp", "relu", "Pc", "WPcEe")]


@pytest.mark.parametrize("clip", [0.05, 100.0])
@pytest.mark.parametrize(("strategy", "projector", "climbing", "descending"), CASES)
def test_an_iteration_is_equations_1_to_4(
    strategy: Any, projector: str, climbing: str, descending: str, clip: float, tmp_path: Path
) -> None:
    method = SpeakerNormalization(strategy=strategy, step=0.3, clip=clip)
    model = toy(method, projector)
    start = values(model, method)
    (row,) = fit(model, method, tmp_path).rows

    emotion_loss, first = emotions_by_hand(start)
    between = moved(start, first, -ETA, descending)
    speaker_loss, second = speakers_by_hand(between)  # both gradients of the second update are taken here
    length = norm(second, climbing)
    assert 0.05 < length < 100
    climbed = moved(between, second, 0.3 * min(1.0, clip / length), climbing)
    after = moved(climbed, second, -ETA, "Vb")
    assert_same(values(model, method), after)

    assert speakers_by_hand(climbed)[0] > speaker_loss, "the speaker loss rises with what unlearns"
    assert speakers_by_hand(moved(between, second, -ETA, "Vb"))[0] < speaker_loss, "and falls with the head"
    logged = {"emotion/emotion": emotion_loss, "emotion/all_gradient": norm(first, descending)}
    logged |= {"speaker/speaker": speaker_loss, "speaker/ascent_gradient": length}  # norms before clipping
    logged |= {"speaker/speaker_head_gradient": norm(second, "Vb")}
    logged |= {name: row[name] for name in ("emotion/accuracy", "speaker/accuracy")}
    assert {k: v for k, v in row.items() if "/" in k} == pytest.approx(logged, rel=1e-4)


def test_the_logged_accuracy_is_the_speaker_heads(tmp_path: Path) -> None:
    method = SpeakerNormalization()
    model = toy(method)
    nn.init.zeros_(method.speaker_head.classify.weight)
    method.speaker_head.classify.bias.data = torch.tensor([0.0, 1.0, 0.0])  # always the speaker of one clip of three
    assert fit(model, method, tmp_path).rows[0]["speaker/accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("strategy", "projector", "unlearning", "descending"), CASES)
def test_reversal_is_the_ascent_where_the_emotion_does_not_move_it_and_another_where_it_does(
    strategy: Any, projector: str, unlearning: str, descending: str, tmp_path: Path
) -> None:
    """Methods 1.4: lambda = eta * lambda', and both gradients at the same weights."""
    ends = {}
    for ascent, step, idle in [(a, s, i) for a, s in (("sgd", 0.3), ("grl", 0.3 / ETA)) for i in (True, False)]:
        method = SpeakerNormalization(strategy=strategy, step=step, ascent=ascent, clip=100.0)
        model = toy(method, projector, idle_emotion=idle)
        start = values(model, method)
        (row,) = fit(model, method, tmp_path / f"{ascent}-{idle}").rows
        ends[ascent, idle] = values(model, method)
    assert_same(ends["grl", True], ends["sgd", True])

    emotion, speaker = emotions_by_hand(start)[1], speakers_by_hand(start)[1]  # both at the unmoved weights
    together = moved(moved(start, emotion, -ETA, descending), speaker, 0.3, unlearning)
    assert_same(ends["grl", False], moved(together, speaker, -ETA, "Vb"))
    apart = np.array(ends["grl", False][unlearning[0]]) - np.array(ends["sgd", False][unlearning[0]])
    assert np.abs(apart).max() > 1e-4
    assert row["emotion/speaker"] == pytest.approx(speakers_by_hand(start)[0], rel=1e-5)
    assert 0 <= row["emotion/speaker_accuracy"] <= 1
    assert "emotion/accuracy" in row


def test_adam_moves_every_weight_by_about_the_step_against_the_speaker(tmp_path: Path) -> None:
    method = SpeakerNormalization(step=0.01, ascent="adam", clip=1e-3)
    model = toy(method, idle_emotion=True)
    start = values(model, method)
    fit(model, method, tmp_path)
    slopes = speakers_by_hand(start)[1]["W"]
    went = np.array(values(model, method)["W"]) - np.array(start["W"])
    np.testing.assert_allclose(went, 0.01 * np.sign(slopes), rtol=1e-3)


@pytest.mark.parametrize(("setting", "rate"), [("encoder", ETA / 50), ("heads", ETA)])
@pytest.mark.parametrize("step", [0.0, 0.3])
def test_the_projector_moves_at_the_encoders_rate_where_it_belongs_to_it(
    setting: Any, rate: float, step: float, tmp_path: Path
) -> None:
    """The emotion's descent alone follows the rate; the ascent has a step of its own, and 0 is the projector alone."""
    method = SpeakerNormalization(strategy="snp", step=step, clip=100.0)
    model = toy(method, "relu")
    start = values(model, method)
    fit(model, method, tmp_path, encoder_learning_rate=ETA / 50, projector_rate=setting)
    slopes = emotions_by_hand(start)[1]
    between = moved(moved(moved(start, slopes, -ETA / 50, "W"), slopes, -rate, "Pc"), slopes, -ETA, "Ee")
    speaker = speakers_by_hand(between)[1]
    assert_same(values(model, method), moved(moved(between, speaker, step, "Pc"), speaker, -ETA, "Vb"))


@pytest.mark.parametrize(("strategy", "projector", "unlearning", "descending"), CASES)
def test_confusion_sends_the_encoder_to_the_uniform_and_the_head_to_the_true_speakers(
    strategy: Any, projector: str, unlearning: str, descending: str, tmp_path: Path
) -> None:
    method = SpeakerConfusion(strategy=strategy, step=0.3, clip=100.0)
    model = toy(method, projector)
    start = values(model, method)
    (row,) = fit(model, method, tmp_path).rows
    between = moved(start, emotions_by_hand(start)[1], -ETA, descending)
    confusion, towards = by_hand(between, SPOKEN, [[1 / SPEAKERS] * SPEAKERS] * len(SPOKEN))
    loss, identify = speakers_by_hand(between)
    after = moved(moved(between, towards, -0.3, unlearning), identify, -ETA, "Vb")
    assert_same(values(model, method), after)
    assert by_hand(after | {"V": between["V"], "b": between["b"]}, SPOKEN, [[1 / 3] * 3] * 3)[0] < confusion
    logged = {"confusion": confusion, "speaker": loss, "confusion_gradient": norm(towards, unlearning)}
    logged |= {"speaker_head_gradient": norm(identify, "Vb"), "accuracy": row["speaker/accuracy"]}
    found = {name: value for name, value in row.items() if name.startswith("speaker/")}
    assert found == pytest.approx({f"speaker/{name}": value for name, value in logged.items()}, rel=1e-4)


# --- an encoder at rest, and the update of the speakers alone


def alone(kind: type[TwoCorpora], **settings: Any) -> TwoCorpora:
    """A method that takes the speakers' update and no other."""

    class SpeakersAlone(kind):
        def updates(self, model: EmotionModel) -> list[Update]:
            return super().updates(model)[1:]

    return SpeakersAlone(**settings)


def network(strategy: Any, kind: type[TwoCorpora]) -> tuple[EmotionModel, TwoCorpora]:
    """A real encoder with batch norm and dropout, and a method that takes the speakers' update alone."""
    torch.manual_seed(1)
    model = EmotionModel(("anger", "sadness"), 2, parts=Parts(projector="gate", head="relu"))
    method = alone(kind, strategy=strategy, step=0.05)
    method.attach(model, SPEAKERS)
    return model, method


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("kind", [SpeakerNormalization, SpeakerConfusion])
def test_the_projectors_turn_leaves_the_encoder_alone_to_the_bit(kind: type[TwoCorpora], tmp_path: Path) -> None:
    model, method = network("snp", kind)
    before = copy.deepcopy(model.state_dict())
    fit(model, method, tmp_path, epochs=3)
    assert changed(model, before) == {"projector.linear.weight", "projector.linear.bias"}
    assert all(p.grad is None for p in model.encoder.parameters())


@pytest.mark.parametrize("kind", [SpeakerNormalization, SpeakerConfusion])
def test_a_whole_encoders_turn_moves_it_but_no_statistics_and_no_emotion_head(
    kind: type[TwoCorpora], tmp_path: Path
) -> None:
    model, method = network("tap", kind)
    before = copy.deepcopy(model.state_dict())
    fit(model, method, tmp_path, epochs=3)
    parts = [*model.encoder.named_parameters(prefix="encoder"), *model.projector.named_parameters(prefix="projector")]
    assert changed(model, before) == {name for name, _ in parts}


@pytest.mark.parametrize("kind", [SpeakerNormalization, SpeakerConfusion])
def test_the_head_learns_first_and_every_other_iteration(kind: type[TwoCorpora], tmp_path: Path) -> None:
    method = alone(kind, warmup_steps=2, every=2)
    model = toy(method)
    seen = [values(model, method)]
    fit(model, method, tmp_path, epochs=6, on_epoch=lambda _: seen.append(values(model, method)))
    steps = [{letter for letter in after if after[letter] != before[letter]} for before, after in pairwise(seen)]
    assert steps == [{"V", "b"}, set(), {"W", "V", "b"}, set(), {"W", "V", "b"}, set()]


@pytest.mark.parametrize(("strategy", "at_rest"), [("tap", False), ("snp", True)])
@pytest.mark.parametrize("ascent", ["sgd", "grl"])
def test_how_the_encoder_runs_in_either_turn(strategy: Any, at_rest: bool, ascent: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = EmotionModel(("anger", "sadness"), 2, parts=Parts(projector="relu", head="relu"))
    method = SpeakerNormalization(strategy=strategy, ascent=ascent)
    method.attach(model, SPEAKERS)
    ran: list[tuple[bool, bool]] = []
    model.encoder.register_forward_hook(lambda encoder, *_: ran.append((encoder.training, torch.is_grad_enabled())))
    fit(model, method, tmp_path, epochs=2)
    assert ran == [(True, True), (not at_rest, not at_rest)] * 2


# --- what is refused


@pytest.mark.parametrize("kind", [SpeakerNormalization, SpeakerConfusion])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": -0.1}, r"method\.step -0\.1 must not be negative"),
        ({"clip": 0.0}, r"method\.clip 0\.0 must be positive"),
        ({"warmup_steps": -1}, r"method\.warmup_steps -1 is at least 0"),
        ({"every": 0}, r"method\.every 0 at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        kind(**settings)


@pytest.mark.parametrize("settings", [{"warmup_steps": 1}, {"every": 2}])
def test_a_joint_loss_has_no_turns_to_leave_out(settings: dict[str, int]) -> None:
    with pytest.raises(SereneError, match=r"method\.ascent grl is one joint loss: .* do not apply"):
        SpeakerNormalization(ascent="grl", **settings)


@pytest.mark.parametrize("kind", [SpeakerNormalization, SpeakerConfusion])
def test_a_model_that_cannot_unlearn_is_refused(kind: Any) -> None:
    plain = EmotionModel(("anger", "sadness"), 2)
    with pytest.raises(SereneError, match=r"snp works on a projector, and this model has none: set model\.projector="):
        kind(strategy="snp").attach(plain, SPEAKERS)
    with pytest.raises(SereneError, match="tells speakers apart and needs two speakers; it got 1"):
        kind().attach(plain, 1)
    plain.encoder.requires_grad_(False)
    with pytest.raises(SereneError, match="tap works on the encoder, and nothing of this encoder is trained"):
        kind(strategy="tap").attach(plain, SPEAKERS)
    told = EmotionModel(("anger", "sadness"), 2, speakers=("A", "B"), parts=Parts(speaker_embedding="table"))
    with pytest.raises(SereneError, match=r"told who speaks knows nothing .* set model\.speaker_embedding=none"):
        kind().attach(told, SPEAKERS)
