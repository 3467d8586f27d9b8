"""A profile holds a speaker's statistics and nothing of the audio; the model it was made for uses it, no other."""

from __future__ import annotations

import json
import math
from dataclasses import replace
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
from serene.speaker import SpeakerContext, Statistics

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


def test_what_was_said_is_counted_before_anything_is_known_of_the_speaker(tmp_path: Path) -> None:
    parts = PARTS | {"embedding_norm": "speaker"}
    write_folder(tmp_path / "m", speaker=True, normalize="none", parts=parts, embedding_width=WIDTH)
    recognizer = Recognizer.load(tmp_path / "m")
    labels = [recognizer(clip, RATE).label for clip in CLIPS]
    assert recognizer.enrol(SOUNDS).said == {name: labels.count(name) for name in EMOTIONS}


def profile_of(said: dict[str, int], embeddings: np.ndarray) -> Profile:
    own = Statistics.of(lambda: [embeddings])
    context = SpeakerContext(features=own, embeddings=own)
    return Profile("a model", context, len(embeddings), 1.0, said)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"a": 9, "b": 0, "c": 0, "d": 0}, 0.0),
        ({"a": 5, "b": 5, "c": 0, "d": 0}, 0.0),  # as many as two of four: half of the classes
        ({"a": 6, "b": 6, "c": 6, "d": 0}, 1.0),  # three of four
        ({"a": 4, "b": 4, "c": 1, "d": 0}, None),
        ({}, 1.0),  # dimensions are not counted
    ],
)
def test_clips_count_by_how_varied_that_is_which_was_said_of_them(said: dict[str, int], expected: float | None) -> None:
    if expected is None:
        shares = [count / sum(said.values()) for count in said.values() if count]
        perplexity = math.prod(share**-share for share in shares)
        expected = (perplexity / 4 - 0.6) / (0.75 - 0.6)
        assert 0 < expected < 1
    profile = profile_of(said, np.ones((20, 2)))
    assert profile.varied == pytest.approx(expected)
    assert profile.told.embeddings.count == round(20 * expected)
    assert profile.context.embeddings.count == 20


def test_joined_profiles_are_those_of_all_clips() -> None:
    draw = np.random.default_rng(0)
    one, two, three = (draw.normal(mean, 1 + mean, (count, 3)) for mean, count in ((0, 4), (2, 1), (3, 30)))
    apart = [profile_of({"a": 1, "b": 2}, rows) for rows in (one, two, three)]
    joined, whole = apart[0].joined(apart[1]).joined(apart[2]), np.concatenate([one, two, three]).tolist()
    assert (joined.clips, joined.seconds, joined.said) == (35, 3.0, {"a": 3, "b": 6})
    for own in (joined.context.embeddings, joined.context.features):
        assert own.count == 35
        for k, (mean, deviation) in enumerate(own.moments.T):
            column = [row[k] for row in whole]
            by_hand = sum(column) / 35
            assert mean == pytest.approx(by_hand, abs=1e-5)
            assert deviation == pytest.approx(math.sqrt(sum((x - by_hand) ** 2 for x in column) / 35), rel=1e-5)


def test_a_speaker_is_shrunk_towards_the_folder_and_counts_as_it_does() -> None:
    draw = np.random.default_rng(1)
    speaker = profile_of({"a": 5, "b": 5}, draw.normal(2, 3, (10, 3)))
    folder = profile_of({"a": 50, "b": 30}, draw.normal(0, 1, (80, 3)))
    within, share = speaker.within(folder), 10 / (10 + 20)
    assert (within.context.embeddings.count, within.clips, within.name) == (80, 10, "speaker of 10 clips")
    for k in range(3):
        (mean, deviation), (above, spread) = (own.context.embeddings.moments[:, k] for own in (speaker, folder))
        assert within.context.embeddings.moments[0, k] == pytest.approx(share * mean + (1 - share) * above)
        variance = share * deviation**2 + (1 - share) * spread**2
        assert within.context.embeddings.moments[1, k] == pytest.approx(math.sqrt(variance))
    alike = profile_of({"a": 10, "b": 0}, draw.normal(2, 3, (10, 3))).within(folder)
    assert alike.context.embeddings.moments == pytest.approx(folder.context.embeddings.moments)


def test_statistics_of_embeddings_are_over_the_clips_as_of_an_unseen_speaker(tmp_path: Path) -> None:
    parts = PARTS | {"embedding_norm": "speaker"}
    write_folder(tmp_path / "m", speaker=True, normalize="none", parts=parts, embedding_width=WIDTH)
    recognizer = Recognizer.load(tmp_path / "m")
    profile = recognizer.enrol(SOUNDS)
    embeddings = np.stack([Mfcc(deltas=0)(clip).mean(axis=0) for clip in CLIPS])
    own = profile.context.embeddings
    assert own.moments == pytest.approx(np.stack([embeddings.mean(axis=0), embeddings.std(axis=0)]), abs=1e-4)
    assert own.count == 3
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
        *("format", "model", "clips", "seconds", "frames", "said"),
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
    varied = replace(recognizer.enrol(SOUNDS), said=dict.fromkeys(EMOTIONS, 1))
    recognizer(SOUNDS, profile=varied)
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
        (lambda kept: kept.update(format=3), "was written by a newer serene"),
        (lambda kept: kept.pop("mean"), "no readable profile"),
        (lambda kept: kept.update(mean=[]), "no readable profile"),
        (lambda kept: kept.update(mean=["a"]), "no readable profile"),
        (lambda kept: kept.update(mean=[math.nan]), "no readable profile"),
        (lambda kept: kept.update(format=1), "by an older serene. Enrol the speaker again: serene enrol CLIPS -o"),
        (lambda kept: kept.update(said=[1, 2]), "no readable profile"),
        (lambda kept: kept.update(deviation=[1.0]), "its statistics are not those of any clips"),
        (lambda kept: kept.update(deviation=[0.0] * WIDTH), "its statistics are not those of any clips"),
        (lambda kept: kept.update(clips=0), "its statistics are not those of any clips"),
        (
            lambda kept: kept.update(embedding=[0.0] * WIDTH, embedding_deviation=[0.0] * WIDTH),
            "its statistics are not those of any clips",
        ),
        (lambda kept: kept.update(mean=[1e300] * WIDTH), "no readable profile"),
        (lambda kept: kept.update(format="1"), "no readable profile"),
        (lambda kept: kept.update(said={"anger": -1}), "its statistics are not those of any clips"),
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
    for content in (b"RIFF" + bytes(range(256)) * 500, b"[]", b"{", b'{"format": 2}', b'"' + b"x" * 10_000 + b'"'):
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
