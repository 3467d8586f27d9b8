"""MSP-Podcast: the label files of every release, unknown speakers, and what does not fit together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from corpus_trees import MSP_CONSENSUS, MSP_DETAILED, msp_podcast, msp_podcast_of_old, msp_sounds, sound_files

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.manifest import Manifest
from serene.corpora.msp_podcast import read
from serene.errors import SereneError
from serene.protocols import Split, make_splits
from serene.protocols.split import SpeakerDependentSplit

UNKNOWN = "Of 1 clips nobody knows who speaks: their speaker is Unknown."


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_all_that_the_tables_say(tmp_path: Path) -> None:
    manifest = read(msp_podcast(tmp_path))
    rows = [(u.id, u.speaker, u.emotion, u.split, u.gender, u.session, u.language) for u in manifest]
    assert rows == [
        ("MSP-PODCAST_0001_0008", "30", "neutral", "test1", "male", "0001", "english"),
        ("MSP-PODCAST_0001_0009", "39", None, "validation", "female", "0001", "english"),
        ("MSP-PODCAST_0002_0033", "41", "anger", "train", "female", "0002", "english"),
        ("MSP-PODCAST_4552_0512_0000", UNKNOWN_SPEAKER, "other", "train", None, "4552", "english"),
    ]
    ratings = [(u.arousal, u.valence, u.dominance) for u in manifest]
    assert ratings == [(2.2, 4.0, 2.6), (3.777778, 3.555556, 3.777778), (7, 1, 6.5), (4.125, 4.75, 4)]
    assert [u.votes for u in manifest] == [{"neutral": 2, "other": 1}, None, {"anger": 1}, None]
    assert manifest.remarks == (UNKNOWN,)


def test_ratings_are_found_by_their_columns_in_any_order(tmp_path: Path) -> None:
    path = msp_podcast(tmp_path) / "Labels/labels_consensus.csv"
    rows = [line.split(",") for line in MSP_CONSENSUS.splitlines()]
    path.write_text("\n".join(",".join(row[i] for i in (0, 1, 4, 3, 2, 5, 6, 7)) for row in rows))
    clip = read(tmp_path).utterances[0]
    assert (clip.arousal, clip.valence, clip.dominance) == (2.2, 4.0, 2.6)


@pytest.mark.parametrize("labels", ["Labels", "labels", "label"])
@pytest.mark.parametrize("spelling", ["labels_consensus.csv", "labels_concensus.csv"])
def test_folder_and_table_as_every_release_spells_them(labels: str, spelling: str, tmp_path: Path) -> None:
    whole = read(msp_podcast(tmp_path / "a"))
    other = msp_podcast(tmp_path / "b")
    (other / "Labels").rename(other / "other")
    (other / "other").rename(other / labels)
    (other / labels / "labels_consensus.csv").rename(other / labels / spelling)
    assert [u.votes for u in read(other)] == [u.votes for u in whole]
    assert read(other).digest_of(("id", "speaker", "emotion")) == whole.digest_of(("id", "speaker", "emotion"))


def detailed_as_lines() -> str:
    """The listeners' rows as releases 1.7 to 1.12 have them."""
    rows = [line.split(",WORKER") for line in MSP_DETAILED.splitlines()[1:]]
    lines = []
    for name, rest in rows:
        worker, emotion, *second = rest.replace('"', "").split(",")
        lines.append(f'{name},"WORKER{worker}; {emotion}; {",".join(second[:-3])}; A:1.0; V:2.0; D:3.0;"')
    return "\n".join(["FileName,EmoDetail", *lines])


@pytest.mark.parametrize("shape", ["1.6", "1.7", "2.0"])
def test_votes_are_the_same_in_every_shape_of_the_detailed_table(shape: str, tmp_path: Path) -> None:
    path = msp_podcast(tmp_path) / "Labels/labels_detailed.csv"
    if shape == "1.6":
        replaced(path, "WorkerID", "Workers")
    elif shape == "1.7":
        path.write_text(detailed_as_lines())
    assert [u.votes for u in read(tmp_path)] == [{"neutral": 2, "other": 1}, None, {"anger": 1}, None]


