"""A model folder is JSON and safetensors, written whole, and a folder that does not fit is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from serene.errors import SereneError
from serene.models.model import EmotionModel

EMOTIONS = ("neutral", "anger", "joy")  # not in alphabetical order: the order of the scores is the model's own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    EmotionModel(EMOTIONS, 39, normalize="utterance").save(tmp_path / "model", {"front_end": "mfcc", "deltas": 2})
    return tmp_path / "model"


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_the_configuration_says_what_is_inside(folder: Path) -> None:
    assert json.loads((folder / "config.json").read_text()) == {
        "format": 1,
        "model_type": "serene",
        "emotions": ["neutral", "anger", "joy"],
        "id2label": {"0": "neutral", "1": "anger", "2": "joy"},
        "encoder": "tdnn_bilstm",
        "encoder_settings": {"size": "iemocap", "dropout": 0.5},
        "normalize": "utterance",
        "enrolment_prior": 0.0,
        "width": 39,
        "speakers": [],
        "parts": {
            "pooling": "statistics",
            "embedding_norm": "none",
            "embedding_prior": 5.0,
            "speaker_whitening": 0.0,
            "projector": "none",
            "hidden": None,
            "head": "relu_norm_dropout",
            "head_dropout": 0.5,
            "speaker_embedding": "none",
            "speaker_width": 64,
            "unseen_speakers": "mean",
            "similar_speakers": 5,
        },
        "embedding_width": 512,
        "dimensions": False,
        "temperature": 1.0,
    }
    assert json.loads((folder / "preprocessor_config.json").read_text()) == {"front_end": "mfcc", "deltas": 2}


def test_encoder_settings_come_back(tmp_path: Path) -> None:
    EmotionModel(EMOTIONS, 39, encoder_settings={"size": "mandarin"}).save(tmp_path / "model", {})
    assert EmotionModel.load(tmp_path / "model").embedding_width == 1024


def test_saving_again_replaces_the_folder(folder: Path) -> None:
    (folder / "stray.bin").write_bytes(b"")
    EmotionModel(["yes", "no"], 39).save(folder, {})
    assert EmotionModel.load(folder).task.names == ("yes", "no")
    assert not (folder / "stray.bin").exists()


def test_a_failed_save_leaves_the_old_folder_and_no_temporary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(SereneError, match=r"Cannot write .*model: No space left on device"):
        EmotionModel(["yes", "no"], 39).save(folder, {})
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert EmotionModel.load(folder).task.names == EMOTIONS


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", [None, lambda whole: whole[:50], lambda whole: b"", lambda whole: b"\x80" + whole])
def test_a_missing_or_damaged_file_is_said(folder: Path, name: str, damage) -> None:
    path = folder / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SereneError, match=r"model is not a readable model folder: "):
        EmotionModel.load(folder)


def test_a_folder_of_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match="nowhere is not a readable model folder"):
        EmotionModel.load(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"format": 1, "emotions": ["a", "b"]}', '{"format": "new"}'])
def test_a_configuration_of_something_else_is_said(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(SereneError, match="model is not a readable model folder"):
        EmotionModel.load(folder)


def test_what_a_newer_serene_wrote_is_refused(folder: Path) -> None:
    edit(folder, lambda config: config.update(format=2))
    (folder / "model.safetensors").unlink()  # it may keep its weights otherwise
    with pytest.raises(SereneError, match=r"written by a newer serene \(format 2\); update serene"):
        EmotionModel.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emotions": ["a", "b"]}, "weights in .*model do not fit its config.json"),
        ({"encoder_settings": {"size": "mandarin"}}, "weights in .*model do not fit its config.json"),
        ({"encoder_settings": {"colour": "blue"}}, "is not a readable model folder"),
        ({"parts": {"colour": "blue"}}, "is not a readable model folder"),
        ({"parts": {"pooling": "median"}}, "is not a readable model folder"),
        ({"parts": {"pooling": "mean"}}, "weights in .*model do not fit its config.json"),
        ({"parts": {"head_dropout": 1.5}}, "model.head_dropout is 1.5; a probability below 1 was expected."),
        (
            {"encoder": "residual_tdnn", "encoder_settings": {"channels": 600_000}},
            "is not a readable model folder: .*allocate",
        ),
        ({"encoder": "tdnn_bistlm"}, "Unknown encoder 'tdnn_bistlm'. Did you mean 'tdnn_bilstm'?"),
    ],
)
def test_a_configuration_that_does_not_fit_is_said(folder: Path, change: dict[str, Any], message: str) -> None:
    edit(folder, lambda config: config.update(change))
    with pytest.raises(SereneError, match=message):
        EmotionModel.load(folder)
