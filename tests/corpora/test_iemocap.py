"""IEMOCAP: who talks, what was labelled, and in which order the ratings stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import iemocap, iemocap_labels, sound_files

from serene.corpora.iemocap import read


def test_the_speaker_is_who_talks_not_who_wore_the_markers(tmp_path: Path) -> None:
    iemocap_labels(tmp_path, "Ses01F_impro01", {"M002": "neu", "F003": "ang"})
    clips = {u.id: u for u in read(tmp_path)}
    assert clips["Ses01F_impro01_M002"].speaker == "Ses01M"
    assert clips["Ses01F_impro01_M002"].gender == "male"
    assert clips["Ses01F_impro01_F003"].speaker == "Ses01F"


def test_every_original_label_is_kept_as_a_word(tmp_path: Path) -> None:
    dialog = [u.emotion for u in read(iemocap(tmp_path)) if u.text_id == "impro01"]
    assert dialog == [
        "neutral",
        "anger",
        "sadness",
        "happiness",
        "excitement",
        "frustration",
        "fear",
        "surprise",
        "disgust",
        "other",
        None,
    ]


def test_ratings_are_valence_activation_dominance(tmp_path: Path) -> None:
    clip = read(iemocap(tmp_path)).utterances[0]
    assert (clip.valence, clip.arousal, clip.dominance) == (2.5, 3.6667, 4.0)


def test_votes_are_the_raters_not_the_talkers_own(tmp_path: Path) -> None:
    clip = read(iemocap(tmp_path)).utterances[0]
    assert clip.votes == {"neutral": 1, "frustration": 1, "anger": 1, "excitement": 1}  # one rater named two


def test_a_turn_without_majority_stays_with_its_votes(tmp_path: Path) -> None:
    clip = {u.id: u for u in read(iemocap(tmp_path))}["Ses02M_impro05a_MXX1"]
    assert clip.emotion is None
    assert clip.votes and clip.valence
    assert (clip.speaker, clip.session) == ("Ses02M", "2")


def test_scenarios_select_the_improvised_turns(tmp_path: Path) -> None:
    manifest = read(iemocap(tmp_path))
    assert {u.text_id for u in manifest} == {"impro01", "script01_1b", "impro05a"}
    assert len(manifest.only({"text_id": "impro*"})) == 13
    assert all("impro" in u.id for u in manifest.only({"text_id": "impro*"}))


def test_clips_are_whole_files(tmp_path: Path) -> None:
    clip = read(iemocap(tmp_path)).utterances[0]
    assert (clip.start, clip.duration) == (0.0, None)
    assert clip.audio.endswith("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav")


def test_the_folder_above_and_missing_sessions(tmp_path: Path) -> None:
    iemocap(tmp_path / "IEMOCAP_full_release")
    manifest = read(tmp_path)
    assert len(manifest) == 15
    assert manifest.remarks == ("Only 2 of IEMOCAP's 5 sessions are there.",)


def test_other_files_beside_the_labels_are_not_labels(tmp_path: Path) -> None:
    folder = iemocap(tmp_path) / "Session1/dialog/EmoEvaluation"
    (folder / "._Ses01F_impro01.txt").write_bytes(b"\x00\x05\x16\x07")
    (folder / "Categorical").mkdir()
    (folder / "Categorical/Ses01F_impro01_e2_cat.txt").write_text("Ses01F_impro01_F000 :Neutral state; ()")
    manifest = read(tmp_path)
    assert (len(manifest), manifest.left_out) == (15, ())


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[1.0 - 2.0]\tSes01F_impro01_F099\tneu\t[2.5, 2.5, 2.5]", "labelled, but its sound is not in sentences/wav"),
        ("[1.0 - 2.0]\tSes01F_impro01_F000x\tneu\t[2.5, 2.5, 2.5]", "not a name of the corpus"),
        ("[1.0 - 2.0]\tSes01F_impro01_F000\tabc\t[2.5, 2.5, 2.5]", "not a name of the corpus"),
        ("[1.0 - 2.0]\tSes01F_impro02_F000\tneu\t[2.5, 2.5, 2.5]", "name and folder disagree"),
    ],
)
def test_what_does_not_fit_is_left_out(line: str, kind: str, tmp_path: Path) -> None:
    iemocap_labels(tmp_path, "Ses01F_impro01", {"F001": "neu", "M001": "ang"})
    sound_files(tmp_path / "Session1/sentences/wav", ["Ses01F_impro01/Ses01F_impro01_F000.wav"])
    sound_files(tmp_path / "Session1/sentences/wav", ["Ses01F_impro02/Ses01F_impro02_F000.wav"])
    with (tmp_path / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt").open("a") as file:
        file.write(line + "\n")
    manifest = read(tmp_path)
    assert [u.id for u in manifest] == ["Ses01F_impro01_F001", "Ses01F_impro01_M001"]
    assert kind in [o.kind for o in manifest.left_out]
    assert line.split("\t")[1] in [o.id for o in manifest.left_out]


def test_a_sound_without_a_label_or_twice_is_left_out(tmp_path: Path) -> None:
    iemocap_labels(tmp_path, "Ses01F_impro01", {"F001": "neu", "M001": "ang"})
    names = ("Ses01F_impro01_F009.wav", "Ses01F_impro01_F001.flac")
    sound_files(tmp_path / "Session1/sentences/wav/Ses01F_impro01", names)
    manifest = read(tmp_path)
    assert [u.id for u in manifest] == ["Ses01F_impro01_F001", "Ses01F_impro01_M001"]
    assert manifest.utterances[0].audio.endswith("F001.flac")
    kinds = [(o.id, o.kind) for o in manifest.left_out]
    assert ("Ses01F_impro01_F009", "a sound without a label in dialog/EmoEvaluation") in kinds
    assert ("Ses01F_impro01_F001", "the same clip again") in kinds
