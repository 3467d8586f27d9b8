"""The picture of embeddings: whose clips it lays out, and what is said where validation is one speaker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serene.corpora.manifest import Manifest
from serene.errors import SereneError
from serene.experiment.run import Run
from serene.published import Picture
from serene.reporting import answer_plots
from serene.reproduce import pictures
from serene.reproduce.measures import Trained
from serene.reproduce.pictures import draw

PICTURE = Picture(kind="embeddings")


@pytest.fixture
def trained(tiny_run: Path) -> Trained:
    run = Run.open(tiny_run)
    return Trained(run, run.recipe)


def test_two_systems_are_drawn_of_validation_clips_and_of_training_speakers(
    trained: Trained, made_up_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, answer_plots.Parts]] = []
    laid_out = answer_plots.tsne_of_parts
    monkeypatch.setattr(answer_plots, "tsne_of_parts", lambda systems: seen.append(systems) or laid_out(systems))
    path, said = draw(PICTURE, {}, {"SER-only": trained, "DAT": trained}, tmp_path / "figure.png")
    assert path == tmp_path / "figure.png"
    with Image.open(path) as picture:
        assert picture.size[0] == pytest.approx(picture.size[1], rel=0.1)  # two beside each other, two rows
    (systems,) = seen
    parts, trial = systems["DAT"], trained.trials[0]
    clips = {u.id: u for u in made_up_manifest}
    kept = trial.embeddings("validation")
    assert kept is not None
    assert list(parts.emotions) == [clips[name].emotion for name in kept[0]]
    assert list(parts.validated) == [clips[name].speaker for name in kept[0]]
    assert np.array_equal(parts.validation, kept[1])
    assert not set(parts.trained) & set(parts.validated)
    two = answer_plots.some_speakers(parts.trained)
    assert said == [
        "The picture shows the first run's validation clips by emotion, and clips of 2 training speakers "
        f"({two[0]}, {two[1]}) by speaker, each layout by t-SNE."
    ]


def test_one_validation_speaker_is_said_to_be_one(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = np.random.default_rng(0)
    parts = answer_plots.Parts(
        validation=draws.normal(size=(12, 3)),
        emotions=["anger", "sadness"] * 6,
        validated=["anna"] * 12,
        training=draws.normal(size=(30, 3)),
        trained=["bob", "carl", "dora", "emil", "fay"] * 6,
    )
    monkeypatch.setattr(pictures, "_embeddings", lambda _: parts)
    _, said = draw(PICTURE, {}, {"SER-only": trained}, tmp_path / "figure.png")
    assert "clips of 4 training speakers" in said[0]
    assert said[1].startswith("Validation is one speaker, anna: the picture by emotion is of nobody else")


def test_embeddings_that_are_gone_are_named(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(trained.trials[0]), "embeddings", lambda *_: None)
    with pytest.raises(SereneError, match="its embeddings are gone"):
        draw(PICTURE, {}, {"SER-only": trained}, tmp_path / "figure.png")
    assert draw(PICTURE, {}, {}, tmp_path / "figure.png") == (None, [])
