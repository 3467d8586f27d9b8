"""Audit: what it finds in anybody's split files, and what it does not fail a split for."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from serene.errors import SereneError
from serene.protocols.audit import Audit, audit
from serene.protocols.split_files import Entry, find, read_split_files


def row(name: str, speaker: str, **more: Any) -> dict[str, Any]:
    folder = more.pop("folder", "corpus/wav")
    return {"id": name, "audio": f"{folder}/{name}.flac", "speaker": speaker, "audio_hash": f"#{name}", **more}


def manifest(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def lists(folder: Path, **parts: Sequence[str]) -> list[Path]:
    return [write(folder / f"{part}.txt", "\n".join(names)) for part, names in parts.items()]


def found(result: Audit) -> list[tuple[str, str, str, int, int, tuple[str, ...]]]:
    return [(o.kind, o.first, o.second, o.count, o.total, o.examples) for o in result.overlaps]


ROWS = [
    row("a1", "ann", session="1", text_id="t1"),
    row("a2", "ann", session="1", text_id="t2"),
    row("b1", "bob", session="1", text_id="t1"),
    row("c1", "cat", session="2", text_id="t3"),
    row("d1", "dan", session="3", text_id="t2"),
]


def test_shared_speakers_fail_the_split(tmp_path: Path) -> None:
    result = audit(manifest(tmp_path, ROWS), lists(tmp_path, train=["a1", "c1"], test=["a2", "d1"]))
    assert found(result) == [("speaker", "train", "test", 1, 2, ("ann",)), ("session", "train", "test", 1, 2, ("1",))]
    assert not result.passed
    assert result.parts == {"train": 2, "test": 2}
    assert "OVERLAP  speaker, train and test: 1 of 2 in test are also in train (ann)" in result.lines()
    assert result.lines()[-1] == "The split shares speakers between its parts."


def test_shared_sessions_and_texts_are_told_and_fail_nothing(tmp_path: Path) -> None:
    result = audit(manifest(tmp_path, ROWS), lists(tmp_path, train=["a1", "a2"], valid=["d1"], test=["b1"]))
    assert found(result) == [
        ("session", "train", "test", 1, 1, ("1",)),
        ("text", "train", "test", 1, 1, ("t1",)),
        ("text", "train", "validation", 1, 1, ("t2",)),
    ]
    assert result.passed
    assert result.lines()[-1] == "No speaker and no audio is shared between parts."


@pytest.mark.parametrize("pair", [("train", "test"), ("dev", "test"), ("train", "val"), ("mine", "yours")])
def test_any_two_parts_that_share_a_speaker_fail(tmp_path: Path, pair: tuple[str, str]) -> None:
    files = lists(tmp_path, **{pair[0]: ["a1"], pair[1]: ["a2"]})
    assert not audit(manifest(tmp_path, ROWS), files).passed


def test_two_tests_may_share_speakers(tmp_path: Path) -> None:
    files = lists(tmp_path, train=["c1"], test1=["a1"], test2=["a2"])
    assert audit(manifest(tmp_path, ROWS), files).passed


def test_unknown_speakers_are_counted_and_fail_on_both_sides(tmp_path: Path) -> None:
    rows = [*ROWS, row("u1", "Unknown"), row("u2", "Unknown")]
    one_side = audit(manifest(tmp_path, rows), lists(tmp_path, train=["a1", "u1"], test=["d1"]))
    assert one_side.passed
    assert "note  speaker not known for 1 of 3 clips" in one_side.lines()
    both = audit(manifest(tmp_path, rows), lists(tmp_path, train=["a1", "u1"], test=["d1", "u2"]))
    assert [o.examples for o in both.overlaps if o.fails] == [("Unknown",)]


def test_identical_audio_fails_under_any_name_and_speaker(tmp_path: Path) -> None:
    rows = [*ROWS, row("e1", "eve") | {"audio_hash": "#c1"}]
    result = audit(manifest(tmp_path, rows), lists(tmp_path, train=["c1"], test=["e1"]))
    assert found(result) == [("audio", "train", "test", 1, 1, ("c1 = e1",))]
    assert not result.passed


def test_without_hashes_the_same_stretch_of_the_same_file_is_the_same_audio(tmp_path: Path) -> None:
    rows = [{"id": n, "audio": "x.wav", "start": s, "speaker": n} for n, s in (("a", 0), ("b", 0), ("c", 2.5))]
    path = manifest(tmp_path, rows)
    assert [o.examples for o in audit(path, lists(tmp_path, train=["a"], test=["b"])).overlaps] == [("a = b",)]
    apart = audit(path, lists(tmp_path, train=["a"], test=["c"]))
    assert apart.passed
    assert "note  audio hash not known for 2 of 2 clips; there only the same file counts as the same" in apart.lines()
    assert "note  session not known for 2 of 2 clips" in apart.lines()


def test_the_same_clip_in_two_parts_is_identical_audio(tmp_path: Path) -> None:
    result = audit(manifest(tmp_path, ROWS), lists(tmp_path, train=["a1", "c1"], test=["c1"]))
    assert ("audio", "train", "test", 1, 1, ("c1 = c1",)) in found(result)


def test_entries_the_manifest_lacks_are_named_and_still_compared(tmp_path: Path) -> None:
    files = lists(tmp_path, train=["a1", "zz"], test=["d1", "zz", "yy"])
    result = audit(manifest(tmp_path, ROWS), files)
    assert result.unmatched == {"test": ("yy", "zz"), "train": ("zz",)}
    assert found(result) == [("audio", "train", "test", 1, 3, ("zz = zz",))]
    assert "note  2 entries of test are not in the manifest (yy, zz)" in result.lines()


def test_a_part_that_matches_nothing_is_a_mistake_and_no_clean_bill(tmp_path: Path) -> None:
    files = lists(tmp_path, train=["a1"], test=["ravdess-1", "ravdess-2"])
    with pytest.raises(SereneError, match="No clip of the part test is in the manifest, for example 'ravdess-1'"):
        audit(manifest(tmp_path, ROWS), files)


def csv_file(path: Path) -> list[Path]:
    rows = [("id", "Split", "note"), ("a1", "Train", "x"), ("d1", "Development", ""), ("a2", "Test1", "")]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return [path]


def json_lines_file(path: Path) -> list[Path]:
    rows = [{"id": "a1", "part": "train"}, {"id": "d1", "part": "validation"}, {"id": "a2", "part": "test1"}]
    return [write(path, "".join(json.dumps(r) + "\n" for r in rows))]


def emobox_files(path: Path) -> list[Path]:
    def lines(*names: str) -> str:
        rows = [{"key": f"corpus-{n}", "dataset": "x", "wav": f"downloads/x/wav/{n}.wav", "emo": "ANG"} for n in names]
        return "".join(json.dumps(r) + "\n" for r in rows)

    folder = path.parent / "fold_1"
    return [
        write(folder / f"x_{part}_fold_1.jsonl", lines(name))
        for part, name in (("train", "a1"), ("valid", "d1"), ("test1", "a2"))
    ]


def s3prl_files(path: Path) -> list[Path]:
    def text(name: str) -> str:
        clip = {"path": f"Session1/sentences/wav/{name}.wav", "label": "hap", "speaker": "somebody else"}
        return json.dumps({"labels": {"neu": 0, "hap": 1}, "meta_data": [clip]})

    parts = (("train", "a1"), ("dev", "d1"), ("test1", "a2"))
    return [write(path.parent / "Session1" / f"{part}_meta_data.json", text(name)) for part, name in parts]


def tab_file(path: Path) -> list[Path]:
    text = "FileName\tSplit_Set\nelsewhere\\a1.WAV\tTrain\nelsewhere\\d1.WAV\tval\nelsewhere\\a2.WAV\tTest1\n"
    return [write(path, "\ufeff" + text)]


def list_files(path: Path) -> list[Path]:
    return lists(path.parent, train=["wav/a1.wav"], validation=["wav/d1.wav"], test1=["wav/a2.wav"])


def array_files(path: Path) -> list[Path]:
    parts = (("train", "a1"), ("validation", "d1"), ("test1", "a2"))
    return [write(path.parent / f"{part}.json", json.dumps([name])) for part, name in parts]


@pytest.mark.parametrize("extension", ["csv", "txt", "anything"])
@pytest.mark.parametrize(
    "make", [csv_file, json_lines_file, emobox_files, s3prl_files, tab_file, list_files, array_files]
)
def test_every_kind_of_file_is_known_by_what_it_holds(tmp_path: Path, make: Any, extension: str) -> None:
    result = audit(manifest(tmp_path, ROWS), make(tmp_path / f"splits.{extension}"))
    assert result.parts == {"train": 1, "validation": 1, "test1": 1}
    assert [(o.kind, o.first, o.second, o.examples) for o in result.overlaps if o.fails] == [
        ("speaker", "train", "test1", ("ann",))
    ]
    assert result.unmatched == {}


def test_predictions_are_audited_within_their_folds(tmp_path: Path) -> None:
    text = "id,speaker,part,fold,seed,truth,prediction,anger,fear\n"
    for seed in (0, 1):
        text += f"a1,ann,validation,1,{seed},anger,fear,0,1\nb1,bob,test,1,{seed},anger,fear,0,1\n"
        text += f"c1,cat,validation,2,{seed},anger,fear,0,1\na2,ann,test,2,{seed},anger,fear,0,1\n"
    path = tmp_path / "predictions.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    result = audit(manifest(tmp_path, ROWS), [path])
    assert result.folds == ("1", "2")
    assert result.passed
    assert "note  no part is called train: what training shares with the others was not looked at" in result.lines()
    path.write_bytes(gzip.compress((text + "a2,ann,test,1,0,anger,fear,0,1\n").encode()))
    again = audit(manifest(tmp_path, ROWS), [path])
    assert [(o.fold, o.kind, o.examples) for o in again.overlaps if o.fails] == [("1", "speaker", ("ann",))]
    assert any(
        line.startswith("OVERLAP  speaker, validation and test in 1 of 2 folds; fold 1: 1 of 2")
        for line in again.lines()
    )


def test_rows_without_a_part_are_in_none_where_others_have_one(tmp_path: Path) -> None:
    clips = manifest(tmp_path, [row("a", "A"), row("b", "B"), row("c", "A")])
    result = audit(clips, [write(tmp_path / "split.csv", "id,split\na,train\nb,test\nc,\n")])
    assert (result.passed, result.parts) == (True, {"train": 1, "test": 1})
    assert result.remarks == ("split.csv: Rows without a part, in none: 1.",)


def test_a_training_list_without_folds_belongs_to_every_fold(tmp_path: Path) -> None:
    train = write(tmp_path / "train.txt", "a1")
    tests = write(tmp_path / "tests.csv", "id,part,fold\nc1,test,1\na2,test,2\n")
    assert [(o.fold, o.examples) for o in audit(manifest(tmp_path, ROWS), [train, tests]).overlaps if o.fails] == [
        ("2", ("ann",))
    ]


def test_folds_in_file_names_keep_the_folds_apart(tmp_path: Path) -> None:
    def part(fold: int, name: str, clip: str) -> Path:
        return write(tmp_path / f"fold_{fold}" / f"{name}.txt", clip)

    rotating = [part(1, "train", "a1"), part(1, "test", "c1"), part(2, "train", "c1"), part(2, "test", "a2")]
    assert audit(manifest(tmp_path, ROWS), rotating).passed
    # with a fold that would be compared with nothing, the names are not trusted
    assert not audit(manifest(tmp_path, ROWS), [*rotating[:2], rotating[3]]).passed


def test_as_much_of_the_path_is_compared_as_tells_clips_apart(tmp_path: Path) -> None:
    rows = [row("00001", s, folder=f"wav/{s}/talk", id=f"{s}/1", audio_hash=s) for s in ("id1", "id2", "id3")]
    names = {"train": ["/data/vox/id1/talk/00001.wav", "/data/vox/id2/talk/00001.wav"], "test": ["id3/talk/00001.wav"]}
    result = audit(manifest(tmp_path, rows), lists(tmp_path, **names))
    assert (result.parts, result.passed) == ({"train": 2, "test": 1}, True)
    names["test"] = ["id2/talk/00001.wav"]
    assert not audit(manifest(tmp_path, rows), lists(tmp_path, **names)).passed


def test_a_misnamed_file_is_found_by_the_name_its_id_has(tmp_path: Path) -> None:
    rows = [*ROWS, row("misnamed", "eve") | {"id": "e1"}]
    assert audit(manifest(tmp_path, rows), lists(tmp_path, train=["wav/e1.wav"], test=["a1"])).unmatched == {}


def test_an_entry_finds_every_stretch_of_its_file() -> None:
    entry, other = Entry("x.wav", "x.wav", "train"), Entry("y", "y", "test")
    clips = [("1", "wav/x.flac", 1), ("2", "wav/x.flac", 2), ("y", "wav/z.flac", 3), ("4", "wav/y.flac", 4)]
    assert find([entry, other], clips) == {entry: [1, 2], other: [3]}


def test_the_manifests_own_parts_and_its_identical_audio(tmp_path: Path) -> None:
    parts = ["train", "dev", "test", "test", "train"]
    rows = [r | {"split": part, "emotion": "anger"} for r, part in zip(ROWS, parts, strict=True)]
    rows += [row("a3", "ann", audio_hash="#a1", emotion="fear"), row("f1", "flo", audio_hash="#b1", emotion="anger")]
    rows += [row("c2", "cat", audio_hash="#c1", emotion="anger")]
    result = audit(manifest(tmp_path, rows))
    assert [(o.kind, o.first, o.second) for o in result.overlaps if o.fails] == [("speaker", "train", "validation")]
    assert [(t.differ_in, t.count, t.examples) for t in result.copies] == [
        ("two labels", 1, ("a1 = a3",)),
        ("two names only", 1, ("c1 = c2",)),
        ("two speakers", 1, ("b1 = f1",)),
    ]
    assert "note  identical audio, two speakers: 1 (b1 = f1)" in result.lines()


def test_a_manifest_without_a_split_column(tmp_path: Path) -> None:
    result = audit(manifest(tmp_path, ROWS))
    assert result.passed
    assert result.lines() == ["No parts to compare: the manifest has no split column."]


def test_the_result_as_json(tmp_path: Path) -> None:
    result = audit(manifest(tmp_path, ROWS), lists(tmp_path, train=["a1"], test=["a2"]))
    plain = json.loads(json.dumps(result.to_json()))
    assert plain["passed"] is False
    assert plain["parts"] == {"train": 1, "test": 1}
    assert plain["overlaps"][0] == {
        "kind": "speaker",
        "fold": "",
        "first": "train",
        "second": "test",
        "count": 1,
        "total": 1,
        "examples": ["ann"],
        "fails": True,
    }


def test_many_names_are_counted_and_a_few_are_shown(tmp_path: Path) -> None:
    rows = [row(f"{part}{n}", f"s{n}") for part in "ab" for n in range(8)]
    files = lists(tmp_path, train=[f"a{n}" for n in range(8)], test=[f"b{n}" for n in range(8)])
    lines = audit(manifest(tmp_path, rows), files).lines()
    assert "OVERLAP  speaker, train and test: 8 of 8 in test are also in train (s0, s1, s2, s3, s4 and 3 more)" in lines


def test_memory_grows_with_the_splits_and_not_with_the_manifest(tmp_path: Path) -> None:
    files = lists(tmp_path, train=["n0"], test=["n1"])

    def peak(clips: int) -> int:
        path = manifest(tmp_path, [row(f"n{n}", f"s{n}", text_id=f"t{n}") for n in range(clips)])
        tracemalloc.start()
        audit(path, files)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    small, large = peak(200), peak(2000)
    assert large < 1.5 * small


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"id": "a1"}\n{"id": ', "line 2: not JSON"),
        ("[1, 2]", "an id for each clip was expected, not 1"),
        ('{"labels": {}}', "row 1 has no id or path"),
        ("id,part\na1,train\n", "hold the part train only"),
    ],
)
def test_split_files_that_cannot_be_understood(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SereneError, match=message):
        read_split_files([write(tmp_path / "train.txt", text)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("{", "line 1: not a JSON object"),
        ("[]", "line 1: a JSON object was expected"),
        ("[" * 100_000, "line 1: not a JSON object"),
        ('{"id": "a", "audio": "a.wav", "speaker": "\\ud800"}', "line 1: 'speaker' is '.'; a text was expected"),
        ('{"id": "a", "x": ' + "9" * 5000 + "}", "line 1: not a JSON object"),
        (
            '{"id": "a", "audio": "a.wav", "speaker": "A", "x": ' + "9" * 400 + "}",
            r"'x' is '999.*; a number was expected",
        ),
        ('{"id": "a", "audio": "a.wav"}', "line 1: the column 'speaker' is missing"),
    ],
)
def test_manifests_that_cannot_be_understood(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SereneError, match=message):
        audit(write(tmp_path / "m.jsonl", text))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match="Cannot read the manifest"):
        audit(tmp_path / "none.jsonl")
    with pytest.raises(SereneError, match="Cannot read the split file"):
        audit(manifest(tmp_path, ROWS), [tmp_path / "none.csv"])


# --- split files as people have them


def test_an_unmatched_quote_hides_no_overlap(tmp_path: Path) -> None:
    rows = ['a1\ttrain\t"Hello, world!', "a2\ttest\tno", 'd1\ttest\t"yes']
    splits = write(tmp_path / "splits.tsv", "\n".join(["id\tsplit\ttext", *rows]))
    result = audit(manifest(tmp_path, ROWS), [splits])
    assert result.parts == {"train": 1, "test": 2}
    assert [o.examples for o in result.overlaps if o.fails] == [("ann",)]
    write(splits, "\n".join(["id,split,text", *(row.replace("\t", ",") for row in rows)]))
    with pytest.raises(SereneError, match=r"splits\.tsv cannot be read .*row 1 \(line 2\) runs over a line break"):
        audit(manifest(tmp_path, ROWS), [splits])


def by_id(path: Path) -> list[Path]:
    return [write(path, json.dumps({"a1": {"wav": "x/a1.wav", "subset": "train"}, "a2": {"subset": "test"}}))]


def by_part(path: Path) -> list[Path]:
    return [write(path, json.dumps({"train": ["a1"], "test": [{"wav": "{data_root}/wav/a2.wav"}]}))]


def by_part_and_id(path: Path) -> list[Path]:
    return [write(path, json.dumps({"train": {"a1": {"emo": "hap"}}, "test": {"a2": {"emo": "sad"}}}))]


def usage(path: Path) -> list[Path]:
    return [write(path, "Usage,filename\nTraining,a1.wav\nPrivateTest,a2.wav\n")]


def headless_labels(path: Path) -> list[Path]:
    return [
        write(path.parent / f"{part}.lst", f"wav/{name}.wav happy\n")
        for part, name in (("train", "a1"), ("test", "a2"))
    ]


def headless_parts(path: Path) -> list[Path]:
    return [write(path, "a1.wav,happy,train\na2.wav,sad,test\n")]


def folder(path: Path) -> list[Path]:
    lists(path.parent / "lists", train=["a1"], test=["a2"])
    write(path.parent / "lists/README.txt", "whatever this is")
    write(path.parent / "lists/.train.csv", "x")
    return [path.parent / "lists"]


def nested_folder(path: Path) -> list[Path]:
    write(path.parent / "deep/fold/splits.csv", "id,part\na1,train\na2,test\n")
    return [path.parent / "deep"]


def pattern(path: Path) -> list[Path]:
    lists(path.parent / "lists", train=["a1"], test=["a2"])
    return [path.parent / "l*s" / "t*.txt"]


def pattern_of_folders(path: Path) -> list[Path]:
    folder(path)
    return [path.parent / "**" / "lists"]


def utf_16(path: Path) -> list[Path]:
    path.write_text("id\tsplit\na1\ttrain\na2\ttest\n", encoding="utf-16")
    return [path]


@pytest.mark.parametrize(
    "make",
    [
        *(by_id, by_part, by_part_and_id, usage, headless_labels, headless_parts),
        *(folder, nested_folder, pattern, pattern_of_folders, utf_16),
    ],
)
def test_shapes_that_split_files_have(make: Any, tmp_path: Path) -> None:
    result = audit(manifest(tmp_path, ROWS), make(tmp_path / "splits.txt"))
    assert (result.parts, result.unmatched) == ({"train": 1, "test": 1}, {})
    assert [o.examples for o in result.overlaps if o.fails] == [("ann",)]


def test_an_encoding_that_is_named(tmp_path: Path) -> None:
    rows = [*ROWS, row("ä1", "ann")]
    splits = tmp_path / "splits.csv"
    splits.write_bytes("id,part\nä1,train\na1,test\n".encode("latin-1"))
    assert not audit(manifest(tmp_path, rows), [splits], "latin-1").passed
    with pytest.raises(SereneError, match=r"splits.csv, line 2: this is no utf-8 text. .*--encoding latin-1"):
        audit(manifest(tmp_path, rows), [splits])


def test_what_was_skipped_or_guessed_is_noted(tmp_path: Path) -> None:
    splits = write(tmp_path / "splits.csv", "id,part\na1,train\n,,\na2,test\n\n\n")
    result = audit(manifest(tmp_path, ROWS), [splits])
    assert result.remarks == ("splits.csv: Empty rows skipped: 3.",)
    assert "note  splits.csv: Empty rows skipped: 3." in result.lines()
    labelled = headless_labels(tmp_path / "lists")
    remark = "train.lst and 1 more: The file has no header; each line was read as: audio, emotion."
    assert audit(manifest(tmp_path, ROWS), labelled).remarks == (remark,)


def test_a_folder_or_pattern_without_split_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SereneError, match=r"Cannot read the split file .*empty: the folder holds none\. Expected: CSV"):
        audit(manifest(tmp_path, ROWS), [tmp_path / "empty"])
    with pytest.raises(SereneError, match=r"Cannot read the split file .*\*\.csv: there is no such file"):
        audit(manifest(tmp_path, ROWS), [tmp_path / "empty" / "*.csv"])


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"words": "x" * 284_226}]),
        json.dumps(["x" * 284_226]),
        f"id,part\na1,train\na2,{'y' * 284_226}\n" + "".join(f"a1,part {n}\n" for n in range(5000)),
        f"id,part,words\n,,{'x ' * 50_000}\n",
        f"id,part\na1,train\n{'z' * 100_000},test\n",
    ],
)
def test_no_message_quotes_more_than_300_characters_of_a_split_file(text: str, tmp_path: Path) -> None:
    files = [write(tmp_path / "test.txt", text), write(tmp_path / "train.txt", "a1")]
    try:
        said = audit(manifest(tmp_path, ROWS), files).lines()
    except SereneError as error:
        said = [str(error)]
    assert max(map(len, said)) < 600 + len(str(tmp_path))
