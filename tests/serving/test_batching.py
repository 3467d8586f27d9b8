"""Batches: as large as what is asked at the same time, in one thread, and nobody's mistake is a neighbour's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from fake_recognizer import FakeRecognizer

from serene.inference.emotion import Emotion
from serene.inference.features import Clip
from serene.serving.batching import Batcher

WAIT = 30  # seconds; only a test that fails waits so long
LONG = 60.0  # seconds that a clip would wait for others, were there a reason


@pytest.fixture
def fake() -> FakeRecognizer:
    return FakeRecognizer()


@pytest.fixture
def batcher(fake: FakeRecognizer) -> Iterator[Callable[..., Batcher]]:
    """Make batchers; they are closed at the end."""
    with ExitStack() as stack:

        def make(**settings: object) -> Batcher:
            made = Batcher(fake.answer, **settings)  # pyright: ignore[reportArgumentType]
            stack.callback(made.close)
            return made

        yield make


def clip(number: float) -> Clip:
    return Clip(number, np.full((3, 2), number, np.float32))


def score(asked: Future[Emotion]) -> float:
    return asked.result(WAIT).scores["anger"]


def test_a_clip_alone_does_not_wait(batcher: Callable[..., Batcher]) -> None:
    one = batcher(wait=LONG)
    began = time.monotonic()
    with one.coming():
        asked = one.submit(clip(4))
    assert score(asked) == pytest.approx(0.04)
    assert time.monotonic() - began < LONG / 2


def test_a_batch_waits_for_what_is_on_its_way_but_not_for_ever(
    batcher: Callable[..., Batcher], fake: FakeRecognizer
) -> None:
    patient = batcher(wait=0.2)
    with patient.coming():
        began = time.monotonic()
        assert score(patient.submit(clip(1))) == pytest.approx(0.01)
        assert time.monotonic() - began >= 0.2
        first = patient.submit(clip(2))
        second = patient.submit(clip(3))
        assert (score(first), score(second)) == (pytest.approx(0.02), pytest.approx(0.03))
    assert fake.batches == [1, 2]


def test_what_never_comes_is_not_waited_for(batcher: Callable[..., Batcher]) -> None:
    patient = batcher(wait=LONG)
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), patient.coming():
        asked = patient.submit(clip(1))
        raise ZeroDivisionError  # the other could not be decoded
    score(asked)
    assert time.monotonic() - began < LONG / 2


def test_while_the_network_is_busy_the_next_batch_gathers_up_to_its_size(
    batcher: Callable[..., Batcher], fake: FakeRecognizer
) -> None:
    told: list[tuple[int, float]] = []
    busy = batcher(most=4, wait=0.0, told=lambda size, seconds: told.append((size, seconds)))
    fake.may.clear()
    asked = [busy.submit(clip(number)) for number in range(10)]
    while not fake.entered:
        time.sleep(0.01)
    fake.may.set()
    assert [score(one) for one in asked] == pytest.approx([number / 100 for number in range(10)])
    assert max(fake.batches) == 4 and sum(fake.batches) == 10 and len(fake.batches) <= 4
    assert len(fake.threads) == 1 and threading.get_ident() not in fake.threads
    busy.close()
    assert [size for size, _ in told] == fake.batches
    assert all(seconds >= 0 for _, seconds in told)


def test_a_batch_is_the_oldest_clip_and_those_like_it_in_length(
    batcher: Callable[..., Batcher], fake: FakeRecognizer
) -> None:
    shared, frames = batcher(most=3), (100, 1000, 110, 1050, 105, 125, 126)
    batches: list[list[int]] = []
    answer = fake.answer
    fake.may.clear()
    shared._answer = lambda clips, **given: (
        batches.append([len(one.features) for one in clips]) or answer(clips, **given)
    )
    asked = [shared.submit(Clip(1.0, np.ones((length, 2), np.float32))) for length in (7, *frames)]
    asked.append(shared.submit(Clip(1.0, np.ones((1, 2), np.float32))))
    fake.may.set()
    assert [score(one) for one in asked] == pytest.approx([0.01] * len(asked))
    assert batches == [[7], [100, 105, 110], [1000, 1050], [125, 126], [1]]


def test_one_that_fails_fails_alone(batcher: Callable[..., Batcher], fake: FakeRecognizer) -> None:
    shared = batcher(most=8)
    fake.may.clear()
    asked = [shared.submit(clip(number)) for number in (1, 13, 2)]
    fake.may.set()
    assert (score(asked[0]), score(asked[2])) == (pytest.approx(0.01), pytest.approx(0.02))
    with pytest.raises(RuntimeError, match="stumbles over this one"):
        asked[1].result(WAIT)
    assert score(shared.submit(clip(3))) == pytest.approx(0.03)


def test_what_is_cancelled_is_left_out(batcher: Callable[..., Batcher], fake: FakeRecognizer) -> None:
    shared = batcher()
    fake.may.clear()
    first = shared.submit(clip(1))
    while not fake.entered:
        time.sleep(0.01)
    second, third = shared.submit(clip(2)), shared.submit(clip(3))
    assert second.cancel()
    fake.may.set()
    assert (score(first), score(third)) == (pytest.approx(0.01), pytest.approx(0.03))
    assert fake.batches == [1, 1]


def test_closing_answers_what_was_asked(batcher: Callable[..., Batcher], fake: FakeRecognizer) -> None:
    closing = batcher(wait=LONG)
    fake.may.clear()
    asked = [closing.submit(clip(number)) for number in range(3)]
    with ThreadPoolExecutor(1) as pool:
        closed = pool.submit(closing.close)
        time.sleep(0.05)
        assert not closed.done()
        fake.may.set()
        closed.result(WAIT)
    assert [one.done() for one in asked] == [True] * 3
    assert not closing.alive
    with pytest.raises(RuntimeError, match="closed"):
        closing.submit(clip(1))


def test_many_threads_get_their_own_answers(batcher: Callable[..., Batcher], fake: FakeRecognizer) -> None:
    shared = batcher(most=16)

    def ask(number: int) -> float:
        with shared.coming():
            asked = shared.submit(clip(number % 12))
        return score(asked)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(500)))
    assert answers == pytest.approx([number % 12 / 100 for number in range(500)])
    assert sum(fake.batches) == 500
