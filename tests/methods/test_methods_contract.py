"""What holds for every method: it learns, repeatably and in half precision too, and leaves the model's shape alone."""

from __future__ import annotations

import math

import pytest
import torch

from serene import registry
from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.methods import METHODS
from serene.methods.method import Method, accuracy
from serene.models.model import EmotionModel

every_method = pytest.mark.parametrize("name", METHODS)
TERMS = {
    "baseline": {"emotion"},
    "multi_task": {"emotion", "speaker"},
    "domain_adversarial": {"emotion", "speaker"},
    "cross_gradient": {"emotion", "speaker", "emotion_perturbed", "speaker_perturbed"},
}


def learn(model: EmotionModel, method: Method, batch: Batch, steps: int = 3) -> list[dict[str, float]]:
    """Take a few steps as the trainer does, and return the terms of each."""
    model.train()
    method.train()
    turns = [(turn, torch.optim.SGD(turn.parameters, lr=0.01)) for turn in method.turns(model)]
    seen = []
    for step in range(steps):
        for number, (turn, optimizer) in enumerate(turns):
            torch.manual_seed(100 * step + number)
            optimizer.zero_grad()
            terms = turn.loss(batch, step / steps)
            sum(terms.values()).backward()
            optimizer.step()
            seen.append({key: value.item() for key, value in terms.items()})
    return seen


def total_loss(model: EmotionModel, method: Method, batch: Batch) -> torch.Tensor:
    torch.manual_seed(0)
    return sum(method.loss(model, batch, 0.5).values())


@every_method
def test_three_steps_have_finite_named_terms_and_move_everything(name: str, learner, batch: Batch) -> None:
    model, method = learner(name)
    parameters = {**dict(model.named_parameters()), **{f"method.{k}": v for k, v in method.named_parameters()}}
    before = {key: value.detach().clone() for key, value in parameters.items()}
    for terms in learn(model, method, batch):
        assert terms.keys() == TERMS.get(name, terms.keys())
        assert terms, "a method minimises something"
        assert all(math.isfinite(value) for value in terms.values())
    assert all(math.isfinite(value) for value in method.measures.values())
    assert [key for key, value in parameters.items() if torch.equal(value, before[key])] == []


@every_method
def test_the_gradient_reaches_every_layer_of_the_encoder(name: str, learner, batch: Batch) -> None:
    model, method = learner(name)
    total_loss(model, method, batch).backward()
    for key, parameter in model.encoder.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.any(), key


@every_method
def test_the_model_stays_as_it_was_made(name: str, learner, batch: Batch) -> None:
    """What is needed only to learn is the method's, and is not in what ships."""
    plain, _ = learner("baseline")
    model, method = learner(name)
    learn(model, method, batch)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    shared = {id(p) for p in model.parameters()} & {id(p) for p in method.parameters()}
    assert not shared


@every_method
def test_the_same_seed_gives_the_same_numbers(name: str, learner, batch: Batch) -> None:
    runs = []
    for seed in (0, 0, 1):
        model, method = learner(name, seed=seed)
        terms = learn(model, method, batch)
        runs.append((terms, {**model.state_dict(), **{f"method.{k}": v for k, v in method.state_dict().items()}}))
    (terms, state), (again, state_again), (other, _) = runs
    assert terms == again != other
    assert all(torch.equal(value, state_again[key]) for key, value in state.items())


@every_method
def test_half_precision_gives_nearly_the_same_loss(name: str, learner, batch: Batch, without_dropout) -> None:
    losses = []
    for enabled in (False, True):
        model, method = learner(name)
        without_dropout(model, method)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = total_loss(model, method, batch)
        assert loss.dtype == torch.float32
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in (*model.parameters(), *method.parameters()))
        losses.append(loss.item())
    assert losses[0] != losses[1], "half precision was in use"
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


@every_method
def test_a_method_with_a_speaker_head_needs_two_speakers(name: str, learner) -> None:
    _, method = learner(name)
    if not list(method.parameters()):
        assert learner(name, speakers=1), "no head, no need"
        return
    with pytest.raises(SereneError, match=f"'{name}' tells speakers apart and needs two training speakers; it got 1"):
        learner(name, speakers=1)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "baseline"])
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
    ],
)
def test_a_setting_that_would_make_it_another_method_is_refused(name: str, setting: dict[str, float]) -> None:
    with pytest.raises(SereneError, match=next(iter(setting))):
        registry.load(METHODS[name], {}, "method")(**setting)
