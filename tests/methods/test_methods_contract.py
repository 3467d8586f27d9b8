"""What holds for every method: it learns, repeatably and in half precision too, and leaves the model's shape alone."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch

from serene import registry
from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods import METHODS
from serene.methods.method import Group, Method, Stream, Update, accuracy
from serene.models.masking import statistics_kept
from serene.models.model import EmotionModel
from serene.training.update import MovingUpdate

Streams = dict[Stream, Batch]
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in METHODS} | {
    "tap-adam": ("speaker_normalization", {"ascent": "adam"}),
    "tap-grl": ("speaker_normalization", {"ascent": "grl"}),
    "snp": ("speaker_normalization", {"strategy": "snp"}),
    "snp-grl": ("speaker_normalization", {"strategy": "snp", "ascent": "grl"}),
    "snp-confusion": ("speaker_confusion", {"strategy": "snp"}),
    "conventional-mixup": ("label_adaptive_mixup", {"mixup": "conventional", "beta": 0.5, "probability": 1.0}),
    "centres-alone": ("label_adaptive_mixup", {"mixup": "none"}),
}
every_method = pytest.mark.parametrize("name", METHODS)
every_case = pytest.mark.parametrize(("name", "settings"), CASES.values(), ids=CASES)
TERMS = {
    "baseline": [{"emotion"}],
    "multi_task": [{"emotion", "speaker"}],
    "domain_adversarial": [{"emotion", "speaker"}],
    "cross_gradient": [{"emotion", "speaker", "emotion_perturbed", "speaker_perturbed"}],
    "speaker_normalization": [{"emotion"}, {"speaker"}],
    "speaker_confusion": [{"emotion"}, {"speaker", "confusion"}],
    "label_adaptive_mixup": [{"emotion", "centre"}],
}


WITHOUT_SPEAKERS = ("baseline", "label_adaptive_mixup")


def descent(group: Group) -> torch.optim.Optimizer:
    """Give a group's optimiser: plain descent in the place of the trainer's own."""
    moved = [p for p in group.parameters if p.requires_grad]
    if group.optimizer == "adam":
        return torch.optim.Adam(moved, group.rate, maximize=group.ascent)
    return torch.optim.SGD(moved, 0.01 if group.optimizer == "trainer" else group.rate, maximize=group.ascent)


def loss_of(update: Update, model: EmotionModel, streams: Streams, progress: float = 0.5) -> dict[str, torch.Tensor]:
    """Give the terms of a update as the trainer asks for them."""
    given = [streams[stream] for stream in update.streams]
    with contextlib.nullcontext() if "emotion" in update.streams else statistics_kept(model):
        return dict(update.loss(*given, progress))


def learn(model: EmotionModel, method: Method, streams: Streams, steps: int = 3) -> list[dict[str, float]]:
    """Take a few steps as the trainer does, and return what each update of each measured."""
    model.train()
    method.train()
    updates = [MovingUpdate(update, descent) for update in method.updates(model)]
    seen = []
    for step in range(steps):
        for number, moving in enumerate(updates):
            torch.manual_seed(100 * step + number)
            moving.prepare(step, 1.0)
            terms = loss_of(moving.update, model, streams, step / steps)
            sum(terms.values()).backward()
            seen.append({key: value.item() for key, value in terms.items()} | method.measures | moving.step(None))
    return seen


def state(model: EmotionModel, method: Method) -> dict[str, torch.Tensor]:
    return {**model.state_dict(), **{f"method.{key}": value for key, value in method.state_dict().items()}}


@every_case
def test_three_steps_have_finite_named_terms_and_move_everything(
    name: str, settings: dict[str, Any], learner, streams: Streams
) -> None:
    model, method = learner(name, **settings)
    parameters = {**dict(model.named_parameters()), **{f"method.{k}": v for k, v in method.named_parameters()}}
    before = {key: value.detach().clone() for key, value in parameters.items()}
    rows = learn(model, method, streams)
    updates = method.updates(model)
    expected = TERMS.get(name, [set()] * len(updates))
    if len(updates) < len(expected):  # one joint loss
        expected = [set().union(*expected)]
    for row, terms, update in zip(rows, expected * 3, updates * 3, strict=True):
        assert row.keys() >= terms | {f"{update.name}/{group.name}_gradient" for group in update.groups}
        assert all(math.isfinite(value) for value in row.values())
        assert "accuracy" in row or "speaker_accuracy" in row, "how well it does is logged"
    assert [key for key, value in parameters.items() if torch.equal(value, before[key])] == []


@every_case
def test_a_turns_gradient_reaches_all_that_it_moves_and_nothing_else(
    name: str, settings: dict[str, Any], learner, streams: Streams
) -> None:
    model, method = learner(name, **settings)
    everything = {**dict(model.named_parameters()), **{f"method.{k}": v for k, v in method.named_parameters()}}
    for update in method.updates(model):
        for parameter in everything.values():
            parameter.grad = None
        sum(loss_of(update, model, streams).values()).backward()
        moved = {id(parameter) for group in update.groups for parameter in group.parameters}
        for key, parameter in everything.items():
            if id(parameter) in moved:
                assert parameter.grad is not None, key
                assert torch.isfinite(parameter.grad).all(), key
                assert parameter.grad.any(), key
            else:
                assert parameter.grad is None, key


@every_case
def test_no_parameter_is_in_two_groups_of_a_turn_and_each_is_in_one(
    name: str, settings: dict[str, Any], learner
) -> None:
    model, method = learner(name, **settings)
    moved: set[int] = set()
    for update in method.updates(model):
        own = [id(parameter) for group in update.groups for parameter in group.parameters]
        assert len(set(own)) == len(own)
        moved |= set(own)
    assert moved == {id(parameter) for parameter in (*model.parameters(), *method.parameters())}


@every_case
def test_the_speaker_corpus_is_asked_for_where_an_update_reads_it(name: str, settings: dict[str, Any], learner) -> None:
    model, method = learner(name, **settings)
    read = {stream for update in method.updates(model) for stream in update.streams}
    assert read - {"partners"} == ({"emotion", "speakers"} if method.speaker_corpus else {"emotion"})


@every_case
def test_the_model_stays_as_it_was_made(name: str, settings: dict[str, Any], learner, streams: Streams) -> None:
    """What is needed only to learn is the method's, and is not in what ships."""
    model, method = learner(name, **settings)
    plain = EmotionModel(model.task.names, 39, parts=model.parts)
    learn(model, method, streams)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    shared = {id(p) for p in model.parameters()} & {id(p) for p in method.parameters()}
    assert not shared


