"""Many sounds answered on a Ray of this machine: the bytes of the run without it, whoever is lost on the way."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_model import spoken, write

# Ray Data says so of defaults of its own
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
Serene = Callable[..., Any]  # the fixture of conftest.py: words -> exit code, output, errors
SMALL = ("--batch-size", "2")  # and so eight to a block


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty files of several lengths below the current folder, one silent and one broken."""
    monkeypatch.chdir(tmp_path)
    for number in range(28):
        write(tmp_path / "calls" / f"{number:02}.wav", spoken(0.6 + 0.1 * (number % 7), number))
    write(tmp_path / "calls" / "28.wav", np.zeros(16_000))
    (tmp_path / "calls" / "broken.wav").write_bytes(b"these are words")
    return Path("calls")


@pytest.mark.slow
def test_a_lost_actors_sounds_are_answered_again_with_the_same_bytes(
    ray: Any, calls: Path, serene: Serene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lost_answerer import LostOnce

    local = serene("predict", calls, *SMALL, "-o", "local.csv", "--json").json
    monkeypatch.setattr("serene.inference.on_ray.Answerer", LostOnce)
    ended = serene("predict", calls, *SMALL, "-o", "ray.csv", "--json", "--on", "ray")
    assert ended.code == 0, ended.err
    assert ended.json == local | {"output": "ray.csv"}
    assert "Dataset" not in ended.err
    assert "worker" not in ended.err
    assert Path("killed").exists()
    assert Path("ray.csv").read_bytes() == Path("local.csv").read_bytes()
    assert not Path("ray.csv.partial").exists()


@pytest.mark.slow
def test_a_manifest_is_gone_on_with_where_a_run_on_this_machine_stopped(
    ray: Any, calls: Path, serene: Serene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serene.inference import predict

    rows = [{"id": f"clip {path.stem}", "audio": str(path), "speaker": "a"} for path in sorted(calls.glob("*.wav"))]
    Path("clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    local = serene("predict", "clips.jsonl", *SMALL, "-o", "local.jsonl", "--json").json
    added, add = [], predict.Partial.add

    def stop(self: Any, few: Any) -> None:
        add(self, few)
        added.append(few)
        if len(added) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict.Partial, "add", stop)
        assert serene("predict", "clips.jsonl", *SMALL, "-o", "ray.jsonl").code == 130
    ended = serene("predict", "clips.jsonl", *SMALL, "-o", "ray.jsonl", "--json", "--on", "ray")
    assert ended.code == 0, ended.err
    assert ended.json == local | {"output": "ray.jsonl", "resumed": 16}
    assert Path("ray.jsonl").read_bytes() == Path("local.jsonl").read_bytes()


@pytest.mark.slow
def test_a_worker_with_another_model_is_refused(
    ray: Any, calls: Path, serene: Serene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serene.inference.on_ray.made_by", lambda _: {"model": "another"})
    ended = serene("predict", calls, "-o", "ray.csv", "--on", "ray")
    assert (ended.code, ended.out) == (2, "")
    assert "error: A Ray worker reads another model at" in ended.err
    assert "Traceback" not in ended.err
    assert not Path("ray.csv").exists()


def test_an_address_that_does_not_answer_is_named_before_anything_is_written(calls: Path, serene: Serene) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{taken.getsockname()[1]}"
        ended = serene("predict", calls, "-o", "ray.csv", "--on", address)
    assert (ended.code, ended.out) == (2, "")
    assert f"error: No Ray answers at {address} (Connection refused); give the HOST:PORT that" in ended.err
    assert not list(Path().glob("ray.csv*"))


def test_a_timeline_is_made_on_this_machine(calls: Path, serene: Serene) -> None:
    ended = serene("predict", calls, "--timeline", "-o", "ray.csv", "--on", "ray")
    assert (ended.code, ended.out) == (2, "")
    assert "error: --on is for answers of one sound each: leave it out with --timeline." in ended.err
