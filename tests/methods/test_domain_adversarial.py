"""The embedding descends on `Ly - reversal * Ls` while the speaker head descends on `Ls`."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from serene.audio.batch import Batch
from serene.methods.method import GradientReversal
from serene.methods.tu2019 import DomainAdversarial


@pytest.mark.parametrize("reversal", [0.0, 0.3, 2.0])
def test_reversal_is_the_identity_forward_and_turns_the_gradient_backward(reversal: float) -> None:
    values = torch.randn(3, 4, requires_grad=True)
    incoming = torch.randn(3, 4)
    passed = GradientReversal.apply(values, reversal)
    assert torch.equal(passed, values)
    passed.backward(incoming)
    assert torch.equal(values.grad, -reversal * incoming)


@pytest.mark.parametrize("reversal", [0.0, 0.3, 1.0, 2.5])
def test_the_embedding_sees_the_speaker_reversed_and_the_speaker_head_does_not(
    reversal: float, learner, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, method = learner("domain_adversarial", reversal=reversal, schedule="constant")
    model.eval()
    method.eval()
    with torch.no_grad():
        embedding = model.embed(batch)
    embedding.requires_grad_()
    head, emotion_head = list(method.speaker_head.parameters()), list(model.head.parameters())
    emotion = functional.cross_entropy(model.head(embedding), batch.target)
    speaker = functional.cross_entropy(method.speaker_head(embedding), batch.speaker)
    of_emotion = torch.autograd.grad(emotion, [embedding, *emotion_head])
    of_speaker = torch.autograd.grad(speaker, [embedding, *head])

    monkeypatch.setattr(model, "embed", lambda _: embedding)
    terms = method.loss(model, batch, 0.5)
    assert {k: v.item() for k, v in terms.items()} == pytest.approx(
        {"emotion": emotion.item(), "speaker": speaker.item()}
    ), "what is logged is the speaker loss itself, not its negative"
    at_embedding, *rest = torch.autograd.grad(sum(terms.values()), [embedding, *head, *emotion_head])
    torch.testing.assert_close(at_embedding, of_emotion[0] - reversal * of_speaker[0])
    for ours, expected in zip(rest, [*of_speaker[1:], *of_emotion[1:]], strict=True):
        torch.testing.assert_close(ours, expected)


def test_without_reversal_the_encoder_learns_exactly_as_the_baselines(learner, batch: Batch, without_dropout) -> None:
    gradients = []
    for name, settings in (("baseline", {}), ("domain_adversarial", {"reversal": 0.0}), ("domain_adversarial", {})):
        model, method = learner(name, **settings)
        without_dropout(model, method)
        sum(method.loss(model, batch, 0.5).values()).backward()
        gradients.append([p.grad for p in model.parameters()])
    baseline, without, with_reversal = gradients
    assert all(torch.equal(a, b) for a, b in zip(without, baseline, strict=True))
    assert not torch.equal(with_reversal[0], baseline[0])


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.1, 0.3, 0.7, 1.0])
@pytest.mark.parametrize(("reversal", "steepness"), [(1.0, 10.0), (0.3, 10.0), (1.0, 15.0)])
def test_the_ramp_is_ganins(progress: float, reversal: float, steepness: float, learner, batch: Batch) -> None:
    model, method = learner("domain_adversarial", reversal=reversal, steepness=steepness)
    method.loss(model, batch, progress)
    expected = reversal * (2 / (1 + math.exp(-steepness * progress)) - 1)
    assert method.measures["reversal"] == pytest.approx(expected, abs=1e-12)


def test_the_ramp_begins_at_nothing_and_ends_at_the_coefficient() -> None:
    ramp = DomainAdversarial(reversal=0.7)
    values = [ramp.coefficient(i / 100) for i in range(101)]
    assert values[0] == 0.0
    assert values == sorted(values)
    assert values[-1] == pytest.approx(0.7, rel=1e-4)
    constant = DomainAdversarial(reversal=0.7, schedule="constant")
    assert [constant.coefficient(p) for p in (0.0, 0.5, 1.0)] == [0.7] * 3


def test_the_loss_uses_the_ramps_coefficient(learner, batch: Batch, without_dropout) -> None:
    """At the start of the training a ramp is no reversal at all, later it is one of the ramp's size."""
    gradients = {}
    for schedule, reversal, progress in (("ramp", 1.0, 0.2), ("constant", math.tanh(1.0), 0.2), ("ramp", 1.0, 0.0)):
        model, method = learner("domain_adversarial", reversal=reversal, schedule=schedule)
        without_dropout(model, method)
        sum(method.loss(model, batch, progress).values()).backward()
        gradients[schedule, progress] = model.encoder.tdnn1.linear.weight.grad
    torch.testing.assert_close(gradients["ramp", 0.2], gradients["constant", 0.2])
    assert not torch.allclose(gradients["ramp", 0.2], gradients["ramp", 0.0])
