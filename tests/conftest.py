"""What all tests share: one thread per process, real speech where it is, and a small corpus of made-up speech."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy and torch are imported: on a busy machine more threads are slower

import pytest
import torch

from serene.corpora import synthetic
from serene.corpora.manifest import Manifest

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder of real speech that `SERENE_SPEECH` names."""
    folder = os.environ.get("SERENE_SPEECH")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SERENE_SPEECH does not name a folder of real speech")
    return Path(folder)


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of made-up speech: six speakers in three sessions, eight half-second clips each, hashes known."""
    folder = tmp_path_factory.mktemp("made-up")
    synthetic.make(folder / "corpus", speakers=6, clips_per_speaker=8, seconds=0.5, shortcut=0.5)
    from serene.corpora.prepare import prepare

    prepare("synthetic", folder / "corpus").write(folder / "made_up.jsonl")
    return folder / "made_up.jsonl"


@pytest.fixture(scope="session")
def made_up_manifest(made_up: Path) -> Manifest:
    """The same, read."""
    return Manifest.read(made_up)


@contextmanager
def quick() -> Iterator[None]:
    """Probe the speakers once a trial, not five times, and lay no embeddings out: both have tests of their own."""
    from serene.experiment import embedding_probes
    from serene.reporting import report_pictures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_probes, "speaker_probe", partial(embedding_probes.speaker_probe, draws=1))
        patch.setattr(report_pictures, "FEWEST_POINTS", 10**6)
        yield


@pytest.fixture
def quick_trials() -> Iterator[None]:
    """Train with `quick` trials for as long as a test runs."""
    with quick():
        yield


@pytest.fixture(scope="session")
def tiny_recipe(made_up: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that trains two of three folds of the made-up speech for two epochs: seconds."""
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(
        f"corpus: {{name: synthetic, path: '{made_up}'}}\n"
        "protocol: {name: speaker_folds, folds: 3, run: [1, 2]}\n"
        "model: {dropout: 0.0}\n"
        "method: {name: baseline}\n"
        "training: {epochs: 2, batch_size: 8, optimizer: adam}\n"
    )
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that recipe's finished run; a test that changes it copies it first."""
    from serene.experiment import recipe
    from serene.experiment.train import train

    with quick():
        return train(recipe.load(tiny_recipe), tmp_path_factory.mktemp("tiny") / "runs").folder


@pytest.fixture(scope="session")
def enrolled_run(tiny_run: Path, tiny_recipe: Path) -> Path:
    """A second run beside it: domain-adversarial, features standardised by the speaker's own clips."""
    from serene.experiment import recipe
    from serene.experiment.train import train

    changes = ["method={name: domain_adversarial}", "features.normalize=speaker"]
    with quick():
        return train(recipe.load(tiny_recipe, changes), tiny_run.parent).folder


@pytest.fixture(scope="module")
def ray(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A Ray of this machine, whose workers can import what lies beside the test; skipped where there is none."""
    from serene import cluster
    from serene.errors import SereneError

    if find_spec("ray") is None:  # looked for, and not imported: `connected` has words to say before that
        pytest.skip("ray is not installed: pip install 'serene-ser[ray]'")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        paths = [str(request.path.parent), str(Path(cluster.__file__).parents[1]), os.environ.get("PYTHONPATH")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        patch.setattr(cluster, "STORE", 100_000_000)
        try:
            connection = stack.enter_context(cluster.connected("ray"))
        except SereneError as error:
            if "timed out during startup" not in str(error):  # after 30 seconds, however busy the machine is
                raise
            pytest.skip(f"Ray does not start: {error}")
        yield connection


@dataclass(frozen=True)
class Outcome:
    """What a command of `serene` ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The standard output, which `--json` makes one JSON object."""
        return json.loads(self.out)


@pytest.fixture
def serene(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process, as `serene word word ...` does in one of its own."""
    from serene import cli

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["serene", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        return Outcome(code, *capsys.readouterr())

    return run
