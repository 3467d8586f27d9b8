"""What all tests share: one thread per process, real speech where it is, and a small corpus of made-up speech."""

from __future__ import annotations

import os
from pathlib import Path

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