def test_without_the_detailed_table_votes_are_unknown(tmp_path: Path) -> None:
    (msp_podcast(tmp_path) / "Labels/labels_detailed.csv").unlink()
    manifest = read(tmp_path)
    assert [u.votes for u in manifest] == [None] * 4
    assert manifest.remarks == ("labels_detailed.csv is not there: votes are unknown.", UNKNOWN)


def test_the_text_files_of_the_oldest_releases(tmp_path: Path) -> None:
    manifest = read(msp_podcast_of_old(tmp_path))
    rows = [(u.id, u.speaker, u.emotion, u.split, u.gender, u.votes) for u in manifest]
    assert rows == [
        ("MSP-PODCAST_0001_0008", "30", "neutral", "test1", "male", {"neutral": 1, "other": 1}),
        ("MSP-PODCAST_0001_0009", "39", None, "validation", "female", None),
        ("MSP-PODCAST_0002_0033", UNKNOWN_SPEAKER, "anger", "train", None, {"anger": 1}),
    ]
    ratings = [(u.arousal, u.valence, u.dominance) for u in manifest]
    assert ratings == [(2.2, 4.0, 2.6), (3.777778, 3.555556, 3.777778), (7, 1, 6.5)]
    assert (manifest.left_out, manifest.remarks) == ((), (UNKNOWN,))


def test_the_tables_come_before_the_text_beside_them(tmp_path: Path) -> None:
    root = msp_podcast(tmp_path)
    (root / "Labels/labels.txt").write_text("MSP-PODCAST_0001_0008.wav; H; A:1.0; V:1.0; D:1.0;\n")
    assert read(root).utterances[0].emotion == "neutral"


def test_parts_and_speakers_that_are_not_there_are_remarked(tmp_path: Path) -> None:
    root = msp_podcast_of_old(tmp_path)
    (root / "Partitions.txt").unlink()
    (root / "Speaker_ids.txt").unlink()
    manifest = read(root)
    assert {(u.split, u.speaker, u.gender) for u in manifest} == {(None, UNKNOWN_SPEAKER, None)}
    assert manifest.remarks == (
        "Partitions.txt is not there: parts are unknown.",
        "Speaker_ids.txt is not there: speakers and genders are unknown.",
        "Of 3 clips nobody knows who speaks: their speaker is Unknown.",
    )


@pytest.mark.parametrize("given", ["corpus", "corpus/Audios", "corpus/Labels", "."])
@pytest.mark.parametrize("tree", [msp_podcast, msp_podcast_of_old])
def test_the_folder_its_parent_or_a_part_of_it(given: str, tree, tmp_path: Path) -> None:
    whole = read(tree(tmp_path / "corpus"))
    assert [u.id for u in read(tmp_path / given)] == [u.id for u in whole]


@pytest.mark.parametrize("rating", ["7.01", "0.99", "-1", "nan", "inf", "", "high"])
@pytest.mark.parametrize(("column", "name"), [("2.2", "arousal"), ("4.0", "valence"), ("2.6", "dominance")])
def test_a_rating_that_is_not_on_the_scale_names_clip_and_line(
    column: str, name: str, rating: str, tmp_path: Path
) -> None:
    path = msp_podcast(tmp_path) / "Labels/labels_consensus.csv"
    first = "2.2,4.0,2.6,30"
    replaced(path, first, first.replace(column, rating))
    with pytest.raises(SereneError) as error:
        read(tmp_path)
    assert str(error.value) == (
        f"{path}, line 2: the {name} of MSP-PODCAST_0001_0008 is '{rating}'; a mean rating from 1 to 7 was expected. "
        "Fetch the file again."
    )


@pytest.mark.parametrize("rating", ["1", "7", "1.0", "7.000000"])
def test_the_ends_of_the_scale_are_on_it(rating: str, tmp_path: Path) -> None:
    replaced(msp_podcast(tmp_path) / "Labels/labels_consensus.csv", "2.2,4.0", f"{rating},4.0")
    assert read(tmp_path).utterances[0].arousal == float(rating)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",N,2.2", ",Q,2.2", "line 2: the emotion of MSP-PODCAST_0001_0008 is 'Q'; one of A, S, H, U, F"),
        ("Male,Test1", "Male,Tset1", "line 2: the part of MSP-PODCAST_0001_0008 is 'Tset1'; Train, Development"),
        (",39,Female,Development", "", "line 3: the row has fewer fields than the header"),
        ("SpkrID", "Speaker", "has no column 'SpkrID'. Expected the corpus's own table"),
    ],
)
def test_a_table_that_is_not_the_corpuss_own(old: str, new: str, message: str, tmp_path: Path) -> None:
    replaced(msp_podcast(tmp_path) / "Labels/labels_consensus.csv", old, new)
    with pytest.raises(SereneError, match=message):
        read(tmp_path)


