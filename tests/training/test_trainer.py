"""The training loop: steps, schedules, selection, precision, and resuming, each re-derived by hand."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serene.audio.batch import Batch
from serene.audio.dataset import Dataset
from serene.audio.input_spec import InputSpec
from serene.corpora.manifest import Utterance
from serene.errors import SereneError
from serene.experiment.trial import measured
from serene.methods.baseline import Baseline
from serene.methods.method import Group, Method, Update
from serene.methods.tu2019 import DomainAdversarial
from serene.models.model import EmotionModel
from serene.task import Task
from serene.training.trainer import Selected, Trainer

EMOTIONS = ("anger", "sadness")
STEP = {"epoch", "step", "clips", "emotion/all_gradient"}  # of every row of steps.jsonl where all moves in one update


class Held:
    """A store that holds its arrays in memory."""

    front_end = SimpleNamespace(spec=InputSpec(width=5, rate=100.0), declared=InputSpec(width=5, rate=100.0))

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def get(self, audio_hash: str, _samples: object) -> np.ndarray:
        return self.arrays[audio_hash]


def clips(arrays: Sequence[np.ndarray], emotions: Sequence[str] | None = None) -> Dataset:
    """A dataset of given arrays (frame, feature); emotions and the speakers A and B alternate."""
    names = [f"clip{n}" for n in range(len(arrays))]
    labels = emotions or [EMOTIONS[n % 2] for n in range(len(arrays))]
    utterances = [
        Utterance(id=name, audio="nowhere", speaker="AB"[n % 2], emotion=labels[n], audio_hash=name)
        for n, name in enumerate(names)
    ]
    store = Held(dict(zip(names, arrays, strict=True)))
    return Dataset(utterances, store, task=Task(tuple(EMOTIONS)), speakers=("A", "B"))  # pyright: ignore[reportArgumentType]


def lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbered(count: int, emotions: Sequence[str] | None = None) -> Dataset:
    """Clips of one frame that holds the clip's number."""
    return clips([np.array([[n]], np.float32) for n in range(count)], emotions)


def noise(count: int, seed: int = 0) -> Dataset:
    """Clips of 20 to 40 frames of 5 features."""
    draw = np.random.default_rng(seed)
    return clips([draw.standard_normal((int(draw.integers(20, 40)), 5)).astype(np.float32) for _ in range(count)])


