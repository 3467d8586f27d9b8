"""Anybody's rows: every line is one row, whatever separates its fields, and a message says where it stands."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from serene.corpora.rows import Row, Rows, part_of, read_rows
from serene.errors import SereneError, quoted


def rows_of(tmp_path: Path, text: str | bytes, name: str = "rows.csv", encoding: str | None = None) -> Rows:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_rows(path, encoding)


def held(found: Rows) -> list[Row]:
    return [row for _, row in found]


# --- lines and quotes


def test_in_tab_separated_files_a_quote_is_a_character_like_any_other(tmp_path: Path) -> None:
    text = 'path\tspeaker\ttext\na.wav\ts\t"Hello, world!\nb.wav\ts\t5" of rain\nc.wav\tt\tsay "no"\nd.wav\tt\t""\n'
    found = rows_of(tmp_path, text)
    assert [row["path"] for row in held(found)] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert [row["text"] for row in held(found)[:3]] == ['"Hello, world!', '5" of rain', 'say "no"']
    assert [place for place, _ in found] == ["row 1 (line 2)", "row 2 (line 3)", "row 3 (line 4)", "row 4 (line 5)"]


def test_quotes_around_whole_fields_of_tab_separated_files_are_taken_off(tmp_path: Path) -> None:
    found = rows_of(tmp_path, '"path"\t"speaker"\n"a b.wav"\t"01"\n')  # as R writes them
    assert held(found) == [{"path": "a b.wav", "speaker": "01"}]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('path,text\na.wav,"Hello, world!\nb.wav,x\n', r"row 1 \(line 2\)"),
        ('path,text\na.wav,x\n\nb.wav,"Hello\nc.wav,"again"\n', r"row 2 \(line 4\)"),
        ('path;text\na.wav;x\nb.wav;"Hello', r"row 2 \(line 3\)"),
        ('path,text\na.wav,"Hello\nworld"\n', r"row 1 \(line 2\)"),
    ],
)
def test_in_comma_separated_files_a_field_that_runs_over_a_line_break_is_refused(
    text: str, place: str, tmp_path: Path
) -> None:
    with pytest.raises(
        SereneError, match=f"rows.csv cannot be read as a table: {place} runs over a line break: a quote"
    ):
        rows_of(tmp_path, text)


def test_quoted_fields_hold_separators_and_quotes(tmp_path: Path) -> None:
    expected = [{"path": "a, b.wav", "text": 'say "no"'}, {"path": "c.wav", "text": '5" of rain'}]
    assert held(rows_of(tmp_path, 'path,text\n"a, b.wav","say ""no"""\nc.wav,5" of rain\n')) == expected
    assert held(rows_of(tmp_path, 'path, text\n"a, b.wav", "say ""no"""\nc.wav, 5" of rain\n')) == expected
    assert held(rows_of(tmp_path, 'path|text\na, b.wav|"say ""no"""\nc.wav|5" of rain\n')) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do_on_any_system_and_nowhere_else(end: str, tmp_path: Path) -> None:
    lines = ["path,text", "a.wav,one\u2028two\x0bthree\x85", "b.wav,x"]
    found = rows_of(tmp_path, end.join(lines) + end)
    assert [row["path"] for row in held(found)] == ["a.wav", "b.wav"]
    assert found.remarks == ()
    objects = [json.dumps({"path": name, "text": "one\u2028two"}, ensure_ascii=False) for name in ("a.wav", "b.wav")]
    assert len(rows_of(tmp_path, end.join(objects), "rows.jsonl")) == 2


def test_empty_rows_are_skipped_and_counted_and_lines_stay_right(tmp_path: Path) -> None:
    found = rows_of(tmp_path, "\npath,speaker\n\na.wav,s\n , \nb.wav,t\n,,,\n,\n\n")
    assert [place for place, _ in found] == ["row 1 (line 4)", "row 2 (line 6)"]
    assert found.remarks == ("Empty rows skipped: 6.",)
    assert rows_of(tmp_path, "path,speaker\na.wav,s\n").remarks == ()


def test_rows_with_fewer_fields_than_the_header_are_remarked_and_with_more_refused(tmp_path: Path) -> None:
    found = rows_of(tmp_path, "path,speaker,emotion\na.wav,s,fear\nb.wav,s\nc.wav,s,fear,,\n")
    assert found.remarks == ("Rows with fewer fields than the header: 1, such as row 2 (line 3).",)
    with pytest.raises(SereneError, match=r"row 2 \(line 3\) has more fields than the header"):
        rows_of(tmp_path, "path,speaker\na.wav,s\nb.wav,s,fear\n")
    with pytest.raises(SereneError, match="the column 'path' occurs twice"):
        rows_of(tmp_path, "path,speaker,path\na.wav,s,b.wav\n")


