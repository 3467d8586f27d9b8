"""Two updates on two corpora through the training loop: rates, rests, random numbers, resuming, and what is logged."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
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
from serene.audio.speaker_stream import SpeakerStream
from serene.corpora.manifest import Utterance
from serene.errors import SereneError
from serene.experiment.trial import measured
from serene.methods.baseline import Baseline
from serene.methods.method import Group, Method, Update
from serene.methods.speaker_normalization import SpeakerConfusion, SpeakerNormalization
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.task import Task
from serene.training.trainer import Selected, Trainer

EMOTIONS = ("anger", "sadness")


class Held:
    """A store that holds noise of 20 to 40 frames for every clip, in memory."""

    front_end = SimpleNamespace(spec=InputSpec(width=5, rate=100.0), declared=InputSpec(width=5, rate=100.0))

    def get(self, audio_hash: str, _samples: object) -> np.ndarray:
        draw = np.random.default_rng(int(audio_hash))
        return draw.standard_normal((int(draw.integers(20, 40)), 5)).astype(np.float32)


def clips(count: int, first: int, speakers: int) -> list[Utterance]:
    return [
        Utterance(id=f"{n}", audio="nowhere", speaker=f"{n % speakers}", emotion=EMOTIONS[n % 2], audio_hash=f"{n}")
        for n in range(first, first + count)
    ]


def acted(count: int, first: int = 0) -> Dataset:
    return Dataset(clips(count, first, 2), Held(), task=Task(tuple(EMOTIONS)), speakers=("0", "1"))  # pyright: ignore


class Spoken(SpeakerStream):
    """Nine clips of five speakers, 0.15 s of each; notes what it gives."""

    def __init__(self, spoil: Callable[[int], float] = lambda _: 1.0) -> None:
        super().__init__(clips(9, 100, 5), Held(), batch_size=4, crop=0.15)  # pyright: ignore[reportArgumentType]
        self.spoil, self.given, self.sums = spoil, [], []

    def batch(self, rng: np.random.Generator, rows: slice = slice(None)) -> Batch:
        batch = super().batch(rng, rows)
        self.given.append(batch.ids)
        self.sums.append(batch.inputs.sum().item())
        return replace(batch, inputs=self.spoil(len(self.given)) * batch.inputs)


def fit(method: Method, model: nn.Module, folder: Path, **settings: Any) -> Selected:
    """Two epochs of two steps without momentum, clipping or validation, unless the settings say otherwise."""
    more = {"train": acted(8), "validation": None, "speakers": None, "seed": 0, "on_epoch": None}
    more |= {key: settings.pop(key) for key in more if key in settings}
    clips = more.pop("validation")
    more["validate"] = clips and (lambda trained: measured(trained, clips))
    plain = {"epochs": 2, "batch_size": 4, "momentum": 0.0, "nesterov": False, "clip": None, "select_on": "last"}
    return Trainer(**(plain | {"device": "cpu"} | settings)).fit(model, method, folder=folder, **more)


# --- what a group's settings do


class Idle(nn.Module):
    """A model that nobody asks anything."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(1, 1)


class Slopes(Method):
    """Two parameters on a plane of the slopes 3 and 5: the first moves as a group says, the second as the trainer."""

    def __init__(self, every: int = 1, **settings: Any) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.second = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.settings, self.every = settings, every
        self.seen: list[tuple[float, float]] = []

    def updates(self, model: nn.Module) -> list[Update]:
        def both(batch: Batch, progress: float) -> dict[str, Tensor]:
            self.seen.append((self.first.item(), self.second.item()))
            return {"sum": 3 * self.first + 5 * self.second}

        def look(batch: Batch, progress: float) -> dict[str, Tensor]:
            return {"nothing": 0 * self.second}

        groups = Group("own", (self.first,), **self.settings), Group("theirs", (self.second,))
        return [Update("emotion", look, groups[1:]), Update("speaker", both, groups, every=self.every)]


