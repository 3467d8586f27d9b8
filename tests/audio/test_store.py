"""The store computes once, keeps front ends apart, and never shows a file that is half there."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serene.audio import shards
from serene.audio.input_spec import FrontEnd, InputSpec
from serene.audio.mfcc import Mfcc
from serene.audio.shards import Compacted, Shards, compact
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
    assert Shards(tmp_path / "doubler").names() == ["abcd"]
    assert len(files_in(tmp_path)) == 3, "a shard, its index and its lock"


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
    assert [Shards(folder).names() for folder in tmp_path.iterdir()] == [["abcd"]] * 2


def test_a_front_end_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def decode() -> np.ndarray:
        raise SereneError("broken clip")

    with pytest.raises(SereneError, match="broken clip"):
        Store(tmp_path, Doubler()).get("abcd", decode)
    assert files_in(tmp_path) == []


def test_features_that_are_no_numbers_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"no finite numbers, and were not kept: a setting .* or the weights"):
        Store(tmp_path, Doubler()).get("abcd", lambda: np.array([1.0, math.nan], dtype=np.float32))
    assert files_in(tmp_path) == []


def former(folder: Path, values: np.ndarray, name: str = "abcd") -> Path:
    """Keep an array as older versions did."""
    path = folder / name[:2] / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def test_what_an_older_version_kept_is_read(tmp_path: Path) -> None:
    front_end = Doubler()
    former(tmp_path / "doubler", np.full((3, 1), 7.0))
    found = Store(tmp_path, front_end).get("abcd", lambda: pytest.fail("it is stored"))
    assert found[:, 0].tolist() == [7, 7, 7] and isinstance(found, np.memmap)


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
def test_a_damaged_file_of_an_older_version_is_named(
    tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    store = Store(tmp_path, Doubler())
    former(store.folder, 2 * one_to_four()[:, None])
    damage(store.folder / "ab/abcd.npy")
    for _ in range(2):
        with pytest.raises(SereneError, match=rf"ab/abcd\.npy is damaged \(.*({why}).*\); delete it and run again"):
            store.get("abcd", one_to_four)


def test_what_a_power_loss_left_empty_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path, Doubler())
    former(store.folder, one_to_four()[:, None]).write_bytes(b"")
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
        _, errors = writer.communicate(timeout=600)
        assert (writer.returncode, errors) == (0, "")
    assert Shards(tmp_path / "slow").names() == [f"{key:04d}" for key in range(25)]
    assert len([*(tmp_path / "slow").glob("*.shard")]) <= 3, "one for each process"


def filled(folder: Path, names: int = 9) -> Store:
    store = Store(folder, Doubler())
    for n in range(names):
        store.get(f"{n:04d}", lambda n=n: np.full(3 + n, n, np.float32))
    return store


def refuse() -> np.ndarray:
    pytest.fail("it is stored")


def test_a_full_shard_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_CLIPS", 4)
    store = filled(tmp_path)
    assert len([*store.folder.glob("*.shard")]) == 3
    for n in range(9):
        assert Store(tmp_path, Doubler()).get(f"{n:04d}", refuse).ravel().tolist() == [2 * n] * (3 + n)


@pytest.mark.parametrize("file", ["shard", "index"])
def test_of_a_shard_that_is_cut_the_lost_clips_are_computed_again_and_no_other(tmp_path: Path, file: str) -> None:
    (path,) = filled(tmp_path).folder.glob(f"*.{file}")
    path.write_bytes(path.read_bytes()[:-5])
    front_end = Doubler()
    store = Store(tmp_path, front_end)
    for n in range(9):
        found = store.get(f"{n:04d}", lambda n=n: np.full(3 + n, n, np.float32))
        assert found.ravel().tolist() == [2 * n] * (3 + n)
    assert front_end.asked == [3 + 8]


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    (path,) = filled(tmp_path, 1).folder.glob("*.shard")
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(SereneError, match=r"\.shard is damaged \(it is not as it was written\); delete it"):
        Store(tmp_path, Doubler()).get("0000", refuse)
    path.unlink()
    assert filled(tmp_path, 1).front_end.asked == [3]  # pyright: ignore[reportAttributeAccessIssue]


def test_compacting_puts_all_shards_and_older_files_into_one_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_CLIPS", 2)
    reader = filled(tmp_path)
    reader.get("0000", refuse)
    former(tmp_path / "doubler", np.full((2, 1), 5.0))
    damaged = former(tmp_path / "doubler", np.zeros((2, 1)), "ffff")
    damaged.write_bytes(b"no array")
    monkeypatch.setattr(shards, "MOST_CLIPS", 4096)
    with pytest.raises(SereneError, match=r"Another process is writing .*doubler; wait until it has finished"):
        compact(tmp_path)
    reader.shards = Shards(reader.folder)  # it has only read
    reader.get("0003", refuse)
    assert compact(tmp_path) == Compacted(10, 11, 2, 0)
    assert damaged.exists(), "who uses it is told"
    assert len([*(tmp_path / "doubler").glob("*.shard")]) == 1
    assert not (tmp_path / "doubler/ab").exists()
    for store in (reader, Store(tmp_path, Doubler())):
        assert store.get("abcd", refuse).ravel().tolist() == [5, 5]
        assert store.get("0008", refuse).ravel().tolist() == [16] * 11
    with pytest.raises(SereneError, match="There is no folder"):
        compact(tmp_path / "nowhere")


def test_compacting_says_what_is_damaged_and_keeps_the_rest(tmp_path: Path, serene: Callable[..., Any]) -> None:
    (path,) = filled(tmp_path).folder.glob("*.shard")
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    ended = serene("store", "compact", tmp_path)
    assert "8 arrays: 2 files before, 2 now." in ended.out
    assert "Damaged, left out, and computed again when needed: 1." in ended.out
    store = filled(tmp_path)
    assert store.front_end.asked == [3 + 8]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("file", ["shard", "index"])
def test_compacting_counts_what_was_cut_off(file: str, tmp_path: Path) -> None:
    (path,) = filled(tmp_path).folder.glob(f"*.{file}")
    path.write_bytes(path.read_bytes()[:-200] if file == "shard" else b"\xff" * path.stat().st_size)
    found = compact(tmp_path)
    assert (found.arrays, found.arrays + found.damaged) == ({"shard": 7, "index": 0}[file], 9)


def test_compacting_touches_nothing_that_is_not_a_stores(tmp_path: Path) -> None:
    mine = [tmp_path / "feats" / name for name in ("01/a.npy", "01/another.npy", f"ab/{'ab' * 20}.npy", "abc/abcd.npy")]
    for number, path in enumerate(mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full(3, number))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SereneError, match="holds no stored arrays; the store of a folder of runs was expected"):
        compact(tmp_path)
    filled(tmp_path)
    compact(tmp_path)
    assert {*before} <= {*tmp_path.rglob("*")}
    assert not (tmp_path / "feats" / shards.LOCK).exists()


def test_an_index_that_a_full_disk_cut_takes_further_arrays(tmp_path: Path) -> None:
    store = filled(tmp_path, 2)
    (index,) = store.folder.glob("*.index")
    index.write_bytes(index.read_bytes() + b"half of an entry")
    store.get("abcd", lambda: np.full(3, 7, np.float32))
    assert Store(tmp_path, Doubler()).get("abcd", refuse).ravel().tolist() == [14] * 3


def test_what_is_compacted_while_it_is_looked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    read = np.fromfile

    def compacted_first(*given: Any, **more: Any) -> np.ndarray:
        monkeypatch.setattr(np, "fromfile", read)
        compact(tmp_path)
        return read(*given, **more)

    monkeypatch.setattr(np, "fromfile", compacted_first)
    assert Store(tmp_path, Doubler()).get("0003", refuse).ravel().tolist() == [6] * 6


def test_many_arrays_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_CLIPS", 5)
    filled(tmp_path, 40)
    store = Store(tmp_path, Doubler())
    assert store.shards.get("another") is None
    assert [int(store.get(f"{n:04d}", refuse)[0, 0]) for n in range(40)] == [2 * n for n in range(40)]
