"""Cross-gradient training re-derived by hand on a linear toy, and its traps on the real network."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from serene.audio.batch import Batch
from serene.methods.tu2019 import CrossGradient
from serene.models.encoder import Frames
from serene.models.masking import mask_of
from serene.task import Task

KINDS = ("relative", "clip", "raw")
LENGTHS, LONGEST, WIDTH, HIDDEN = (4, 6, 3), 6, 5, 3
Rows = list[list[float]]


class Toy(nn.Module):
    """The seams of a model, all linear: frames are averaged (padding too where it leaks), then mapped twice."""

    task = Task(tuple("abcd"))

    def __init__(self, *, leaks: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.below = nn.Parameter(2 * torch.randn(WIDTH, HIDDEN, generator=generator))
        self.emotion = nn.Parameter(torch.randn(HIDDEN, 4, generator=generator))
        self.speaker = torch.randn(HIDDEN, 2, generator=generator)
        self.leaks = leaks
        self.seen: list[Frames] = []

    def features(self, batch: Batch) -> Frames:
        return Frames(batch.inputs, mask_of(batch.lengths, batch.inputs.shape[1]))

    def past_frozen(self, frames: Frames) -> Frames:
        return frames

    def embed_features(self, frames: Frames) -> torch.Tensor:
        self.seen.append(frames)
        weight = torch.ones_like(frames.mask) if self.leaks else frames.mask
        weight = weight.unsqueeze(-1).float()
        return (frames.values * weight).sum(dim=1) / weight.sum(dim=1) @ self.below

    def hidden(self, pooled: torch.Tensor) -> torch.Tensor:
        return pooled

    def classify(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden @ self.emotion

    def new_head(self, outputs: int) -> nn.Module:
        head = nn.Linear(HIDDEN, outputs, bias=False)
        head.weight.data.copy_(self.speaker.T)
        return head


@pytest.fixture
def clips() -> Batch:
    """Three clips; what lies in their padding is not zero, so that moving it would show."""
    return Batch(
        inputs=torch.randn(3, LONGEST, WIDTH, generator=torch.Generator().manual_seed(2)),
        lengths=torch.tensor(LENGTHS),
        target=torch.eye(4)[[2, 0, 3]],
        speaker=torch.tensor([1, 0, 1]),
        ids=("a", "b", "c"),
    )


def toy(*, leaks: bool = False, **settings) -> tuple[Toy, CrossGradient]:
    model, method = Toy(leaks=leaks), CrossGradient(**settings)
    method.attach(model, 2)
    return model, method


def pick(batch: Batch, *rows: int) -> Batch:
    chosen = list(rows)
    tensors = {name: getattr(batch, name)[chosen] for name in ("inputs", "lengths", "target", "speaker")}
    return replace(batch, **tensors, ids=tuple(str(i) for i in rows))


def loss_by_hand(frames: Rows, below: Rows, above: Rows, wanted: int) -> tuple[float, list[float]]:
    """Cross entropy of one clip of the toy, and its gradient with respect to any one of the valid frames."""
    n = len(frames)
    mean = [sum(frame[f] for frame in frames) / n for f in range(WIDTH)]
    pooled = [sum(mean[f] * below[f][h] for f in range(WIDTH)) for h in range(HIDDEN)]
    logits = [sum(pooled[h] * above[h][c] for h in range(HIDDEN)) for c in range(len(above[0]))]
    total = sum(math.exp(z) for z in logits)
    errors = [math.exp(z) / total - (c == wanted) for c, z in enumerate(logits)]
    back = [sum(above[h][c] * e for c, e in enumerate(errors)) for h in range(HIDDEN)]
    gradient = [sum(below[f][h] * back[h] for h in range(HIDDEN)) / n for f in range(WIDTH)]
    return math.log(total) - logits[wanted], gradient


def moved_by_hand(frames: Rows, gradient: list[float], kind: str, step: float) -> Rows:
    """Move every frame of a clip along the gradient, which is the same for all frames of the toy."""
    if kind == "clip":
        gradient = [min(max(g, -0.1), 0.1) for g in gradient]
    scale = 1.0
    if kind == "relative":
        length = math.sqrt(sum(v * v for frame in frames for v in frame))
        scale = length / math.sqrt(len(frames) * sum(g * g for g in gradient))
    return [[v + step * scale * g for v, g in zip(frame, gradient, strict=True)] for frame in frames]


@pytest.mark.parametrize("kind", KINDS)
def test_every_term_by_hand(kind: str, clips: Batch) -> None:
    """`(1 - a) [Ly(X) + Ls(X)] + a [Ly(X_s) + Ls(X_y)]`, each clip on its own, in plain loops."""
    step, mixing = 0.3, 0.2
    clips = replace(clips, inputs=clips.inputs * mask_of(clips.lengths, clips.inputs.shape[1]).unsqueeze(-1))
    model, method = toy(step=step, mixing=mixing, perturbation=kind)
    expected = {"emotion": 0.0, "speaker": 0.0, "emotion_perturbed": 0.0, "speaker_perturbed": 0.0}
    below, emotions, speakers = model.below.tolist(), model.emotion.tolist(), model.speaker.tolist()
    was_cut = False
    for clip, length in enumerate(LENGTHS):
        frames = clips.inputs[clip, :length].tolist()
        emotion, speaker = int(clips.target[clip].argmax()), int(clips.speaker[clip])
        emotion_loss, along_emotion = loss_by_hand(frames, below, emotions, emotion)
        speaker_loss, along_speaker = loss_by_hand(frames, below, speakers, speaker)
        was_cut |= any(abs(g) > 0.1 for g in along_speaker)
        for_emotion = moved_by_hand(frames, along_speaker, kind, step)
        for_speaker = moved_by_hand(frames, along_emotion, kind, step)
        expected["emotion"] += (1 - mixing) * emotion_loss / 3
        expected["speaker"] += (1 - mixing) * speaker_loss / 3
        expected["emotion_perturbed"] += mixing * loss_by_hand(for_emotion, below, emotions, emotion)[0] / 3
        expected["speaker_perturbed"] += mixing * loss_by_hand(for_speaker, below, speakers, speaker)[0] / 3
    assert was_cut, "some gradient is larger than the cut"
    terms = {name: term.item() for name, term in method.loss(model, clips, 0.0).items()}
    assert terms == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_clips_perturbation_does_not_depend_on_the_batch(kind: str, clips: Batch) -> None:
    """The gradient is that of the summed losses: a mean would halve it for two clips."""
    perturbed = []
    for rows in ((0,), (0, 0), (0, 1, 2)):
        model, method = toy(perturbation=kind)
        method.loss(model, pick(clips, *rows), 0.0)
        perturbed.append([frames.values[0] for frames in model.seen[1:]])
    for for_emotion, for_speaker in perturbed[1:]:
        torch.testing.assert_close(for_emotion, perturbed[0][0])
        torch.testing.assert_close(for_speaker, perturbed[0][1])


@pytest.mark.parametrize("step", [0.05, 0.5])
def test_a_relative_step_is_that_share_of_the_clips_own_norm(step: float, clips: Batch) -> None:
    clips = replace(clips, inputs=clips.inputs * torch.tensor([1.0, 3.0, 0.1])[:, None, None])
    clips = replace(clips, inputs=clips.inputs * mask_of(clips.lengths, clips.inputs.shape[1]).unsqueeze(-1))
    model, method = toy(step=step)
    method.loss(model, clips, 0.0)
    clean, *others = (frames.values.detach() for frames in model.seen)
    assert len(others) == 2
    for moved in others:
        for clip, length in enumerate(LENGTHS):
            far = (moved[clip] - clean[clip]).norm().item()
            assert far == pytest.approx(step * clean[clip, :length].norm().item(), rel=1e-4)
    assert method.measures["perturbation"] == pytest.approx(step, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_move_even_where_a_gradient_reaches_it(kind: str, clips: Batch) -> None:
    model, method = toy(leaks=True, perturbation=kind)
    method.loss(model, clips, 0.0)
    clean, *others = model.seen
    for moved in others:
        assert torch.equal(
            moved.values[~mask_of(clips.lengths, clips.inputs.shape[1])],
            clean.values[~mask_of(clips.lengths, clips.inputs.shape[1])],
        )
        assert (
            moved.values[mask_of(clips.lengths, clips.inputs.shape[1])]
            != clean.values[mask_of(clips.lengths, clips.inputs.shape[1])]
        ).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_learnt_through_the_perturbation(kind: str, clips: Batch) -> None:
    """The gradient is that of a loss in which the perturbed features are given numbers."""
    model, method = toy(step=0.5, mixing=0.7, perturbation=kind)
    sum(method.loss(model, clips, 0.0).values()).backward()
    ours = [model.below.grad, model.emotion.grad, method.speaker_head.weight.grad]
    assert not any(frames.values.requires_grad for frames in model.seen[1:])

    constants = [Frames(frames.values.detach(), frames.mask) for frames in model.seen]
    clean, for_emotion, for_speaker = (model.embed_features(frames) for frames in constants)
    emotion = [functional.cross_entropy(model.classify(e), clips.target) for e in (clean, for_emotion)]
    speaker = [functional.cross_entropy(method.speaker_head(e), clips.speaker) for e in (clean, for_speaker)]
    loss = 0.3 * (emotion[0] + speaker[0]) + 0.7 * (emotion[1] + speaker[1])
    expected = torch.autograd.grad(loss, [model.below, model.emotion, method.speaker_head.weight])
    for gradient, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, wanted)


def per_clip(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, target, reduction="none")


@pytest.mark.parametrize(("kind", "step"), [("relative", 0.1), ("clip", 3000.0), ("raw", 3000.0)])
def test_features_move_to_where_the_other_head_does_worse(
    kind: str, step: float, learner, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the real network (gradients are small, steps large): speaker losses rise on `X_s`, emotion losses on `X_y`."""
    model, method = learner("cross_gradient", step=step, perturbation=kind)
    model.eval()
    method.eval()
    seen, embed = [], model.embed_features
    monkeypatch.setattr(model, "embed_features", lambda frames: seen.append(frames) or embed(frames))
    method.loss(model, batch, 0.0)
    with torch.no_grad():
        clean, for_emotion, for_speaker = (embed(frames) for frames in seen)
        speaker = [per_clip(method.speaker_head(e), batch.speaker) for e in (clean, for_emotion)]
        emotion = [per_clip(model.head(e), batch.target) for e in (clean, for_speaker)]
    assert (speaker[1] > speaker[0]).all()
    assert (emotion[1] > emotion[0]).all()


