"""Pretrained weights by hub name or folder: found, or a sentence on what to fetch; and their identity."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serene.errors import MissingExtra, SereneError
from serene.files import load_json

CONFIG, PREPROCESSOR, TENSORS = "config.json", "preprocessor_config.json", ("model.safetensors", "pytorch_model.bin")
WANTED = [CONFIG, PREPROCESSOR, *TENSORS]
SECONDS = 5.0  # for the hub to answer at all


def find(name: str) -> Path:
    """Return the folder of a model, local or the hub's: config.json and model.safetensors (or pytorch_model.bin).

    Raises:
        SereneError: the folder lacks a file, or the hub's files are neither here nor within reach.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if "/" not in name:
            raise SereneError(
                f"There is no folder '{name}'; name one that holds a model, or a hub name such as "
                "facebook/hubert-base-ls960."
            )
        folder = from_hub(name)
    missing = [] if (folder / CONFIG).is_file() else [CONFIG]
    missing += [] if any((folder / tensors).is_file() for tensors in TENSORS) else [" or ".join(TENSORS)]
    if missing:
        shards = [index.name for index in folder.glob("*.index.json")]
        cut = f" Shards ({shards[0]}) are not read: save the model as one file." if shards else ""
        raise SereneError(f"{folder} is no model folder: {' and '.join(missing)} is not there.{cut}")
    return folder


def read(path: Path) -> dict[str, Any]:
    """Read one of a folder's JSON files; a SereneError says which cannot be read, and why."""
    try:
        return dict(load_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise SereneError(f"Cannot read {path}: {error}") from error


def standardises(folder: Path) -> bool:
    """Say whether an encoder reads samples of mean 0 and variance 1, as where nothing is said, or sound as it is."""
    path = folder / PREPROCESSOR
    return not path.exists() or bool(read(path).get("do_normalize", True))


def digest(name: str) -> str:
    """Identify weights by the content of their files, wherever they lie."""
    folder = find(name)
    files = [folder / CONFIG, next(folder / tensors for tensors in TENSORS if (folder / tensors).is_file())]
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def from_hub(name: str, wanted: Sequence[str] = WANTED) -> Path:
    """Return the folder of a hub name (`name@revision` pins one): on this machine, or with the wanted files downloaded.

    Raises:
        SereneError: it is no name, the hub has no such model or revision, or it is neither here nor within reach.
        MissingExtra: `huggingface_hub` is not installed.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ModuleNotFoundError as error:
        raise MissingExtra("huggingface_hub", "hub") from error
    repository, _, revision = name.partition("@")
    files: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(wanted)}
    try:
        folder = Path(snapshot_download(repository, **files, local_files_only=True))
        if _whole(folder, wanted):  # a download may have been cut short
            return folder
    except HFValidationError as error:
        raise SereneError(f"The weights '{name}' are neither a folder nor a name on the Hugging Face hub.") from error
    except OSError:  # not downloaded before
        pass
    try:
        return Path(snapshot_download(repository, **files, etag_timeout=SECONDS))
    except GatedRepoError as error:  # one of the next kind, too
        raise SereneError(
            f"'{name}' is for those who agree to its conditions: do so on https://huggingface.co/{repository}, then "
            "log in: hf auth login."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise SereneError(f"The Hugging Face hub has no '{name}', or keeps it from you: hf auth login.") from error
    except Exception as error:  # the network's have no common name, and what to do is the same for all
        tensors = " or ".join(file for file in TENSORS if file in wanted)
        raise SereneError(
            f"The weights '{name}' are not on this machine, and cannot be fetched from the Hugging Face hub "
            f"({reason(error.__cause__ or error)}). Download {CONFIG}, preprocessor_config.json and {tensors} from "
            f"https://huggingface.co/{repository} into a folder, and name that folder instead"
            f"{': weights=FOLDER' if wanted is WANTED else ''}."
        ) from error


def reason(error: BaseException) -> str:
    """Say in one line what the hub or the network had to say; some of their messages have several."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")


def _whole(folder: Path, wanted: Sequence[str]) -> bool:
    kinds = (".safetensors", ".bin", ".onnx")
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in wanted if name.endswith(kinds))
