"""A name becomes a class or function: from a visible table, or as `package.module:Name`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from serene.errors import MissingExtra, SereneError, unknown

EXTRAS = {  # extra -> the modules that it installs, beside those of other extras
    "train": ("torch", "sklearn", "scipy", "threadpoolctl", "matplotlib", "transformers"),
    "hub": ("huggingface_hub",),
    "export": ("onnx", "onnxscript"),
    "lora": ("peft",),
    "augment": ("audiomentations",),
    "track": ("tensorboard",),
    "opensmile": ("opensmile",),
    "serve": ("fastapi", "uvicorn", "prometheus_client", "python_multipart"),
    "demo": ("gradio", "matplotlib"),
}
EXTRA_OF = {module: extra for extra, modules in reversed(EXTRAS.items()) for module in modules}  # the first that has it


def load(name: str, table: Mapping[str, str], kind: str) -> Any:
    """Import what a name stands for in a table (name -> `module:Name`), or the user's own `package.module:Name`.

    Raises:
        SereneError: no such entry, module or attribute of this kind. The message lists the choices.
        MissingExtra: the entry needs an optional dependency that is not installed.
    """
    target = table.get(name) or (name if name.find(":") > 0 else None)
    if target is None:
        raise SereneError(f"{unknown(kind, name, table)} Or write package.module:Name for one of your own.")
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise missing_extra(error) or SereneError(
            f"Cannot import the {kind} '{name}': there is no module '{error.name}'. Is it installed, and on the path?"
        ) from error
    except AttributeError as error:
        raise SereneError(f"Cannot import the {kind} '{name}': '{module_name}' has no '{attribute}'.") from error


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Name the extra that installs a module which could not be imported; None where there is none."""
    module = (error.name or "").partition(".")[0]
    return MissingExtra(module, EXTRA_OF[module]) if module in EXTRA_OF else None
