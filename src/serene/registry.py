"""A name becomes a class or function: from a visible table, or as `package.module:Name`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from serene.errors import MissingExtra, SereneError, unknown

EXTRA_OF = {
    "torch": "train",
    "sklearn": "train",
    "scipy": "train",
    "threadpoolctl": "train",
    "matplotlib": "train",
    "transformers": "train",
    "onnx": "export",
    "onnxscript": "export",
    "huggingface_hub": "hub",
    "peft": "lora",
    "audiomentations": "augment",
    "tensorboard": "track",
    "opensmile": "opensmile",
    "fastapi": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "gradio": "demo",
}


def load(name: str, table: Mapping[str, str], kind: str) -> Any:
    """Import what `name` stands for.

    Args:
        name: an entry of the table, or `package.module:Name` for a class of the user's own.
        table: name -> `module:Name`.
        kind: what the table holds, for the error message ("corpus", "method", ...).

    Raises:
        SereneError: no such entry, module or attribute. The message lists the choices.
        MissingExtra: the entry needs an optional dependency that is not installed.
    """
    target = table.get(name) or (name if name.find(":") > 0 else None)
    if target is None:
        raise SereneError(f"{unknown(kind, name, table)} Or write package.module:Name for one of your own.")
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in EXTRA_OF:
            raise MissingExtra(missing, EXTRA_OF[missing]) from error
        raise SereneError(
            f"Cannot import the {kind} '{name}': there is no module '{error.name}'. Is it installed, and on the path?"
        ) from error
    except AttributeError as error:
        raise SereneError(f"Cannot import the {kind} '{name}': '{module_name}' has no '{attribute}'.") from error