class Weight(Method):
    """A method of one parameter of its own and a given loss; notes the parameter and the progress at every call."""

    def __init__(self, loss: Callable[[Tensor, Batch], Tensor], start: Sequence[float] = (0.0,)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.of = loss
        self.seen: list[list[float]] = []
        self.progress: list[float] = []

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        self.seen.append(self.weight.tolist())
        self.progress.append(progress)
        return {"term": self.of(self.weight, batch)}


class Untouched(nn.Module):
    """A model with the one part that the trainer asks for, and nothing that a loss reads."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(1, 1)


def fit(method: Method, train: Dataset, folder: Path, model: nn.Module | None = None, **settings: Any) -> Selected:
    """Train plainly: no momentum, no clipping, the last epoch, unless the settings say otherwise."""
    more = {"validation": None, "seed": 0, "on_epoch": None}
    more |= {key: settings.pop(key) for key in more if key in settings}
    clips = more.pop("validation")
    more["validate"] = clips and (lambda trained: measured(trained, clips))
    plain = {"momentum": 0.0, "nesterov": False, "clip": None, "select_on": "last", "batch_size": 2, "device": "cpu"}
    return Trainer(**(plain | settings)).fit(model or Untouched(), method, train, folder=folder, **more)


def test_a_clip_alone_in_a_batch_of_so_many_seconds_is_learnt_from(tmp_path: Path) -> None:
    """It has no statistics of its own for batch norm."""
    torch.manual_seed(0)
    model = EmotionModel(EMOTIONS, 5)
    before = model.head.classify.weight.detach().clone()
    fit(Baseline(), noise(3), tmp_path, model, batch_seconds=0.1, epochs=1)
    assert [row["clips"] for row in lines(tmp_path / "steps.jsonl")] == [1, 1, 1]
    assert (model.head.classify.weight != before).any()


# --- one step


@pytest.mark.parametrize("decay_epochs", [0, 1, 5])
def test_the_rate_may_fall_by_a_factor_after_each_of_the_first_epochs(decay_epochs: int, tmp_path: Path) -> None:
    method = Weight(lambda w, _: w.sum())
    settings = {"learning_rate": 0.5, "schedule": "decay", "decay": 0.8, "decay_epochs": decay_epochs}
    fit(method, numbered(4), tmp_path, epochs=3, **settings)
    points = [*(w for (w,) in method.seen), method.weight.item()]
    expected = [0.5 * 0.8 ** min(epoch, decay_epochs) for epoch in (0, 0, 1, 1, 2, 2)]
    assert [before - after for before, after in pairwise(points)] == pytest.approx(expected)


def test_adam_forgets_as_fast_as_it_is_told(tmp_path: Path) -> None:
    method = Weight(lambda w, _: 0.5 * ((w - 3.0) ** 2).sum(), start=(0.0,))
    settings = {"optimizer": "adam", "betas": (0.8, 0.9), "epsilon": 0.1, "learning_rate": 0.2}
    fit(method, numbered(4), tmp_path, epochs=2, **settings)
    w = first = second = 0.0
    for step, (seen,) in enumerate(method.seen, 1):
        assert seen == pytest.approx(w, abs=1e-12)
        gradient = w - 3.0
        first, second = 0.8 * first + 0.2 * gradient, 0.9 * second + 0.1 * gradient**2
        w -= 0.2 * (first / (1 - 0.8**step)) / (math.sqrt(second / (1 - 0.9**step)) + 0.1)
    assert method.weight.item() == pytest.approx(w, abs=1e-9)


@pytest.mark.parametrize("warmup", [0.0, 0.2])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_rate_of_every_step(schedule: str, warmup: float, tmp_path: Path) -> None:
    method = Weight(lambda w, _: w.sum())  # the gradient is 1: every step moves the weight by the rate
    fit(method, numbered(10), tmp_path, epochs=2, learning_rate=0.5, schedule=schedule, warmup=warmup)
    points = [*(w for (w,) in method.seen), method.weight.item()]
    moved = [before - after for before, after in pairwise(points)]
    for step in range(10):
        done = step / 10
        rest = (done - warmup) / (1 - warmup)
        expected = {"constant": 1.0, "linear": 1 - rest, "cosine": 0.5 + 0.5 * math.cos(math.pi * rest)}[schedule]
        if done < warmup:
            expected = done / warmup
        assert moved[step] == pytest.approx(0.5 * expected, abs=1e-12), step


def test_sgd_with_nesterov_is_the_hand_written_loop(tmp_path: Path) -> None:
    method = Weight(lambda w, _: 0.5 * ((w - 3.0) ** 2).sum(), start=(0.0,))
    fit(method, numbered(4), tmp_path, epochs=3, learning_rate=0.1, momentum=0.9, nesterov=True)
    w = velocity = 0.0
    for (seen,) in method.seen:
        assert seen == pytest.approx(w, abs=1e-12)
        gradient = w - 3.0
        velocity = 0.9 * velocity + gradient
        w -= 0.1 * (gradient + 0.9 * velocity)
    assert method.weight.item() == pytest.approx(w, abs=1e-12)


def test_weight_decay_is_a_penalty_but_decoupled_in_adamw(tmp_path: Path) -> None:
    expected = {"sgd": 1 - 0.1 * 0.5, "adam": 1 - 0.1, "adamw": 1 - 0.1 * 0.5}  # adam divides a gradient by its size
    for name, after in expected.items():
        method = Weight(lambda w, _: 0.0 * w.sum(), start=(1.0,))
        fit(method, numbered(2), tmp_path / name, epochs=1, optimizer=name, learning_rate=0.1, weight_decay=0.5)
        assert method.weight.item() == pytest.approx(after, abs=1e-6), name


def test_accumulation_steps_once_along_the_mean_gradient(tmp_path: Path) -> None:
    def loss(w: Tensor, batch: Batch) -> Tensor:
        return ((w - batch.inputs[:, 0, 0]) ** 2).mean()

    method = Weight(loss, start=(10.0,))
    fit(method, numbered(4), tmp_path, epochs=1, accumulate=2, learning_rate=0.1)
    assert method.seen == [[10.0], [10.0]]  # two batches of two clips, one step
    gradient = sum(2 * (10.0 - n) for n in range(4)) / 4
    assert method.weight.item() == pytest.approx(10.0 - 0.1 * gradient, abs=1e-6)


@pytest.mark.parametrize(("clip", "moved"), [(1.0, (0.6, 0.8)), (50.0, (3.0, 4.0)), (None, (3.0, 4.0))])
def test_clipping_limits_the_norm_and_keeps_the_direction(
    clip: float | None, moved: tuple[float, float], tmp_path: Path
) -> None:
    method = Weight(lambda w, _: 3 * w[0] + 4 * w[1], start=(0.0, 0.0))
    fit(method, numbered(2), tmp_path, epochs=1, learning_rate=1.0, clip=clip)
    assert method.weight.tolist() == pytest.approx([-moved[0], -moved[1]], rel=1e-5)


class TwoTurns(Method):
    """Two updates: the second minimises what the first has just moved."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor(0.0))
        self.second = nn.Parameter(torch.tensor(0.0))

    def updates(self, model: nn.Module) -> list[Update]:
        first, second = Group("leader", (self.first,)), Group("follower", (self.second,))
        return [
            Update("descent", lambda batch, progress: {"a": 3 * self.first}, (first,)),
            Update("pursuit", lambda batch, progress: {"b": self.first * self.second}, (second,)),
        ]


def test_turns_are_taken_one_after_the_other_and_move_their_own(tmp_path: Path) -> None:
    method = TwoTurns()
    chosen = fit(method, numbered(2), tmp_path, epochs=1, learning_rate=1.0)
    assert (method.first.item(), method.second.item()) == (-3.0, 3.0)  # the second sees the first after its step
    (row,) = chosen.rows
    assert (row["descent/a"], row["pursuit/b"]) == (0.0, 0.0)
    assert (row["descent/leader_gradient"], row["pursuit/follower_gradient"]) == (3.0, 3.0)


@pytest.mark.parametrize(("optimizer", "moved"), [("sgd", (2.0, 3.0)), ("adam", (1.0, 1.0)), ("adamw", (1.0, 1.0))])
def test_the_encoder_may_have_a_rate_of_its_own_on_the_same_schedule(
    optimizer: str, moved: tuple[float, float], tmp_path: Path
) -> None:
    """Two steps at the full and at half of the rate; plain descent moves by the gradient, Adam by the rate alone."""

    class Sum(Method):
        def loss(self, model: Untouched, batch: Batch, progress: float) -> dict[str, Tensor]:
            return {"term": 2 * model.encoder.weight.sum() + 3 * self.head.sum()}

    for own, name in ((0.01, "own"), (None, "same")):
        model, method = Untouched(), Sum()
        method.head = nn.Parameter(torch.zeros(1))
        start = model.encoder.weight.item()
        settings = {"optimizer": optimizer, "schedule": "linear", "learning_rate": 0.1, "encoder_learning_rate": own}
        fit(method, numbered(4), tmp_path / name, model, epochs=1, **settings)
        by_hand = (0.1 if own is None else own) * moved[0] * 1.5, 0.1 * moved[1] * 1.5
        assert (start - model.encoder.weight.item(), -method.head.item()) == pytest.approx(by_hand, rel=1e-4), name


def test_progress_and_the_clip_weighted_log(tmp_path: Path) -> None:
    told = []
    method = Weight(lambda w, batch: 0 * w.sum() + batch.inputs[:, 0, 0].mean())
    chosen = fit(method, numbered(5), tmp_path, epochs=2, on_epoch=told.append)  # batches of 2 and 3 clips
    assert method.progress == [0.0, 0.25, 0.5, 0.75]
    assert [row["emotion/term"] for row in chosen.rows] == pytest.approx([2.0, 2.0])  # mean of 0, 1, 2, 3, 4
    logged = lines(tmp_path / "log.jsonl")
    assert logged == chosen.rows == told
    assert [row["epoch"] for row in logged] == [1, 2]


def test_a_step_may_hold_so_many_seconds(tmp_path: Path) -> None:
    train = noise(30)  # of 0.2 to 0.4 s, at 100 frames a second
    seen: list[tuple[int, int]] = []
    method = Weight(lambda w, batch: seen.append(tuple(batch.inputs.shape[:2])) or w.sum())
    fit(method, train, tmp_path, epochs=2, batch_seconds=1.0)
    assert sum(clips for clips, _ in seen) == 60
    assert all(clips * frames <= 100 for clips, frames in seen)
    assert {clips for clips, _ in seen} <= {1, 2, 3, 4} > {1}
    assert len(seen) < 30, "full batches"


def test_stored_outputs_have_no_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Held.front_end, "spec", InputSpec(width=5, rate=0.0))
    with pytest.raises(SereneError, match=r"training\.batch_seconds counts seconds, and stored outputs have none; use"):
        fit(Weight(lambda w, _: w.sum()), noise(4), tmp_path, batch_seconds=1.0)


