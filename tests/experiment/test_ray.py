"""Trials on a Ray of two workers, one of which is killed: the same bytes as here, and every mistake in one sentence."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import quick_trials

from serene import cluster
from serene.corpora.manifest import MANIFESTS, Manifest
from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.plan import files_of, make_plan
from serene.experiment.run import Run

Serene = Callable[..., Any]  # the fixture of conftest.py: words -> exit code, output, errors
TRAINED = ("predictions.csv", "model/model.safetensors", "probes.json", "steps.jsonl")


@pytest.mark.slow
def test_a_lost_workers_trial_runs_again_and_ends_with_the_same_bytes(
    ray: Any, serene: Serene, tiny_run: Path, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serene.experiment.train.train_trial", quick_trials.train_trial_lost_once)
    ended = serene("train", tiny_recipe, "--on", "ray", "-o", tmp_path / "runs", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["folder"] == str(tmp_path / "runs" / tiny_run.name)  # and nothing else was printed
    assert "worker" not in ended.err
    run = Run.open(ended.json["folder"])
    assert (run.folder / "killed").exists()
    assert (run.folder / "report.json").exists()
    for one, other in zip(Run.open(tiny_run).finished(), run.finished(), strict=True):
        for name in TRAINED:
            assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("_versions", r"The Ray worker on \S+ has serene-ser \S+, and this machine 99; install the same on both\."),
        ("_digest", r"The Ray worker on \S+ has another \S+ than this machine: --on ray needs a file system that all"),
    ],
)
def test_a_worker_that_differs_is_refused_and_nothing_is_trained(
    changed: str,
    said: str,
    ray: Any,
    serene: Serene,
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"_versions": dict.fromkeys(cluster.PACKAGES, "99"), "_digest": "of another manifest"}[changed]
    monkeypatch.setattr(cluster, changed, lambda *_: found)
    ended = serene("train", tiny_recipe, "--on", "ray", "-o", tmp_path / "runs")
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err
    with pytest.raises(SereneError, match=said):
        raise SereneError(" ".join(ended.err.partition("error: ")[2].split()))
    assert not list(tmp_path.rglob("seed-*"))


@pytest.mark.slow
def test_a_task_whose_workers_are_lost_again_and_again_is_given_up(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOST", 0)
    with pytest.raises(SereneError, match="A part of the work has lost its Ray worker 1 times, perhaps"):
        cluster.work(quick_trials.lost, [(1,)], on="ray", files=(), on_message=lambda *_: None)


def test_what_a_worker_does_not_see_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text("{}\n")
    here = cluster.Conditions.here([manifest])
    here.meet()
    manifest.write_text("{ }\n")
    with pytest.raises(SereneError, match=r"has another \S+clips\.jsonl than this machine: --on ray needs a file sys"):
        here.meet()
    manifest.unlink()
    with pytest.raises(SereneError, match=r"does not see \S+clips\.jsonl: --on ray needs a file system"):
        here.meet()
    gone = cluster.Conditions(tmp_path / "gone", here.versions, {}, frozenset())
    with pytest.raises(SereneError, match=r"does not see \S+gone: --on ray needs a file system"):
        gone.meet()


@pytest.mark.parametrize("end", MANIFESTS)
def test_workers_compare_the_manifest_that_is_read(end: str, tiny_recipe: Path, made_up: Path, tmp_path: Path) -> None:
    manifest = tmp_path / f"clips{end}"
    Manifest.read(made_up).write(manifest)
    plan = make_plan(recipe.load(tiny_recipe, [f"corpus.path={manifest}"]), tmp_path / "runs")
    assert files_of(plan) == [plan.run.folder / "corpus.json", manifest]


@pytest.mark.parametrize("on", ["spark", "rays://a:1", "ray://", "ray://head", "ray://:1", "ray:a", ""])
def test_what_is_no_address_is_refused(on: str, serene: Serene, tiny_recipe: Path, tmp_path: Path) -> None:
    ended = serene("train", tiny_recipe, "--on", on, "-o", tmp_path / "runs")
    said = f"--on is {on}; ray, or ray://HOST:PORT with the port of its head, was expected."
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {said}\n")
    assert not (tmp_path / "runs").exists()


def test_an_address_that_does_not_answer_is_named(serene: Serene, tiny_recipe: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{taken.getsockname()[1]}"
        ended = serene("train", tiny_recipe, "--on", address, "-o", tmp_path / "runs")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: No Ray answers at {address} (Connection refused); give the HOST:PORT that ")
    assert not (tmp_path / "runs").exists()


def test_an_address_of_the_environment_that_does_not_answer_is_named(
    serene: Serene, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    ended = serene("train", tiny_recipe, "--on", "ray", "-o", tmp_path / "runs")
    assert (ended.code, ended.out) == (2, "")
    assert "No Ray answers at 127.0.0.1:1, which RAY_ADDRESS names (" in ended.err


def test_without_ray_the_extra_is_named(
    serene: Serene, tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = serene("train", tiny_recipe, "--on", "ray", "-o", tmp_path / "runs")
    said = "ray is not installed. Install it with: pip install 'serene-ser[ray]'"
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {said}\n")


@pytest.mark.parametrize("option", [("--trial", "1/2"), ("--print-trials",)])
def test_ray_and_an_array_job_are_two_ways(option: tuple[str, ...], serene: Serene, tiny_recipe: Path) -> None:
    ended = serene("train", tiny_recipe, "--on", "ray", *option)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: --on has Ray share the trials out: leave --trial and --print-trials out.\n"