def test_decimal_commas_are_read_between_semicolons_only(tmp_path: Path) -> None:
    assert held(rows_of(tmp_path, "path;valence;x\na.wav;-0,5;1,2,3\n"))[0] == {
        "path": "a.wav",
        "valence": "-0.5",
        "x": "1,2,3",
    }
    assert held(rows_of(tmp_path, 'path,valence\na.wav,"0,5"\n'))[0]["valence"] == "0,5"


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    assert held(rows_of(tmp_path, ",path\n0,a.wav\n")) == [{"path": "a.wav"}]


# --- JSON

CLIPS = {"a1": {"wav": "a.wav", "spk": "s"}, "b1": {"wav": "b.wav", "spk": "t"}}
NAMED = [{"id": name, **row} for name, row in CLIPS.items()]


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (CLIPS, NAMED),
        (NAMED, NAMED),
        ({"labels": {"neu": 0}, "meta_data": NAMED}, NAMED),
        ({"version": 1, "data": NAMED}, NAMED),
        ({"train": [], "test": NAMED[:1]}, [NAMED[0] | {"split": "test"}]),
        ({"test_1": CLIPS["a1"]}, [{"id": "test_1", **CLIPS["a1"]}]),
        ({"train": NAMED[:1], "test": NAMED[1:]}, [NAMED[0] | {"split": "train"}, NAMED[1] | {"split": "test"}]),
        (
            {"train": {"a1": CLIPS["a1"]}, "dev": ["b.wav"]},
            [NAMED[0] | {"split": "train"}, {"audio": "b.wav", "split": "dev"}],
        ),
        (["a.wav", "b.wav"], [{"audio": "a.wav"}, {"audio": "b.wav"}]),
        ({"wav": {"0": "a.wav", "1": "b.wav"}, "spk": {"0": "s", "1": "t"}}, list(CLIPS.values())),
        ({"wav": ["a.wav", "b.wav"], "spk": ["s", "t"]}, list(CLIPS.values())),
        ({"wav": "a.wav", "spk": "s"}, [CLIPS["a1"]]),
    ],
    ids=[
        "by id",
        "list",
        "meta_data",
        "data",
        "an empty part",
        "ids like parts",
        "parts",
        "parts by id",
        "names",
        "pandas",
        "columns",
        "one",
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_shapes_of_json(value: Any, rows: Any, indent: int | None, tmp_path: Path) -> None:
    found = rows_of(tmp_path, json.dumps(value, indent=indent), "rows.txt")
    assert held(found) == rows
    assert [place for place, _ in found] == [f"row {number}" for number in range(1, len(rows) + 1)]


def test_json_lines_are_placed_by_their_lines(tmp_path: Path) -> None:
    found = rows_of(tmp_path, '\n{"wav": "a.wav"}\n\n\n"b.wav"\n', "rows.jsonl")
    assert (held(found), [place for place, _ in found]) == (
        [{"wav": "a.wav"}, {"audio": "b.wav"}],
        ["row 1 (line 2)", "row 2 (line 5)"],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"wav": "a.wav"}\n{"wav": \n', "line 2: not JSON"),
        ('[{"wav": "a.wav"},\n {"wav": \n', "line 2: not JSON"),
        ('{"wav": ["a.wav", "b.wav"], "spk": ["s"]}', "its columns have different numbers of values"),
        ("[3]", "an object or an id for each clip was expected, not 3"),
        ('"a.wav"', "a list or an object was expected"),
        ('{"a1": {"wav": "a.wav"}, "a1": {"wav": "b.wav"}}', "the key 'a1' occurs twice in one object"),
    ],
)
def test_json_that_cannot_be_understood(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=message):
        rows_of(tmp_path, text, "rows.json")


# --- lists without a header


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("wav/a.wav anger\nwav/b.wav fear\n", [("wav/a.wav", "anger"), ("wav/b.wav", "fear")]),
        ("my clips/a b.wav  anger\n", [("my clips/a b.wav", "anger")]),
        ("a.wav\tvery sad\n", [("a.wav", "very sad")]),
        ('"a.wav","anger"\n"b.FLAC","fear"\n', [("a.wav", "anger"), ("b.FLAC", "fear")]),
        ("a.wav; anger\n", [("a.wav", "anger")]),
        ("a.wav|anger\n", [("a.wav", "anger")]),
    ],
)
def test_lists_of_path_and_label(text: str, rows: Any, tmp_path: Path) -> None:
    found = rows_of(tmp_path, text, "rows.txt")
    assert held(found) == [{"audio": path, "emotion": label} for path, label in rows]
    assert found.remarks == ("The file has no header; each line was read as: audio, emotion.",)