@every_case
def test_the_same_seed_gives_the_same_numbers(name: str, settings: dict[str, Any], learner, streams: Streams) -> None:
    runs = []
    for seed in (0, 0, 1):
        model, method = learner(name, seed=seed, **settings)
        terms = learn(model, method, streams)
        runs.append((terms, state(model, method)))
    (terms, first), (again, second), (other, _) = runs
    assert terms == again != other
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@every_case
def test_half_precision_gives_nearly_the_same_loss(
    name: str, settings: dict[str, Any], learner, streams: Streams, without_dropout
) -> None:
    losses = []
    for enabled in (False, True):
        model, method = learner(name, **settings)
        without_dropout(model, method)
        for update in method.updates(model):
            torch.manual_seed(0)
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                loss = sum(loss_of(update, model, streams).values())
            assert loss.dtype == torch.float32
            loss.backward()
            assert all(torch.isfinite(p.grad).all() for group in update.groups for p in group.parameters)
            losses.append(loss.item())
    full, half = losses[: len(losses) // 2], losses[len(losses) // 2 :]
    assert all(a != b for a, b in zip(full, half, strict=True)), "half precision was in use"
    assert half == pytest.approx(full, rel=0.03)


@every_method
def test_a_method_with_a_speaker_head_needs_two_speakers(name: str, learner) -> None:
    _, method = learner(name)
    if name in WITHOUT_SPEAKERS:
        assert not hasattr(method, "speaker_head")
        assert learner(name, speakers=1), "no head, no need"
        return
    with pytest.raises(SereneError, match=f"'{name}' tells speakers apart and needs two speakers; it got 1"):
        learner(name, speakers=1)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WITHOUT_SPEAKERS])
def test_the_speaker_head_has_the_emotion_heads_shape(name: str, learner) -> None:
    model, method = learner(name, speakers=8)
    ours, theirs = ([tuple(p.shape) for p in head.parameters()] for head in (method.speaker_head, model.head))
    assert ours == [*theirs[:-2], (8, 64), (8,)]


def test_the_baseline_is_cross_entropy(learner, batch: Batch) -> None:
    model, method = learner("baseline")
    model.eval()
    with torch.no_grad():
        (loss,) = method.loss(model, batch, 0.0).values()
        logits = model(batch).tolist()
        right = sum(row.index(max(row)) == t for row, t in zip(logits, batch.target.argmax(dim=1), strict=True))
    assert method.measures == {"accuracy": pytest.approx(right / 6)}
    by_hand = 0.0
    for row, target in zip(logits, batch.target.argmax(dim=1).tolist(), strict=True):
        by_hand += (math.log(sum(math.exp(z) for z in row)) - row[target]) / 6
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_accuracy_is_the_share_of_right_rows() -> None:
    assert accuracy(torch.tensor([[0.1, 2], [3, 1], [0, 1.0]]), torch.tensor([1, 1, 1])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("multi_task", {"speaker_weight": -1.0}),
        ("domain_adversarial", {"reversal": -1.0}),
        ("domain_adversarial", {"steepness": 0.0}),
        ("cross_gradient", {"step": -0.1}),
        ("cross_gradient", {"mixing": 1.5}),
        ("speaker_normalization", {"step": -1e-3}),
        ("speaker_normalization", {"clip": 0.0}),
        ("speaker_confusion", {"warmup_steps": -1}),
        ("speaker_confusion", {"every": 0}),
    ],
)
def test_a_setting_that_would_make_it_another_method_is_refused(name: str, setting: dict[str, float]) -> None:
    with pytest.raises(SereneError, match=next(iter(setting))):
        registry.load(name, METHODS, "method")(**setting)
