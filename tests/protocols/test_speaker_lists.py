"""Protocol over lists: which names are understood, who ends up where, and what lists may not say."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.experiment import recipe
from serene.protocols import Split, make_splits
from serene.protocols.speaker_lists import speaker_lists
from serene.protocols.split_files import read_names

PART_OF = {"1": "train", "2": "train", "3": "validation", "4": "test1", "5": "test1", "6": "test2"}


def corpus(speakers: int = 6, clips: int = 10) -> Manifest:
    """Speakers 1, 2, ... with clips in two emotions; the first three in official parts of their own."""
    return Manifest(
        tuple(
            Utterance(
                id=f"MSP_{speaker}_{number}",
                audio=f"corpus/Audios/MSP_{speaker}_{number}.wav",
                speaker=str(speaker),
                emotion=("anger", "neutral")[number % 2],
                split=PART_OF.get(str(speaker)),
            )
            for speaker in range(1, speakers + 1)
            for number in range(clips)
        )
    )


def who(utterances: tuple[Utterance, ...]) -> set[str]:
    return {u.speaker for u in utterances}


def ids(utterances: tuple[Utterance, ...]) -> set[str]:
    return {u.id for u in utterances}


def made(**settings: Any) -> Split:
    (split,) = make_splits("speaker_lists", corpus(), settings)
    return split


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_listed_speakers_test_and_the_rest_trains_and_validates() -> None:
    split = made(test=["4", "6"])
    assert (who(split.test), len(split.test)) == ({"4", "6"}, 20)
    assert who(split.train) == {"1", "2", "3", "5"}
    assert Counter(u.emotion for u in split.validation) == {"anger": 2, "neutral": 2}
    assert (split.fold, split.validation_rule, split.speaker_independent) == ("1", "random10", True)
    assert made(test=["4", "6"], seed=1).validation != split.validation


def test_listed_validation_and_training() -> None:
    split = made(test=["4"], validation=["3", "5"])
    assert (who(split.validation), who(split.train), split.validation_rule) == ({"3", "5"}, {"1", "2", "6"}, "list")
    assert split.stamps == ()
    assert who(made(test=["4"], validation=["3"], train=["6"]).train) == {"6"}
    assert made(test=["4"], validation="none").validation == ()


def test_the_corpuss_own_parts_less_the_listed_speakers() -> None:
    split = made(test=["4", "2"], validation="official", train="official")
    assert (who(split.test), who(split.validation), who(split.train)) == ({"2", "4"}, {"3"}, {"1"})
    rest = made(test=["4", "2"], validation="official")
    assert (who(rest.validation), who(rest.train)) == ({"3"}, {"1", "5", "6"})
    dev = Manifest(tuple(replace(u, split={"validation": "Development"}.get(u.split or "", u.split)) for u in corpus()))
    assert who(speaker_lists(dev, test=("4",), validation="official")[0].validation) == {"3"}


def test_listed_clips_test_and_the_further_clips_of_their_speakers_are_left_out() -> None:
    split = made(test=["MSP_4_0.wav", "MSP_4_1", "elsewhere/Audios/MSP_5_1.flac"])
    assert ids(split.test) == {"MSP_4_0", "MSP_4_1", "MSP_5_1"}
    assert who((*split.train, *split.validation)) == {"1", "2", "3", "6"}


def test_adaptation_clips_are_taken_from_the_test_and_set_aside() -> None:
    split = made(test=["4", "5"], adaptation=["MSP_4_0", "MSP_5_9", "MSP_5_8"])
    assert ids(split.set_aside) == {"MSP_4_0", "MSP_5_8", "MSP_5_9"}
    assert len(split.test) == 17 and not ids(split.test) & ids(split.set_aside)
    assert (split.unlabelled, split.saw_unlabelled_test_audio) == ((), False)
    enrolled = split.with_unlabelled(audio=corpus())
    assert {u.id for u in enrolled.unlabelled if u.speaker in ("4", "5")} == ids(split.set_aside)
    assert enrolled.saw_unlabelled_test_audio


@pytest.mark.parametrize(
    "text",
    [
        "4\n6\n",
        "  4 \n\n6\n4\n",
        "speaker,seconds\n4,200\n6,180\n",
        "SpkrID;Gender\n4;Male\n6;Male\n",
        '[{"spk": 4}, {"spk": 6}]',
        '["4", "6"]',
        '{"speaker_id": "4"}\n{"speaker_id": "6"}\n',
    ],
)
def test_files_that_list_speakers(text: str, tmp_path: Path) -> None:
    assert made(test=write(tmp_path / "test_b.txt", text)) == made(test=["4", "6"])


@pytest.mark.parametrize(
    "text",
    [
        "MSP_4_0.wav\nMSP_6_3.wav\n",
        "audio_name,duration,arousal,speaker,gender\nMSP_4_0.wav,3.1,2.2,4,Male\nMSP_6_3.wav,2.0,3.2,6,Male\n",
        "FileName,EmoClass,SpkrID,Split_Set\nMSP_4_0.wav,N,4,Test1\nMSP_6_3.wav,N,6,Test1\n",
        "id\nMSP_4_0\nMSP_6_3\n",
        '{"wav": "data/Audios/MSP_4_0.wav"}\n{"wav": "data/Audios/MSP_6_3.wav"}\n',
    ],
)
def test_files_that_list_clips(text: str, tmp_path: Path) -> None:
    assert ids(made(test=write(tmp_path / "test_b.csv", text)).test) == {"MSP_4_0", "MSP_6_3"}


def test_names_are_read_once_each_and_in_order(tmp_path: Path) -> None:
    assert read_names(write(tmp_path / "list.txt", "b\na\nb\n")) == ("b", "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"list\.csv is empty"),
        ("speaker,seconds\n4,200\n,180\n", r"row 2 \(line 3\) has no id or path or speaker: .*180"),
        ("id,part\nMSP_4_0,test\nMSP_1_0,train\n", "holds several parts: test, train. Give each part a list"),
        ("id,part\nMSP_4_0,test\nMSP_1_0,\n", "holds several parts: none, test. Give each part a list"),
    ],
)
def test_files_that_are_no_list(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=message):
        made(test=write(tmp_path / "list.csv", text))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "Protocol speaker_lists needs `test`: a file that lists test speakers or clips"),
        (
            {"test": "nowhere.txt"},
            "'nowhere.txt' is no file. Expected: a file that lists speakers or clips, or their na",
        ),
        (
            {"test": ["4"], "validation": "random30"},
            "'random30' is no file and none of official, random20, random10, none",
        ),
        ({"test": ["4"], "train": "everybody"}, "'everybody' is no file and none of rest, official"),
        (
            {"test": ["4", "44", "6", "66"]},
            "2 of the 4 names that `test` lists are no speakers of the manifest: 44, 66. Labels and corpus.only leave",
        ),
        ({"test": ["MSP_4_0", "MSP_4_1", "4"]}, "1 of the 3 names that `test` lists are no clips of the manifest: 4"),
        (
            {"test": ["MSP_9_0", "x"]},
            "2 of the 2 names that `test` lists are no speakers or clips of the manifest: MSP_9",
        ),
        ({"test": ["4"], "validation": ["9"]}, "1 of the 1 names that `validation` lists are no speakers or clips"),
        ({"test": ["9"], "strict": False}, "1 of the 1 names that `test` lists"),
        ({"test": ["4", "5"], "validation": ["5", "3"]}, "lists of test and validation share 1 speakers: 5. A speaker"),
        ({"test": ["4"], "train": ["1", "4"], "validation": "none"}, "the lists of test and train share 1 speakers: 4"),
        ({"test": ["4"], "train": ["1"], "validation": ["1"]}, "lists of validation and train share 1 speakers: 1"),
        ({"test": ["MSP_4_0"], "validation": ["MSP_4_1"]}, "lists of test and validation share 1 speakers: 4"),
        ({"test": ["MSP_4_0", "MSP_4_1"], "adaptation": ["MSP_4_1"]}, "test and adaptation share 1 clips: MSP_4_1"),
        ({"test": ["4"], "adaptation": ["MSP_5_1"]}, "`adaptation` lists clips of speakers who are not tested: 5"),
        ({"test": ["4", "5"], "adaptation": ["5"]}, "`adaptation` lists all clips of 5; none is left to test on"),
        (
            {"test": ["1", "2"], "train": "official"},
            "no clip of the corpus's own part train is left without the listed",
        ),
        ({"test": ["3"], "validation": "official"}, "no clip of the corpus's own part validation is left"),
        ({"test": list("123456")}, "fold 1: the train part is empty|0 training clips are too few"),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        made(**settings)


def test_names_that_labels_have_left_out_are_passed_over_when_asked() -> None:
    listed = ["MSP_4_0", "MSP_4_1", "MSP_5_1"]
    calm = Manifest(tuple(u for u in corpus() if u.emotion == "neutral"))
    with pytest.raises(SereneError, match="no clips of the manifest: MSP_4_0"):
        speaker_lists(calm, test=listed)  # pyright: ignore[reportArgumentType]
    (split,) = speaker_lists(calm, test=tuple(listed), strict=False)
    assert ids(split.test) == {"MSP_4_1", "MSP_5_1"}


def test_a_name_that_several_files_bear_is_not_guessed() -> None:
    twins = Manifest(tuple(replace(u, audio=f"{u.speaker}/{u.id[-1]}.wav") for u in corpus()))
    with pytest.raises(SereneError, match=r"several clips could be meant by names that `test` lists: 3\.wav"):
        speaker_lists(twins, test=("3.wav",))
    (split,) = speaker_lists(twins, test=("6/3.wav",))
    assert ids(split.test) == {"MSP_6_3"}


def test_a_listed_stretch_of_a_file_brings_all_that_the_file_holds() -> None:
    long = [replace(u, audio="long.wav", start=float(u.id[-1])) if u.speaker == "6" else u for u in corpus()]
    (split,) = speaker_lists(Manifest(tuple(long)), test=("long.wav",))
    assert (who(split.test), len(split.test)) == ({"6"}, 10)


def test_settings_hold_what_a_list_says_and_not_where_it_lies(tmp_path: Path) -> None:
    def checked(test: Any) -> recipe.Recipe:
        protocol = {"name": "speaker_lists", "test": test, "validation": "official"}
        return recipe.check({"corpus": {"name": "table"}, "method": {"name": "baseline"}, "protocol": protocol}, "mine")

    one = checked(write(tmp_path / "one.txt", "4\n6\n"))
    assert one.protocol["test"] == ("4", "6")
    assert one.protocol["validation"] == "official"
    same, other = checked(write(tmp_path / "two.csv", "speaker\n4\n6\n")), checked(["4", "5"])
    assert one.identity("data") == same.identity("data") == checked(["4", "6"]).identity("data")
    assert one.identity("data") != other.identity("data")
    path = tmp_path / "recipe.yaml"
    path.write_text(one.to_yaml())
    assert recipe.load(path).protocol == one.protocol
    assert json.loads(json.dumps(one.resolved()))["protocol"]["test"] == ["4", "6"]


@pytest.mark.parametrize("wrong", [{"a": "b"}, None])
def test_what_is_neither_file_nor_names_is_refused(wrong: Any) -> None:
    with pytest.raises(SereneError, match=r"protocol speaker_lists.test is "):
        recipe.settings_of({"test": wrong}, speaker_lists, "protocol speaker_lists")


def test_unknown_speakers_have_to_be_left_out_first() -> None:
    manifest = Manifest(tuple(replace(u, speaker="Unknown") if u.speaker == "1" else u for u in corpus()))
    with pytest.raises(
        SereneError, match=r"10 clips are of the speaker 'Unknown'.*corpus.only: {speaker: '\[0-9\]\*'}"
    ):
        speaker_lists(manifest, test=("4",), validation="none")
    assert speaker_lists(manifest.only({"speaker": "[0-9]*"}), test=("4",))[0].speaker_independent
