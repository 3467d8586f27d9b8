"""What runs a model is chosen by its files, device and precision; what is not there or does not fit is one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from small_model import make_folder, spoken
from tiny_onnx import WIDTH, write_folder

from serene import registry
from serene.errors import SereneError
from serene.inference.network import NETWORKS
from serene.inference.recognizer import Recognizer

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="module")
def torch_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("torch") / "model")


def test_bfloat16_is_near_and_in_bfloat16(torch_folder: Path) -> None:
    full, half = (Recognizer.load(torch_folder, precision=precision) for precision in ("fp32", "bf16"))
    assert half.info["runs_on"].startswith("PyTorch, bf16, ")
    network: Any = half.network
    assert str(network.model.encoder.tdnn1.linear.weight.dtype) == "torch.bfloat16"
    assert str(network.model.head.classify.weight.dtype) == "torch.float32"
    for seed in range(3):
        exact, near = full(spoken(1.0, seed), RATE), half(spoken(1.0, seed), RATE)
        lengths = np.linalg.norm(exact.embedding) * np.linalg.norm(near.embedding)
        assert exact.embedding @ near.embedding / lengths > 0.999
        assert near.scores == pytest.approx(exact.scores, abs=0.05)
        assert near.scores != exact.scores


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precision": "fp16"}, "Unknown precision 'fp16'"),
        ({"precision": "int8"}, r"int8 needs model\.int8\.onnx, and a CPU\. .* serene export .* --to onnx --int8"),
        ({"batch_size": 0}, "batch_size is 0; at least 1 was expected"),
        ({"abstain": 60}, r"abstain is 60; a probability was expected, from 0 to 1\."),
        ({"profile": "absent.json"}, "absent.json is no readable profile: there is no such file"),
        ({"profile": 3}, "A int is no profile"),
    ],
)
def test_what_there_is_not(folder: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SereneError, match=said):
        Recognizer.load(folder, **settings)


def test_without_torch_what_asks_for_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "torch", "torch_that_is_missing:Model")
    monkeypatch.setitem(registry.EXTRA_OF, "torch_that_is_missing", "train")
    for asked, said in (({"device": "cuda"}, "The device 'cuda'"), ({"precision": "bf16"}, "The precision 'bf16'")):
        with pytest.raises(SereneError, match=rf"{said} needs torch, which is not installed: pip"):
            Recognizer.load(folder, **asked)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    where = write_folder(tmp_path / "m", graph=False)
    (where / "model.safetensors").unlink()
    with pytest.raises(SereneError, match=r"m holds no weights: neither model\.onnx nor model\.safetensors is there"):
        Recognizer.load(where)


@pytest.mark.parametrize(("speaker", "config"), [(True, {"normalize": "none"}), (False, {"width": WIDTH + 1})])
def test_a_graph_that_reads_what_its_config_does_not_give(
    tmp_path: Path, speaker: bool, config: dict[str, Any]
) -> None:
    where = write_folder(tmp_path / "m", speaker=speaker, **config)
    if not speaker:
        (where / "preprocessor_config.json").write_text('{"front_end": "mfcc", "deltas": 0, "coefficients": 14}')
    with pytest.raises(
        SereneError, match=r"m does not fit its config\.json: it reads '\w+' of the width 13, and \d+ was"
    ):
        Recognizer.load(where)


def test_a_device_that_is_not_there(torch_folder: Path) -> None:
    for device in ("cuda:7", "abacus"):
        with pytest.raises(SereneError, match=f"There is no device '{device}' here"):
            Recognizer.load(torch_folder, device=device)


def test_without_torch_a_folder_needs_its_onnx_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "torch", "torch_that_is_missing:Model")
    monkeypatch.setitem(registry.EXTRA_OF, "torch_that_is_missing", "train")
    bare = write_folder(tmp_path / "bare", graph=False)
    for settings in ({}, {"precision": "bf16"}):
        with pytest.raises(SereneError, match=r"torch is not installed.*serene export .*bare -o .*bare --to onnx"):
            Recognizer.load(bare, **settings)


def test_a_graph_that_does_not_fit_its_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", emotions=["yes", "no"])
    with pytest.raises(SereneError, match=r"model\.onnx does not fit its folder's config\.json; export it again"):
        Recognizer.load(tmp_path / "m")
    (tmp_path / "m" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(SereneError, match=r"model\.onnx is not a readable ONNX file"):
        Recognizer.load(tmp_path / "m")


def test_the_front_end_has_to_fit_the_model(tmp_path: Path) -> None:
    where = write_folder(tmp_path / "m")
    (where / "preprocessor_config.json").write_text(json.dumps({"front_end": "mfcc", "deltas": 2}))
    with pytest.raises(SereneError, match="the front end makes 39 features per frame, and the model reads 13"):
        Recognizer.load(where)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"front_end": "os:system", "command": "touch {here}/harm"}, "'os:system' is not serene's own"),
        ({"front_end": "subprocess:Popen", "args": ["touch", "{here}/harm"]}, "'subprocess:Popen' is not serene's own"),
        ({"front_end": "mfcc", "cepstra": 5}, "'mfcc' does not take the settings that came with it: .*cepstra"),
        ({"front_end": "mfc"}, "Unknown front end 'mfc'. Did you mean 'mfcc'"),
        ({}, "Unknown front end 'None'"),
    ],
)
def test_a_folder_runs_nothing_but_front_ends(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_folder(tmp_path / "m")
    text = json.dumps(change).replace("{here}", str(tmp_path))
    (tmp_path / "m" / "preprocessor_config.json").write_text(text)
    with pytest.raises(SereneError, match=said):
        Recognizer.load(tmp_path / "m")
    assert not (tmp_path / "harm").exists()


def test_a_folder_runs_nothing_but_modules_as_encoders(tmp_path: Path) -> None:
    where = write_folder(tmp_path / "m", graph=False, encoder="os:close", speakers=[])
    save_file({}, where / "model.safetensors")
    with pytest.raises(SereneError, match="The encoder 'os:close' is not serene's own"):
        Recognizer.load(where, device="cpu")
    with pytest.raises(SereneError, match=r"'os:close' is no encoder: a subclass of .*Module was"):
        Recognizer.load(where, device="cpu", trust="os:close")
