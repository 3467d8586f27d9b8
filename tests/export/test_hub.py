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
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects

from serene.errors import MissingExtra, SereneError
from serene.export.hub import push
from serene.inference.folder import ModelFolder
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
        self.here: Path | None = None
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
        if settings.get("local_files_only") and self.here is not None:
            return str(self.here)
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


def answered(kind: type[Exception], code: int = 404, said: str = "404: no such thing") -> Exception:
    response: Any = SimpleNamespace(headers={}, request=None, status_code=code)
    return kind(said, response=response)  # pyright: ignore[reportCallIssue]


def test_the_known_files_are_sent_and_nothing_else(folder: Path, hub: Hub) -> None:
    assert push(folder, "calls") == "https://huggingface.co/anna/calls"
    assert hub.sent == {"anna/calls": KEPT}
    assert not KEPT & NOT_SENT


@pytest.mark.parametrize("private", [True, False])
def test_a_model_is_private_unless_told_otherwise(folder: Path, hub: Hub, private: bool) -> None:
    push(folder, "anna/calls", **({} if private else {"private": False}))
    assert hub.calls == [("anna/calls", {"private": private, "exist_ok": True})]


def test_what_is_no_model_folder_is_not_sent(folder: Path, hub: Hub) -> None:
    for name in ("model.safetensors", "model.onnx", "preprocessor_config.json"):
        (folder / name).unlink()
    with pytest.raises(
        SereneError, match=r"no model folder: preprocessor_config\.json and model\.safetensors or model\.onnx "
    ):
        push(folder, "anna/calls")
    assert not hub.calls


@pytest.mark.parametrize(
    ("name", "refusal", "message"),
    [
        ("no such/na me", None, "'no such/na me' is no name on the Hugging Face hub"),
        (
            "anna/calls",
            answered(HfHubHTTPError, 401, "401 Client Error.\n\nWho are you?"),
            r"did not take .* as 'anna/calls' \(HfHubHTTPError: 401 Client Error\. Who are you\?\)\. Log in .*login",
        ),
        ("anna/calls", LocalTokenNotFoundError("no token"), r"\(LocalTokenNotFoundError: no token\)\. Log in .*login"),
        (
            "anna/calls",
            ConnectionError("no route to host"),
            r"did not take .* \(ConnectionError: no route to host\)\.$",
        ),
        ("anna/calls", ValueError("bad metadata"), r"did not take .* \(ValueError: bad metadata\)\.$"),
        ("anna/calls", answered(RepositoryNotFoundError), r"did not take .* \(RepositoryNotFoundError: .*thing\)\.$"),
    ],
)
def test_what_the_hub_refuses_is_one_message(
    folder: Path, hub: Hub, name: str, refusal: Exception | None, message: str
) -> None:
    hub.refusal = refusal
    with pytest.raises(SereneError, match=message) as error:
        push(folder, name)
    assert not hub.sent
    assert "\n" not in str(error.value)


def test_a_graph_alone_is_sent(folder: Path, hub: Hub) -> None:
    (folder / "model.safetensors").unlink()
    push(folder, "calls")
    assert hub.sent == {"anna/calls": KEPT - {"model.safetensors"}}


def test_a_download_that_was_cut_short_is_not_taken_for_the_model(folder: Path, hub: Hub, tmp_path: Path) -> None:
    hub.here = tmp_path / "partial"
    hub.here.mkdir()
    shutil.copy(folder / "config.json", hub.here)
    assert ModelFolder.find("anna/calls").path == tmp_path / "cache"
    shutil.copy(folder / "model.onnx", hub.here)
    shutil.copy(folder / "preprocessor_config.json", hub.here)
    assert ModelFolder.find("anna/calls").path == hub.here


def test_a_model_is_loaded_by_its_name_and_no_pickle_comes_along(folder: Path, hub: Hub) -> None:
    found = ModelFolder.find("anna/calls")
    assert (found.name, found.task.names) == ("anna/calls", ("anger", "neutral"))
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


def test_who_has_to_agree_first_is_told_where(hub: Hub) -> None:
    hub.refusal = answered(GatedRepoError, 403)
    with pytest.raises(SereneError, match=r"agree to its conditions: do so on https://huggingface.co/anna/calls, then"):
        ModelFolder.find("anna/calls@v9")


@pytest.mark.parametrize("kind", [RepositoryNotFoundError, RevisionNotFoundError])
def test_what_the_hub_does_not_have_is_said(hub: Hub, kind: type[Exception]) -> None:
    hub.refusal = answered(kind)
    with pytest.raises(SereneError, match="The Hugging Face hub has no 'anna/calls@v9', or keeps it from you"):
        ModelFolder.find("anna/calls@v9")


def test_without_a_network_it_says_which_files_to_fetch_and_no_pickle_is_among_them(hub: Hub) -> None:
    hub.refusal = LocalEntryNotFoundError("no network")
    hub.refusal.__cause__ = ConnectionError("a name is\nnot known")
    with pytest.raises(SereneError) as error:
        ModelFolder.find("anna/calls@v1")
    assert "preprocessor_config.json and model.safetensors from https://huggingface.co/anna/calls into" in str(
        error.value
    )
    assert "(ConnectionError: a name is not known)" in str(error.value)
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
