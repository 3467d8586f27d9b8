"""What a training ran on: versions and the kind of machine, not its name."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *("serene-ser", "torch", "transformers", "numpy", "scikit-learn"),
    *("kaldi-native-fbank", "soundfile", "soxr"),
)


def environment(seconds: float) -> dict[str, Any]:
    """Describe what a trial ran on, and for how long: versions and the kind of machine, not its name."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "seconds": round(seconds, 1),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Name the processor's kind; Linux tells it in a file, others through `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