def went(folder: Path, every: int = 1, training: dict[str, Any] | None = None, **settings: Any) -> list[list[float]]:
    """How far either parameter moves in each step of two epochs of four, by the group's settings."""
    method = Slopes(every, **settings)
    fit(method, Idle(), folder, batch_size=2, **({"learning_rate": 0.1} | (training or {})))
    places = [*method.seen, (method.first.item(), method.second.item())]
    return [[after[n] - before[n] for before, after in pairwise(places)] for n in (0, 1)]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_ascent_has_a_step_of_its_own_without_schedule_or_momentum(schedule: str, tmp_path: Path) -> None:
    training = {"schedule": schedule, "momentum": 0.5, "warmup": 0.25}
    own, theirs = went(tmp_path, training=training, optimizer="sgd", rate=0.01, ascent=True)
    assert own == pytest.approx([0.03] * 8, abs=1e-12)
    speed = 0.0
    for step, moved in enumerate(theirs):
        speed = 0.5 * speed + 5.0
        rest = (step / 8 - 0.25) / 0.75
        factor = {"constant": 1.0, "cosine": (1 + math.cos(math.pi * rest)) / 2}[schedule]
        assert moved == pytest.approx(-0.1 * (factor if rest >= 0 else step / 2) * speed, abs=1e-12), step


@pytest.mark.parametrize(("ascent", "sign"), [(True, 1), (False, -1)])
@pytest.mark.parametrize(("kind", "step"), [("sgd", 0.03), ("adam", 0.01)])
def test_where_a_group_goes_and_how_far(kind: Any, step: float, ascent: bool, sign: int, tmp_path: Path) -> None:
    own, theirs = went(tmp_path, optimizer=kind, rate=0.01, ascent=ascent)
    assert own == pytest.approx([sign * step] * 8, abs=1e-9)
    assert theirs == pytest.approx([-0.5] * 8, abs=1e-9)


@pytest.mark.parametrize(("own_clip", "clip", "first", "second"), [(0.6, 2.5, 0.6, 2.5), (None, 2.5, 2.5, 2.5)])
def test_each_group_is_clipped_by_itself(
    own_clip: float | None, clip: float, first: float, second: float, tmp_path: Path
) -> None:
    settings = {"optimizer": "sgd", "rate": 0.01, "ascent": True, "clip": own_clip}
    own, theirs = went(tmp_path, training={"clip": clip}, **settings)
    assert own == pytest.approx([0.01 * first] * 8, rel=1e-5)
    assert theirs == pytest.approx([-0.1 * second] * 8, rel=1e-5)
    row = json.loads((tmp_path / "steps.jsonl").read_text().splitlines()[0])
    assert (row["speaker/own_gradient"], row["speaker/theirs_gradient"]) == (3.0, 5.0)  # before clipping


def test_a_group_rests_at_first_while_the_other_learns(tmp_path: Path) -> None:
    own, theirs = went(tmp_path, optimizer="adam", rate=0.01, ascent=True, after=5)
    assert own == pytest.approx([0.0] * 5 + [0.01] * 3, abs=1e-9)  # counted over the epochs
    assert theirs == pytest.approx([-0.5] * 8)


def test_a_turn_now_and_then(tmp_path: Path) -> None:
    own, _ = went(tmp_path, 3, optimizer="sgd", rate=0.01, ascent=True, after=4)
    assert own == pytest.approx([0.0, 0.0, 0.03], abs=1e-12)  # the iterations 0, 3 and 6; resting up to the fourth
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [("speaker/sum" in row, "emotion/nothing" in row) for row in steps] == [(n % 3 == 0, True) for n in range(8)]


