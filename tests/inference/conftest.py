"""What several files share: an untrained model, a recognizer that scores by `Means`, and a sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_model import make_folder, recognizer_of, spoken, write

from serene.inference.recognizer import Recognizer


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def recognizer(folder: Path) -> Recognizer:
    return recognizer_of(folder, batch_size=2)


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """Speech for 6 s, silence for 6 s, speech for 4.4 s."""
    return write(tmp_path / "call.wav", np.concatenate([spoken(6.0, 1), np.zeros(96_000), spoken(4.4, 2)]))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Seven files: four sounds of several lengths and kinds, silence, something broken, and something else."""
    top = tmp_path / "calls"
    write(top / "b" / "one.wav", spoken(1.0, 1))
    write(top / "b" / "two.flac", spoken(2.5, 2, 44_100), 44_100)
    write(top / "a.OGG", np.stack([spoken(0.7, 3, 48_000)] * 2, axis=1), 48_000, format="OGG")
    write(top / "c.wav", spoken(4.0, 4, 8_000), 8_000)
    write(top / "silent.wav", np.zeros(16_000))
    (top / "broken.wav").write_bytes(b"these are words")
    (top / "notes.txt").write_text("nothing")
    return top
