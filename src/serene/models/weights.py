"""Pretrained weights by hub name or folder: found, or a sentence on what to fetch; and their identity."""

from __future__ import annotations

import hashlib
from pathlib import Path

from serene.errors import SereneError

CONFIG, TENSORS = "config.json", ("model.safetensors", "pytorch_model.bin")
WANTED = [CONFIG, "preprocessor_config.json", *TENSORS]
SECONDS = 5.0  # for the hub to answer at all


def find(name: str) -> Path:
    """Return the folder of a model: a local one, or the hub's, downloaded where it is not there yet.

    Args:
        name: a folder that holds config.json and model.safetensors (or pytorch_model.bin), or a hub name such as
            facebook/hubert-base-ls960.

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
        folder = _from_hub(name)
    missing = [] if (folder / CONFIG).is_file() else [CONFIG]
    missing += [] if any((folder / tensors).is_file() for tensors in TENSORS) else [" or ".join(TENSORS)]
    if missing:
        raise SereneError(f"{folder} is no model folder: {' and '.join(missing)} is not there.")
    return folder


def digest(name: str) -> str:
    """Identify weights by the content of their files, wherever they lie."""
    folder = find(name)
    files = [folder / CONFIG, next(folder / tensors for tensors in TENSORS if (folder / tensors).is_file())]
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, local_files_only=True))
    except HFValidationError as error:
        raise SereneError(f"The weights '{name}' are neither a folder nor a name on the Hugging Face hub.") from error
    except OSError:  # not downloaded before
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, etag_timeout=SECONDS))
    except OSError as error:  # whatever network and hub answer, what to do is the same
        raise SereneError(
            f"The weights '{name}' are not on this machine, and the Hugging Face hub cannot be reached "
            f"({type(error).__name__}). Download {CONFIG}, preprocessor_config.json and {' or '.join(TENSORS)} from "
            f"https://huggingface.co/{name} into a folder, and name that folder instead: weights=FOLDER."
        ) from error