def test_each_turn_of_each_step_has_random_numbers_of_its_own(tmp_path: Path) -> None:
    class Drawing(Slopes):
        def updates(self, model: nn.Module) -> list[Update]:
            def draw(batch: Batch, progress: float) -> dict[str, Tensor]:
                return {"drawn": torch.rand(()) + 0 * self.second}

            return [Update(name, draw, (Group("all", (self.second,)),)) for name in ("one", "two")]

    fit(Drawing(), Idle(), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert len({row[f"{update}/drawn"] for row in rows for update in ("one", "two")}) == 8


# --- real models


def network(dropout: float = 0.5, **around: Any) -> EmotionModel:
    torch.manual_seed(7)
    return EmotionModel(EMOTIONS, 5, encoder_settings={"dropout": dropout}, parts=Parts(**around))


def train(method: Method, folder: Path, **settings: Any) -> tuple[dict[str, Tensor], list[dict[str, float]], Spoken]:
    """Train a TDNN-BiLSTM with dropout; return all weights and buffers, the log without times, and the stream."""
    around = {"projector": settings.pop("projector", "none")}
    stream = settings.pop("speakers", None) or Spoken()
    model = network(**around)
    method.attach(model, stream.speakers)
    chosen = fit(method, model, folder, speakers=stream, **settings)
    state = {**model.state_dict(), **{f"method.{name}": tensor for name, tensor in method.state_dict().items()}}
    return state, [{k: v for k, v in row.items() if k != "seconds"} for row in chosen.rows], stream


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    return [name for name in one if not torch.equal(one[name], other[name])]


USUAL = {"epochs": 3, "momentum": 0.9, "schedule": "cosine", "learning_rate": 0.01, "validation": acted(6, first=50)}
OFF = [
    (lambda: SpeakerNormalization(step=0.0), {"clip": 0.5, "accumulate": 2, "select_on": "validation UA"}),
    (lambda: SpeakerNormalization(step=0.0, ascent="adam", every=2), {"clip": 0.5}),
    (lambda: SpeakerNormalization(step=0.0, strategy="snp"), {"clip": 0.5, "projector": "gelu", "optimizer": "adam"}),
    (lambda: SpeakerNormalization(step=0.0, ascent="grl"), {}),  # one gradient: the speaker head's would be clipped too
    (lambda: SpeakerConfusion(step=0.0), {"clip": 0.5}),
]


@pytest.mark.parametrize(("method", "more"), OFF, ids=["tap", "adam", "snp", "grl", "confusion"])
def test_without_a_step_it_is_the_baseline_to_the_bit(
    method: Callable[[], Method], more: dict[str, Any], tmp_path: Path
) -> None:
    plain, rows, unread = train(Baseline(), tmp_path / "plain", **USUAL, **more)
    state, with_speakers, read = train(method(), tmp_path / "off", **USUAL, **more)
    assert differing(plain, state) == []
    for one, other in zip(rows, with_speakers, strict=True):
        names = one.keys() - {"emotion/all_gradient"}
        assert {name: other[name] for name in names} == {name: one[name] for name in names}
    assert read.given
    assert not unread.given


def test_with_a_step_it_is_not_the_baseline(tmp_path: Path) -> None:
    plain, _, _ = train(Baseline(), tmp_path / "plain", **USUAL)
    for name, method in (("tap", SpeakerNormalization(step=1e-3)), ("confusion", SpeakerConfusion(step=1e-3))):
        state, _, _ = train(method, tmp_path / name, **USUAL)
        assert "encoder.tdnn1.linear.weight" in differing(plain, state)


def test_the_speakers_do_not_depend_on_how_long_the_emotion_corpus_is(tmp_path: Path) -> None:
    short, long = (
        train(SpeakerNormalization(), tmp_path / f"{count}", train=acted(count), epochs=1)[2] for count in (8, 16)
    )
    assert len(short.given) == 2
    assert len(set(long.sums)) == 4
    assert long.sums[:2] == short.sums
    assert train(SpeakerNormalization(), tmp_path / "seed", seed=1, epochs=1)[2].sums != short.sums


# --- interrupted and taken up again


class Stopped(Exception):
    pass


def stop(row: dict[str, float]) -> None:
    raise Stopped


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [
        (lambda: SpeakerNormalization(step=0.01), "sgd"),
        (lambda: SpeakerNormalization(step=0.01, ascent="adam", every=2, warmup_steps=2), "adam"),
    ],
)
def test_an_interrupted_training_takes_both_corpora_up_again(
    method: Callable[[], Method], optimizer: str, tmp_path: Path
) -> None:
    settings = USUAL | {"accumulate": 2, "optimizer": optimizer, "select_on": "validation UA", "train": acted(14)}
    whole, rows, stream = train(method(), tmp_path / "whole", **settings)
    first = Spoken()
    with pytest.raises(Stopped):
        train(method(), tmp_path / "cut", on_epoch=stop, speakers=first, **settings)
    assert 0 < len(first.given) < len(stream.given) == len(set(stream.sums)), "every part of every step has its own"
    state, again, rest = train(method(), tmp_path / "cut", **settings)
    assert differing(whole, state) == []
    assert again == rows
    assert (first.given + rest.given, first.sums + rest.sums) == (stream.given, stream.sums)
    steps = [(tmp_path / name / "steps.jsonl").read_text() for name in ("whole", "cut")]
    assert steps[0] == steps[1]


