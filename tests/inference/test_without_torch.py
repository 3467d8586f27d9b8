"""Answering by an ONNX file loads neither torch nor anything else that is large."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_model import spoken, write
from tiny_onnx import write_folder

HEAVY = ("torch", "transformers", "sklearn", "matplotlib", "scipy", "huggingface_hub", "onnx", "pandas")
LIGHT = (
    *("inference.emotion", "inference.sounds", "inference.folder"),
    *("inference.features", "inference.profile", "inference.network", "inference.recognizer"),
    "inference.bundled",
    *("inference.predict", "inference.timeline", "inference.answer_file", "serving.decoding"),
)


def apart(code: str, *words: object) -> str:
    """Run code in an interpreter of its own, where importing what is heavy fails, and warnings are errors."""
    hidden = f"import sys; sys.modules |= dict.fromkeys({HEAVY})\n"
    command = [sys.executable, "-W", "error", "-c", hidden + code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("bare", [False, True])
def test_a_model_with_its_onnx_file_answers_without_torch(bare: bool, tmp_path: Path) -> None:
    """Profiles too, and of a folder that holds no other weights."""
    folder, sound = write_folder(tmp_path / "m", speaker=True), write(tmp_path / "a.wav", spoken(1.0))
    if bare:
        (folder / "model.safetensors").unlink()
    code = (
        "import serene\n"
        "recognizer = serene.Recognizer.load(sys.argv[1])\n"
        "profile = recognizer.enrol([sys.argv[2]])\n"
        "print(recognizer(sys.argv[2], profile=profile).label, recognizer.info['runs_on'])\n"
    )
    label, *where = apart(code, folder, sound).split(maxsplit=1)
    assert label in {"anger", "happiness", "neutral"}
    assert where == ["ONNX, fp32, cpu"]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    apart(f"import serene.{module}")


def test_nobody_is_told_of_it_and_nothing_is_kept(tmp_path: Path) -> None:
    """Official builds of onnxruntime report to their makers unless told not to, or where `CI` says it is a test."""
    folder, sound = write_folder(tmp_path / "m"), write(tmp_path / "a.wav", spoken(1.0))
    code = "import sys, serene; print(serene.Recognizer.load(sys.argv[1])(sys.argv[2]).label)"
    left_out = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", code, str(folder), str(sound)]
    done = subprocess.run(command, env=environment | {"HOME": str(home)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not list(home.rglob("*"))


def test_a_model_without_it_says_what_to_do(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", graph=False)
    code = (
        "import serene\n"
        "try:\n"
        "    serene.Recognizer.load(sys.argv[1])\n"
        "except serene.SereneError as error:\n"
        "    print(error)\n"
    )
    said = apart(code, folder)
    assert said.startswith(f"{folder} has no model.onnx that would serve here, and torch is not installed. ")
    assert f"serene export {folder} -o {folder} --to onnx" in said
    assert "pip install 'serene-ser[train]'" in said
