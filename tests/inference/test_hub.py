"""The hub: what is sent and what is fetched are the known files alone; what is amiss is said in one message."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects

from serene.errors import MissingExtra, SereneError
from serene.inference.folder import ModelFolder
from serene.inference.hub import push
from serene.models import weights
from serene.models.model import EmotionModel

KEPT = {"README.md", "config.json", "metrics.json", "model.onnx", "model.safetensors", "preprocessor_config.json"}
NOT_SENT = {"training.pt", "log.jsonl", "predictions.csv", "pytorch_model.bin", "trained_on.json", "anna.wav", ".env"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder that has gathered more than belongs to it."""
    folder = tmp_path / "model"
    EmotionModel(["anger", "neutral"], 39).save(folder, {"front_end": "mfcc"})
    for name in ("README.md", "model.onnx", *NOT_SENT):
        (folder / name).write_text("here\n")
    (folder / "metrics.json").write_text("{}\n")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "config.json").write_text("{}\n")
    return folder


class Hub:
    """Stands in for the hub: keeps what is sent, and gives what it has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.refusal = folder, [], None
        self.sent: dict[str, set[str]] = {}

    def create_repo(self, name: str, **settings: Any) -> Any:
        huggingface_hub.utils.validate_repo_id(name)
        if self.refusal is not None:
            raise self.refusal
        self.calls.append((name, settings))
        return huggingface_hub.RepoUrl(f"https://huggingface.co/anna/{name.rpartition('/')[2]}")

    def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str) -> None:
        assert commit_message
        files = [str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file()]
        self.sent[repo_id] = set(filter_repo_objects(files, allow_patterns=allow_patterns))

    def snapshot_download(self, name: str, *, allow_patterns: list[str], **settings: Any) -> str:
        huggingface_hub.utils.validate_repo_id(name)
        self.calls.append((name, settings))
        if settings.get("local_files_only"):
            raise LocalEntryNotFoundError("not here")
        if self.refusal is not None:
            raise self.refusal
        (self.folder.parent / "cache").mkdir()
        files = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]
        for file in filter_repo_objects(files, allow_patterns=allow_patterns):
            (self.folder.parent / "cache" / file).parent.mkdir(exist_ok=True)
            shutil.copy(self.folder / file, self.folder.parent / "cache" / file)
        return str(self.folder.parent / "cache")


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(folder)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **_: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def unknown(kind: type[Exception]) -> Exception:
    response: Any = SimpleNamespace(headers={}, request=None)
    return kind("404: no such thing", response=response)  # pyright: ignore[reportCallIssue]


def test_the_known_files_are_sent_and_nothing_else(folder: Path, hub: Hub) -> None:
    assert push(folder, "calls") == "https://huggingface.co/anna/calls"
    assert hub.sent == {"anna/calls": KEPT}
    assert not KEPT & NOT_SENT


@pytest.mark.parametrize("private", [True, False])
def test_a_model_is_private_unless_told_otherwise(folder: Path, hub: Hub, private: bool) -> None:
    push(folder, "anna/calls", **({} if private else {"private": False}))
    assert hub.calls == [("anna/calls", {"private": private, "exist_ok": True})]


def test_what_is_no_model_folder_is_not_sent(folder: Path, hub: Hub) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(SereneError, match=r"no model folder: preprocessor_config\.json and model\.safetensors is not"):
        push(folder, "anna/calls")
    assert not hub.calls


@pytest.mark.parametrize(
    ("name", "refusal", "message"),
    [
        ("no such/na me", None, "'no such/na me' is no name on the Hugging Face hub"),
        ("anna/calls", OSError("401: who are you?"), "did not take .*model as 'anna/calls': 401: who are you. .*login"),
        ("anna/calls", ValueError("bad metadata"), "did not take .*: bad metadata"),
        ("anna/calls", unknown(RepositoryNotFoundError), "did not take .*: 404: no such thing"),
    ],
)
def test_what_the_hub_refuses_is_one_message(
    folder: Path, hub: Hub, name: str, refusal: Exception | None, message: str
) -> None:
    hub.refusal = refusal
    with pytest.raises(SereneError, match=message):
        push(folder, name)
    assert not hub.sent


def test_a_model_is_loaded_by_its_name_and_no_pickle_comes_along(folder: Path, hub: Hub) -> None:
    found = ModelFolder.find("anna/calls")
    assert (found.name, found.emotions) == ("anna/calls", ("anger", "neutral"))
    fetched = {str(path.relative_to(found.path)) for path in found.path.rglob("*") if path.is_file()}
    assert fetched == KEPT | {"trained_on.json"}
    assert [settings["revision"] for _, settings in hub.calls] == [None, None]


def test_a_revision_is_pinned(folder: Path, hub: Hub) -> None:
    found = ModelFolder.find("anna/calls@v1.2")
    assert found.name == "anna/calls@v1.2"
    assert [(name, settings["revision"]) for name, settings in hub.calls] == [("anna/calls", "v1.2")] * 2


def test_encoders_are_pinned_too(hub: Hub) -> None:
    assert weights.find("anna/encoder@abc").name == "cache"
    assert hub.calls[-1][1]["revision"] == "abc"


@pytest.mark.parametrize("kind", [RepositoryNotFoundError, RevisionNotFoundError])
def test_what_the_hub_does_not_have_is_said(hub: Hub, kind: type[Exception]) -> None:
    hub.refusal = unknown(kind)
    with pytest.raises(SereneError, match="The Hugging Face hub has no 'anna/calls@v9', or keeps it from you"):
        ModelFolder.find("anna/calls@v9")


def test_without_a_network_it_says_which_files_to_fetch_and_no_pickle_is_among_them(hub: Hub) -> None:
    hub.refusal = LocalEntryNotFoundError("no network")
    with pytest.raises(SereneError) as error:
        ModelFolder.find("anna/calls@v1")
    assert "preprocessor_config.json and model.safetensors from https://huggingface.co/anna/calls into" in str(
        error.value
    )
    assert "pytorch_model.bin" not in str(error.value)
    assert "weights=" not in str(error.value)


def test_a_name_that_is_none_is_refused(hub: Hub) -> None:
    with pytest.raises(SereneError, match="'no such/na me' are neither a folder nor a name"):
        ModelFolder.find("no such/na me")
    assert issubclass(HFValidationError, ValueError)  # neither an OSError nor one of ours: it has to be caught by name


def test_without_huggingface_hub_one_sentence_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for attempt in (lambda: push(folder, "anna/calls"), lambda: ModelFolder.find("anna/calls")):
        with pytest.raises(MissingExtra, match=r"pip install 'serene-ser\[hub\]'"):
            attempt()
    assert ModelFolder.find(folder).name == "model"