def test_a_detailed_table_without_emotions(tmp_path: Path) -> None:
    replaced(msp_podcast(tmp_path) / "Labels/labels_detailed.csv", "EmoClass_Major", "Emo")
    with pytest.raises(SereneError, match=r"detailed.csv, line 2: no listener's emotion is there; a column EmoClass_M"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Labels/Labels.txt", "A:2.200000", "A:9.2", "line 1: the arousal of MSP-PODCAST_0001_0008 is '9.2'"),
        (
            "Labels/Labels.txt",
            " N; A:2.2",
            " N A:2.2",
            "line 1: 'MSP-PODCAST_0001_0008.wav; N A:2.200000;.* is no clip",
        ),
        ("Partitions.txt", "Validation", "Valuation", "the part of MSP-PODCAST_0001_0009 is 'Valuation'"),
    ],
)
def test_text_files_that_are_not_the_corpuss_own(file: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    replaced(msp_podcast_of_old(tmp_path) / file, old, new)
    with pytest.raises(SereneError, match=message):
        read(tmp_path)


def test_what_is_only_labelled_or_only_a_sound_is_left_out(tmp_path: Path) -> None:
    root = sound_files(msp_podcast(tmp_path), ["Audios/MSP-PODCAST_test3_0001.wav"])
    (root / "Audios/MSP-PODCAST_0001_0008.wav").unlink()
    replaced(root / "Labels/labels_consensus.csv", "MSP-PODCAST_0002_0033", "PODCAST_0002_0033")
    manifest = read(root)
    assert [u.id for u in manifest] == ["MSP-PODCAST_0001_0009", "MSP-PODCAST_4552_0512_0000"]
    assert [(o.id, o.reason) for o in manifest.left_out] == [
        ("MSP-PODCAST_0001_0008", "labelled, but its sound is not in Audios"),
        ("PODCAST_0002_0033", "not a name of the corpus: 'PODCAST_0002_0033' in labels_consensus.csv"),
        ("MSP-PODCAST_0002_0033", "a sound without a label in labels_consensus.csv"),
        ("MSP-PODCAST_test3_0001", "a sound without a label in labels_consensus.csv"),
    ]


def test_labels_of_another_release_than_the_sounds(tmp_path: Path) -> None:
    root = msp_podcast(tmp_path)
    shutil.rmtree(root / "Audios")
    sound_files(root, ["Audios/MSP-PODCAST_0007_0001.wav"])
    with pytest.raises(
        SereneError, match=r"not of these sounds: .*lists 4 clips, such as MSP-PODCAST_0001_0008, and .*"
    ):
        read(root)


def test_sounds_without_labels_are_not_the_corpus(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"does not hold MSP-Podcast.*Labels/labels_consensus.csv.*signed agreement"):
        read(msp_sounds(tmp_path))


def parted(tmp_path: Path) -> Manifest:
    """The fake tree with all emotions the same, so that every part has the classes of the test."""
    replaced(msp_podcast(tmp_path) / "Labels/labels_consensus.csv", ",A,7.0", ",N,7.0")
    return read(tmp_path)


def test_unknown_speakers_make_the_official_split_unproven_until_they_are_left_out(tmp_path: Path) -> None:
    manifest = parted(tmp_path)
    (split,) = make_splits("official", manifest)
    assert isinstance(split, SpeakerDependentSplit)
    assert split.stamps == ("speakers not proven to be apart: 1 clips are of unknown ones, who may be anybody",)
    (known,) = make_splits("official", manifest.only({"speaker": "[0-9]*"}))
    assert (type(known), known.stamps, len(known.train)) == (Split, (), 1)
    with pytest.raises(SereneError, match=r"1 clips are of the speaker 'Unknown', such as MSP-PODCAST_4552_0512_0000"):
        make_splits("leave_one_speaker_out", manifest)