def test_every_step_is_kept_with_what_it_measured(tmp_path: Path) -> None:
    """Steps of 2 + 3 clips and of 2: a step's figures are the means over its clips, the epoch's over all clips."""

    def loss(weight: Tensor, batch: Batch) -> Tensor:
        method.measures = {"clips_seen": float(len(batch.ids))}
        return weight.sum() * batch.inputs[:, 0, 0].mean()

    method = Weight(loss, start=(1.0,))
    chosen = fit(method, numbered(7), tmp_path, epochs=2, learning_rate=1e-6, accumulate=2)
    steps = lines(tmp_path / "steps.jsonl")
    assert [(row["epoch"], row["step"]) for row in steps] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert all(set(row) == STEP | {"emotion/term", "emotion/clips_seen"} for row in steps)
    for epoch, logged in enumerate(chosen.rows, 1):
        own = [row for row in steps if row["epoch"] == epoch]
        assert sum(row["clips"] for row in own) == 7
        for name in ("emotion/term", "emotion/clips_seen", "emotion/all_gradient"):
            assert logged[name] == pytest.approx(sum(row["clips"] * row[name] for row in own) / 7), name
        assert logged["emotion/term"] == pytest.approx(3.0, rel=1e-4)  # the mean of 0 to 6
        (five,) = (row for row in own if row["clips"] == 5)
        assert five["emotion/clips_seen"] == pytest.approx((2 * 2 + 3 * 3) / 5)


