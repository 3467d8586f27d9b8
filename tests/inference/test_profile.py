"""A profile holds a speaker's statistics and nothing of the audio; the model it was made for uses it, no other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_model import spoken
from tiny_onnx import EMOTIONS, PARTS, WEIGHTS, WIDTH, write_folder

from serene.audio.mfcc import Mfcc
from serene.errors import SereneError
from serene.inference.profile import Profile
from serene.inference.recognizer import Recognizer

RATE = 16_000
CLIPS = [spoken(seconds, seed) for seed, seconds in enumerate((0.6, 1.4, 1.0))]
SOUNDS = [(clip, RATE) for clip in CLIPS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("personal") / "m", speaker=True)


@pytest.fixture
def extract(folder: Path) -> Recognizer:
    return Recognizer.load(folder)


def scores(mean: np.ndarray) -> dict[str, float]:
    logits = [float(logit) for logit in mean @ WEIGHTS]
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return {name: power / sum(powers) for name, power in zip(EMOTIONS, powers, strict=True)}


def test_statistics_are_over_the_frames_of_all_clips(extract: Recognizer) -> None:
    profile = extract.enrol(SOUNDS)
    frames = [frame for clip in CLIPS for frame in Mfcc(deltas=0)(clip).tolist()]
    for k in range(WIDTH):
        column = [frame[k] for frame in frames]
        mean = sum(column) / len(column)
        assert profile.mean[k] == pytest.approx(mean, abs=1e-4)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in column) / len(column))
        assert profile.deviation[k] == pytest.approx(deviation, rel=1e-4)
    assert (profile.frames, profile.clips, profile.seconds) == (len(frames), 3, 3.0)


def test_embedding_and_prior_are_means_with_the_speaker_enrolled(extract: Recognizer) -> None:
    profile = extract.enrol(SOUNDS)
    means = [(Mfcc(deltas=0)(clip).mean(axis=0) - profile.mean) / profile.deviation for clip in CLIPS]
    assert profile.embedding == pytest.approx(sum(means) / 3, abs=1e-4)
    own = [scores(mean) for mean in means]
    assert profile.prior == pytest.approx({name: sum(one[name] for one in own) / 3 for name in EMOTIONS}, abs=1e-4)
    assert sum(profile.prior.values()) == pytest.approx(1)


def test_what_is_no_speech_is_left_out(extract: Recognizer) -> None:
    silence = (np.zeros(RATE, np.float32), RATE)
    assert extract.enrol([silence, *SOUNDS]).to_dict() == extract.enrol(SOUNDS).to_dict()
    with pytest.raises(SereneError, match="None of the 2 clips holds speech that a profile could be made of"):
        extract.enrol([silence, silence])
    with pytest.raises(SereneError, match="None of the 0 clips"):
        extract.enrol([])


def test_a_file_says_what_was_written_and_nothing_else(extract: Recognizer, tmp_path: Path) -> None:
    profile = extract.enrol(SOUNDS)
    profile.write(tmp_path / "anna.json")
    again = Profile.read(tmp_path / "anna.json")
    assert again.to_dict() == profile.to_dict() == json.loads((tmp_path / "anna.json").read_text())
    assert set(profile.to_dict()) == {
        *("format", "model", "clips", "seconds", "frames", "prior"),
        *("mean", "deviation", "voice", "embedding", "embedding_deviation"),
    }
    numbers = 2 * WIDTH + WIDTH + len(EMOTIONS) + 4
    assert len(json.dumps(profile.to_dict())) < 30 * numbers  # far too little for the audio, however many the clips


def test_without_a_profile_a_clip_stands_for_its_speaker(extract: Recognizer) -> None:
    """Standardised by its own mean, every clip's mean is zero: all scores are alike."""
    for clip in CLIPS:
        assert extract(clip, RATE).scores == pytest.approx(dict.fromkeys(EMOTIONS, 1 / 3), abs=1e-5)


def test_without_a_profile_the_training_set_stands_in_where_it_may(tmp_path: Path) -> None:
    """The model is told of no frames, and blends nothing of the speaker's in."""
    write_folder(tmp_path / "m", speaker=True, enrolment_prior=50.0)
    extract = Recognizer.load(tmp_path / "m")
    seen: list[Any] = []
    network = extract.network
    extract.network = lambda inputs: seen.append(inputs) or network(inputs)  # type: ignore[assignment]
    extract(SOUNDS)
    assert np.array_equal(seen[0].enrolled, [0, 0, 0])
    extract(SOUNDS, profile=extract.enrol(SOUNDS))
    assert (seen[-1].enrolled > 0).all()


def test_a_profile_serves_as_file_object_default_and_per_clip(
    extract: Recognizer, folder: Path, tmp_path: Path
) -> None:
    anna, bert = extract.enrol(SOUNDS[:2]), extract.enrol(SOUNDS[2:])
    anna.write(tmp_path / "anna.json")
    mean = Mfcc(deltas=0)(CLIPS[0]).mean(axis=0)
    by_anna, by_bert = (scores((mean - p.mean) / p.deviation) for p in (anna, bert))
    assert by_anna != pytest.approx(by_bert, abs=1e-3)
    assert extract(CLIPS[0], RATE, profile=anna).scores == pytest.approx(by_anna, abs=1e-4)
    for given in (anna, tmp_path / "anna.json", str(tmp_path / "anna.json")):
        known = Recognizer.load(folder, profile=given)
        assert known(CLIPS[0], RATE).scores == pytest.approx(by_anna, abs=1e-4)
        assert known(CLIPS[0], RATE, profile=bert).scores == pytest.approx(by_bert, abs=1e-4)
    clip = extract.extract(CLIPS[0], RATE)
    mixed = extract.answer([clip, clip, clip], profile=[bert, None, anna])
    for answer, expected in zip(mixed, (by_bert, dict.fromkeys(EMOTIONS, 1 / 3), by_anna), strict=True):
        assert answer.scores == pytest.approx(expected, abs=1e-4)


