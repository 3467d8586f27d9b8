"""The store computes once, keeps front ends apart, and never shows a file that is half there."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from serene.audio.input_spec import FrontEnd, InputSpec
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.errors import SereneError


@dataclass
class Doubler(FrontEnd):
    """Counts how often it is asked."""

    identity = "doubler"
    stored: bool = True
    asked: list[int] = field(default_factory=list)

    @property
    def declared(self) -> InputSpec:  # pyright: ignore[reportIncompatibleVariableOverride]
        return InputSpec(width=1, rate=16_000.0, stored=self.stored)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        self.asked.append(len(samples))
        return 2 * samples[:, None]


def one_to_four() -> np.ndarray:
    return np.arange(1.0, 5.0, dtype=np.float32)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_array_is_computed_once_and_decoded_only_then(tmp_path: Path) -> None:
    front_end, decoded = Doubler(), []

    def decode() -> np.ndarray:
        decoded.append("once")
        return one_to_four()

    arrays = [Store(tmp_path, front_end).get("abcd", decode) for _ in range(3)]
    assert (front_end.asked, decoded) == ([4], ["once"])
    assert all(array[:, 0].tolist() == [2, 4, 6, 8] for array in arrays)
    assert files_in(tmp_path) == ["doubler/ab/abcd.npy"]


def test_what_is_given_is_mapped_from_disk_and_cannot_be_changed(tmp_path: Path) -> None:
    array = Store(tmp_path, Doubler()).get("abcd", one_to_four)
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_what_is_not_worth_keeping_is_made_anew_each_time(tmp_path: Path) -> None:
    front_end = Doubler(stored=False)
    arrays = [Store(tmp_path, front_end).get("abcd", one_to_four) for _ in range(2)]
    assert front_end.asked == [4, 4]
    assert all(array[:, 0].tolist() == [2, 4, 6, 8] for array in arrays)
    assert files_in(tmp_path) == []


def test_two_front_ends_never_mix(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(scale=0.1, size=1600).astype(np.float32)
    for front_end in (Mfcc(), Mfcc(deltas=1), Mfcc(), Mfcc(deltas=1)):
        assert np.array_equal(Store(tmp_path, front_end).get("abcd", lambda: samples), front_end(samples))
    assert len(files_in(tmp_path)) == 2


def test_a_front_end_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def decode() -> np.ndarray:
        raise SereneError("broken clip")

    with pytest.raises(SereneError, match="broken clip"):
        Store(tmp_path, Doubler()).get("abcd", decode)
    assert files_in(tmp_path) == []


def array(values: object) -> Callable[[Path], object]:
    return lambda path: np.save(path, np.asarray(values))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "mmap|cannot reshape|buffer"),
        (lambda path: path.write_bytes(b"not an array"), "pickle|magic"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "it is a pipe or device"),
        (array([[1.0], [math.nan]]), "it holds what is no finite number"),
        (array([[1.0], [math.inf]]), "it holds what is no finite number"),
        (array([[1.0, 2.0]]), r"it holds float64 \(1, 2\), and \(frame, 1\) was expected"),
        (array([1.0, 2.0]), r"it holds float64 \(2,\)"),
        (array(np.zeros((0, 1))), r"it holds float64 \(0, 1\)"),
        (array([["words"]]), "it holds <U5"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[Path], object], why: str) -> None:
    Store(tmp_path, Doubler()).get("abcd", one_to_four)
    store = Store(tmp_path, Doubler())
    damage(store.folder / "ab/abcd.npy")
    for _ in range(2):
        with pytest.raises(SereneError, match=rf"ab/abcd\.npy is damaged \(.*({why}).*\); delete it and run again"):
            store.get("abcd", one_to_four)


def test_what_a_power_loss_left_empty_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path, Doubler())
    store.get("abcd", one_to_four)
    (store.folder / "ab/abcd.npy").write_bytes(b"")
    assert store.get("abcd", one_to_four)[:, 0].tolist() == [2, 4, 6, 8]


WRITER = """
import sys, time
import numpy as np
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.audio.store import Store

class Slow(FrontEnd):
    identity, declared = "slow", InputSpec(width=50, rate=100.0)
    def __call__(self, samples):
        return np.full((20_000, 50), samples[0], dtype=np.float32)

store = Store(sys.argv[1], Slow())
print("ready", flush=True)
sys.stdin.readline()
for key in range(25):
    array = store.get(f"{key:04d}", lambda: np.array([key]))
    assert array.shape == (20_000, 50) and (np.asarray(array) == key).all(), key
"""


def test_several_processes_fill_one_store_and_see_whole_files_only(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, "")
    assert files_in(tmp_path) == [f"slow/00/{key:04d}.npy" for key in range(25)]
