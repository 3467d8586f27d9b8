"""What is installed, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib import metadata
from typing import Any

from serene.cli.terminal import Json, app, out, print_json

BASE = (
    "numpy",
    "soundfile",
    "soxr",
    "kaldi-native-fbank",
    "safetensors",
    "onnxruntime",
    "pydantic",
    "typer",
    "rich",
    "PyYAML",
)
EXTRAS = {
    "train": (
        *(("torch", "torch"), ("scikit-learn", "sklearn"), ("scipy", "scipy"), ("threadpoolctl", "threadpoolctl")),
        *(("matplotlib", "matplotlib"), ("transformers", "transformers")),
    ),
    "hub": (("huggingface-hub", "huggingface_hub"),),
    "export": (("onnx", "onnx"), ("onnxscript", "onnxscript")),
    "lora": (("peft", "peft"),),
    "augment": (("audiomentations", "audiomentations"),),
    "track": (("tensorboard", "tensorboard"),),
    "opensmile": (("opensmile", "opensmile"),),
    "serve": (
        *(("fastapi", "fastapi"), ("uvicorn", "uvicorn"), ("prometheus-client", "prometheus_client")),
        ("python-multipart", "python_multipart"),
    ),
    "demo": (("gradio", "gradio"), ("matplotlib", "matplotlib")),
}


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
    names = [*BASE, *(package for parts in EXTRAS.values() for package, _ in parts)]
    packages = {name: _version(name) for name in ("serene-ser", *names)}
    extras = {
        extra: all(importlib.util.find_spec(module) is not None for _, module in parts)
        for extra, parts in EXTRAS.items()
    }
    lines = [f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores"]
    lines += [
        f"{name} {version or 'is missing'}" for name, version in packages.items() if name in (*BASE, "serene-ser")
    ]
    for extra, complete in extras.items():
        state = "installed" if complete else f"not installed: pip install 'serene-ser[{extra}]'"
        lines.append(f"extra {extra}: {state}")
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "packages": packages,
        "extras": extras,
        "lines": lines,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