def test_only_the_clean_pass_updates_batch_norm_statistics(learner, batch: Batch) -> None:
    model, method = learner("cross_gradient", step=0.5)
    clean_model, clean_method = copy.deepcopy(model), copy.deepcopy(method)
    untouched = copy.deepcopy(model)
    torch.manual_seed(5)
    method.loss(model, batch, 0.0)
    torch.manual_seed(5)
    embedding = clean_model.embed(batch)
    clean_model.head(embedding)
    clean_method.speaker_head(embedding)
    for ours, expected in ((model, clean_model), (method, clean_method)):
        buffers = dict(expected.named_buffers())
        compared = [name for name in buffers if "running" in name]
        assert compared
        for name, buffer in ours.named_buffers():
            if name in compared:
                assert torch.equal(buffer, buffers[name]), name
    assert not torch.equal(model.encoder.tdnn1.norm.running_mean, untouched.encoder.tdnn1.norm.running_mean)
    momenta = {layer.momentum for layer in (*model.modules(), *method.modules()) if isinstance(layer, nn.BatchNorm1d)}
    assert momenta == {0.1}, "and the next clean pass updates them again"


def test_a_step_of_nothing_is_multi_task_learning(clips: Batch) -> None:
    model, method = toy(step=0.0, mixing=0.4)
    terms = {name: term.item() for name, term in method.loss(model, clips, 0.0).items()}
    assert terms["emotion"] / 0.6 == pytest.approx(terms["emotion_perturbed"] / 0.4)
    assert terms["speaker"] / 0.6 == pytest.approx(terms["speaker_perturbed"] / 0.4)
