"""A profile holds a speaker's statistics and nothing of the audio; the model it was made for uses it, no other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_model import Watched, spoken
from tiny_onnx import EMOTIONS, PARTS, WEIGHTS, WIDTH, write_folder

from serene.audio.mfcc import Mfcc
from serene.errors import SereneError
from serene.inference.profile import Profile
from serene.inference.recognizer import Recognizer
from serene.speaker import Statistics

RATE = 16_000
CLIPS = [spoken(seconds, seed) for seed, seconds in enumerate((0.6, 1.4, 1.0))]
SOUNDS = [(clip, RATE) for clip in CLIPS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("personal") / "m", speaker=True)


@pytest.fixture
def recognizer(folder: Path) -> Recognizer:
    return Recognizer.load(folder)


def scores(mean: np.ndarray) -> dict[str, float]:
    logits = [float(logit) for logit in mean @ WEIGHTS]
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return {name: power / sum(powers) for name, power in zip(EMOTIONS, powers, strict=True)}


def test_statistics_are_over_the_frames_of_all_clips(recognizer: Recognizer) -> None:
    profile = recognizer.enrol(SOUNDS)
    frames = [frame for clip in CLIPS for frame in Mfcc(deltas=0)(clip).tolist()]
    own_mean, own_deviation = profile.context.features.moments
    for k in range(WIDTH):
        column = [frame[k] for frame in frames]
        mean = sum(column) / len(column)
        assert own_mean[k] == pytest.approx(mean, abs=1e-4)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in column) / len(column))
        assert own_deviation[k] == pytest.approx(deviation, rel=1e-4)
    assert (profile.context.features.count, profile.clips, profile.seconds) == (len(frames), 3, 3.0)


def standardised(clip: np.ndarray, statistics: Statistics) -> np.ndarray:
    mean, deviation = statistics.moments
    return (Mfcc(deltas=0)(clip).mean(axis=0) - mean) / deviation


def test_the_prior_is_the_mean_with_the_speaker_enrolled(recognizer: Recognizer) -> None:
    profile = recognizer.enrol(SOUNDS)
    assert profile.context.embeddings is None
    own = [scores(standardised(clip, profile.context.features)) for clip in CLIPS]
    assert profile.prior == pytest.approx({name: sum(one[name] for one in own) / 3 for name in EMOTIONS}, abs=1e-4)
    assert sum(profile.prior.values()) == pytest.approx(1)


def test_statistics_of_embeddings_are_over_the_clips_as_of_an_unseen_speaker(tmp_path: Path) -> None:
    parts = PARTS | {"embedding_norm": "speaker"}
    write_folder(tmp_path / "m", speaker=True, normalize="none", parts=parts, embedding_width=WIDTH)
    recognizer = Recognizer.load(tmp_path / "m")
    profile = recognizer.enrol(SOUNDS)
    embeddings = np.stack([Mfcc(deltas=0)(clip).mean(axis=0) for clip in CLIPS])
    own = profile.context.embeddings
    assert own.moments == pytest.approx(np.stack([embeddings.mean(axis=0), embeddings.std(axis=0)]), abs=1e-4)
    assert own.count == 3
    by_hand = [scores(standardised(clip, own)) for clip in CLIPS]
    assert profile.prior == pytest.approx({name: sum(one[name] for one in by_hand) / 3 for name in EMOTIONS}, abs=1e-4)
    profile.write(tmp_path / "anna.json")
    again = Profile.read(tmp_path / "anna.json").context.embeddings
    assert (again.moments.tolist(), again.count) == (own.moments.tolist(), 3)


def test_what_is_no_speech_is_left_out(recognizer: Recognizer) -> None:
    silence = (np.zeros(RATE, np.float32), RATE)
    assert recognizer.enrol([silence, *SOUNDS]).to_dict() == recognizer.enrol(SOUNDS).to_dict()
    with pytest.raises(SereneError, match="None of the 2 clips holds speech that a profile could be made of"):
        recognizer.enrol([silence, silence])
    with pytest.raises(SereneError, match="None of the 0 clips"):
        recognizer.enrol([])


def test_a_file_says_what_was_written_and_nothing_else(recognizer: Recognizer, tmp_path: Path) -> None:
    profile = recognizer.enrol(SOUNDS)
    profile.write(tmp_path / "anna.json")
    again = Profile.read(tmp_path / "anna.json")
    assert again.to_dict() == profile.to_dict() == json.loads((tmp_path / "anna.json").read_text())
    assert set(profile.to_dict()) == {
        *("format", "model", "clips", "seconds", "frames", "prior"),
        *("mean", "deviation", "voice", "embedding", "embedding_deviation"),
    }
    numbers = 2 * WIDTH + WIDTH + len(EMOTIONS) + 4
    assert len(json.dumps(profile.to_dict())) < 30 * numbers  # far too little for the audio, however many the clips


def test_without_a_profile_a_clip_stands_for_its_speaker(recognizer: Recognizer) -> None:
    """Standardised by its own mean, every clip's mean is zero: all scores are alike."""
    for clip in CLIPS:
        assert recognizer(clip, RATE).scores == pytest.approx(dict.fromkeys(EMOTIONS, 1 / 3), abs=1e-5)


