"""Multi-task learning descends on both losses: `Ly + weight * Ls`."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from serene.audio.batch import Batch
from serene.methods.tu2019 import MultiTask


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 2.5])
def test_gradients_add_up_with_the_weight(weight: float, learner, batch: Batch) -> None:
    model, method = learner("multi_task", speaker_weight=weight)
    model.eval()
    method.eval()
    encoder, head = list(model.encoder.parameters()), list(method.speaker_head.parameters())

    embedding = model.embed(batch)
    emotion = functional.cross_entropy(model.head(embedding), batch.target)
    speaker = functional.cross_entropy(method.speaker_head(embedding), batch.speaker)
    of_emotion = torch.autograd.grad(emotion, encoder, retain_graph=True)
    of_speaker = torch.autograd.grad(speaker, [*encoder, *head], retain_graph=True)

    terms = method.loss(model, batch, 0.0)
    assert terms["emotion"].item() == pytest.approx(emotion.item())
    assert terms["speaker"].item() == pytest.approx(weight * speaker.item())
    result = torch.autograd.grad(sum(terms.values()), [*encoder, *head])
    for ours, by_emotion, by_speaker in zip(result, of_emotion, of_speaker, strict=False):
        torch.testing.assert_close(ours, by_emotion + weight * by_speaker)
    for ours, by_speaker in zip(result[len(encoder) :], of_speaker[len(encoder) :], strict=True):
        torch.testing.assert_close(ours, weight * by_speaker)


def test_both_losses_count_alike_by_default() -> None:
    assert MultiTask().speaker_weight == 1.0


def test_speaker_accuracy_is_measured(learner, batch: Batch) -> None:
    model, method = learner("multi_task")
    model.eval()
    method.eval()
    method.loss(model, batch, 0.0)
    with torch.no_grad():
        answers = method.speaker_head(model.embed(batch)).argmax(dim=1).tolist()
    right = sum(a == s for a, s in zip(answers, batch.speaker.tolist(), strict=True))
    assert method.measures == {"speaker_accuracy": pytest.approx(right / 6)}
