"""Whisper leaves the house: a graph of any batch and length, long clips in windows; a stock classifier, or why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from small_model import spoken

from serene.audio.batch import Batch, padded
from serene.audio.log_mel import LogMel
from serene.errors import SereneError
from serene.export.to_onnx import export_onnx
from serene.export.to_transformers import export_transformers
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.models.parts import Parts
from serene.models.scoring import TorchNetwork

CONFIG: dict[str, Any] = {
    **{"model_type": "whisper", "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2},
    **{"encoder_ffn_dim": 24, "vocab_size": 8, "decoder_layers": 1, "init_std": 0.3},
}
LINEAR = Parts(pooling="mean", hidden=(), head="linear")


def saved(folder: Path, *, pad: float | None, parts: Parts = LINEAR, **settings: Any) -> EmotionModel:
    torch.manual_seed(0)
    given = {"config": CONFIG, **settings}
    model = EmotionModel(
        ("anger", "calm", "fear"), 80, encoder="whisper", encoder_settings=given, normalize="none", parts=parts
    )
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name or name.endswith(("bias", "layer_weights")):
                tensor.add_(torch.rand_like(tensor))
    model.save(folder, {"front_end": "log_mel", "filters": 80, "pad": pad})
    return model.eval()


@pytest.mark.parametrize("settings", [{}, {"layers": 1}, {"output": "weighted_sum"}], ids=str)
def test_plain_transformers_gives_the_same_logits(settings: dict[str, Any], tmp_path: Path) -> None:
    model = saved(tmp_path / "model", pad=30, **settings)
    likeness = export_transformers(tmp_path / "model", tmp_path / "stock")
    assert likeness.architecture == "WhisperForAudioClassification"
    extractor: Any = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "stock")
    stock: Any = transformers.AutoModelForAudioClassification.from_pretrained(tmp_path / "stock")
    for samples in (5_000, 40_000):
        clip = spoken(samples / 16_000)
        with torch.no_grad():
            theirs = stock(**extractor(clip, sampling_rate=16_000, return_tensors="pt")).logits.numpy()
        ours, _ = TorchNetwork(model)(Batch(*padded([LogMel(pad=30)(clip)]), ids=("",)))
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * np.abs(ours).max())
    export_transformers(tmp_path / "model", tmp_path / "stock")  # an earlier export is replaced


def test_what_has_no_counterpart_says_why(tmp_path: Path) -> None:
    saved(tmp_path / "model", pad=None, parts=Parts(hidden=(), head="linear"))
    with pytest.raises(SereneError, match=r"pooling is statistics.*fills them up to 30 s.*features\.pad: 30"):
        export_transformers(tmp_path / "model", tmp_path / "stock")


def test_one_graph_answers_for_short_and_long_clips(tmp_path: Path) -> None:
    model = saved(tmp_path / "model", pad=None)
    parity = export_onnx(tmp_path / "model", tmp_path / "onnx", int8=True)
    assert max(max(row.lengths) for row in parity.fp32) == 3100
    assert parity.worst < 1e-4
    recognizer = Recognizer.load(tmp_path / "onnx", device="cpu")
    assert recognizer.network.what.startswith("ONNX")
    clips = [recognizer.extract(spoken(samples / 16_000), 16_000) for samples in (8_000, 31 * 16_000, 20_000)]
    ours = [answer.scores for answer in recognizer.answer(clips)]
    for clip, scores in zip(clips, ours, strict=True):
        assert clip.features is not None
        logits, _ = TorchNetwork(model)(Batch(*padded([clip.features]), ids=("",)))
        np.testing.assert_allclose(list(scores.values()), torch.from_numpy(logits).softmax(1)[0], rtol=0, atol=1e-5)
    config = json.loads((tmp_path / "onnx" / "config.json").read_text())
    assert config["encoder_settings"]["weights"] is None