def test_without_a_profile_the_training_set_stands_in_where_it_may(tmp_path: Path) -> None:
    """The model is told of no frames, and blends nothing of the speaker's in."""
    write_folder(tmp_path / "m", speaker=True, enrolment_prior=50.0)
    recognizer = Recognizer.load(tmp_path / "m")
    recognizer.network = watched = Watched(recognizer.network)
    recognizer(SOUNDS)
    assert np.array_equal(watched.batches[0].context.features.count, [0, 0, 0])
    recognizer(SOUNDS, profile=recognizer.enrol(SOUNDS))
    assert (watched.batches[-1].context.features.count > 0).all()


def test_a_profile_serves_as_file_object_default_and_per_clip(
    recognizer: Recognizer, folder: Path, tmp_path: Path
) -> None:
    anna, bert = recognizer.enrol(SOUNDS[:2]), recognizer.enrol(SOUNDS[2:])
    anna.write(tmp_path / "anna.json")
    by_anna, by_bert = (scores(standardised(CLIPS[0], own.context.features)) for own in (anna, bert))
    assert by_anna != pytest.approx(by_bert, abs=1e-3)
    assert recognizer(CLIPS[0], RATE, profile=anna).scores == pytest.approx(by_anna, abs=1e-4)
    for given in (anna, tmp_path / "anna.json", str(tmp_path / "anna.json")):
        known = Recognizer.load(folder, profile=given)
        assert known(CLIPS[0], RATE).scores == pytest.approx(by_anna, abs=1e-4)
        assert known(CLIPS[0], RATE, profile=bert).scores == pytest.approx(by_bert, abs=1e-4)
    clip = recognizer.extract(CLIPS[0], RATE)
    mixed = recognizer.answer([clip, clip, clip], profile=[bert, None, anna])
    for answer, expected in zip(mixed, (by_bert, dict.fromkeys(EMOTIONS, 1 / 3), by_anna), strict=True):
        assert answer.scores == pytest.approx(expected, abs=1e-4)


def test_a_profile_of_another_model_is_refused(recognizer: Recognizer, tmp_path: Path) -> None:
    profile = recognizer.enrol(SOUNDS)
    same = write_folder(tmp_path / "elsewhere", speaker=True, temperature=3.0)  # the same weights
    assert Recognizer.load(same, profile=profile)(CLIPS[0], RATE).label is not None
    other = write_folder(tmp_path / "other", speaker=True)
    (other / "model.safetensors").write_bytes(b"other weights")
    said = (
        f"was made for the model {recognizer.folder.identity}, and this is [0-9a-f]{{16}}: .* Enrol the speaker again"
    )
    with pytest.raises(SereneError, match=said):
        Recognizer.load(other, profile=profile)
    with pytest.raises(SereneError, match=said):
        Recognizer.load(other)(CLIPS[0], RATE, profile=profile)


def test_features_that_differ_make_another_model(recognizer: Recognizer, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "m", speaker=True)
    (other / "preprocessor_config.json").write_text(json.dumps({"front_end": "mfcc", "deltas": 0, "energy": True}))
    assert Recognizer.load(other).folder.identity != recognizer.folder.identity


def test_models_that_ask_nothing_of_the_speaker_make_no_profile(tmp_path: Path) -> None:
    recognizer = Recognizer.load(write_folder(tmp_path / "m"))
    assert not recognizer.info["personal"]
    with pytest.raises(SereneError, match="The model m answers for one clip at a time: a profile would change nothing"):
        recognizer.enrol(SOUNDS)


def test_cepstra_are_means_of_the_clips_means(tmp_path: Path) -> None:
    parts = PARTS | {"speaker_embedding": "mfcc_learned"}
    recognizer = Recognizer.load(write_folder(tmp_path / "m", parts=parts))
    profile = recognizer.enrol(SOUNDS)
    cepstra = Mfcc(coefficients=20, deltas=0, voice_activity=False)
    expected = np.mean([cepstra(clip).mean(axis=0) for clip in CLIPS], axis=0)
    assert profile.context.cepstra == pytest.approx(expected, abs=1e-4)
    recognizer.network = watched = Watched(recognizer.network)
    recognizer(SOUNDS[:2], profile=profile)
    assert watched.batches[0].context.cepstra == pytest.approx(np.stack([profile.context.cepstra] * 2))
    recognizer(SOUNDS[:1])
    assert watched.batches[1].context.cepstra[0] == pytest.approx(cepstra(CLIPS[0]).mean(axis=0), abs=1e-4)


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
        (
            lambda kept: kept.update(embedding=[0.0] * WIDTH, embedding_deviation=[0.0] * WIDTH),
            "its statistics are not those of any clips",
        ),
        (lambda kept: kept.update(mean=[1e300] * WIDTH), "no readable profile"),
        (lambda kept: kept.update(format="1"), "no readable profile"),
        (lambda kept: kept.update(frames=0), "its statistics are not those of any clips"),
    ],
)
def test_a_file_that_is_no_profile(recognizer: Recognizer, tmp_path: Path, change: Any, said: str) -> None:
    kept = recognizer.enrol(SOUNDS).to_dict()
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


def test_a_forged_profile_of_another_width(recognizer: Recognizer, tmp_path: Path) -> None:
    kept = recognizer.enrol(SOUNDS).to_dict() | {"mean": [0.0] * 5, "deviation": [1.0] * 5}
    (tmp_path / "p.json").write_text(json.dumps(kept))
    with pytest.raises(SereneError, match="This profile holds other numbers than its model reads"):
        recognizer(CLIPS[0], RATE, profile=Profile.read(tmp_path / "p.json"))