def test_a_profile_of_another_model_is_refused(extract: Recognizer, tmp_path: Path) -> None:
    profile = extract.enrol(SOUNDS)
    same = write_folder(tmp_path / "elsewhere", speaker=True, temperature=3.0)  # the same weights
    assert Recognizer.load(same, profile=profile)(CLIPS[0], RATE).label is not None
    other = write_folder(tmp_path / "other", speaker=True)
    (other / "model.safetensors").write_bytes(b"other weights")
    said = f"was made for the model {extract.folder.identity}, and this is [0-9a-f]{{16}}: .* Enrol the speaker again"
    with pytest.raises(SereneError, match=said):
        Recognizer.load(other, profile=profile)
    with pytest.raises(SereneError, match=said):
        Recognizer.load(other)(CLIPS[0], RATE, profile=profile)


def test_features_that_differ_make_another_model(extract: Recognizer, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "m", speaker=True)
    (other / "preprocessor_config.json").write_text(json.dumps({"front_end": "mfcc", "deltas": 0, "energy": True}))
    assert Recognizer.load(other).folder.identity != extract.folder.identity


def test_models_that_hear_one_clip_at_a_time_make_no_profile(tmp_path: Path) -> None:
    extract = Recognizer.load(write_folder(tmp_path / "m"))
    assert not extract.info["personal"]
    with pytest.raises(SereneError, match="The model m hears one clip at a time: a profile would change nothing"):
        extract.enrol(SOUNDS)


def test_voices_are_means_of_the_clips_means(tmp_path: Path) -> None:
    parts = PARTS | {"speaker_embedding": "mfcc_learned"}
    extract = Recognizer.load(write_folder(tmp_path / "m", parts=parts))
    profile = extract.enrol(SOUNDS)
    cepstra = Mfcc(coefficients=20, deltas=0, voice_activity=False)
    assert profile.voice == pytest.approx(np.mean([cepstra(clip).mean(axis=0) for clip in CLIPS], axis=0), abs=1e-4)
    seen: list[Any] = []
    network = extract.network
    extract.network = lambda inputs: seen.append(inputs) or network(inputs)  # type: ignore[assignment]
    extract(SOUNDS[:2], profile=profile)
    assert seen[0].voice == pytest.approx(np.stack([profile.voice] * 2))
    extract(SOUNDS[:1])
    assert seen[1].voice[0] == pytest.approx(cepstra(CLIPS[0]).mean(axis=0), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: kept.update(format=2), "was written by a newer serene"),
        (lambda kept: kept.pop("mean"), "no readable profile"),
        (lambda kept: kept.update(mean=[]), "no readable profile"),
        (lambda kept: kept.update(mean=["a"]), "no readable profile"),
        (lambda kept: kept.update(mean=[math.nan]), "no readable profile"),
        (lambda kept: kept.update(prior=[1, 2]), "no readable profile"),
        (lambda kept: kept.update(deviation=[1.0]), "its statistics are not those of any clips"),
        (lambda kept: kept.update(deviation=[0.0] * WIDTH), "its statistics are not those of any clips"),
        (lambda kept: kept.update(clips=0), "its statistics are not those of any clips"),
        (lambda kept: kept.update(embedding_deviation=[0.0] * WIDTH), "its statistics are not those of any clips"),
        (lambda kept: kept.update(mean=[1e300] * WIDTH), "no readable profile"),
        (lambda kept: kept.update(format="1"), "no readable profile"),
        (lambda kept: kept.update(frames=0), "its statistics are not those of any clips"),
    ],
)
def test_a_file_that_is_no_profile(extract: Recognizer, tmp_path: Path, change: Any, said: str) -> None:
    kept = extract.enrol(SOUNDS).to_dict()
    change(kept)
    (tmp_path / "p.json").write_text(json.dumps(kept))
    with pytest.raises(SereneError, match=said):
        Profile.read(tmp_path / "p.json")


def test_what_is_wrong_with_a_profile_is_one_short_sentence(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    with pytest.raises(SereneError, match=r"p\.json is no readable profile: there is no such file\.$"):
        Profile.read(file)
    for content in (b"RIFF" + bytes(range(256)) * 500, b"[]", b"{", b'{"format": 1}', b'"' + b"x" * 10_000 + b'"'):
        file.write_bytes(content)
        with pytest.raises(SereneError, match="is no readable profile, such as `serene enrol` writes: ") as raised:
            Profile.read(file)
        assert len(str(raised.value)) < len(str(file)) + 120
    with pytest.raises(SereneError, match="writes: Is a directory"):
        Profile.read(tmp_path)


def test_a_forged_profile_of_another_width(extract: Recognizer, tmp_path: Path) -> None:
    kept = extract.enrol(SOUNDS).to_dict() | {"mean": [0.0] * 5, "deviation": [1.0] * 5}
    (tmp_path / "p.json").write_text(json.dumps(kept))
    with pytest.raises(SereneError, match="This profile holds other numbers than its model reads"):
        extract(CLIPS[0], RATE, profile=Profile.read(tmp_path / "p.json"))
