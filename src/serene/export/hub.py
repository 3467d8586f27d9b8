"""A folder goes to the Hugging Face hub: its known files and no others, and privately unless told otherwise."""

from __future__ import annotations

from pathlib import Path

from serene.errors import MissingExtra, SereneError
from serene.inference.folder import CARD, CONFIG, GRAPHS, METRICS, PREPROCESSOR, TENSORS
from serene.models.weights import reason

NEEDED = (CONFIG, PREPROCESSOR)
# not the list of whom the model was trained on: speakers of a corpus of one's own may be called by their names
SENT = (*NEEDED, TENSORS, METRICS, CARD, *(name for graph in GRAPHS.values() for name in (graph, f"{graph}.data")))


def push(folder: str | Path, name: str, *, private: bool = True) -> str:
    """Send a model folder, this project's or a stock transformers one, to the Hugging Face hub.

    Whatever else lies in the folder stays where it is: checkpoints, logs, predictions, pickles, sound.

    Args:
        folder: what training or `export` wrote.
        name: `user/model`; made where the hub does not have it yet.
        private: whether only its owner sees it, where it is made; an existing one stays as it is.

    Returns:
        Where the model can be seen.

    Raises:
        SereneError: the folder lacks a file, the name is none, or the hub does not take it.
        MissingExtra: `huggingface_hub` is not installed.
    """
    folder = Path(folder).expanduser()
    files = [file for file in SENT if (folder / file).is_file()]
    missing = [file for file in NEEDED if file not in files]
    missing += [] if {TENSORS, *GRAPHS.values()} & set(files) else [f"{TENSORS} or {GRAPHS['fp32']}"]
    if missing:
        raise SereneError(f"{folder} is no model folder: {' and '.join(missing)} is not there.")
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError
    except ModuleNotFoundError as error:
        raise MissingExtra("huggingface_hub", "hub") from error
    hub = HfApi(library_name="serene")
    try:
        made = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=made.repo_id, folder_path=folder, allow_patterns=files, commit_message="Send a model")
    except HFValidationError as error:
        raise SereneError(f"'{name}' is no name on the Hugging Face hub; user/model was expected.") from error
    except Exception as error:  # its own, the network's and the operating system's have no common name
        forbidden = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
        login = " Log in with a token that may write there: hf auth login."
        raise SereneError(
            f"The Hugging Face hub did not take {folder} as '{name}' ({reason(error)})."
            + (login if forbidden or isinstance(error, LocalTokenNotFoundError) else "")
        ) from error
    return str(made)
