"""A recognizer answers what its graph says, whatever the batch; scores are followed by hand."""

from __future__ import annotations

import json
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_model import Watched, make_folder, spoken, write
from tiny_onnx import EMOTIONS, PARTS, WEIGHTS, WIDTH, write_folder

from serene.audio.batch import Batch
from serene.audio.mfcc import Mfcc
from serene.audio.waveform import Waveform
from serene.errors import AudioError, SereneError
from serene.inference.emotion import Emotion
from serene.inference.features import Clip
from serene.inference.folder import ModelFolder
from serene.inference.recognizer import Recognizer
from serene.models.network import Network

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="module")
def torch_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("torch") / "model")


@pytest.fixture
def recognizer(folder: Path) -> Recognizer:
    return Recognizer.load(folder)


def by_hand(samples: np.ndarray, temperature: float = 1.0) -> dict[str, float]:
    """The scores of the tiny graph: a softmax of the mean cepstra times the weights."""
    frames = Mfcc(deltas=0)(samples).tolist()
    mean = [sum(frame[k] for frame in frames) / len(frames) for k in range(WIDTH)]
    logits = [sum(mean[k] * float(WEIGHTS[k, e]) for k in range(WIDTH)) / temperature for e in range(len(EMOTIONS))]
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return {name: power / sum(powers) for name, power in zip(EMOTIONS, powers, strict=True)}


def test_one_sound_gives_one_emotion(recognizer: Recognizer) -> None:
    samples = spoken(1.5)
    answer = recognizer(samples, RATE)
    expected = by_hand(samples)
    assert isinstance(answer, Emotion)
    assert answer.scores == pytest.approx(expected, abs=1e-5)
    assert answer.label == max(expected, key=expected.__getitem__)
    assert (answer.duration, answer.note, answer.segments) == (1.5, None, ())
    assert answer.embedding == pytest.approx(Mfcc(deltas=0)(samples).mean(axis=0), abs=1e-4)


def test_a_list_gives_a_list_in_its_order(recognizer: Recognizer, tmp_path: Path) -> None:
    sounds = [spoken(seconds, seed) for seed, seconds in enumerate((2.0, 0.5, 3.0))]
    path = write(tmp_path / "a.wav", sounds[0], subtype="FLOAT")
    answers = recognizer([path, (sounds[1], RATE), {"array": sounds[2], "sampling_rate": RATE}])
    assert [answer.duration for answer in answers] == [2.0, 0.5, 3.0]
    for answer, samples in zip(answers, sounds, strict=True):
        assert answer.scores == pytest.approx(by_hand(samples), abs=1e-5)
    assert recognizer([]) == []


def test_logits_are_divided_by_the_temperature(tmp_path: Path) -> None:
    cool = Recognizer.load(write_folder(tmp_path / "cool", temperature=2.5))
    assert cool(spoken(1.0), RATE).scores == pytest.approx(by_hand(spoken(1.0), 2.5), abs=1e-5)


@pytest.mark.parametrize(
    ("samples", "note", "seconds"),
    [
        (np.zeros(RATE, np.float32), "silence", 1.0),
        (spoken(0.25), "too short", 0.25),
        (np.ones(1, np.float32), "too short", 1 / RATE),
        ((0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32), "no speech", 1.0),
    ],
)
def test_what_is_no_speech_gets_a_note_and_no_emotion(
    recognizer: Recognizer, samples: np.ndarray, note: str, seconds: float
) -> None:
    answer = recognizer(samples, RATE)
    plain = {"label": None, "scores": {}, "duration": seconds, "note": note}
    assert answer.to_dict() == plain
    assert answer.embedding is None
    between = recognizer([(spoken(1.0), RATE), (samples, RATE), (spoken(2.0), RATE)])
    assert [one.note for one in between] == [None, note, None]


def test_below_the_threshold_it_is_uncertain(folder: Path) -> None:
    scores = by_hand(spoken(1.0))
    best = max(scores.values())
    sure, unsure = (Recognizer.load(folder, abstain=best + step)(spoken(1.0), RATE) for step in (-1e-4, 1e-4))
    assert (sure.label, sure.note) == (max(scores, key=scores.__getitem__), None)
    assert (unsure.label, unsure.note) == (None, "uncertain")
    assert unsure.scores == pytest.approx(scores, abs=1e-5)
    assert sure.abstaining(None) is sure
    assert Emotion(None, {}, 1.0, note="silence").abstaining(0.9).note == "silence"


def test_values_of_dimensions_are_on_their_own_scales(tmp_path: Path) -> None:
    names = ["arousal", "valence", "dominance"]
    recognizer = Recognizer.load(write_folder(tmp_path / "vad", emotions=names, dimensions=True))
    answer = recognizer(spoken(1.0), RATE)
    mean = Mfcc(deltas=0)(spoken(1.0)).mean(axis=0)
    assert answer.label is None
    assert answer.note is None
    assert answer.scores == pytest.approx(dict(zip(names, (mean @ WEIGHTS).tolist(), strict=True)), abs=1e-4)
    with pytest.raises(SereneError, match=r"abstain is 0\.5; a probability was expected, and a model of classes"):
        Recognizer.load(tmp_path / "vad", abstain=0.5)


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_scores_depend_on_no_batch_order_or_padding(kind: str, folder: Path, torch_folder: Path) -> None:
    sounds = [(spoken(0.4 + 0.37 * seed, seed), RATE) for seed in range(7)]
    where = folder if kind == "onnx" else torch_folder
    one_by_one = Recognizer.load(where)
    alone = [one_by_one(one).scores for one in sounds]
    assert max(max(scores.values()) for scores in alone) - min(max(scores.values()) for scores in alone) > 1e-3
    for batch_size in (2, 7):
        recognizer = Recognizer.load(where, batch_size=batch_size)
        for order in (slice(None), slice(None, None, -1)):
            for answer, expected in zip(recognizer(sounds[order]), alone[order], strict=True):
                assert answer.scores == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_threads_get_their_own_answers(kind: str, folder: Path, torch_folder: Path) -> None:
    recognizer = Recognizer.load(folder if kind == "onnx" else torch_folder, batch_size=2)
    sounds = [(spoken(0.4 + 0.1 * (seed % 5), seed), RATE) for seed in range(24)]
    expected = [recognizer(one).scores for one in sounds]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(recognizer, sounds))
    for answer, scores in zip(answers, expected, strict=True):
        assert answer.scores == pytest.approx(scores, abs=1e-5)