def test_the_norm_that_is_kept_is_that_before_clipping(tmp_path: Path) -> None:
    method = Weight(lambda w, _: 3 * w[0] + 4 * w[1], start=(0.0, 0.0))
    fit(method, numbered(2), tmp_path, epochs=1, learning_rate=1.0, clip=1.0)
    assert lines(tmp_path / "steps.jsonl")[0]["emotion/all_gradient"] == pytest.approx(5.0)


# --- which epoch ships


class Dial(nn.Module):
    """Answers the clips `right[epoch]` rightly; its only weight, lowered by 1 an epoch, tells the epoch."""

    task, temperature = Task(EMOTIONS), 1.0

    def __init__(self, right: Sequence[set[int]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.right = right
        self.encoder = nn.Identity()

    def embed(self, batch: Batch) -> Tensor:
        assert not self.training
        assert not torch.is_autocast_enabled("cpu")  # scoring is in full precision
        answer = batch.target.argmax(dim=1)
        wrong = [int(n) not in self.right[round(-self.weight.item()) - 1] for n in batch.inputs[:, 0, 0]]
        return torch.where(torch.tensor(wrong), 1 - answer, answer)

    def hidden(self, embedding: Tensor) -> Tensor:
        return embedding

    def classify(self, answer: Tensor) -> Tensor:
        return 5.0 * nn.functional.one_hot(answer.long(), 2)


class Lower(Method):
    """Lowers the Dial's weight by the learning rate."""

    def loss(self, model: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        assert model.training  # validation is scored, never learnt from
        assert (batch.speaker >= 0).all()
        return {"term": model.weight}


def turn_dial(right: Sequence[set[int]], folder: Path, **settings: Any) -> tuple[Dial, Selected]:
    model = Dial(right)
    validation = numbered(8, ["anger"] * 6 + ["sadness"] * 2)
    more = {"epochs": len(right), "learning_rate": 1.0, "validation": validation, "precision": "bf16"} | settings
    return model, fit(Lower(), numbered(2), folder, model, **more)


A = {0, 1, 2, 3, 4, 5}  # all of anger: WA 6/8, UA 1/2
B = {0, 1, 2, 6, 7}  # half of anger, all of sadness: WA 5/8, UA 3/4
C = {0, 6}  # WA 2/8, UA (1/6 + 1/2) / 2


@pytest.mark.parametrize(
    ("select_on", "epoch", "rule"),
    [
        ("validation UA", 3, "best validation UA over epochs"),
        ("validation WA", 2, "best validation WA over epochs"),
        ("last", 5, "last epoch"),
    ],
)
def test_the_selected_epochs_weights_are_in_the_model(select_on: str, epoch: int, rule: str, tmp_path: Path) -> None:
    model, chosen = turn_dial([C, A, B, B, C], tmp_path, select_on=select_on)  # of equal epochs the first
    assert (chosen.epoch, chosen.rule) == (epoch, rule)
    assert model.weight.item() == -epoch
    assert not model.training
    assert [row["validation_wa"] for row in chosen.rows] == pytest.approx([2 / 8, 6 / 8, 5 / 8, 5 / 8, 2 / 8])
    assert [row["validation_ua"] for row in chosen.rows] == pytest.approx([1 / 3, 1 / 2, 3 / 4, 3 / 4, 1 / 3])
    right, wrong = (math.log(1 + math.exp(sign * 5)) for sign in (-1, 1))
    assert chosen.rows[0]["validation_loss"] == pytest.approx((2 * right + 6 * wrong) / 8)


def test_training_stops_when_patience_is_over(tmp_path: Path) -> None:
    model, chosen = turn_dial([C, B, A, A, B, A, A], tmp_path, select_on="validation UA", patience=3)
    assert len(chosen.rows) == 5  # the second is best; three epochs were no better
    assert (chosen.epoch, model.weight.item()) == (2, -2.0)


def test_selecting_on_a_validation_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match="the split has no validation part; use 'last'"):
        turn_dial([A], tmp_path, validation=None, select_on="validation UA")


# --- real models: seeds, precision


def network(dropout: float = 0.5) -> EmotionModel:
    torch.manual_seed(7)
    return EmotionModel(EMOTIONS, 5, encoder_settings={"dropout": dropout})


def trained(folder: Path, seed: int = 0, method: type[Method] = Baseline, **settings: Any) -> dict[str, Tensor]:
    model = network()
    learning = method()
    learning.attach(model, 2)
    more = {"epochs": 2, "batch_size": 4, "momentum": 0.9, "seed": seed} | settings
    fit(learning, noise(12), folder, model, **more)
    return model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("method", [Baseline, DomainAdversarial])
def test_a_seed_gives_its_weights_and_another_seed_others(method: type[Method], tmp_path: Path) -> None:
    first = trained(tmp_path / "1", method=method)
    torch.rand(3)  # whatever else drew random numbers before
    assert same(first, trained(tmp_path / "2", method=method))
    assert not same(first, trained(tmp_path / "3", seed=1, method=method))


def test_batches_and_random_numbers_are_of_the_seed_the_epoch_and_the_step(tmp_path: Path) -> None:
    def drawn(seed: int) -> tuple[list[tuple[str, ...]], list[float]]:
        ids: list[tuple[str, ...]] = []
        numbers: list[float] = []

        def note(weight: Tensor, batch: Batch) -> Tensor:
            ids.append(batch.ids)
            numbers.append(torch.rand(()).item())
            return weight.sum()

        fit(Weight(note), noise(12), tmp_path / f"{len(list(tmp_path.iterdir()))}", epochs=2, seed=seed)
        return ids, numbers

    ids, numbers = drawn(0)
    assert drawn(0) == (ids, numbers)
    assert len(set(numbers)) == 12  # six batches in each of two epochs
    assert ids[:6] != ids[6:]
    other_ids, other_numbers = drawn(1)
    assert other_ids != ids
    assert not set(other_numbers) & set(numbers)


class Watching(Baseline):
    """Notes whether autocast is on where the loss is computed."""

    autocast: bool | None = None

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> dict[str, Tensor]:
        self.autocast = torch.is_autocast_enabled("cpu")
        return dict(super().loss(model, batch, progress))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bf16_is_for_the_forward_passes_of_training(precision: str, tmp_path: Path) -> None:
    model, method = network(), Watching()
    settings = {"epochs": 2, "precision": precision, "validation": noise(4, 1), "select_on": "validation UA"}
    chosen = fit(method, noise(8), tmp_path, model, **settings)
    assert method.autocast == (precision == "bf16")
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    assert all(math.isfinite(value) for row in chosen.rows for value in row.values())


def test_bf16_rounds(tmp_path: Path) -> None:
    assert not same(trained(tmp_path / "1"), trained(tmp_path / "2", precision="bf16"))


# --- interrupted and taken up again


class Stopped(Exception):
    pass


def stop_after(epoch: int) -> Callable[[dict[str, float]], None]:
    def told(row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise Stopped

    return told


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd"},
        {"optimizer": "adam", "schedule": "cosine", "warmup": 0.3, "accumulate": 2},
        {"method": DomainAdversarial, "select_on": "validation UA", "validation": noise(6, 1)},
    ],
    ids=["sgd", "adam", "adversarial"],
)
def test_an_interrupted_training_ends_with_the_same_weights(settings: dict, epoch: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", epochs=3, **settings)
    with pytest.raises(Stopped):
        trained(tmp_path / "cut", epochs=3, on_epoch=stop_after(epoch), **settings)
    assert same(whole, trained(tmp_path / "cut", epochs=3, **settings))
    rows = [lines(tmp_path / name / "log.jsonl") for name in ("whole", "cut")]
    for one, other in zip(*rows, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    steps = [(tmp_path / name / "steps.jsonl").read_bytes() for name in ("whole", "cut")]
    assert steps[0] == steps[1]


LEFT_OVER = '{"epoch": 2, "step": 0, "clips": 4}\n{"epoch": 2, "st'  # a kill comes at any moment


def test_steps_of_an_epoch_that_was_not_finished_are_dropped(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole/steps.jsonl", tmp_path / "cut/steps.jsonl"
    trained(whole.parent)
    with pytest.raises(Stopped):
        trained(cut.parent, on_epoch=stop_after(1))
    with cut.open("a") as file:
        file.write(LEFT_OVER)
    trained(cut.parent)
    assert cut.read_bytes() == whole.read_bytes()
    assert [(row["epoch"], row["step"]) for row in lines(cut)] == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert all(set(row) == STEP | {"emotion/emotion", "emotion/accuracy"} for row in lines(cut))


def test_steps_of_a_run_that_begins_anew_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "steps.jsonl").write_text(LEFT_OVER)  # of a run that was killed before its first epoch was kept
    trained(tmp_path)
    assert len(lines(tmp_path / "steps.jsonl")) == 6
    with pytest.raises(Stopped):
        trained(tmp_path / "unfinished", on_epoch=stop_after(1))
    (tmp_path / "unfinished/steps.jsonl").unlink()
    trained(tmp_path / "unfinished")  # only what is left can be kept
    assert [row["epoch"] for row in lines(tmp_path / "unfinished/steps.jsonl")] == [2, 2, 2]


def test_patience_counts_over_an_interruption(tmp_path: Path) -> None:
    def go(folder: str, **more: Any) -> Selected:
        return turn_dial([C, B, A, A, A, A], tmp_path / folder, select_on="validation UA", patience=2, **more)[1]

    with pytest.raises(Stopped):
        go("cut", on_epoch=stop_after(3))
    assert [row["epoch"] for row in go("cut").rows] == [row["epoch"] for row in go("whole").rows] == [1, 2, 3, 4]


def test_a_log_that_missed_its_last_row_is_completed(tmp_path: Path) -> None:
    trained(tmp_path)
    whole = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(whole.splitlines()[0] + "\n")  # killed between the state and the log
    trained(tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == whole


def test_a_state_that_does_not_fit_is_named(tmp_path: Path) -> None:
    trained(tmp_path)
    path = tmp_path / "training.pt"
    with pytest.raises(
        SereneError, match=r"training\.pt is damaged or does not fit this run \(.*\); delete its folder"
    ):
        trained(tmp_path, method=DomainAdversarial)
    whole = path.read_bytes()
    state = torch.load(path, weights_only=True)
    for other in ([], {}, "words", {key: value for key, value in state.items() if key != "rows"}, Path("pickled")):
        torch.save(other, path)
        _refused(tmp_path)
    for damaged in (b"", b"no state at all", whole[:1000], pickle.dumps({"epoch": 1})):
        path.write_bytes(damaged)
        _refused(tmp_path)
    path.unlink()
    path.mkdir()
    _refused(tmp_path)


def _refused(folder: Path) -> None:
    with pytest.raises(SereneError) as caught:
        trained(folder)
    assert re.fullmatch(
        r".*training\.pt is damaged or does not fit this run \(.*\); delete its folder to start again\.",
        str(caught.value),
    )
    assert "weights_only" not in str(caught.value)  # torch's advice would run what the file says


@pytest.mark.parametrize("garbage", ["words\n", "\0\0\n", "{}\n", "\n", "[1]\n"])
def test_garbage_among_the_steps_is_named(tmp_path: Path, garbage: str) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path, on_epoch=stop_after(1))
    steps = tmp_path / "steps.jsonl"
    steps.write_text(garbage + steps.read_text())
    with pytest.raises(SereneError, match=r"steps\.jsonl is missing or damaged"):
        trained(tmp_path)


class Breaking(Baseline):
    """Its speaker term is not a number in the second epoch."""

    def loss(self, model: EmotionModel, batch: Batch, progress: float) -> dict[str, Tensor]:
        broken = torch.tensor(math.nan if progress >= 0.5 else 0.25)
        return {**super().loss(model, batch, progress), "speaker": broken}


def test_a_loss_that_is_not_finite_is_named_and_the_last_epoch_kept(tmp_path: Path) -> None:
    with pytest.raises(SereneError) as caught:
        trained(tmp_path, method=Breaking)
    message = str(caught.value)
    for part in (
        *("The loss of the emotion update is not finite at 50.0% of the training", "'speaker': nan"),
        *("In it all descends by 0.001; gradient norms: emotion/all_gradient ", "last finished epoch is kept"),
    ):
        assert part in message
    assert message.endswith("Lower the learning rate, or the method's coefficients.")
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    assert same(trained(tmp_path), trained(tmp_path / "never broken"))  # and it goes on from there


def test_a_gradient_that_is_not_finite_is_named_and_moves_nothing(tmp_path: Path) -> None:
    method = Weight(lambda w, _: w.sqrt().sum())  # 0 has a root, whose slope is infinite
    with pytest.raises(SereneError) as caught:
        fit(method, numbered(2), tmp_path, epochs=1, learning_rate=0.5)
    assert str(caught.value) == (
        "The gradient of the emotion update is not finite. In it all descends by 0.5; gradient norms: "
        "emotion/all_gradient inf. The last finished epoch is kept. Lower the learning rate, or the method's "
        "coefficients."
    )
    assert method.weight.item() == 0.0


# --- settings that make no sense


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"training\.epochs is 0; at least 1 was expected"),
        ({"batch_size": 1}, r"training\.batch_size is 1; at least 2 was expected"),
        ({"accumulate": 0}, r"training\.accumulate is 0; at least 1"),
        ({"patience": 0}, r"training\.patience is 0; at least 1"),
        ({"momentum": -0.1}, r"training\.momentum is -0\.1; at least 0"),
        ({"weight_decay": -1.0}, r"training\.weight_decay is -1\.0; at least 0"),
        ({"learning_rate": 0.0}, r"training\.learning_rate is 0\.0; a positive number"),
        ({"learning_rate": math.nan}, r"training\.learning_rate is nan; a positive number"),
        ({"decay": 0.0}, r"training\.decay is 0\.0; a positive number"),
        ({"decay_epochs": -1}, r"training\.decay_epochs is -1; at least 0"),
        ({"epsilon": 0.0}, r"training\.epsilon is 0\.0; a positive number"),
        ({"betas": (0.9, 1.0)}, r"training\.betas is \[0\.9, 1\.0\]; two numbers from 0 to below 1"),
        ({"encoder_learning_rate": -1e-5}, r"training\.encoder_learning_rate is -1e-05; a positive number"),
        ({"clip": 0.0}, r"training\.clip is 0\.0; a positive number"),
        ({"batch_seconds": 0.0}, r"training\.batch_seconds is 0\.0; a positive number"),
        ({"warmup": 1.5}, r"training\.warmup is 1\.5; a share of the steps, from 0 to 1"),
        ({"select_on": "last", "patience": 3}, r"training\.patience needs validation"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        Trainer(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(SereneError, match=r"training\.device is 'cuda', but torch finds no GPU here"):
        Trainer(device="cuda")
    assert Trainer(device="auto").device == "cpu"
