"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib import metadata
from typing import Any

from serene.cli.terminal import Json, app, out, print_json
from serene.registry import EXTRAS

BASE = (
    *("numpy", "soundfile", "soxr", "kaldi-native-fbank", "safetensors"),
    *("onnxruntime", "pydantic", "typer", "rich", "PyYAML"),
)


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is installed, what is missing, and what to do about it."""
    findings = _examine()
    if json:
        print_json(findings)
        return
    for line in findings["lines"]:
        out.print(line)


def _examine() -> dict[str, Any]:
    """Look at the installation without importing what is heavy.

    Returns:
        `python`, `cores`, `packages` (name -> version or None), `extras` (name -> complete or not), `lines` to print.
    """
    names = [*BASE, *(_package(module) for modules in EXTRAS.values() for module in modules)]
    packages = {name: _version(name) for name in ("serene-ser", *names)}
    extras = {
        extra: all(importlib.util.find_spec(module) is not None for module in modules)
        for extra, modules in EXTRAS.items()
    }
    lines = [f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores"]
    lines += [f"{name} {packages[name] or 'is missing'}" for name in ("serene-ser", *BASE)]
    lines += [
        f"extra {extra}: " + ("installed" if complete else f"not installed: pip install 'serene-ser[{extra}]'")
        for extra, complete in extras.items()
    ]
    found = {"python": platform.python_version(), "cores": os.cpu_count(), "packages": packages, "extras": extras}
    return found | {"lines": lines}


def _package(module: str) -> str:
    return "scikit-learn" if module == "sklearn" else module.replace("_", "-")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
