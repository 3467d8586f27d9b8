"""Your own table: aliases, whole words, numbers, and messages that name the row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    assert manifest.remarks == ("Text columns ignored: mixed, nested, notes.", "Numeric columns kept: phq8.")


@pytest.mark.parametrize("missing", ["nan", "N/A", ""])
def test_a_missing_value_makes_no_text_of_a_numeric_column(missing: str, folder: Path) -> None:
    manifest = read(written(folder / "t.csv", f"path,spk,phq8\na/one.wav,s,3\nb/one.wav,t,{missing}\n"))
    assert [clip.numbers for clip in manifest] == [{"phq8": 3.0}, {}]


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


def test_an_unknown_speaker_is_unknown_however_it_is_written(folder: Path) -> None:
    assert read(written(folder / "t.csv", "file,spk\na/one.wav,unknown\na/two.wav,UNKNOWN \n")).speakers == ("Unknown",)


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
        ("wav,spk\n", r"t\.csv is empty: a row for each clip was expected"),
        ("", r"t\.csv is empty: a row for each clip was expected"),
        ('[{"wav": "a/one.wav", "spk": "s", "age": ' + "9" * 400 + "}]", r"'age' is '999.*; a number was expected"),
        ("wav,spk,votes\na/one.wav,s,anger:3\n", r"line 2\): 'votes' is 'anger:3'; an object of labels and their num"),
        ("wav,spk,arousal\na/one.wav,s,high\n", r"line 2\): 'arousal' is 'high'; a number was expected"),
        (
            '[{"wav": "a/one.wav", "spk": "s", "emotion": ["fear"]}]',
            r"row 1: 'emotion' is '\['fear'\]'; a text was exp",
        ),
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
    with pytest.raises(SereneError, match=r"is a folder. Expected: a table"):
        read(folder)


# --- columns and paths


@pytest.mark.parametrize("audio", ["file_id", "name", "filename", "file_name", "id", "key"])
@pytest.mark.parametrize("ending", [".wav", ""])
def test_an_id_stands_for_the_sound_where_no_column_has_its_path(audio: str, ending: str, folder: Path) -> None:
    (clip,) = read(written(folder / "t.csv", f"{audio},speaker\na/one{ending},s\n"))
    assert (clip.id, clip.audio) == ("a/one", str(folder / "a/one.wav"))


@pytest.mark.parametrize("name", ["file_id", "name"])
def test_beside_a_path_it_is_the_id(name: str, folder: Path) -> None:
    (clip,) = read(written(folder / "t.csv", f"{name},path,speaker\nx1,a/one.wav,s\n"))
    assert (clip.id, clip.audio) == ("x1", str(folder / "a/one.wav"))


def test_the_root_of_relative_paths(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("tables")
    table = written(elsewhere / "t.csv", f"path,speaker\na/one.wav,s\n{folder / 'a/two.wav'},s\n")
    assert [u.audio for u in read(table, root=folder)] == [str(folder / "a/one.wav"), str(folder / "a/two.wav")]
    with pytest.raises(SereneError, match=rf"None of the 1 files .*Relative paths are taken from {elsewhere}\."):
        read(written(elsewhere / "u.csv", "path,speaker\nb/none.wav,s\n"), root=elsewhere)
    with pytest.raises(SereneError, match="taken from the table's folder, or from --root FOLDER"):
        read(written(elsewhere / "u.csv", "path,speaker\na/one.wav,s\n"))


@pytest.mark.parametrize(
    "path", ["a\\one.wav", "a\\one", "{data_root}/a/one.wav", "$data_root/a/one.wav", " a/one.wav "]
)
def test_paths_as_other_systems_write_them(path: str, folder: Path) -> None:
    (clip,) = read(written(folder / "t.csv", f"path,speaker\n{path},s\n"))
    assert (clip.id, clip.audio) == ("a/one", str(folder / "a/one.wav"))


@pytest.mark.parametrize("column", ["Usage", "subset", "split", "part", "Split_Set", "partition", "set"])
def test_the_part_under_any_of_its_names(column: str, folder: Path) -> None:
    (clip,) = read(written(folder / "t.csv", f"path,speaker,{column}\na/one.wav,s,Training\n"))
    assert clip.split == "Training"


def test_another_encoding(folder: Path) -> None:
    table = folder / "t.csv"
    table.write_bytes("path;speaker;emotion\na/one.wav;Zoë;fear\n".encode("latin-1"))
    assert read(table, encoding="latin-1").speakers == ("Zoë",)
    table.write_text("path\tspeaker\na/one.wav\tZoë\n", encoding="utf-16")
    assert read(table).speakers == ("Zoë",)


# --- rows


def test_an_unmatched_quote_in_a_text_loses_no_row(folder: Path) -> None:
    rows = ['a/one.wav\ts\tfear\t"Hello, world!', "a/two.wav\ts\tanger\tno", 'b/one.wav\tt\tfear\t5" of rain']
    manifest = read(written(folder / "t.tsv", "\n".join(["path\tspeaker\temotion\ttext", *rows]) + "\n"))
    assert [(u.id, u.emotion) for u in manifest] == [("a/one", "fear"), ("a/two", "anger"), ("b/one", "fear")]
    with pytest.raises(SereneError, match=r"t\.csv cannot be read as a table: row 1 \(line 2\) runs over a line break"):
        read(written(folder / "t.csv", "\n".join(["path,speaker,emotion,text", *(r.replace("\t", ",") for r in rows)])))


def test_equal_rows_count_once_and_unequal_ones_are_named(folder: Path) -> None:
    text = (
        "path,speaker,emotion,notes\na/one.wav,s,fear,x\n\na/two.wav,s,fear,\na/one.wav,s,fear,y\na/two.wav,s,fear,\n"
    )
    manifest = read(written(folder / "t.csv", text))
    assert [u.id for u in manifest] == ["a/one", "a/two"]
    assert manifest.remarks == (
        "Empty rows skipped: 1.",
        "Equal rows, counted once: 2, such as row 3 (line 5).",
        "Text columns ignored: notes.",
    )
    rows = "a/one.wav,s,fear\n\na/two.wav,s,fear\na/one.wav,s,ang\n"
    message = r"row 1 \(line 2\) and row 3 \(line 5\) are both 'a/one#0' and differ in emotion: 'fear' and 'anger'"
    with pytest.raises(SereneError, match=message):
        read(written(folder / "t.csv", f"path,speaker,emotion\n{rows}"))


@pytest.mark.parametrize(("one", "other"), [({"emotion": None}, {}), ({"end": 0.05}, {"end": 0.05, "duration": 0.05})])
def test_rows_that_say_the_same_in_different_columns_are_named(one: Any, other: Any, folder: Path) -> None:
    rows = [{"wav": "a/one.wav", "speaker": "s", **further} for further in (one, other)]
    message = r"row 1 and row 2 are both 'a/one#0' and say the same in different columns\. Delete one"
    with pytest.raises(SereneError, match=message):
        read(written(folder / "t.json", json.dumps(rows)))


def test_a_path_that_is_no_file_and_has_no_name_is_left_out(folder: Path) -> None:
    manifest = read(written(folder / "t.csv", "id,path,speaker\nx,/,s\ny,a/one.wav,s\n"))
    assert [(clip.id, clip.reason) for clip in manifest.left_out] == [("x", "no such file: /")]


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_a_list_of_paths_and_labels_knows_no_speaker(separator: str, folder: Path) -> None:
    manifest = read(written(folder / "t.txt", f"a/one.wav{separator}angry\nb/one.wav{separator}fear\n"))
    assert [(u.id, u.emotion, u.speaker) for u in manifest] == [
        ("a/one", "anger", "Unknown"),
        ("b/one", "fear", "Unknown"),
    ]
    assert manifest.remarks == (
        "The file has no header; each line was read as: audio, emotion.",
        "Emotion names made whole words: angry -> anger 1.",
        "No speaker is known: all are Unknown, whom no protocol tests.",
    )


def test_a_list_of_more_columns_needs_a_header(folder: Path) -> None:
    with pytest.raises(
        SereneError,
        match=r"no column for the speaker.* audio, column 2, column 3.*first line names no column: 'a/one.wav s fear'",
    ):
        read(written(folder / "t.txt", "a/one.wav s fear\n"))


def test_parts_of_a_json_object_become_the_split(folder: Path) -> None:
    table = written(folder / "t.json", json.dumps({"train": ROWS[:1], "test": ROWS[1:]}))
    assert [(u.id, u.split) for u in read(table)] == [("a/one", "train"), ("b/one", "test")]


def test_no_message_quotes_more_than_300_characters(folder: Path) -> None:
    many = ",".join(f"column{n}" for n in range(2000))
    for text in (
        f"wav,{many}\n1{',x' * 2000}\n",
        f"wav,spk,start\na/one.wav,s,{'9' * 5000}x\n",
        f"wav,spk\n{'x' * 5000},s\n",
    ):
        with pytest.raises(SereneError) as caught:
            read(written(folder / "t.csv", text))
        assert len(str(caught.value)) < 900 + 2 * len(str(folder))


# --- segments

SEGMENTS = [("a/one.wav", 0.0, 0.02), ("a/one.wav", 0.02, 0.05), ("b/one.wav", 0.01, 0.09)]


def clock(seconds: float) -> str:
    return f"00:{seconds:05.2f}"


def timedelta(seconds: float) -> str:
    return f"0 days 00:00:{seconds:09.6f}"


def decimal_comma(seconds: float) -> str:
    return f"{seconds:.2f}".replace(".", ",")


@pytest.mark.parametrize("form", ["csv", "semicolons", "tsv", "json", "jsonl"])
@pytest.mark.parametrize("time", [str, clock, timedelta])
@pytest.mark.parametrize(
    "names",
    [
        ("file", "start", "end"),
        ("path", "begin", "stop"),
        ("wav", "Start_Time", "End_Time"),
        ("File Name", "start time", "end-time"),
    ],
)
def test_a_segments_end_gives_its_duration_in_every_form(form: str, time: Any, names: Any, folder: Path) -> None:
    rows = [
        dict(zip((*names, "speaker"), (file, time(start), time(end), "s"), strict=True))
        for file, start, end in SEGMENTS
    ]
    separator = {"csv": ",", "semicolons": ";", "tsv": "\t"}.get(form, "")
    lines = [separator.join(row) for row in (rows[0], *(row.values() for row in rows))]
    text = {"json": json.dumps(rows), "jsonl": "\n".join(map(json.dumps, rows))}.get(form, "\n".join(lines))
    clips = read(written(folder / f"t.{form}", text)).utterances
    assert [(Path(u.audio).stem, u.start, u.duration) for u in clips] == [
        ("one", start, pytest.approx(end - start)) for _, start, end in SEGMENTS
    ]
    assert all(u.numbers == {} for u in clips)


def test_decimal_commas_between_semicolons(folder: Path) -> None:
    rows = [";".join((file, decimal_comma(start), decimal_comma(end), "s", "3,5")) for file, start, end in SEGMENTS]
    clips = read(written(folder / "t.csv", "\n".join(["file;start;end;speaker;valence", *rows]))).utterances
    assert [(u.start, u.duration, u.valence) for u in clips] == [(0.0, 0.02, 3.5), (0.02, 0.03, 3.5), (0.01, 0.08, 3.5)]


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("1:30.5", 90.5), ("01:01:01", 3661.0), ("1 days 00:00:01.25", 86401.25), ("0:01:02,5", 62.5), ("7", 7.0)],
)
def test_times_as_people_write_them(time: str, seconds: float, folder: Path) -> None:
    (clip,) = read(written(folder / "t.tsv", f"file\tspk\tend\na/one.wav\ts\t{time}\n"))
    assert (clip.start, clip.duration) == (0.0, seconds)


@pytest.mark.parametrize("missing", ["", "NaT", "nan"])
def test_a_start_without_an_end_is_refused_unless_the_file_is_the_turn(missing: str, folder: Path) -> None:
    turn = read(
        written(folder / "t.csv", f"file,spk,start,end\na/one.wav,s,0,{missing}\nb/one.wav,s,{missing},{missing}\n")
    )
    assert [(u.start, u.duration) for u in turn] == [(0.0, None), (0.0, None)]
    for rows in (f"a/one.wav,s,0.02,{missing}\n", f"a/one.wav,s,0,{missing}\na/one.wav,s,0.02,0.05\n"):
        with pytest.raises(
            SereneError, match=r"row 1 \(line 2\): start is 0.*no end or duration says.*leave the column"
        ):
            read(written(folder / "t.csv", f"file,spk,start,end\n{rows}"))
    with pytest.raises(SereneError, match=r"row 1 \(line 2\): start is 2\.5, and no end or duration"):
        read(written(folder / "t.csv", "file,spk,start\na/one.wav,s,2.5\n"))


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        ("start,end", "0.05,0.05", r"row 1 \(line 2\): start 0.05, end 0.05 contradict each other"),
        ("start,end,duration", "0.01,0.05,0.05", "start 0.01, end 0.05 and duration 0.05 contradict each other"),
        ("start,end", "0,soon", r"row 1 \(line 2\): the end is 'soon'; .* seconds, such as 90.5, or 1:30.5"),
        ("start,end", '0,"0,5"', "the end is '0,5'; a number was expected"),
    ],
)
def test_segments_that_make_no_sense(columns: str, values: str, message: str, folder: Path) -> None:
    with pytest.raises(SereneError, match=message):
        read(written(folder / "t.csv", f"file,spk,{columns}\na/one.wav,s,{values}\n"))


@pytest.mark.parametrize("column", ["start_ms", "End_Sample", "onsetframe"])
def test_times_in_other_units_are_no_targets(column: str, folder: Path) -> None:
    with pytest.raises(SereneError, match=f"the column {column} counts something else than seconds"):
        read(written(folder / "t.csv", f"file,spk,{column}\na/one.wav,s,20\n"))


def test_an_offset_beside_an_onset_is_the_end_and_alone_it_is_the_start(folder: Path) -> None:
    (clip,) = read(written(folder / "t.csv", "file,spk,onset,offset\na/one.wav,s,0.02,0.05\n"))
    assert (clip.start, clip.duration) == (0.02, 0.03)
    (clip,) = read(written(folder / "t.csv", "file,spk,offset,duration\na/one.wav,s,0.02,0.05\n"))
    assert (clip.start, clip.duration) == (0.02, 0.05)


def test_a_duration_that_agrees_with_the_end_is_kept(folder: Path) -> None:
    (clip,) = read(written(folder / "t.csv", "file,spk,start,end,duration\na/one.wav,s,0.01,0.05,0.04\n"))
    assert (clip.start, clip.duration) == (0.01, 0.04)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a/one.wav,s,0,", "a/one.wav,s,1,2", "b/one.wav,s,3,2"], r"row 1 .*: start is 0, and no end"),
        (["a/one.wav,s,0,", "b/one.wav,s,3,2", "b/one.wav,s,1,2"], r"row 2 .*: start 3, end 2 contradict"),
        (["a/one.wav,s,3,2", "b/one.wav,s,0,soon"], r"row 2 .*: the end is 'soon'"),
        (["a/one.wav,,0,1", "b/one.wav,s,3,2"], r"row 2 .*: start 3, end 2 contradict"),
        (["a/one.wav,s,0,1", "a/one.wav,t,0,1", "b/one.wav,,0,1"], r"row 1 .* and row 2 .* differ in speaker"),
        (["a/one.wav,s,0,1", "b/one.wav,,0,1", "a/one.wav,t,0,1"], r"row 2 .*: the column 'speaker' is missing"),
    ],
)
def test_the_first_wrong_row_is_named_of_what_is_looked_for_first(rows: list[str], message: str, folder: Path) -> None:
    with pytest.raises(SereneError, match=message):
        read(written(folder / "t.csv", "\n".join(["file,spk,start,end", *rows])))


def test_an_id_may_be_zero_and_a_path_may_have_no_name(folder: Path) -> None:
    names = ("a.wav", "b.wav")
    for name in names:
        (folder / name).touch()
    rows = [{"id": n, "path": name, "speaker": "x"} for n, name in enumerate(names)] + [{"path": "/", "speaker": "x"}]
    (folder / "t.json").write_text(json.dumps(rows))
    manifest = read(folder / "t.json")
    assert [clip.id for clip in manifest] == ["0", "1"]
    assert [item.reason for item in manifest.left_out] == ["no such file: /"]


def test_parquet_is_no_table(folder: Path) -> None:
    (folder / "m.PARQUET").write_bytes(b"PAR1")
    with pytest.raises(SereneError, match="is Parquet, and no table: a manifest is used as it is"):
        read(folder / "m.PARQUET")
