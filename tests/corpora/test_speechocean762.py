"""speechocean762: speakers, parts, people and texts from Kaldi's lists; what the lists and the files lack."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corpus_trees import sound_files, speechocean762

from serene.corpora.speechocean762 import read
from serene.errors import SereneError


def test_all_that_the_lists_say(tmp_path: Path) -> None:
    manifest = read(speechocean762(tmp_path))
    rows = [(u.id, u.speaker, u.emotion, u.split, u.gender, u.age, u.text_id, u.language) for u in manifest]
    assert rows == [
        ("000010011", "0001", None, "train", "male", 6, "WE CALL IT BEAR", "english"),
        ("000010035", "0001", None, "train", "male", 6, "MARK IS GOING", "english"),
        ("000240010", "0024", None, "test", "female", 7, "TAI GOOSE", "english"),
        ("096280011", "9628", None, "train", "male", 26, "WE CALL IT BEAR", "english"),
    ]
    assert manifest.remarks == ()


def test_a_clip_in_no_list_is_kept_without_a_part(tmp_path: Path) -> None:
    clips = [f"WAVE/SPEAKER9628/09628000{n}.wav" for n in range(1, 4)]
    manifest = read(sound_files(speechocean762(tmp_path), clips))
    unlisted = [(u.id, u.speaker, u.gender, u.age) for u in manifest if u.split is None]
    assert unlisted == [(f"09628000{n}", "9628", "male", 26) for n in range(1, 4)]
    assert manifest.remarks == ("In no list, so without a part: 3 clips, such as 096280001.",)
    assert [u.id for u in manifest.only({"split": "t*"})] == ["000010011", "000010035", "000240010", "096280011"]


def test_a_listed_clip_without_a_file_is_remarked(tmp_path: Path) -> None:
    shutil.rmtree(speechocean762(tmp_path) / "WAVE/SPEAKER0001")
    remarks = read(tmp_path).remarks
    assert remarks == ("In a list, but not among the files: 2 clips, such as 000010011.",)


def test_name_against_folder_and_name_against_list(tmp_path: Path) -> None:
    sound_files(speechocean762(tmp_path), ["WAVE/SPEAKER0001/000240011.wav", "WAVE/SPEAKER0001/take2.wav"])
    lists = tmp_path / "train/utt2spk"
    lists.write_text(lists.read_text().replace("000010035\t0001", "000010035\t9628"))
    manifest = read(tmp_path)
    assert [u.id for u in manifest] == ["000010011", "000240010", "096280011"]
    assert sorted((o.id, o.reason) for o in manifest.left_out) == [
        ("000010035", "name and list disagree: speaker 0001 by name, 9628 by list"),
        ("000240011", "name and folder disagree: speaker 0024 in SPEAKER0001"),
        ("take2", "not a name of the corpus: expected speaker and recording, nine digits such as 000010011"),
    ]
    assert manifest.remarks == ()


@pytest.mark.parametrize("given", ["corpus", "corpus/WAVE", "."])
def test_the_folder_its_parent_or_its_sounds(given: str, tmp_path: Path) -> None:
    speechocean762(tmp_path / "corpus")
    manifest = read(tmp_path / given)
    assert sorted(u.split or "" for u in manifest) == ["test", "train", "train", "train"]


def test_without_lists_only_names_are_read_and_remarks_say_so(tmp_path: Path) -> None:
    speechocean762(tmp_path)
    shutil.rmtree(tmp_path / "train")
    (tmp_path / "test/text").unlink()
    manifest = read(tmp_path)
    assert {(u.split, u.gender, u.age, u.text_id) for u in manifest if u.speaker == "0001"} == {(None,) * 4}
    assert manifest.remarks == (
        "train/utt2spk is not there: parts are unknown.",
        "train/spk2gender is not there: genders are unknown.",
        "train/spk2age is not there: ages are unknown.",
        "train/text and test/text are not there: texts are unknown.",
        "In no list, so without a part: 3 clips, such as 000010011.",
    )
    shutil.rmtree(tmp_path / "test")
    assert not any("In no list" in remark for remark in read(tmp_path).remarks)  # no list to be missed in


@pytest.mark.parametrize(
    ("name", "line"), [("train/spk2age", "0001 six"), ("test/utt2spk", "000240010"), ("train/spk2gender", "<html>")]
)
def test_a_list_that_is_something_else_is_named_with_its_line(name: str, line: str, tmp_path: Path) -> None:
    path = speechocean762(tmp_path) / name
    path.write_text(f"\n{line}\n")
    with pytest.raises(SereneError, match=rf"{name}, line 2: '{line}' was not expected"):
        read(tmp_path)


def test_a_clip_in_both_parts_is_refused(tmp_path: Path) -> None:
    with (speechocean762(tmp_path) / "test/utt2spk").open("a") as file:
        file.write("000010035 0001\n")
    with pytest.raises(SereneError, match="both list 1 clips, such as 000010035"):
        read(tmp_path)
