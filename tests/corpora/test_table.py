"""Your own table: aliases, whole words, numbers, and messages that name the row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_trees import sound_files

from serene.corpora.rows import ALIASES
from serene.corpora.table import read
from serene.errors import SereneError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sound_files(tmp_path, ["a/one.wav", "a/two.wav", "b/one.wav"])


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("audio", ["audio", "wav", "audio_filepath", "path", "file", "Path"])
@pytest.mark.parametrize("emotion", ["emotion", "label", "emo"])
@pytest.mark.parametrize("speaker", ["speaker", "speaker_id", "spk"])
def test_aliases(audio: str, emotion: str, speaker: str, folder: Path) -> None:
    table = written(folder / "t.csv", f"{audio},{emotion},{speaker},length\na/one.wav,anger,01,0.5\n")
    clip = read(table).utterances[0]
    assert (clip.id, clip.emotion, clip.speaker, clip.duration) == ("a/one", "anger", "01", 0.5)
    assert clip.audio == str(folder / "a/one.wav")


def test_no_alias_stands_for_two_columns() -> None:
    names = [*ALIASES, *(name for names in ALIASES.values() for name in names)]
    assert len(names) == len(set(names))


def test_a_column_under_its_own_name_comes_before_an_alias(folder: Path) -> None:
    table = written(folder / "t.csv", "wav,spk,label,emotion\na/one.wav,s,7,sadness\n")
    clip = read(table).utterances[0]
    assert (clip.emotion, clip.numbers) == ("sadness", {"label": 7.0})


ROWS = [{"audio": "a/one.wav", "speaker": "s", "emotion": "fear"}, {"audio": "b/one.wav", "speaker": "t"}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "audio,speaker,emotion\na/one.wav,s,fear\nb/one.wav,t,\n"),
        ("t.csv", "\ufeffaudio;speaker;emotion\r\na/one.wav;s;fear\r\nb/one.wav;t;\r\n"),
        ("t.tsv", "audio\tspeaker\temotion\na/one.wav\ts\tfear\nb/one.wav\tt\t\n"),
        ("t.jsonl", "\n".join(map(json.dumps, ROWS)) + "\n\n"),
        ("t.json", "\n".join(map(json.dumps, ROWS))),  # JSON lines under .json, as NeMo has them
        ("t.json", json.dumps(ROWS, indent=1)),
        ("t.json", json.dumps({"a/one": ROWS[0], "b/one": ROWS[1]})),
    ],
    ids=["csv", "semicolons and a byte-order mark", "tsv", "json lines", "json lines as json", "list", "object"],
)
def test_forms_of_one_table(name: str, text: str, folder: Path) -> None:
    clips = read(written(folder / name, text)).utterances
    assert [(u.id, u.speaker, u.emotion) for u in clips] == [("a/one", "s", "fear"), ("b/one", "t", None)]


def test_one_json_line(folder: Path) -> None:
    assert len(read(written(folder / "t.jsonl", json.dumps(ROWS[0])))) == 1


def test_short_emotion_names_become_words_and_a_remark_counts_them(folder: Path) -> None:
    text = "path,spk,emo\na/one.wav,s,ang\na/two.wav,s,Happy\nb/one.wav,t, ANG \n"
    manifest = read(written(folder / "t.csv", text))
    assert [u.emotion for u in manifest] == ["anger", "happiness", "anger"]
    assert manifest.remarks == ("Emotion names made whole words: ang -> anger 2, happy -> happiness 1.",)


def test_an_emotion_of_your_own_is_kept(folder: Path) -> None:
    manifest = read(written(folder / "t.csv", "path,spk,emo\na/one.wav,s,Nostalgia\n"))
    assert (manifest.utterances[0].emotion, manifest.remarks) == ("nostalgia", ())


def test_further_columns(folder: Path) -> None:
    rows = [
        {"path": "a/one.wav", "spk": 7, "phq8": "3.5", "arousal": 0.25, "notes": "loud", "mixed": 1},
        {"path": "b/one.wav", "spk": 8, "phq8": None, "arousal": None, "notes": "", "mixed": "x", "nested": [1]},
    ]
    manifest = read(written(folder / "t.json", json.dumps(rows)))
    first, second = manifest.utterances
    assert (first.speaker, first.arousal, first.numbers) == ("7", 0.25, {"phq8": 3.5})
    assert (second.arousal, second.numbers) == (None, {})
    assert manifest.remarks == ("Text columns ignored: mixed, nested, notes.",)


def test_clips_of_one_file_are_told_apart_by_their_beginning(folder: Path) -> None:
    text = "file,spk,offset,duration\na/one.wav,s,0.0,0.05\na/one.wav,s,0.05,0.05\nb/one.wav,s,,\n"
    clips = read(written(folder / "t.csv", text)).utterances
    assert [(u.id, u.start, u.duration) for u in clips] == [
        ("a/one#0.0", 0.0, 0.05),
        ("a/one#0.05", 0.05, 0.05),
        ("b/one", 0.0, None),
    ]


def test_files_that_differ_in_their_extension_only(folder: Path) -> None:
    sound_files(folder, ["a/one.flac"])
    clips = read(written(folder / "t.csv", "file,spk\na/one.wav,s\na/one.flac,s\n")).utterances
    assert [u.id for u in clips] == ["a/one.wav", "a/one.flac"]


def test_absolute_paths_and_ids_of_your_own(folder: Path) -> None:
    (folder / "lists").mkdir()
    table = written(folder / "lists/t.csv", f"utt_id,file,spk\nx1,{folder / 'a/one.wav'},s\nx2,../a/two.wav,s\n")
    clips = read(table).utterances
    assert [u.id for u in clips] == ["x1", "x2"]
    assert all(Path(u.audio).is_file() for u in clips)


def test_a_missing_file_is_left_out_by_name(folder: Path) -> None:
    manifest = read(written(folder / "t.csv", "file,spk\na/one.wav,s\na/none.wav,s\n"))
    assert len(manifest) == 1
    assert [(o.id, o.kind) for o in manifest.left_out] == [("a/none", "no such file")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "wav,emotion\na/one.wav,anger\n",
            r"no column for the speaker. It has: wav, emotion. Accepted names: speaker, spe",
        ),
        ("speaker,emotion\ns,anger\n", "no column for the audio. .* audio_filepath"),
        ("wav,spk\na/one.wav,s\na/two.wav,\n", r"t.csv, row 2 \(line 3\): the column 'speaker' is missing"),
        ("wav,spk,start\na/one.wav,s,soon\n", r"row 1 \(line 2\): .*soon.*; a number was expected"),
        ("wav,spk\na/one.wav,s,anger\n", r"row 1 \(line 2\) has more fields than the header"),
        ("wav,spk\nx.wav,s\ny.wav,t\n", "None of the 2 files .* Relative paths are taken from the table's folder"),
        (
            "id,wav,spk\n1,a/one.wav,s\n1,a/two.wav,s\n",
            r"row 1 \(line 2\) and row 2 \(line 3\) are both '1' and differ in audio: 'a/one.wav' and",
        ),
        ("wav,spk\n", "manifest is empty"),
        ("", "manifest is empty"),
    ],
)
def test_bad_tables_say_what_is_wrong(text: str, message: str, folder: Path) -> None:
    with pytest.raises(SereneError, match=message):
        read(written(folder / "t.csv", text))


@pytest.mark.parametrize("text", ["[1, 2]", '"words"', '{"audio": 1}\nbroken'])
def test_json_of_another_shape(text: str, folder: Path) -> None:
    with pytest.raises(SereneError, match=r"t.json cannot be read as a table"):
        read(written(folder / "t.json", text))


def test_a_folder_is_no_table(folder: Path) -> None:
    with pytest.raises(SereneError, match=r"is a folder. Expected: a CSV"):
        read(folder)