def test_a_column_of_parts_is_told_from_a_label(tmp_path: Path) -> None:
    found = rows_of(tmp_path, "a.wav train fear\nb.wav Test fear\n")
    assert held(found)[1] == {"audio": "b.wav", "split": "Test", "emotion": "fear"}
    for text in ("clip 1,train\nclip 2,Test2\n", "clip 1 train\nclip 2 Test2", "clip 1\ttrain\nclip 2\tTest2\n"):
        named = [{"audio": "clip 1", "split": "train"}, {"audio": "clip 2", "split": "Test2"}]
        assert held(rows_of(tmp_path, text)) == named
    assert held(rows_of(tmp_path, "a.wav,s1,fear\n")) == [{"audio": "a.wav", "column 2": "s1", "column 3": "fear"}]


@pytest.mark.parametrize("text", ["a b\n\nMüller, J.\n", "a b\nMüller, J."])
def test_a_list_of_names_has_a_whole_name_on_each_line(text: str, tmp_path: Path) -> None:
    found = rows_of(tmp_path, text)
    assert ([row["audio"] for row in held(found)], found.remarks) == (["a b", "Müller, J."], ())


def test_a_header_between_blanks_is_a_header(tmp_path: Path) -> None:
    assert held(rows_of(tmp_path, "path  label\na.wav  fear\n")) == [{"path": "a.wav", "label": "fear"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.wav fear\nb.wav\n", "line 2 has 1 columns and the first line 2"),
        ("1 a.wav b.wav\n", "a line names two sounds, and a row is one clip: 1 a.wav b.wav"),
    ],
)
def test_lists_that_cannot_be_understood(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=message):
        rows_of(tmp_path, text)


# --- text

TEXT = "path,speaker\nä.wav,Zoë\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(encoding: str, tmp_path: Path) -> None:
    for data in (TEXT.encode(encoding), gzip.compress(TEXT.encode(encoding))):
        assert held(rows_of(tmp_path, data)) == [{"path": "ä.wav", "speaker": "Zoë"}]


def test_big_endian_text_with_a_mark(tmp_path: Path) -> None:
    data = "\ufeff".encode("utf-16-be") + TEXT.encode("utf-16-be")
    assert held(rows_of(tmp_path, data))[0]["path"] == "ä.wav"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-16"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_encoding_that_is_named(encoding: str, mark: bytes, tmp_path: Path) -> None:
    data = mark + TEXT.encode(encoding).removeprefix(b"\xff\xfe")
    assert held(rows_of(tmp_path, data, encoding=encoding)) == [{"path": "ä.wav", "speaker": "Zoë"}]


def test_text_in_an_encoding_that_nobody_named(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"rows\.csv, line 2: this is no utf-8 text\. .* --encoding latin-1\."):
        rows_of(tmp_path, TEXT.encode("latin-1"))
    for text in (TEXT, "path,speaker\na.wav,s\n"):
        with pytest.raises(SereneError, match=r"this is no utf-8 text\. Save the table as CSV .* --encoding utf-16\."):
            rows_of(tmp_path, text.encode("utf-16-le"))
    for name in ("latin1000", "undefined"):
        with pytest.raises(SereneError, match=f"There is no encoding '{name}'"):
            rows_of(tmp_path, TEXT, encoding=name)


# --- parts and long content


@pytest.mark.parametrize(
    ("text", "part"),
    [("Training", "train"), ("PublicTest", "validation"), ("PrivateTest", "test"), ("Test1", "test1"), ("spare", None)],
)
def test_names_of_parts(text: str, part: str | None) -> None:
    assert part_of(text) == part


def test_what_a_file_holds_is_quoted_in_300_characters_at_most() -> None:
    assert quoted("x" * 300) == "x" * 300
    assert len(quoted("x" * 284_226)) == 300
    assert quoted("x" * 284_226).endswith("x... (284226 in all)")


@pytest.mark.parametrize(
    "text", [f'["a", [{"9" * 5000}]]', "1 a.wav b" + "b" * 5000 + ".wav", f"path,{'x' * 5000},{'x' * 5000}"]
)
def test_no_message_quotes_more_than_that(text: str, tmp_path: Path) -> None:
    with pytest.raises(SereneError) as caught:
        rows_of(tmp_path, text)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))
