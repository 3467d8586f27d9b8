"""EmoDB: the name says everything."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import emodb, sound_files

from serene.corpora.emodb import SPEAKERS, read
from serene.errors import SereneError


def test_a_name_becomes_a_clip(tmp_path: Path) -> None:
    clips = {u.id: u for u in read(emodb(tmp_path))}
    clip = clips["16b10Ea"]
    assert (clip.speaker, clip.text_id, clip.emotion, clip.gender, clip.age) == ("16", "b10", "disgust", "female", 31)
    assert clip.language == "german"
    letters = {u.id[5]: u.emotion for u in clips.values()}
    assert letters == {
        "F": "happiness",
        "N": "neutral",
        "W": "anger",
        "L": "boredom",
        "T": "sadness",
        "E": "disgust",
        "A": "fear",
    }


def test_five_women_and_five_men() -> None:
    assert sorted(gender for gender, _ in SPEAKERS.values()) == ["female"] * 5 + ["male"] * 5


@pytest.mark.parametrize("below", ["", "wav"])
def test_the_folder_or_its_wav(below: str, tmp_path: Path) -> None:
    assert len(read(emodb(tmp_path / "emodb") / below)) == 7


def test_the_folder_above(tmp_path: Path) -> None:
    emodb(tmp_path / "emodb")
    assert len(read(tmp_path)) == 7


@pytest.mark.parametrize("name", ["04a01Fa", "03a01Xa", "03a01F", "copy of 03a01Fa", "03c01Fa"])
def test_a_stray_file_is_named(name: str, tmp_path: Path) -> None:
    sound_files(emodb(tmp_path), [f"wav/{name}.wav"])
    manifest = read(tmp_path)
    assert len(manifest) == 7
    assert [(o.id, o.kind) for o in manifest.left_out] == [(name, "not a name of the corpus")]
    assert manifest.left_out[0].audio == str(tmp_path / f"wav/{name}.wav")


def test_only_strays_is_another_corpus(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match="does not hold EmoDB"):
        read(sound_files(tmp_path, ["1001_IEO_ANG_HI.wav"]))


def test_the_same_clip_in_two_containers_is_one(tmp_path: Path) -> None:
    sound_files(emodb(tmp_path), ["wav/03a01Fa.flac"])
    manifest = read(tmp_path)
    assert len(manifest) == 7
    assert [o.kind for o in manifest.left_out] == ["the same clip again"]
