"""ESD: two languages, five emotions, named by folder or by list."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import esd, sound_files

from serene.corpora.esd import EMOTIONS, FEMALE, read
from serene.errors import SereneError


def test_folders_parts_languages_and_sentences(tmp_path: Path) -> None:
    rows = [(u.id, u.speaker, u.emotion, u.split, u.language, u.text_id) for u in read(esd(tmp_path))]
    assert sorted(rows) == [
        ("0001_000001", "0001", "neutral", None, "mandarin", "mandarin_000"),
        ("0001_000351", "0001", "anger", None, "mandarin", "mandarin_000"),  # the same sentence, angrily
        ("0011_000701", "0011", "happiness", "train", "english", "english_000"),
        ("0011_001062", "0011", "sadness", "test", "english", "english_011"),
        ("0011_001750", "0011", "surprise", "validation", "english", "english_349"),
    ]


def test_ten_women_and_five_emotions_in_two_languages() -> None:
    assert len(set(FEMALE)) == 10
    assert sorted(EMOTIONS.values()) == sorted([*set(EMOTIONS.values())] * 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_without_emotion_folders_the_list_names_them(encoding: str, tmp_path: Path) -> None:
    sound_files(tmp_path, ["0002/0002_000001.wav", "0002/0002_000351.wav", "0002/0002_000701.wav"])
    rows = "0002_000001\t打远一看\t惊喜\n0002_000351\t它们的是\t伤心\n"
    (tmp_path / "0002/0002.txt").write_text(rows, encoding=encoding)
    manifest = read(tmp_path)
    assert [u.emotion for u in manifest] == ["surprise", "sadness"]
    assert [(o.id, o.kind) for o in manifest.left_out] == [("0002_000701", "no emotion")]


def test_folder_against_list_and_speaker_against_folder(tmp_path: Path) -> None:
    sound_files(esd(tmp_path), ["0001/Happy/0001_000351.flac", "0011/Angry/0012_000351.wav", "0011/Angry/take2.wav"])
    manifest = read(tmp_path)
    assert len(manifest) == 5
    assert sorted((o.id, o.kind) for o in manifest.left_out) == [
        ("0001_000351", "folder and list disagree"),
        ("0012_000351", "name and folder disagree"),
        ("take2", "not a name of the corpus"),
    ]


@pytest.mark.parametrize("speaker", ["0000", "0021", "0100"])
def test_speakers_that_the_corpus_has_not(speaker: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match="does not hold ESD"):
        read(sound_files(tmp_path, [f"{speaker}/Angry/{speaker}_000351.wav"]))


def test_a_folder_called_test_above_the_corpus_is_no_part(tmp_path: Path) -> None:
    sound_files(tmp_path / "test" / "sad", ["0011/Angry/0011_000351.wav"])
    clip = read(tmp_path / "test" / "sad").utterances[0]
    assert (clip.split, clip.emotion) == (None, "anger")
