"""How a corpus writes what it says: missing values, emotions' spellings, odd labels, and speakers who may be one."""

from __future__ import annotations

from typing import Any

import pytest

from serene.corpora.manifest import Manifest, Utterance, utterance_from
from serene.corpora.spelling import EMOTIONS, WHOLE_WORD, alike, odd_labels, speakers_alike, whole_words
from serene.errors import SereneError


@pytest.mark.parametrize(
    ("speakers", "groups"),
    [
        (("1", "01", "1.0", "2"), [("01", "1", "1.0")]),
        (("S1", "s1", "s 1", "S01"), [("S01", "S1", "s 1", "s1")]),
        (("Ann Lee", "annlee", "Anna Lee"), [("Ann Lee", "annlee")]),
        (("1", "10", "100", "1.5", "1.05", "0", "11"), []),
        (("a2_01", "a02_1", "a2_10"), [("a02_1", "a2_01")]),
        (("S1", "S2", "S1"), []),
    ],
)
def test_speakers_are_alike_by_case_blanks_zeros_and_fraction_only(speakers: Any, groups: Any) -> None:
    assert alike(speakers) == tuple(groups)


def test_the_remark_on_speakers_names_five_groups_and_counts_the_others() -> None:
    assert speakers_alike(()) == []
    (remark,) = speakers_alike(alike([f"{sign}{n}" for sign in "sS" for n in range(1, 8)]))
    assert remark.endswith(": 'S1' and 's1'; 'S2' and 's2'; 'S3' and 's3'; 'S4' and 's4'; 'S5' and 's5'; and 2 more.")


@pytest.mark.parametrize("missing", ["nan", "N/A", "NA", " None ", "null", "<NA>", float("nan"), "", None])
def test_a_missing_speaker_is_missing_and_so_is_any_other_value(missing: object) -> None:
    clip = {"id": "a", "audio": "a.wav", "speaker": "s"}
    with pytest.raises(SereneError, match="row 3: the column 'speaker' is missing"):
        utterance_from(clip | {"speaker": missing}, "row 3")
    assert utterance_from(clip | dict.fromkeys(("emotion", "gender", "arousal", "mine"), missing), "row 3") == (
        utterance_from(clip, "row 3")
    )


def test_a_manifest_of_speakers_that_are_missing_is_refused() -> None:
    with pytest.raises(SereneError, match="1 utterances have no speaker, for example 'a'"):
        Manifest((Utterance(id="a", audio="a.wav", speaker="nan"),)).check()


def test_a_speaker_that_says_it_is_missing_is_quoted() -> None:
    with pytest.raises(SereneError, match=r"holds 'n/a'\. Leave such rows out; .* is called Unknown\."):
        utterance_from({"id": "a", "audio": "a.wav", "speaker": "n/a"}, "row 3")


def test_known_spellings_become_one_word_and_missing_ones_none_both_with_counts() -> None:
    given = ["ANG", "ang", "angry", "disgusting", "ps", "Pleasant-Surprise", "joy", "n/a", "nan", None, ""]
    rows: list[dict[str, Any]] = [{"emotion": label} for label in given]
    remarks = list[str]()
    assert [*whole_words(rows, remarks)] == rows
    words = ["anger", "anger", "anger", "disgust", "pleasant_surprise", "pleasant_surprise", "joy", None, None]
    assert [row["emotion"] or None for row in rows] == [*words, None, None]
    joined = "ang -> anger 2, angry -> anger 1, disgusting -> disgust 1, ps -> pleasant_surprise 1"
    assert remarks[0].startswith(f"Emotion names made whole words: {joined}")
    assert remarks[1] == "Read as no emotion: n/a 1, nan 1."


def test_whole_words_leave_whole_words_alone() -> None:
    rows: list[dict[str, Any]] = [{"emotion": word, "emotion_perceived": word} for word in EMOTIONS]
    remarks = list[str]()
    assert [*whole_words(rows, remarks)] == rows
    assert not remarks
    assert [row["emotion"] for row in rows] == list(EMOTIONS)
    assert set(WHOLE_WORD.values()) <= {*EMOTIONS, "pleasant_surprise"}


def test_odd_labels_are_counted_and_others_are_not() -> None:
    counts = {"0": 3, "anger;sadness": 2, "hapiness": 1, "happiness": 40, "sarcastic": 9, "joy": 5, "calm": 1, "?": 1}
    remark = "Odd labels, kept as they are: '0' 3, '?' 1, 'anger;sadness' 2, 'hapiness' 1 (happiness?)."
    assert odd_labels(counts) == [remark]
    assert odd_labels(dict.fromkeys((*EMOTIONS, "joy", "pleasant_surprise"), 1)) == []
    assert odd_labels({"sarcastic": 9, "sarcastc": 1}) == ["Odd labels, kept as they are: 'sarcastc' 1 (sarcastic?)."]
