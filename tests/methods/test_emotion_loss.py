"""What learns the emotion: 1 - CCC with its gradient by hand, and every method that can learns dimensions by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from serene import registry
from serene.audio.batch import Batch
from serene.methods import METHODS
from serene.methods.method import Method, Stream, emotion_loss
from serene.models.heads import ccc_loss, cross_entropy
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.task import Dimensions

DIMENSIONS = ("arousal", "valence")
CASES = {
    "apart": ([1.0, 2.0, 4.0, 3.5], [2.0, 2.5, 6.0, 1.0]),
    "against": ([5.0, 1.0, 0.0], [-2.0, 3.0, 3.5]),
    "constant": ([2.0, 2.0, 2.0], [1.0, 3.0, 5.0]),
    "two": ([0.1, 0.3], [70.0, 20.0]),
}


def by_hand(x: list[float], y: list[float]) -> tuple[float, list[float]]:
    """Give 1 - CCC and its derivative by each x, with population statistics."""
    n = len(x)
    x_mean, y_mean = sum(x) / n, sum(y) / n
    covariance = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)) / n
    spread = sum((a - x_mean) ** 2 for a in x) / n + sum((b - y_mean) ** 2 for b in y) / n + (x_mean - y_mean) ** 2
    slopes = []
    for a, b in zip(x, y, strict=True):
        of_covariance, of_spread = (b - y_mean) / n, 2 * (a - x_mean) / n + 2 * (x_mean - y_mean) / n
        slopes.append(-2 * (of_covariance * spread - covariance * of_spread) / spread**2)
    return 1 - 2 * covariance / spread, slopes


@pytest.mark.parametrize("case", CASES)
def test_the_loss_and_its_gradient_by_hand(case: str) -> None:
    x, y = CASES[case]
    values = torch.tensor(x)[:, None].requires_grad_()
    loss = ccc_loss(values, torch.tensor(y)[:, None])
    loss.backward()
    expected, slopes = by_hand(x, y)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert values.grad is not None
    assert values.grad[:, 0].tolist() == pytest.approx(slopes, rel=1e-4, abs=1e-7)


def test_dimensions_are_averaged_and_do_not_mix() -> None:
    (x, y), (z, w) = CASES["apart"], ([3.0, 1.0, 2.0, 2.0], [9.0, 7.0, 7.5, 7.0])
    values = torch.tensor([x, z]).T.requires_grad_()
    loss = ccc_loss(values, torch.tensor([y, w]).T)
    loss.backward()
    both = [by_hand(x, y), by_hand(z, w)]
    assert loss.item() == pytest.approx((both[0][0] + both[1][0]) / 2, rel=1e-5)
    assert values.grad is not None
    for dimension, (_, slopes) in enumerate(both):
        assert values.grad[:, dimension].tolist() == pytest.approx([s / 2 for s in slopes], rel=1e-4, abs=1e-7)


def test_what_is_met_exactly_costs_nothing_and_its_opposite_twice_as_much_as_noise() -> None:
    y = torch.tensor([[1.0], [5.0], [3.0]])
    assert ccc_loss(y, y).item() == pytest.approx(0, abs=1e-6)
    assert ccc_loss(6 - y, y).item() == pytest.approx(2, rel=1e-6)


def test_a_batch_without_spread_gives_no_gradient_that_is_not_finite() -> None:
    for target in (2.0, 5.0):
        values = torch.full((3, 1), 2.0, requires_grad=True)
        loss = ccc_loss(values, torch.full((3, 1), target))
        loss.backward()
        assert loss.item() == 1
        assert values.grad is not None and not values.grad.any()


def test_the_loss_is_in_full_precision() -> None:
    x, y = torch.tensor([[96.0], [97.5], [95.0]]), torch.tensor([[96.5], [97.0], [95.0]])
    assert ccc_loss(x.bfloat16(), y).dtype == torch.float32
    assert ccc_loss(x.bfloat16(), y).item() == pytest.approx(ccc_loss(x, y).item(), rel=1e-6)


def learner(name: str, **settings: Any) -> tuple[EmotionModel, Method]:
    torch.manual_seed(0)
    model = EmotionModel(Dimensions(tuple(DIMENSIONS)), 39, parts=Parts(projector="relu"))
    model.set_target_statistics(torch.tensor([[3.0, 40.0], [5.0, 80.0], [1.0, 0.0]]))
    method = registry.load(name, METHODS, "method")(**settings)
    method.attach(model, 3)
    return model, method


@pytest.fixture
def rated(streams: dict[Stream, Batch]) -> dict[Stream, Batch]:
    """Batches whose targets are arousal from 1 to 5 and valence from 0 to 100."""
    target = torch.rand(6, 2, generator=torch.Generator().manual_seed(4)) * torch.tensor([4.0, 100.0]) + 1
    return {name: b if name == "speakers" else replace(b, target=target) for name, b in streams.items()}


NUMERIC = [n for n in METHODS if registry.load(n, METHODS, "method").losses is None]


@pytest.mark.parametrize("name", NUMERIC)
def test_every_method_that_can_learns_dimensions_by_the_ccc(name: str, rated: dict[Stream, Batch]) -> None:
    settings = {"mixing": 0.0} if name == "cross_gradient" else {}
    model, method = learner(name, **settings)
    model.eval()
    update = method.updates(model)[0]
    terms = update.loss(*[rated[stream] for stream in update.streams], 0.0)
    with torch.no_grad():
        outputs = model(rated["emotion"])
    losses = [by_hand(outputs[:, d].tolist(), rated["emotion"].target[:, d].tolist())[0] for d in range(2)]
    assert terms["emotion"].item() == pytest.approx(sum(losses) / 2, rel=1e-4)
    terms["emotion"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.head.parameters())
    assert model.head.classify.weight.grad.abs().sum(dim=1).min() > 0, "both dimensions are learned"  # pyright: ignore


def test_the_perturbed_clips_learn_dimensions_too(rated: dict[Stream, Batch]) -> None:
    model, method = learner("cross_gradient", mixing=1.0, step=0.0)
    model.eval()
    terms = method.loss(model, rated["emotion"], 0.0)
    assert terms["emotion"].item() == 0
    with torch.no_grad():
        expected = ccc_loss(model(rated["emotion"]), rated["emotion"].target)
    assert terms["emotion_perturbed"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_mixed_labels_need_classes() -> None:
    assert set(METHODS) - set(NUMERIC) == {"label_adaptive_mixup"}


def test_classes_are_learned_by_cross_entropy() -> None:
    model = EmotionModel(("a", "b"), 39)
    outputs, target = torch.tensor([[1.0, -2.0], [0.5, 3.0]]), torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    assert emotion_loss(model, outputs, target) == cross_entropy(outputs, target) != ccc_loss(outputs, target)
