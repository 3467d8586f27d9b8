"""CREMA-D: intended and perceived emotion, votes, intensity and demographics, kept apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corpus_trees import VOTES_HEADER, VOTES_ROWS, crema_d, sound_files

from serene.corpora.crema_d import read
from serene.errors import SereneError


def test_a_clip_with_its_votes_and_its_actor(tmp_path: Path) -> None:
    clip = {u.id: u for u in read(crema_d(tmp_path))}["1001_IEO_ANG_HI"]
    assert (clip.speaker, clip.emotion, clip.intensity, clip.text_id) == ("1001", "anger", "high", "IEO")
    assert clip.votes == {"anger": 4, "fear": 2, "neutral": 2}  # of the voice alone, not of face or both
    assert clip.emotion_perceived == "anger"
    assert (clip.gender, clip.age, clip.ethnicity) == ("male", 51, "caucasian")
    assert clip.language == "english"


def test_a_tie_has_no_majority(tmp_path: Path) -> None:
    clip = {u.id: u for u in read(crema_d(tmp_path))}["1002_ITH_DIS_XX"]
    assert clip.votes == {"disgust": 3, "happiness": 1, "neutral": 3, "sadness": 1}
    assert clip.emotion_perceived is None
    assert (clip.emotion, clip.intensity, clip.ethnicity) == ("disgust", "unspecified", "african american")


def test_expressed_intensity_by_hand(tmp_path: Path) -> None:
    clips = {u.id: u for u in read(crema_d(tmp_path))}
    # votes times mean response over anger, disgust, fear, happiness, sadness (never neutral), per response
    assert clips["1001_IEO_ANG_HI"].numbers["expressed_intensity"] == pytest.approx((4 * 70 + 2 * 40) / 8)
    expected = (3 * 50 + 1 * 20 + 1 * 30.5) / 8
    assert clips["1002_ITH_DIS_XX"].numbers["expressed_intensity"] == pytest.approx(expected, abs=1e-4)
    assert clips["1040_ITH_SAD_XX"].numbers["expressed_intensity"] == 0  # all neutral: a mean of -1 means nobody


def test_a_clip_without_votes_says_so_by_absence(tmp_path: Path) -> None:
    clip = {u.id: u for u in read(crema_d(tmp_path))}["1002_DFA_NEU_XX"]
    assert (clip.votes, clip.emotion_perceived, clip.numbers) == (None, None, {})


@pytest.mark.parametrize("both", [False, True])
def test_the_misnamed_clip_has_its_official_id(both: bool, tmp_path: Path) -> None:
    crema_d(tmp_path)
    if both:
        sound_files(tmp_path, ["AudioWAV/1040_ITH_SAD_XX.wav"])
    manifest = read(tmp_path)
    misnamed = [u for u in manifest if u.speaker == "1040"]
    assert [(u.id, u.emotion_perceived) for u in misnamed] == [("1040_ITH_SAD_XX", "neutral")]
    assert [o.kind for o in manifest.left_out] == ["the same clip again"] * both


@pytest.mark.parametrize("given", ["corpus", "corpus/AudioWAV", "."])
def test_the_folder_its_parent_or_its_sounds(given: str, tmp_path: Path) -> None:
    crema_d(tmp_path / "corpus")
    manifest = read(tmp_path / given)
    assert len(manifest) == 4
    assert sum(u.votes is not None for u in manifest) == 3
    assert manifest.remarks == ()


def test_without_its_tables_only_names_are_read_and_a_remark_says_so(tmp_path: Path) -> None:
    shutil.rmtree(crema_d(tmp_path) / "processedResults")
    (tmp_path / "VideoDemographics.csv").unlink()
    manifest = read(tmp_path)
    assert {u.emotion for u in manifest} == {"anger", "disgust", "sadness", "neutral"}
    assert {(u.gender, u.votes) for u in manifest} == {(None, None)}
    assert len(manifest.remarks) == 2
    assert "tabulatedVotes.csv is not there: votes are unknown" in manifest.remarks[0]
    assert "VideoDemographics.csv is not there: gender, age and ethnicity are unknown" in manifest.remarks[1]


def test_a_table_that_is_a_pointer_says_what_to_do(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4057953\n"
    (crema_d(tmp_path) / "processedResults/tabulatedVotes.csv").write_text(pointer)
    with pytest.raises(SereneError, match=r"tabulatedVotes.csv has no column.*git lfs pull"):
        read(tmp_path)


def test_a_table_cut_short_is_refused(tmp_path: Path) -> None:
    (crema_d(tmp_path) / "processedResults/tabulatedVotes.csv").write_text(VOTES_HEADER + VOTES_ROWS[:-30])
    with pytest.raises(SereneError, match="cut short"):
        read(tmp_path)


def test_a_table_with_an_endless_field_is_refused(tmp_path: Path) -> None:
    (crema_d(tmp_path) / "processedResults/tabulatedVotes.csv").write_text(VOTES_HEADER + "x" * 200_000)
    with pytest.raises(SereneError, match=r"tabulatedVotes\.csv is damaged: field larger than .*Fetch the corpus"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["1001_XYZ_ANG_HI", "1001_IEO_ANG", "1001_IEO_BOR_XX", "2001_IEO_ANG_XX"])
def test_a_stray_file_is_named(name: str, tmp_path: Path) -> None:
    sound_files(crema_d(tmp_path), [f"AudioWAV/{name}.wav"])
    assert [(o.id, o.kind) for o in read(tmp_path).left_out] == [(name, "not a name of the corpus")]