def test_clips_travel_between_processes(recognizer: Recognizer) -> None:
    extractor = pickle.loads(pickle.dumps(recognizer.extractor))
    clip = pickle.loads(pickle.dumps(extractor(spoken(1.0), RATE)))
    assert isinstance(clip, Clip)
    assert recognizer.answer([clip])[0].scores == recognizer(spoken(1.0), RATE).scores


def test_broken_sound_is_an_error_with_its_name(recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "words.wav").write_text("not a sound")
    with pytest.raises(AudioError, match=r"words\.wav cannot be read as audio"):
        recognizer(tmp_path / "words.wav")


def test_sounds_are_taken_up_to_a_length(recognizer: Recognizer) -> None:
    assert recognizer.info["longest"] == 600
    with pytest.raises(AudioError, match=r"The array is 601\.0 s long, and no more than 600 s"):
        recognizer(np.zeros(601 * 1000, np.float32), 1000)


def test_info_is_plain_data(folder: Path, tmp_path: Path) -> None:
    metrics = {"ua": {"value": 0.6}}
    write_folder(tmp_path / "m")
    (tmp_path / "m" / "metrics.json").write_text(json.dumps(metrics))
    assert json.loads(json.dumps(Recognizer.load(tmp_path / "m").info)) == {
        "name": "m",
        "classes": list(EMOTIONS),
        "noun": "emotion",
        "dimensions": False,
        "personal": False,
        "rate": RATE,
        "longest": 600.0,
        "temperature": 1.0,
        "runs_on": "ONNX, fp32, cpu",
        "metrics": metrics,
    }
    assert Recognizer.load(folder).info["metrics"] is None
    assert Recognizer.load(folder).labels == EMOTIONS


def test_the_embedding_is_written_where_it_is_asked_for(recognizer: Recognizer) -> None:
    answer = recognizer(spoken(1.0), RATE)
    assert "embedding" not in answer.to_dict()
    assert json.loads(json.dumps(answer.to_dict(embedding=True)))["embedding"] == answer.embedding.tolist()


def test_the_profile_of_a_call_may_be_a_file(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write_folder(tmp_path / "m", speaker=True))
    sounds = [(spoken(1.0, seed), RATE) for seed in range(3)]
    profile = recognizer.enrol(sounds)
    profile.write(tmp_path / "anna.json")
    assert (
        recognizer(sounds[0], profile=str(tmp_path / "anna.json")).scores
        == recognizer(sounds[0], profile=profile).scores
    )
    assert recognizer(sounds[0], profile=profile).scores != recognizer(sounds[0]).scores
    with pytest.raises(SereneError, match="A dict is no profile; one that `enrol` made, or its file, was expected"):
        recognizer(sounds[0], profile={})  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_damaged_weights_are_said_to_be(folder: Path) -> None:
    class Damaged(Network):
        what = "nothing"

        def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
            return np.full((len(batch.lengths), len(EMOTIONS)), np.nan, np.float32), np.zeros((1, 2), np.float32)

    with pytest.raises(SereneError, match="The model tiny answers what is no number: its weights are damaged"):
        Recognizer(ModelFolder.find(folder), Damaged())(spoken(1.0), RATE)


def test_an_answer_is_printed_without_its_embedding(folder: Path) -> None:
    answer = Recognizer.load(folder)(spoken(1.0), RATE)
    assert answer.embedding is not None
    assert "embedding" not in repr(answer)


def test_a_model_that_asks_for_cepstra_gets_the_clips_own(tmp_path: Path) -> None:
    write_folder(tmp_path / "m", parts=PARTS | {"speaker_embedding": "mfcc_raw"})
    recognizer = Recognizer.load(tmp_path / "m")
    clip = recognizer.extract(spoken(1.0), RATE)
    expected = Mfcc(coefficients=20, deltas=0, voice_activity=False)(spoken(1.0)).mean(axis=0)
    assert clip.cepstra == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_on_a_cpu_waveforms_are_answered_one_by_one(kind: str, folder: Path, torch_folder: Path) -> None:
    """Batches of them take half as long again: a clip fills a core by itself."""
    recognizer = Recognizer.load(folder if kind == "onnx" else torch_folder, device="cpu")
    assert recognizer.network.clips(Waveform.declared, 16) == 1
    recognizer.network = watched = Watched(recognizer.network)
    recognizer([(spoken(1.0), RATE)] * 2)
    assert [len(batch.lengths) for batch in watched.batches] == [2]
    extractor = recognizer.extractor
    spec = replace(extractor.front_end.spec, batched=False)
    recognizer.extractor = replace(extractor, front_end=SimpleNamespace(spec=spec, __call__=None))
    recognizer.answer([extractor(spoken(1.0), RATE)] * 2)
    assert [len(batch.lengths) for batch in watched.batches] == [2, 1, 1]
