"""What is evaluated is what is served: `serene evaluate` and `serene predict` give one clip one set of scores."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from serene.corpora import sample
from serene.corpora.manifest import Manifest
from serene.evaluation.predictions import Predictions
from serene.experiment.cross_corpus import Models, evaluate_models
from serene.export.to_onnx import export_onnx
from serene.inference.folder import ModelFolder
from serene.inference.predict import predict
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.models.parts import Parts

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 8, 4],
    "conv_stride": [5, 8, 4],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
ROUNDED = 1e-6  # both tables hold six digits


def mfcc(folder: Path) -> Path:
    """A TDNN-BiLSTM over MFCC, with a temperature."""
    model = EmotionModel(EMOTIONS, 39).eval()
    model.temperature = 1.7
    model.save(folder, {"front_end": "mfcc"})
    return folder


def waveform(folder: Path) -> Path:
    """An encoder of waveforms that takes three seconds of a clip."""
    settings = {"config": {"model_type": "hubert", **SMALL}}
    around = {"normalize": "utterance", "parts": Parts(pooling="mean", hidden=(8,), head="relu")}
    model = EmotionModel(EMOTIONS, 1, encoder="hubert", encoder_settings=settings, **around).eval()
    model.save(folder, {"front_end": "waveform", "longest": 3.0})
    return folder


def onnx(folder: Path) -> Path:
    """The MFCC model with speakers' embeddings to be standardised, as an ONNX file without other weights."""
    EmotionModel(EMOTIONS, 39, parts=Parts(embedding_norm="speaker")).eval().save(folder, {"front_end": "mfcc"})
    export_onnx(folder, folder)
    (folder / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize("kind", [mfcc, waveform, onnx])
def test_evaluate_and_predict_give_the_same_scores(kind: Callable[[Path], Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind(tmp_path / "model")
    clips = [clip for clip in sample.read() if clip.emotion in EMOTIONS][::16]
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    steady = replace(clips[0], id="noise", audio=str(noise), audio_hash=None, duration=1.0)
    Manifest((*clips, steady)).write(tmp_path / "some.jsonl")
    models = Models.of_folder(ModelFolder.find(model), tmp_path / "runs" / "on")
    report, folder = evaluate_models(models, tmp_path / "some.jsonl")
    evaluated = Predictions.read(folder / "predictions.csv")

    predict([noise, *(u.audio for u in clips)], Recognizer.load(model, device="cpu"), tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    served = {
        row["path"]: [float(row[name]) for name in EMOTIONS] for row in rows if row["label"]
    }  # a note may be a remark
    expected = {u.id: served[u.audio] for u in clips if u.audio in served}
    assert str(noise) not in served, "what holds no speech gets no answer, and evaluating says how many did not"
    unanswered = f"{len(rows) - len(served)} clips are scored to which `serene predict` gives no answer"
    assert any(unanswered in stamp for stamp in report.content["stamps"])
    assert len(expected) > 5
    for name, scores in zip(evaluated.id.tolist(), evaluated.scores, strict=True):
        if name in expected:
            assert scores == pytest.approx(expected[name], abs=ROUNDED)
    assert (np.ptp(evaluated.scores, axis=0) > 10 * ROUNDED).all(), "the clips are told apart at all"
