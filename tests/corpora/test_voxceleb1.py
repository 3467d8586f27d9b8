"""VoxCeleb1: speaker and video from the folders, parts from the split file, gender from the speaker list."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import CELEBRITIES, SPLIT_FILE, sound_files, voxceleb1

from serene.corpora.voxceleb1 import read
from serene.errors import SereneError


def test_folders_parts_and_genders(tmp_path: Path) -> None:
    manifest = read(voxceleb1(tmp_path))
    rows = [(u.id, u.speaker, u.session, u.split, u.gender, u.emotion, u.text_id) for u in manifest]
    assert rows == [
        ("id10001/1zcIwhmdeo4/00001", "id10001", "1zcIwhmdeo4", "train", "male", None, None),
        ("id10001/7gWzIy6yIIk/00002", "id10001", "7gWzIy6yIIk", "validation", "male", None, None),  # a FLAC file
        ("id11251/zncqeMvGVBY/00012", "id11251", "zncqeMvGVBY", "train", "female", None, None),
        ("id10270/-x-_8eG6z2Q/00001", "id10270", "-x-_8eG6z2Q", "test", "female", None, None),
    ]
    assert manifest.remarks == ()


@pytest.mark.parametrize("given", ["corpus", "corpus/dev", "corpus/dev/wav"])
@pytest.mark.parametrize("name", ["iden_split.txt", "veri_test_class.txt"])
def test_a_part_of_the_corpus_finds_its_lists(given: str, name: str, tmp_path: Path) -> None:
    (voxceleb1(tmp_path / "corpus") / "iden_split.txt").rename(tmp_path / "corpus" / name)
    manifest = read(tmp_path / given)
    assert [u.split for u in manifest if u.speaker != "id10270"] == ["train", "validation", "train"]
    absent = f"In {name}, but not among the files: 1 clips, such as id10270/-x-_8eG6z2Q/00001."
    assert manifest.remarks == (() if given == "corpus" else (absent,))


def test_speakers_alone_and_lists_one_folder_below(tmp_path: Path) -> None:
    sound_files(tmp_path, ["id10001/1zcIwhmdeo4/00001.ogg"])
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/iden_split.txt").write_text(SPLIT_FILE)
    (tmp_path / "meta/vox1_meta.csv").write_text(CELEBRITIES)
    assert [(u.id, u.split, u.gender) for u in read(tmp_path)] == [("id10001/1zcIwhmdeo4/00001", "train", "male")]


def test_without_lists_remarks_say_where_they_are_had(tmp_path: Path) -> None:
    voxceleb1(tmp_path)
    for name in ("iden_split.txt", "vox1_meta.csv"):
        (tmp_path / name).unlink()
    manifest = read(tmp_path)
    assert {(u.split, u.gender) for u in manifest} == {(None, None)}
    home = "It is had from https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/"
    assert manifest.remarks == (
        "iden_split.txt is not there (nor veri_test_class.txt, its other name): parts are unknown. "
        f"{home}iden_split.txt.",
        f"vox1_meta.csv is not there: genders are unknown. {home}vox1_meta.csv.",
    )


def test_a_clip_that_is_not_listed_is_kept_without_a_part(tmp_path: Path) -> None:
    sound_files(voxceleb1(tmp_path), ["dev/wav/id10001/1zcIwhmdeo4/00009.wav", "dev/wav/id10005/ab_cd-ef_12/00001.wav"])
    manifest = read(tmp_path)
    assert [u.id for u in manifest if u.split is None] == ["id10001/1zcIwhmdeo4/00009", "id10005/ab_cd-ef_12/00001"]
    assert manifest.remarks == (
        "Not in iden_split.txt, so without a part: 2 clips, such as id10001/1zcIwhmdeo4/00009.",
    )


def test_a_video_under_another_speaker_strays_and_second_copies(tmp_path: Path) -> None:
    misplaced = "dev/wav/id11251/7gWzIy6yIIk/00002.wav"
    again = "wav/id10001/1zcIwhmdeo4/00001.flac"
    foreign = "dev/wav/id00012/21Uxsk56VDQ/00001.wav"  # VoxCeleb2
    manifest = read(sound_files(voxceleb1(tmp_path), [misplaced, again, foreign, "noise.wav"]))
    assert len(manifest) == 4
    assert sorted((o.id, o.kind) for o in manifest.left_out) == [
        ("00001", "not a name of the corpus"),
        ("id10001/1zcIwhmdeo4/00001", "the same clip again"),
        ("id11251/7gWzIy6yIIk/00002", "folder and list disagree"),
        ("noise", "not a name of the corpus"),
    ]
    assert any("video of id10001 by list, of id11251 by folder" in o.reason for o in manifest.left_out)
    assert manifest.remarks == ()


def test_a_video_with_two_speakers_is_of_both(tmp_path: Path) -> None:
    shared = "id10270/1zcIwhmdeo4/00002.wav"
    sound_files(voxceleb1(tmp_path), [f"test/wav/{shared}"])
    (tmp_path / "iden_split.txt").write_text(f"{SPLIT_FILE}2 {shared}\n")
    manifest = read(tmp_path)
    assert {u.speaker for u in manifest if u.session == "1zcIwhmdeo4"} == {"id10001", "id10270"}
    assert manifest.left_out == ()


@pytest.mark.parametrize("line", ["4 id10001/1zcIwhmdeo4/00001.wav", "1 id10001/00001.wav", "<!DOCTYPE html>"])
def test_a_split_file_that_is_something_else_is_named_with_its_line(line: str, tmp_path: Path) -> None:
    (voxceleb1(tmp_path) / "iden_split.txt").write_text(f"{SPLIT_FILE}{line}\n")
    with pytest.raises(SereneError, match=rf"iden_split.txt, line 5: '{line}' is no part and clip.*had from https"):
        read(tmp_path)


def test_a_clip_in_two_parts_is_refused_and_a_repeated_line_is_not(tmp_path: Path) -> None:
    path = voxceleb1(tmp_path) / "iden_split.txt"
    path.write_text(SPLIT_FILE + SPLIT_FILE)
    assert len(read(tmp_path)) == 4
    path.write_text(SPLIT_FILE + SPLIT_FILE.replace("3 id10270", "1 id10270"))
    with pytest.raises(SereneError, match=r"line 7: '1 id10270/\S+' contradicts an earlier line"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (CELEBRITIES.replace("\t", ","), "has no column 'VoxCeleb1 ID'"),
        ("", "has no column 'VoxCeleb1 ID'"),
        (CELEBRITIES + "id10002\tA.R", "is cut short"),
    ],
)
def test_a_speaker_list_that_is_something_else_is_refused(text: str, wrong: str, tmp_path: Path) -> None:
    (voxceleb1(tmp_path) / "vox1_meta.csv").write_text(text)
    with pytest.raises(SereneError, match=rf"vox1_meta.csv {wrong}.*had from https"):
        read(tmp_path)


def test_m4a_alone_is_not_found_and_the_message_says_why(tmp_path: Path) -> None:
    path = tmp_path / "wav/id10001/1zcIwhmdeo4/00001.m4a"
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(SereneError, match=r"does not hold VoxCeleb1.*not M4A"):
        read(tmp_path)
