"""Workers: tasks side by side, what they tell, what they raise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serene import trust
from serene.errors import MissingExtra, SereneError
from serene.experiment.workers import work

TASKS = '''
"""Tasks that worker processes can import."""

import os
import time
from pathlib import Path

from serene.errors import MissingExtra, SereneError
from serene.trust import trusted


def trusting(_number, tell):
    tell(sorted(trusted()))


def note(folder, name, tell):
    (Path(folder) / name).write_text(str(os.getpid()))
    for step in range(300):  # more than what has arrived when the task ends
        tell(name, step)


def fail(folder, name, tell):
    if name == "bad":
        raise SereneError("a mistake in one task")
    if name == "missing":
        raise MissingExtra("tensorboard", "track")
    time.sleep(60)
    (Path(folder) / name).touch()
'''


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[..., None]]:
    import importlib

    (tmp_path / "tasks_of_a_test.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name: getattr(importlib.import_module("tasks_of_a_test"), name)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_task_is_done_and_heard(jobs: int, tasks: Callable, tmp_path: Path) -> None:
    messages: list[tuple[str, int]] = []
    names = ["a", "b", "c"]
    work(tasks("note"), [(tmp_path, name) for name in names], jobs=jobs, on_message=lambda *told: messages.append(told))
    processes = {(tmp_path / name).read_text() for name in names}
    assert (str(os.getpid()) in processes) == (jobs == 1)
    for name in names:
        assert [step for told, step in messages if told == name] == list(range(300))


def test_workers_trust_what_their_parent_does(tasks: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_trusted", {"my_lab:Mine"})
    heard: list[list[str]] = []
    work(tasks("trusting"), [(1,), (2,)], jobs=2, on_message=heard.append)
    assert heard == [["my_lab:Mine"]] * 2


def test_nothing_to_do_starts_nothing() -> None:
    work(lambda: None, [], jobs=4, on_message=lambda: None)


@pytest.mark.parametrize(("name", "kind"), [("bad", SereneError), ("missing", MissingExtra)])
def test_the_first_mistake_ends_all(name: str, kind: type[SereneError], tasks: Callable, tmp_path: Path) -> None:
    with pytest.raises(kind, match=r"a mistake in one task|pip install 'serene-ser\[track\]'"):
        work(tasks("fail"), [(tmp_path, "long"), (tmp_path, name)], jobs=2, on_message=lambda *_: None)
    assert not (tmp_path / "long").exists()
