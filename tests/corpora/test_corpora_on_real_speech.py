"""The readers on the corpora themselves: every published count, and every known defect."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from serene.corpora import crema_d
from serene.corpora.prepare import prepare

SPEECH = Path(os.environ.get("SERENE_SPEECH", "/nonexistent"))
pytestmark = pytest.mark.skipif(not SPEECH.is_dir(), reason="SERENE_SPEECH does not name a folder of real speech")


def test_emodb() -> None:
    manifest = prepare("emodb", SPEECH / "emodb")
    assert Counter(u.emotion for u in manifest) == {
        "anger": 127,
        "boredom": 81,
        "neutral": 79,
        "happiness": 71,
        "fear": 69,
        "sadness": 62,
        "disgust": 46,
    }
    assert len(manifest.speakers) == 10
    assert (manifest.left_out, manifest.remarks) == ((), ())
    assert {u.duration for u in manifest} == {2.0}  # the copy that is cut and padded


def test_ravdess() -> None:
    manifest = prepare("ravdess", SPEECH / "ravdess", fast=True)
    counts = Counter(u.emotion for u in manifest)
    assert counts.pop("neutral") == 96
    assert set(counts.values()) == {192} and len(counts) == 7
    assert Counter(u.speaker for u in manifest) == {f"{actor:02d}": 60 for actor in range(1, 25)}
    assert manifest.left_out == ()


def test_ravdess_holds_one_clip_twice() -> None:
    manifest = prepare("ravdess", SPEECH / "ravdess/Actor_07")
    assert (len(manifest), manifest.left_out) == (60, ())
    assert manifest.remarks == ("Identical audio, kept: 03-01-03-01-02-01-07, 03-01-03-01-02-02-07.",)


def test_crema_d_labels() -> None:
    manifest = crema_d.read(SPEECH / "crema-d")
    assert (len(manifest), len(manifest.speakers), manifest.left_out, manifest.remarks) == (7442, 91, (), ())
    assert Counter(u.emotion for u in manifest) == {
        "neutral": 1087,
        **dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness"), 1271),
    }
    assert Counter(u.intensity for u in manifest) == {"unspecified": 6077, "low": 455, "medium": 455, "high": 455}
    assert Counter(u.emotion_perceived for u in manifest) == {
        None: 644,
        "neutral": 3897,
        "anger": 986,
        "fear": 645,
        "disgust": 547,
        "sadness": 370,
        "happiness": 353,
    }
    agreeing = sum(u.emotion == u.emotion_perceived for u in manifest)
    assert round(100 * agreeing / len(manifest), 1) == 41.6
    people = {u.speaker: (u.gender, u.ethnicity) for u in manifest}
    assert Counter(gender for gender, _ in people.values()) == {"male": 48, "female": 43}
    races = Counter(ethnicity for _, ethnicity in people.values())
    assert races == {"caucasian": 61, "african american": 22, "asian": 7, "unknown": 1}
    intensities = [u.numbers["expressed_intensity"] for u in manifest]
    assert (min(intensities), round(max(intensities))) == (0, 97)
    assert "1040_ITH_SAD_XX" in {u.id for u in manifest}


def test_crema_d_defects_of_four_speakers(tmp_path: Path) -> None:
    """Prepare the speakers that hold every known defect, linked into a corpus of their own."""
    for name in ("VideoDemographics.csv", "processedResults"):
        (tmp_path / name).symlink_to(SPEECH / "crema-d" / name)
    (tmp_path / "AudioWAV").mkdir()
    for path in (SPEECH / "crema-d/AudioWAV").iterdir():
        if path.name[:4] in ("1006", "1013", "1017", "1076"):
            (tmp_path / "AudioWAV" / path.name).symlink_to(path)
    manifest = prepare("crema_d", tmp_path)
    pairs = [f"{clip}_XX" for clip in ("1006_TIE_HAP", "1006_TIE_NEU", "1013_WSI_DIS", "1013_WSI_SAD")]
    pairs += ["1017_IWW_ANG_XX", "1017_IWW_FEA_XX"]
    left_out = {item.id: item.kind for item in manifest.left_out}
    assert left_out == {"1076_MTI_SAD_XX": "silent", **dict.fromkeys(pairs, "identical audio with two labels")}


def test_crema_d_as_a_whole() -> None:
    manifest = prepare("crema_d", SPEECH / "crema-d", fast=True)
    assert (len(manifest), len(manifest.speakers), manifest.left_out) == (7442, 91, ())
    assert manifest.remarks == ("Only headers were read: silent, broken and identical audio was not looked for.",)


@pytest.mark.slow
def test_nothing_else_of_crema_d_is_left_out(tmp_path: Path) -> None:
    """Of every fifth speaker all clips are decoded; the known defects are of others."""
    (tmp_path / "AudioWAV").mkdir()
    for path in (SPEECH / "crema-d/AudioWAV").iterdir():
        if int(path.name[:4]) % 5 == 0:
            (tmp_path / "AudioWAV" / path.name).symlink_to(path)
    manifest = prepare("crema_d", tmp_path)
    assert (len(manifest.speakers), manifest.left_out) == (18, ())
    assert 18 * 70 < len(manifest) <= 18 * 82


def test_speechocean762() -> None:
    manifest = prepare("speechocean762", SPEECH / "speechocean762", fast=True)
    assert Counter(u.speaker for u in manifest) == dict.fromkeys(manifest.speakers, 10)
    assert (len(manifest), len(manifest.speakers), manifest.left_out) == (2500, 250, ())
    assert Counter(u.split for u in manifest) == {"train": 1240, "test": 1250, None: 10}
    assert {u.speaker for u in manifest if u.split is None} == {"9628"}
    people = {u.speaker: (u.gender, u.age) for u in manifest}
    assert Counter(gender for gender, _ in people.values()) == {"male": 125, "female": 125}
    assert sum(age is not None and age < 16 for _, age in people.values()) == 122
    assert people["9628"] == ("male", 26)  # his lists know him, though not these clips of his
    assert manifest.remarks[:2] == (
        "train/text and test/text are not there: texts are unknown.",
        "In no list, so without a part: 10 clips, such as 096280001.",
    )


def test_speechocean762_speaker_that_is_in_no_list_speaks() -> None:
    manifest = prepare("speechocean762", SPEECH / "speechocean762/WAVE/SPEAKER9628")
    assert (len(manifest), manifest.left_out) == (10, ())
    assert all(u.audio_hash and u.duration and 1 < u.duration < 20 for u in manifest)
