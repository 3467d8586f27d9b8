"""A name becomes a class or function: from a visible table, or as `package.module:Name`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from serene.errors import MissingExtra, SereneError, quoted, unknown
from serene.trust import need_trust

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
    "parquet": ("pyarrow",),
    "datasets": ("pyarrow", "huggingface_hub"),
    "ray": ("ray", "pyarrow"),
}
EXTRA_OF = {module: extra for extra, modules in reversed(EXTRAS.items()) for module in modules}  # the first that has it

BASES = {  # of classes of one's own, by kind
    "front end": "serene.audio.input_spec:FrontEnd",
    "encoder": "torch.nn:Module",  # most subclass serene.models.encoder.Encoder, and none has to
    "method": "serene.methods.method:Method",
}
FUNCTIONS = {"corpus": ("folder", "Manifest"), "protocol": ("manifest", "Split")}  # what they take, and say they return


def load(name: str, table: Mapping[str, str], kind: str) -> Any:
    """Import what a name stands for in a table (name -> `module:Name`), or the user's own `package.module:Name`.

    Raises:
        SereneError: no such entry, module or attribute of this kind, or one that nobody trusts; see `serene.trust`.
        MissingExtra: the entry needs an optional dependency that is not installed.
    """
    if name in table:
        return _imported(table[name], name, kind)
    if name.find(":") < 1:
        raise SereneError(f"{unknown(kind, name, table)} Or write package.module:Name for one of your own.")
    need_trust(name, f"The {kind}")
    found = _imported(name, name, kind)
    if kind in BASES and not (inspect.isclass(found) and issubclass(found, _imported(BASES[kind], kind, kind))):
        raise SereneError(f"'{quoted(name)}' is no {kind}: a subclass of {BASES[kind].replace(':', '.')} was expected.")
    if kind in FUNCTIONS and not _fits(found, *FUNCTIONS[kind]):
        takes, gives = FUNCTIONS[kind]
        raise SereneError(f"'{quoted(name)}' is no {kind}: a function of `{takes}`, `-> {gives}`, was expected.")
    return found


def _fits(found: Any, takes: str, gives: str) -> bool:
    """Tell a function that is made for this from any other: by what it says it returns, or what it takes first."""
    says = str(getattr(found, "__annotations__", {}).get("return"))
    return inspect.isfunction(found) and (gives in says or [*inspect.signature(found).parameters][:1] == [takes])


def _imported(target: str, name: str, kind: str) -> Any:
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