# --- what is told


def test_every_step_logs_both_turns(tmp_path: Path) -> None:
    train(SpeakerNormalization(), tmp_path)
    for line in (tmp_path / "steps.jsonl").read_text().splitlines():
        row = json.loads(line)
        names = {"epoch", "step", "clips", "emotion/emotion", "emotion/accuracy", "emotion/all_gradient"}
        names |= {"speaker/speaker", "speaker/accuracy", "speaker/ascent_gradient", "speaker/speaker_head_gradient"}
        assert row.keys() == names
        assert all(math.isfinite(value) for value in row.values())
        assert row["speaker/speaker"] != row["emotion/emotion"]
        assert min(row[name] for name in names if name.endswith("gradient")) > 0


def test_a_method_that_is_given_no_speakers_says_so(tmp_path: Path) -> None:
    method, model = SpeakerNormalization(), network()
    method.attach(model, 5)
    with pytest.raises(SereneError, match="learns from a speaker corpus, and was given none"):
        fit(method, model, tmp_path)


class Steep(SpeakerNormalization):
    """From the third speaker batch on its loss has an infinite slope at a finite value."""

    taken = 0

    def _identify(self, embedding: Tensor, batch: Batch) -> Tensor:
        self.taken += 1
        root = torch.sqrt(0 * self.speaker_head.classify.bias.sum()) if self.taken > 2 else 0.0
        return super()._identify(embedding, batch) + root


def assert_nothing_lost(folder: Path) -> None:
    """The first epoch is kept, and from there it goes on as if nothing had been."""
    kept = torch.load(folder / "cut/training.pt", weights_only=True)
    assert kept["epoch"] == len(kept["rows"]) == 1
    assert all(tensor.isfinite().all() for tensor in (*kept["model"].values(), *kept["method"].values()))
    state, _, _ = train(SpeakerNormalization(step=0.02), folder / "cut", learning_rate=0.01)
    whole, _, _ = train(SpeakerNormalization(step=0.02), folder / "whole", learning_rate=0.01)
    assert differing(whole, state) == []


def test_a_loss_that_is_not_finite_under_ascent_stops_it_and_loses_nothing(tmp_path: Path) -> None:
    spoiling = Spoken(lambda given: math.inf if given > 2 else 1.0)
    with pytest.raises(SereneError) as caught:
        train(SpeakerNormalization(step=0.02), tmp_path / "cut", speakers=spoiling, learning_rate=0.01)
    last = json.loads((tmp_path / "cut/steps.jsonl").read_text().splitlines()[-1])
    ascent, head = (last[f"speaker/{name}_gradient"] for name in ("ascent", "speaker_head"))
    assert str(caught.value) == (
        "The loss of the speaker update is not finite at 50.0% of the training (iteration 3): {'speaker': nan}. "
        "In it ascent ascends by 0.02, speaker_head descends by 0.01; gradient norms: "
        f"speaker/ascent_gradient {ascent:.3g}, speaker/speaker_head_gradient {head:.3g}. "
        "The last finished epoch is kept. Lower the learning rate, or the method's coefficients."
    )
    assert_nothing_lost(tmp_path)


def test_a_gradient_that_is_not_finite_under_ascent_stops_it_and_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(SereneError) as caught:
        train(Steep(step=0.02), tmp_path / "cut", learning_rate=0.01)
    start = (
        "The gradient of the speaker update is not finite. In it ascent ascends by 0.02, speaker_head descends by 0.01"
    )
    norms = r"; gradient norms: speaker/ascent_gradient [\d.]+, speaker/speaker_head_gradient nan\. The last finished"
    assert re.match(re.escape(start) + norms, str(caught.value))
    assert_nothing_lost(tmp_path)
