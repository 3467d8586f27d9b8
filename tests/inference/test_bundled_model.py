"""The model in the box: it is there, small, and answers, without torch, the same in every batch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_model import spoken

from serene.corpora.manifest import Manifest
from serene.inference.folder import BUNDLED
from serene.inference.recognizer import Recognizer

RATE = 16_000
CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")  # CREMA-D's six
SAMPLE = BUNDLED.parent / "sample"
MOST_BYTES = 15_000_000


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer.load()


def clips_of(speech: Path, speaker: str) -> list[Path]:
    found = sorted((speech / "crema-d" / "AudioWAV").glob(f"{speaker}_*"))
    if not found:
        pytest.skip("SERENE_SPEECH holds no CREMA-D")
    return found


def test_its_files_are_there_and_small() -> None:
    assert 100_000 < (BUNDLED / "model.onnx").stat().st_size <= MOST_BYTES
    assert not (BUNDLED / "model.safetensors").exists()  # it answers on a CPU, and nothing else
    config = json.loads((BUNDLED / "config.json").read_text())
    assert tuple(config["emotions"]) == CLASSES
    assert config["temperature"] != 1.0
    assert (BUNDLED / "preprocessor_config.json").is_file()
    assert (BUNDLED / "trained_on.json").is_file()


def test_it_says_what_it_is(recognizer: Recognizer) -> None:
    assert recognizer.labels == CLASSES
    assert recognizer.info["name"] == "bundled"
    assert recognizer.info["runs_on"] == "ONNX, fp32, cpu"
    assert recognizer.info["personal"]
    assert not recognizer.info["dimensions"]


@pytest.mark.parametrize("seconds", [0.35, 1.0, 7.3])
def test_it_answers_for_made_up_sounds(recognizer: Recognizer, seconds: float) -> None:
    answer = recognizer(spoken(seconds), RATE)
    assert answer.label == max(CLASSES, key=answer.scores.__getitem__)
    assert tuple(answer.scores) == CLASSES
    assert np.isfinite(list(answer.scores.values())).all()
    assert sum(answer.scores.values()) == pytest.approx(1.0, abs=1e-6)
    assert answer.duration == pytest.approx(seconds, abs=1e-3)
    assert answer.embedding is not None
    assert np.isfinite(answer.embedding).all()


def test_loud_and_faint_sounds_have_finite_scores(recognizer: Recognizer) -> None:
    sound = spoken(1.5) / np.abs(spoken(1.5)).max()
    for answer in recognizer([(sound * gain, RATE) for gain in (1.0, 1e-2, 60.0)]):
        assert np.isfinite(list(answer.scores.values())).all()


def test_what_holds_no_speech_gets_no_emotion(recognizer: Recognizer) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    sounds = [np.zeros(2 * RATE), noise, spoken(1.0)[:3200], np.full(2 * RATE, 0.3)]
    answers = recognizer([(sound, RATE) for sound in sounds])
    assert [answer.note for answer in answers] == ["silence", "no speech", "too short", "silence"]
    assert all(answer.label is None and not answer.scores for answer in answers)


def test_no_batch_or_order_changes_its_scores() -> None:
    sounds = [(spoken(0.4 + 0.61 * seed, seed), RATE) for seed in range(6)]
    one_by_one = Recognizer.load(batch_size=1)
    alone = [one_by_one(sound).scores for sound in sounds]
    assert max(abs(alone[0][name] - alone[-1][name]) for name in CLASSES) > 1e-3
    for batch_size in (2, 6):
        recognizer = Recognizer.load(batch_size=batch_size)
        for order in (slice(None), slice(None, None, -1)):
            for answer, expected in zip(recognizer(sounds[order]), alone[order], strict=True):
                assert answer.scores == pytest.approx(expected, abs=1e-5)


def test_a_profile_changes_its_scores(recognizer: Recognizer, tmp_path: Path) -> None:
    sounds = [(spoken(1.0, seed), RATE) for seed in range(8)]
    profile = recognizer.enrol(sounds[:7])
    profile.write(tmp_path / "anna.json")
    unknown, known = recognizer(sounds[7]), recognizer(sounds[7], profile=profile)
    assert max(abs(unknown.scores[name] - known.scores[name]) for name in CLASSES) > 1e-3
    assert sum(known.scores.values()) == pytest.approx(1.0, abs=1e-6)
    kept = Recognizer.load(profile=tmp_path / "anna.json")(sounds[7])
    assert kept.scores == pytest.approx(known.scores, abs=1e-5)


def test_it_answers_for_real_speech(recognizer: Recognizer, speech: Path) -> None:
    clips = clips_of(speech, "1001")[:24]
    answers = recognizer(clips)
    for clip, answer in zip(clips, answers, strict=True):
        assert answer.label in CLASSES
        assert sum(answer.scores.values()) == pytest.approx(1.0, abs=1e-6)
        assert answer.duration == pytest.approx(soundfile.info(clip).duration, abs=1e-3)
    assert len({answer.label for answer in answers}) > 2  # it tells clips apart


def test_a_real_speakers_profile_moves_their_scores(recognizer: Recognizer, speech: Path) -> None:
    clips = clips_of(speech, "1002")
    profile = recognizer.enrol(clips[:20])
    assert profile.clips == 20
    assert sum(profile.said.values()) == 20
    unknown, known = recognizer(clips[30]), recognizer(clips[30], profile=profile)
    assert max(abs(unknown.scores[name] - known.scores[name]) for name in CLASSES) > 1e-3


def test_its_card_tells_what_it_misses_on_other_corpora() -> None:
    measured = {one["corpus"]: one for one in json.loads((BUNDLED / "metrics.json").read_text())["elsewhere"]}
    card = (BUNDLED / "README.md").read_text().partition("## On other corpora")[2].partition("\n## ")[0]
    assert "The figures are of the model in this folder." in card
    seldom = card.partition("**Hardly ever recognised**")[2]
    for corpus in ("emodb", "ravdess"):
        recalls = measured[corpus]["per_class_recall"]
        assert measured[corpus]["metrics"]["ua"]["value"] == pytest.approx(np.mean([*recalls.values()]))
        told = seldom.partition(f"on `{corpus}` ")[2].partition("; on")[0]
        assert [name for name in CLASSES if f"{name} " in told] == [name for name in CLASSES if recalls[name] < 0.1]


def test_it_is_as_accurate_as_its_card_says_on_speakers_it_was_not_trained_on(recognizer: Recognizer) -> None:
    """The sample's test speakers; the card's figure is of all of their clips, of which the sample holds a sixth."""
    clips = [clip for clip in Manifest.read(SAMPLE / "manifest.jsonl") if clip.split == "test"]
    trained = json.loads((BUNDLED / "trained_on.json").read_text())
    known = {speaker for part in trained.values() for _, speaker in part}
    assert not known & {clip.speaker for clip in clips}
    assert len(known) == 79
    answers = recognizer([clip.audio for clip in clips])
    recalls = []
    for name in CLASSES:
        own = [answer.label for answer, clip in zip(answers, clips, strict=True) if clip.emotion == name]
        recalls.append(own.count(name) / len(own))
    told = json.loads((BUNDLED / "metrics.json").read_text())["metrics"]["ua"]["value"]
    assert sum(recalls) / len(recalls) == pytest.approx(told, abs=0.08)


def test_it_answers_without_torch() -> None:
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(['torch', 'transformers', 'sklearn', 'matplotlib', 'scipy', 'onnx'])\n"
        "import serene\n"
        "recognizer = serene.Recognizer.load()\n"
        "print(recognizer(sys.argv[1]).label)\n"
    )
    words = [sys.executable, "-W", "error", "-c", code, SAMPLE / "audio" / "1007_DFA_ANG_XX.opus"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in CLASSES
