"""A model folder is found, read and checked before any weight is: what is odd is said in one message."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tiny_onnx import WIDTH, write_folder

from serene.errors import MissingExtra, SereneError
from serene.inference import folder as module
from serene.inference.folder import ModelFolder
from serene.models import weights


def test_a_folder_is_read_with_what_it_says(tmp_path: Path) -> None:
    found = ModelFolder.find(write_folder(tmp_path / "mine", speaker=True, temperature=1.5))
    assert (found.name, found.path) == ("mine", tmp_path / "mine")
    assert found.task.names == ("anger", "happiness", "neutral")
    assert (found.task.gives, found.temperature) == ("probabilities", 1.5)
    assert (found.needs, found.widths) == ({"features"}, {"features": WIDTH})
    assert found.graph("fp32") == tmp_path / "mine" / "model.onnx"
    assert found.graph("int8") is None
    assert found.metrics is None


def test_folders_of_before_temperatures_have_one(tmp_path: Path) -> None:
    assert ModelFolder.find(write_folder(tmp_path / "m")).temperature == 1.0


def test_without_a_name_the_bundled_model_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUNDLED", tmp_path / "bundled")
    with pytest.raises(SereneError, match="This installation has no bundled model; name one: a model folder or a hub"):
        ModelFolder.find()
    write_folder(tmp_path / "bundled")
    assert ModelFolder.find().name == "bundled"


def test_the_identity_is_of_weights_and_front_end(tmp_path: Path) -> None:
    one = ModelFolder.find(write_folder(tmp_path / "one"))
    other = write_folder(tmp_path / "other", graph=False, temperature=2.0)
    (other / "README.md").write_text("a card")
    assert ModelFolder.find(other).identity == one.identity
    (other / "model.safetensors").write_bytes(b"others")
    assert ModelFolder.find(other).identity != one.identity
    (other / "model.safetensors").unlink()
    with pytest.raises(SereneError, match=r"Cannot read .*model\.safetensors, which tells whose profile is whose"):
        _ = ModelFolder.find(other).identity


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "was written by a newer serene (format 2); update serene"),
        ({"format": "x"}, "its config.json is odd (the format is 'x')"),
        ({"format": None}, "the format is None"),
        ({"emotions": ["fear", "fear"]}, "an emotion is there twice: fear, fear"),
        ({"embedding_width": "x"}, "the embedding_width is 'x'"),
        ({"model_type": "hubert"}, "holds a model of another project (model_type 'hubert')"),
        ({"emotions": []}, "its config.json is odd (emotions are [])"),
        ({"emotions": "anger"}, "emotions are 'anger'"),
        ({"temperature": 0}, "the temperature is 0.0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"temperature": 1e-300}, "the temperature is 1e-300, and 0.001 to 1000.0 was expected"),
        ({"temperature": 1e300}, "the temperature is 1e+300"),
        ({"temperature": "warm"}, "its config.json is odd"),
        ({"width": 0}, "the width is 0"),
        ({"parts": {"pool": 1}}, "its config.json is odd"),
        ({"parts": 3}, "its config.json is odd"),
    ],
)
def test_what_a_config_cannot_say(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_folder(tmp_path / "m", **change)
    with pytest.raises(SereneError) as raised:
        ModelFolder.find(tmp_path / "m")
    assert f"{tmp_path / 'm'} " in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize("missing", ["format", "emotions", "width", "parts", "normalize", "dimensions"])
def test_what_a_config_has_to_say(tmp_path: Path, missing: str) -> None:
    path = write_folder(tmp_path / "m") / "config.json"
    config = json.loads(path.read_text())
    del config[missing]
    path.write_text(json.dumps(config))
    with pytest.raises(SereneError, match=rf"its config\.json is odd .*{missing}"):
        ModelFolder.find(tmp_path / "m")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", [None, "", "{", "[1, 2]", "\udcff", "[" * 100_000])
def test_files_that_are_not_json(tmp_path: Path, name: str, content: str | None) -> None:
    path = write_folder(tmp_path / "m") / name
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SereneError, match=rf"{tmp_path / 'm'} is not a readable model folder: .*{name}"):
        ModelFolder.find(tmp_path / "m")


def test_names_that_are_no_folder(tmp_path: Path) -> None:
    for name in ("nowhere", str(write_folder(tmp_path / "m") / "config.json")):
        with pytest.raises(SereneError, match=f"There is no model folder '{name}'; name one, or a hub name"):
            ModelFolder.find(name)


def test_hub_names_are_fetched_with_all_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def from_hub(name: str, wanted: list[str]) -> Path:
        asked.append((name, wanted))
        return write_folder(tmp_path / "snapshot")

    monkeypatch.setattr(weights, "from_hub", from_hub)
    assert ModelFolder.find("someone/model").name == "someone/model"
    ((name, wanted),) = asked
    assert name == "someone/model"
    assert {"config.json", "preprocessor_config.json", "model.safetensors", "model.onnx", "metrics.json"} <= set(wanted)
    assert not [pattern for pattern in wanted if pattern.endswith((".bin", ".pt", ".pkl"))]


def test_the_hub_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"huggingface_hub is not installed.*serene-ser\[hub\]"):
        ModelFolder.find("someone/model")


def test_a_pipe_in_place_of_a_file_is_not_waited_at(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(SereneError, match=r"config\.json cannot be read \(it is a pipe or device"):
        ModelFolder.find(folder)


def test_a_folder_that_a_killed_run_moved_aside_is_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "m").rename(tmp_path / ".m.serene-12345678.former")
    assert ModelFolder.find(tmp_path / "m").path == tmp_path / "m"
    assert "the former folder is back" in capsys.readouterr().err
