"""The synthetic corpus: the same every time, every class for everybody, and a dial that does what it says."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from corpus_trees import sound_files

from serene import sound
from serene.corpora.manifest import Manifest
from serene.corpora.synthetic import make, read
from serene.errors import SereneError


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "audio").iterdir())}


def information(manifest: Manifest) -> float:
    """Count the mutual information of speaker and emotion, in bits."""
    pairs = Counter((u.speaker, u.emotion) for u in manifest)
    speakers, emotions = Counter(u.speaker for u in manifest), Counter(u.emotion for u in manifest)
    n = len(manifest)
    return sum(c / n * math.log2(c * n / (speakers[s] * emotions[e])) for (s, e), c in pairs.items())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make(tmp_path_factory.mktemp("plain") / "made", shortcut=0.0, clips_per_speaker=16, seconds=0.6)


def test_ten_speakers_in_five_sessions_of_a_woman_and_a_man(plain: Manifest) -> None:
    assert plain.speakers == ("S1F", "S1M", "S2F", "S2M", "S3F", "S3M", "S4F", "S4M", "S5F", "S5M")
    assert all(u.session == u.speaker[1] for u in plain)
    assert all((u.gender == "female") == (u.speaker[2] == "F") for u in plain)
    assert Counter(u.speaker for u in plain) == dict.fromkeys(plain.speakers, 16)


def test_the_same_settings_give_the_same_samples(tmp_path: Path) -> None:
    settings = {"speakers": 2, "clips_per_speaker": 4, "seconds": 0.4}
    for name in ("a", "b"):
        make(tmp_path / name, **settings)
    make(tmp_path / "c", **settings, seed=1)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "c").values())
    assert Manifest.read(tmp_path / "a/manifest.jsonl").digest == Manifest.read(tmp_path / "b/manifest.jsonl").digest


def test_reading_makes_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()  # an empty folder will do
    monkeypatch.setattr("serene.corpora.synthetic.speak", lambda *_: np.zeros(800))
    first = read(tmp_path / "made")
    assert len(first) == 360
    monkeypatch.setattr("serene.corpora.synthetic.speak", None)  # making anything now would fail
    assert read(tmp_path / "made") == first
    assert make(tmp_path / "made") == first
    with pytest.raises(SereneError, match=r"other settings .* Name another folder"):
        make(tmp_path / "made", seed=1)


def test_the_dial_at_zero_makes_speaker_and_emotion_independent(plain: Manifest) -> None:
    assert information(plain) == pytest.approx(0, abs=1e-12)


def test_the_dial_is_the_favourites_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serene.corpora.synthetic.speak", lambda *_: np.full(100, 0.1))  # labels are all that matters
    measured = []
    for dial in (0.0, 0.5, 0.8, 1.0):
        manifest = make(tmp_path / str(dial), shortcut=dial, speakers=8, clips_per_speaker=40)
        shares = {s: Counter(u.emotion for u in manifest if u.speaker == s) for s in manifest.speakers}
        expected = min(40 * (dial + (1 - dial) / 4), 37)  # three clips are kept for the other emotions
        for counts in shares.values():
            assert len(counts) == 4  # every class for every speaker
            assert max(counts.values()) == pytest.approx(expected, abs=1)
        for gender in "FM":  # the favourites go round both genders
            favourites = {max(c, key=lambda e: c[e]) for s, c in shares.items() if s[2] == gender}
            assert dial == 0 or len(favourites) == 4
        measured.append(information(manifest))
    assert measured == sorted(measured)
    assert measured[0] < 0.01 and measured[-1] > 1


def test_voices_are_known_and_all_different(plain: Manifest) -> None:
    voices = {u.speaker: tuple(u.numbers.items()) for u in plain}
    assert len(set(voices.values())) == 10
    assert {name for voice in voices.values() for name, _ in voice} == {"f0_hertz", "formant_scale", "tilt"}
    assert all((u.numbers["f0_hertz"] > 150) == (u.gender == "female") for u in plain)


def test_texts_go_round_and_are_long_enough_to_halve(plain: Manifest) -> None:
    for speaker in plain.speakers:
        counts = Counter(u.text_id for u in plain if u.speaker == speaker)
        assert len(counts) == 6
        assert max(counts.values()) - min(counts.values()) <= 1


def pitch(samples: np.ndarray) -> float:
    """Find the strongest autocorrelation between 70 and 400 Hz in the middle of a clip, in hertz."""
    middle = samples[len(samples) // 2 - 2000 : len(samples) // 2 + 2000].astype(float)
    likeness = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    lag = 40 + int(np.argmax(likeness[40:229]))
    return 16_000 / lag


def test_the_sound_follows_voice_and_emotion(plain: Manifest) -> None:
    sounds = {u.id: sound.read(u.audio) for u in plain}
    by_gender = {g: np.median([pitch(sounds[u.id]) for u in plain if u.gender == g]) for g in ("female", "male")}
    assert by_gender["female"] > 1.3 * by_gender["male"]
    level = {e: np.median([np.std(sounds[u.id]) for u in plain if u.emotion == e]) for e in ("anger", "sadness")}
    assert level["anger"] > 1.8 * level["sadness"]
    length = {e: np.mean([len(sounds[u.id]) for u in plain if u.emotion == e]) for e in ("anger", "sadness")}
    assert length["anger"] < length["sadness"]
    assert max(float(np.abs(x).max()) for x in sounds.values()) <= 1


def test_it_never_touches_a_folder_with_something_else(tmp_path: Path) -> None:
    sound_files(tmp_path / "mine", ["thesis.wav"])
    with pytest.raises(SereneError, match="is not empty and holds no synthetic corpus"):
        read(tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.wav"]


def test_a_failed_making_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serene.corpora.synthetic.soundfile.write", full)
    with pytest.raises(SereneError, match="No space left"):
        make(tmp_path / "made", speakers=2, clips_per_speaker=4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shortcut": 1.5}, "shortcut=1.5"),
        ({"emotions": ("anger", "anger")}, "emotions="),
        ({"emotions": ("anger", "sadnes")}, "Did you mean 'sadness'"),
        ({"clips_per_speaker": 3}, "clips_per_speaker=3"),
        ({"speakers": 1}, "speakers=1"),
        ({"seconds": 0.0}, "seconds=0.0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_out_of_range(wrong: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=message):
        make(tmp_path / "made", **wrong)
    assert not (tmp_path / "made").exists()
