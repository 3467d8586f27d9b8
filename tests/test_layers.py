"""Imports go downwards only, what is light stays light, and the public names are the promised ones."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import serene

ROOT = Path(__file__).parents[1]
LIGHT = (
    "serene",
    "serene.cli",
    "serene.corpora.prepare",
    "serene.protocols",
    "serene.protocols.audit",
    "serene.audio.mfcc",
)
HEAVY = ("torch", "transformers", "sklearn", "matplotlib")


def in_fresh_interpreter(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_go_downwards_only(capsys: pytest.CaptureFixture[str]) -> None:
    failed = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert not failed, capsys.readouterr().out


def test_everything_has_its_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {name.strip() for layer in contracts[0]["layers"] for name in layer.split("|")}
    found = {f"serene.{name}" for _, name, _ in pkgutil.iter_modules(serene.__path__) if name != "__main__"}
    assert layers == found - {"serene.bundled"}  # a model folder, and no code


@pytest.mark.parametrize("module", LIGHT)
def test_what_prepares_splits_and_audits_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    assert in_fresh_interpreter(code) == "[]"


def test_public_names_are_sorted_and_resolve() -> None:
    assert serene.__all__ == sorted(serene.__all__)
    for name in serene.__all__:
        assert getattr(serene, name).__name__ == {"load_recipe": "load"}.get(name, name)


def test_only_the_promised_names_are_public() -> None:
    assert [name for name in dir(serene) if not name.startswith("_")] == serene.__all__
    with pytest.raises(AttributeError, match="module 'serene' has no attribute 'Recogniser'"):
        _ = serene.Recogniser
    everything: dict[str, object] = {}
    exec("from serene import *", everything)
    assert sorted(everything.keys() - {"__builtins__"}) == serene.__all__
