"""Files whose names, or whose folders' names, say who speaks and how: by a pattern of the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus_trees import sound_files

from serene.corpora.files import read
from serene.corpora.manifest import Manifest, utterance_from
from serene.corpora.prepare import prepare
from serene.errors import SereneError


def said(manifest: Manifest) -> dict[str, tuple[str, str | None, str | None]]:
    return {clip.id: (clip.speaker, clip.emotion, clip.text_id) for clip in manifest}


@pytest.mark.parametrize(
    ("name", "pattern", "speaker", "emotion", "text"),
    [
        ("OAF_back_angry.wav", "{speaker}_{text}_{emotion}.wav", "OAF", "anger", "back"),
        ("a/b/OAF_back_angry.WAV", "{speaker}_{text}_{emotion}.wav", "OAF", "anger", "back"),
        ("OAF_back_angry.flac", "{speaker}_{text}_{emotion}", "OAF", "anger", "back"),
        ("s 01/Sad/take-3.wav", "{speaker}/{emotion}/*.wav", "s 01", "sadness", None),
        ("s01/2024/Sad/x.wav", "{speaker}/*/{emotion}/*", "s01", "sadness", None),
        ("dis-f1-b1.wav", "{emotion}-{speaker}-{text}.wav", "f1", "disgust", "b1"),
        ("F_01_OISHI_S_7_SAD_1.wav", "{speaker}_{speaker}_*_S_{text}_{emotion}_*.wav", "F_01", "sadness", "7"),
        ("03a01Fa.wav", "{speaker:2}{text:3}*.wav", "03", None, "a01"),
        ("session1-[x] (2).wav", "session{session}-[{speaker}] ({text})", "x", None, "2"),
        ("Zoë/トラ.wav", "{speaker}/{text}", "Zoë", None, "トラ"),
    ],
)
def test_a_pattern_says_what_names_hold(
    name: str, pattern: str, speaker: str, emotion: str | None, text: str | None, tmp_path: Path
) -> None:
    manifest = read(sound_files(tmp_path, [name]), pattern)
    assert said(manifest) == {str(Path(name).with_suffix("")): (speaker, emotion, text)}
    assert manifest.remarks[0] == f"The pattern '{pattern}' fits 1 of 1 sound files."


def test_a_mapping_says_what_values_mean_and_where_they_end(tmp_path: Path) -> None:
    mapping = tmp_path / "savee.yaml"
    mapping.write_text("a: anger\nsa: sadness\nsu: surprise\nn: neutral\nx:\n'01': digits\n")
    names = ["DC_a01.wav", "DC_sa01.wav", "JE_su15.wav", "KL_n30.wav", "KL_x02.wav", "KL_q01.wav"]
    manifest = read(sound_files(tmp_path / "in", names), f"{{speaker}}_{{emotion:{mapping}}}{{text}}.wav")
    assert said(manifest) == {
        "DC_a01": ("DC", "anger", "01"),
        "DC_sa01": ("DC", "sadness", "01"),
        "JE_su15": ("JE", "surprise", "15"),
        "KL_n30": ("KL", "neutral", "30"),
        "KL_x02": ("KL", None, "02"),
    }
    assert [clip.id for clip in manifest.left_out] == ["KL_q01"]


def test_other_fields_are_columns_of_the_manifest(tmp_path: Path) -> None:
    (clip,) = read(sound_files(tmp_path, ["test/f/s1_63_2.5.wav"]), "{split}/{gender}/{speaker}_{age}_{arousal}.wav")
    assert (clip.split, clip.gender, clip.speaker, clip.age, clip.arousal) == ("test", "f", "s1", 63.0, 2.5)


def test_it_shows_how_many_files_fit_and_three_that_do_not(tmp_path: Path) -> None:
    names = ["OAF_back_angry.wav", "OAF_back_pleasant_surprise.wav", "a.wav", "b.wav", "c.wav", "d/_x_y.wav"]
    manifest = read(sound_files(tmp_path, names), "{speaker}_{text}_{emotion}")
    assert list(said(manifest)) == ["OAF_back_angry"]  # a field never holds the sign that ends it
    assert manifest.remarks == (
        "The pattern '{speaker}_{text}_{emotion}' fits 1 of 6 sound files; not, for example, "
        "OAF_back_pleasant_surprise.wav, a.wav, b.wav.",
        "Emotion names made whole words: angry -> anger 1.",
    )
    assert {clip.kind for clip in manifest.left_out} == {"not a name of the corpus"}
    assert len(manifest.left_out) == 5
    told: list[str] = []
    prepare("files", tmp_path, remark=told.append, pattern="{speaker}_{text}_{emotion}")
    assert tuple(told) == manifest.remarks


def test_a_name_in_another_encoding_is_left_out_and_no_id(tmp_path: Path) -> None:
    sound_files(tmp_path, ["S1_a_anger.wav", "S2_a_anger.wav"])
    os.rename(os.fsencode(tmp_path) + b"/S2_a_anger.wav", os.fsencode(tmp_path) + b"/S2_\xff_anger.wav")
    manifest = read(tmp_path)
    assert [clip.id for clip in manifest] == ["S1_a_anger"]
    assert [item.reason for item in manifest.left_out] == ["its name is no text in UTF-8; call it otherwise"]
    odd = manifest.left_out[0].audio
    with pytest.raises(SereneError, match=r"'id' is 'S2.*'; a text was expected"):
        utterance_from({"id": "S2_\udcff", "audio": odd, "speaker": "S2"}, "row 1")
    assert utterance_from({"id": "S2", "audio": odd, "speaker": "S2"}, "row 1").audio == odd


def test_backslashes_of_a_pattern_are_slashes(tmp_path: Path) -> None:
    sound_files(tmp_path, ["s1/anger/x.wav"])
    (clip,) = read(tmp_path, r"{speaker}\{emotion}\*.wav")
    assert (clip.speaker, clip.emotion) == ("s1", "anger")


def test_a_pattern_that_fits_nothing_is_an_error_with_three_names(tmp_path: Path) -> None:
    sound_files(tmp_path, ["a.wav", "b.wav", "c_sad.flac", "d.wav"])
    with pytest.raises(SereneError, match=r"fits 0 of 4 sound files; not, for example, a\.wav, b\.wav, c_sad\.flac\."):
        read(tmp_path, "{speaker}_{emotion}.wav")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{emotion}.wav", r"has no \{speaker\}\. Every clip needs one, since"),
        ("{speaker}_{mood}.wav", "Unknown field of the pattern 'mood'.*Choices: .*emotion.*text"),
        ("{speaker}{emotion}.wav", r"nothing stands between \{speaker\} and \{emotion\}"),
        ("*{speaker}_{emotion}.wav", r"nothing stands between \* and \{speaker\}"),
        ("{speaker_{emotion}.wav", "has a brace alone"),
        ("{speaker}_{emotion:nowhere.yaml}.wav", r"Cannot read nowhere\.yaml, which the pattern names"),
        ("{speaker}_{emotion:list.yaml}.wav", r"list\.yaml is no mapping; lines such as `W: anger` were expected"),
    ],
)
def test_a_pattern_that_cannot_be_says_why(
    pattern: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sound_files(tmp_path, ["s_sad.wav"]))
    Path("list.yaml").write_text("- anger\n- sadness\n")
    with pytest.raises(SereneError, match=message):
        read(tmp_path, pattern)


def test_what_is_not_decoded_is_found_and_left_out_with_the_command_that_helps(tmp_path: Path) -> None:
    sound_files(tmp_path, ["s1_sad.wav"])
    (tmp_path / "s1_sad.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(50))
    (tmp_path / "s2_sad.webm").write_bytes(b"\x1aE\xdf\xa3" + bytes(50))
    manifest = prepare("files", tmp_path, pattern="{speaker}_{emotion}")
    assert [Path(clip.audio).name for clip in manifest] == ["s1_sad.wav"]
    again, webm = manifest.left_out
    assert (again.id, again.kind) == ("s1_sad", "the same clip again")
    assert "ffmpeg -i IN.webm OUT.wav" in webm.reason
