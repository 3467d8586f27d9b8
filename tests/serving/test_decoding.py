"""Decoding processes: what a file does to one costs that file's answer, and nothing else."""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_recognizer import FakeExtractor, FatalExtractor

from serene.errors import AudioError
from serene.inference.features import Clip
from serene.serving.decoding import STARTS, DecoderLost, Decoders, NoDecoder, packed, unpacked

WAIT = 60  # seconds; only a test that fails waits so long


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """One process at work, so that whatever follows a lost one waits for the next."""
    running = Decoders(FakeExtractor(), processes=1, seconds=3.0)
    yield running
    running.close()


def process_of(decoders: Decoders) -> int:
    return int(decoders.submit(b"process").result(WAIT).duration)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_clips_travel_whole_without_pickle() -> None:
    rng = np.random.default_rng(0)
    clip = Clip(1.25, rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=5).astype(np.float32))
    came = unpacked(packed(clip))
    assert (came.duration, came.note) == (1.25, None)
    assert came.features is not None and came.cepstra is not None
    assert came.features.dtype == came.cepstra.dtype == np.float32
    np.testing.assert_array_equal(came.features, clip.features)
    np.testing.assert_array_equal(came.cepstra, clip.cepstra)
    empty = unpacked(packed(Clip(0.1, note="too short")))
    assert (empty.duration, empty.features, empty.cepstra, empty.note) == (0.1, None, None, "too short")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"cos\nsystem\n(S'true'\ntR.",
        b'{"shapes": {}}\n',
        b'{"duration": 1, "shapes": {"features": [3, 2]}}\n1234',
        b'{"duration": 1, "shapes": {"features": [-1, -4]}}\n' + bytes(16),
        b'{"duration": 1, "shapes": {}}\n1234',
        b'{"duration": 1, "shapes": {"evil": [1]}}\n1234',
        b"[]\n",
    ],
)
def test_what_is_no_clip_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        unpacked(content)


def test_a_file_becomes_a_clip_in_a_process_of_its_own_without_torch(decoders: Decoders) -> None:
    clip = decoders.submit(b"2.5").result(WAIT)
    assert clip.duration == 2.5
    assert clip.features is not None and clip.features.tolist() == [[2.5, 2.5]] * 3
    assert process_of(decoders) != os.getpid()
    with pytest.raises(AudioError) as heavy:
        decoders.submit(b"modules").result(WAIT)
    assert "torch" not in str(heavy.value) and "fastapi" not in str(heavy.value)


def test_what_is_no_sound_says_so_and_keeps_its_process(decoders: Decoders) -> None:
    before = process_of(decoders)
    with pytest.raises(AudioError, match=r"^the sound cannot be read as audio$"):
        decoders.submit(b"not a sound").result(WAIT)
    with pytest.raises(AudioError, match=r"its decoder failed \(ZeroDivisionError\)"):
        decoders.submit(b"stumble").result(WAIT)
    assert process_of(decoders) == before


@pytest.mark.parametrize(
    ("word", "how", "said"),
    [
        (b"stop", "died", "the sound made its decoder stop"),
        (b"fault", "died", "the sound made its decoder stop"),
        (b"nonsense", "died", "made its decoder answer nonsense"),
        (b"hang", "hung", "was not decoded within 3 s, and its decoder was stopped"),
    ],
)
def test_a_hostile_file_costs_one_process_and_the_next_file_has_another(
    decoders: Decoders, word: bytes, how: str, said: str
) -> None:
    before = process_of(decoders)
    hostile, patient = decoders.submit(word), decoders.submit(b"7")
    with pytest.raises(DecoderLost, match=said) as lost:
        hostile.result(WAIT)
    assert lost.value.how == how
    assert patient.result(WAIT).duration == 7
    assert process_of(decoders) != before
    assert not is_alive(before)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux only")
def test_a_file_that_asks_for_too_much_memory_is_refused(decoders: Decoders) -> None:
    before = process_of(decoders)
    with pytest.raises(AudioError, match="MemoryError"):
        decoders.submit(b"memory").result(WAIT)
    assert process_of(decoders) == before


def test_a_process_that_ends_while_idle_is_not_the_next_files_fault(decoders: Decoders) -> None:
    process = process_of(decoders)
    os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # on a busy machine its thread may have noticed
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has noticed
    assert decoders.submit(b"1").result(WAIT).duration == 1


def test_a_process_that_is_killed_while_it_starts_is_replaced_for_the_same_file(tmp_path: Path) -> None:
    decoders = Decoders(FatalExtractor(starts=str(tmp_path / "starts"), fatal=STARTS - 1), processes=1)
    try:
        assert decoders.submit(b"7").result(WAIT).duration == 7
    finally:
        decoders.close()


def test_signals_of_the_terminal_and_of_the_system_leave_a_process_at_work(decoders: Decoders) -> None:
    before = process_of(decoders)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(before, number)
    assert process_of(decoders) == before


def test_signals_cannot_end_a_process_that_is_only_starting() -> None:
    before, others = signal.pthread_sigmask(signal.SIG_BLOCK, []), set(multiprocessing.active_children())
    decoders = Decoders(FakeExtractor(), processes=1)
    try:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        (process,) = (child.pid for child in set(multiprocessing.active_children()) - others)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(process, number)
        assert process_of(decoders) == process
    finally:
        decoders.close()


def test_what_is_cancelled_is_never_begun(decoders: Decoders) -> None:
    before = process_of(decoders)
    first, second = decoders.submit(b"slow0.3"), decoders.submit(b"stop")
    assert second.cancel()
    assert first.result(WAIT).duration == 1
    assert process_of(decoders) == before


def test_closing_ends_the_processes_at_once_and_cancels_what_waits() -> None:
    decoders = Decoders(FakeExtractor(), processes=1, seconds=600)
    process = process_of(decoders)
    hanging, waiting = decoders.submit(b"hang"), decoders.submit(b"1")
    time.sleep(0.1)
    decoders.close()
    decoders.close()
    assert not is_alive(process)
    assert isinstance(hanging.exception(WAIT), DecoderLost)
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        decoders.submit(b"1")


def test_an_extractor_that_no_process_can_load_fails_its_file_and_not_its_thread() -> None:
    decoders = Decoders(Unloadable(), processes=1)
    try:
        for _ in range(2):
            with pytest.raises(NoDecoder, match="No decoder would start"):
                decoders.submit(b"1").result(WAIT)
    finally:
        decoders.close()


class Unloadable:
    """Is made in the process, and fails there."""

    def __call__(self, sound: bytes) -> Clip:
        raise AssertionError

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (4,)


def test_numbers_that_no_json_has_are_carried(decoders: Decoders) -> None:
    assert math.isnan(unpacked(packed(Clip(math.nan))).duration)
    assert json.loads(packed(Clip(2.0)))["duration"] == 2.0
    assert decoders.submit(b"quiet").result(WAIT).note == "silence"
