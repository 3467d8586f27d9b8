"""A model folder gets the ONNX file that answers without torch, checked against PyTorch before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Parity:
    """How far the exported graph is from PyTorch: `rows`, `logits`, `embedding`, `int8`; `lines()` for people."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        raise NotImplementedError

    def lines(self) -> list[str]:
        """Say it in sentences, one to a line."""
        raise NotImplementedError


def export_onnx(
    folder: str | Path, out: str | Path, *, int8: bool = False, manifest: str | Path | None = None
) -> Parity:
    """Write a complete model folder with `model.onnx` (and `model.int8.onnx`); `out` may be `folder` itself."""
    raise NotImplementedError
