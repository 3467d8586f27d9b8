"""Emotion and speaker by layer: the probes see unseen speakers alone, and what is planted is found."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from serene import protocols
from serene.audio.shards import Shards
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.evaluation import metrics
from serene.experiment.layers import answers, enrolled, probe_layers
from serene.task import Task

EMOTIONS = ("anger", "calm", "fear")


def clips() -> Manifest:
    made = [
        Utterance(id=f"{s}-{n}", audio=f"{s}-{n}.wav", speaker=f"s{s}", emotion=EMOTIONS[n % 3], text_id=f"t{n // 3}")
        for s in range(6)
        for n in range(12)
    ]
    return Manifest(tuple(made))


def test_the_answers_are_for_speakers_who_did_not_train_the_probe() -> None:
    manifest, rng = clips(), np.random.default_rng(0)
    speakers = [u.speaker for u in manifest]
    emotion = np.array([EMOTIONS.index(str(u.emotion)) for u in manifest])
    voice = np.array([int(name[1]) for name in speakers])
    task, splits = Task(EMOTIONS), protocols.make_splits("speaker_folds", manifest, {"folds": 3})
    told = rng.normal(size=(3, 8))[emotion] + 0.1 * rng.normal(size=(72, 8))
    found = answers(told.astype(np.float32), manifest.utterances, task, splits)
    assert sorted(found.id.tolist()) == sorted(u.id for u in manifest)
    assert (found.truth == found.prediction).all()
    # an emotion that is told in another way by everybody is learnt of nobody else
    own = rng.normal(size=(6, 3, 8))[voice, emotion]
    found = answers(own.astype(np.float32), manifest.utterances, task, splits)
    assert metrics.ua(metrics.tally(found.truth, found.prediction, 3)) < 0.6


def test_enrolling_takes_each_speakers_own_mean_and_deviation_away() -> None:
    rng = np.random.default_rng(1)
    speakers = ["a"] * 5 + ["b"] * 7
    x = rng.normal(size=(12, 4)).astype(np.float32)
    x[:5] = 3 * x[:5] + 10
    made = enrolled(x, speakers)
    for rows in (slice(0, 5), slice(5, 12)):
        for column in range(4):
            values = [float(v) for v in x[rows, column]]
            mean = sum(values) / len(values)
            deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
            np.testing.assert_allclose(made[rows, column], [(v - mean) / deviation for v in values], rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 24, "vocab_size": 8}
    sizes |= {"decoder_layers": 1, "decoder_attention_heads": 2}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0)
    folder = tmp_path_factory.mktemp("whisper")
    transformers.WhisperModel(transformers.WhisperConfig(**sizes, **tokens)).save_pretrained(folder)
    return str(folder)


def test_a_row_for_each_layer_and_a_picture(weights: str, made_up: Path, tmp_path: Path) -> None:
    found = probe_layers(weights, made_up, tmp_path)
    assert [row["layer"] for row in found.rows] == [0, 1, 2]
    for row in found.rows:
        assert 0 <= row["UA low"] <= row["UA"] <= row["UA high"] <= 1
        assert row["speaker"] > row["speaker chance"]
    with (found.folder / "layers.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["UA"]) for row in table] == [row["UA"] for row in found.rows]
    assert json.loads((found.folder / "layers.json").read_text())["rows"] == found.rows
    assert (found.folder / "layers.png").stat().st_size > 10_000
    (folder,) = (tmp_path / "store").iterdir()
    stored = Shards(folder)
    array = stored.get(stored.names()[0])
    assert array is not None and array.shape == (3, 32)
    again = probe_layers(weights, made_up, tmp_path)
    assert again.rows == found.rows


def test_a_damaged_preprocessor_is_named(weights: str, made_up: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(weights, tmp_path / "weights"))
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(SereneError, match=r"Cannot read .*preprocessor_config\.json"):
        probe_layers(str(folder), made_up, tmp_path)
