"""Corpora inside shards: WebDataset's tar files, and Parquet files of Hugging Face's datasets, also on the hub."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from corpus_trees import CLIPS, huggingface, sound_files, webdataset

from serene import inside, sound
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import prepare
from serene.errors import AudioError, SereneError

PARQUET = "train-00000-of-00001.parquet"


class Hub:
    """A hub whose files lie in a folder of this machine; it counts how often one is opened."""

    def __init__(self, root: Path) -> None:
        self.root, self.opened = root, 0

    def glob(self, pattern: str) -> list[str]:
        name = pattern.removeprefix(inside.REMOTE)
        return [path.relative_to(self.root).as_posix() for path in self.root.glob(name)]

    def open(self, address: str, _mode: str) -> Any:
        self.opened += 1
        return (self.root / address.removeprefix(inside.REMOTE)).open("rb")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub(tmp_path / "hub")
    huggingface(made.root / "datasets/owner/voices/data")
    monkeypatch.setattr(inside, "hub", lambda: made)
    return made


def said(manifest: Manifest) -> list[dict[str, Any]]:
    return [{"speaker": clip.speaker, "emotion": clip.emotion} for clip in manifest]


def test_a_clip_of_webdataset_is_a_sound_and_the_json_beside_it(tmp_path: Path) -> None:
    manifest = prepare("webdataset", webdataset(tmp_path))
    assert [clip.id for clip in manifest] == [*CLIPS]
    assert said(manifest) == [*CLIPS.values()]
    assert {clip.split for clip in manifest} == {"train"}
    assert [Path(clip.audio) for clip in manifest] == [tmp_path / f"train-000.tar/{key}.flac" for key in CLIPS]
    assert prepare("webdataset", tmp_path / "train-000.tar").utterances == manifest.utterances


def test_shards_that_each_count_anew_do_not_share_ids(tmp_path: Path) -> None:
    webdataset(tmp_path / "one")
    webdataset(tmp_path / "one/two")
    manifest = prepare("webdataset", tmp_path / "one")
    assert [clip.id for clip in manifest] == [f"{name}train-000/{key}" for name in ("", "two/") for key in CLIPS]


def test_a_class_file_is_the_emotion_and_folders_in_a_shard_belong_to_the_key(tmp_path: Path) -> None:
    webdataset(tmp_path / "one")
    with tarfile.open(tmp_path / "one/train-000.tar") as tar:
        tar.extractall(tmp_path / "loose", filter="data")
    (tmp_path / "loose/a.json").write_text('{"speaker": "x"}')
    (tmp_path / "loose/a.cls").write_text("fear\n")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a.flac", "a.json", "a.cls"):
            tar.add(tmp_path / "loose" / name, f"deep/er/{name}")
    (clip,) = prepare("webdataset", tmp_path / "x.tar")
    assert (clip.id, clip.emotion, clip.split) == ("deep/er/a", "fear", None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", r"a\.json is no JSON"), ("[" * 100_000, "no JSON"), ("[1]", "holds no object"), ("{}", "no .*speaker")],
)
def test_labels_that_are_none_are_named(text: str, sentence: str, tmp_path: Path) -> None:
    webdataset(tmp_path / "one")
    with tarfile.open(tmp_path / "one/train-000.tar") as tar:
        tar.extract("a.flac", tmp_path, filter="data")
    (tmp_path / "a.json").write_text(text)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("a.flac", "a.json"):
            tar.add(tmp_path / name, name)
    with pytest.raises(SereneError, match=sentence):
        prepare("webdataset", tmp_path / "x.tar")


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            (entry := tarfile.TarInfo(name.partition(" ")[0])).size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize("end", ["data", "header", "members", "blocks", "damaged header"])
def test_a_shard_that_is_cut_is_refused_wherever_that_is(end: str, tmp_path: Path) -> None:
    path = webdataset(tmp_path) / "train-000.tar"
    with tarfile.open(path) as tar:
        *_, before, last = tar.getmembers()
        whole, begin = path.read_bytes(), last.offset
    if end == "damaged header":
        path.write_bytes(whole[:begin] + b"x" * 512 + whole[begin + 512 :])
    else:
        cut = {"data": last.offset_data + 9, "header": begin + 99, "members": begin, "blocks": last.offset_data + 512}
        path.write_bytes(whole[: cut[end]])
    named = last.name if end == "blocks" else rf"({before.name}|{last.name})"
    with pytest.raises(
        SereneError, match=rf"train-000\.tar is cut off or damaged after {named}; give it as it was made"
    ):
        prepare("webdataset", tmp_path)


def test_names_that_occur_twice_in_a_shard_are_refused_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    sound_file = sound_files(tmp_path, ["a.flac"]) / "a.flac"
    clip = {"a.flac": sound_file.read_bytes(), "a.json": b'{"speaker": "x"}'}
    packed(tmp_path / "x.tar", clip | {"._a.flac": b"AppleDouble", ".DS_Store": b"more", "d/._b.flac": b"and more"})
    (found,) = prepare("webdataset", tmp_path / "x.tar")
    assert found.id == "a"
    packed(tmp_path / "x.tar", clip | {"a.flac again": clip["a.flac"]})
    with pytest.raises(SereneError, match=r"x\.tar holds a\.flac twice; give each of its files a name"):
        prepare("webdataset", tmp_path / "x.tar")


def test_a_dataset_without_rows_holds_nothing_and_a_key_is_said_once(tmp_path: Path) -> None:
    path = huggingface(tmp_path / "set") / PARQUET
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path)[:0], path)
    with pytest.raises(SereneError, match="does not hold a dataset of Hugging Face"):
        prepare("huggingface", tmp_path)
    clip = {"a.flac": (sound_files(tmp_path, ["a.flac"]) / "a.flac").read_bytes()}
    packed(tmp_path / "x.tar", clip | {"a.json": b'{"speaker": "x", "speaker": "y"}'})
    with pytest.raises(SereneError, match="the key 'speaker' occurs twice in one object"):
        prepare("webdataset", tmp_path / "x.tar")


def test_labels_in_another_encoding_are_refused_rather_than_guessed(tmp_path: Path) -> None:
    sound_file = sound_files(tmp_path, ["a.flac"]) / "a.flac"
    clip = {"a.v1.flac": sound_file.read_bytes()}
    said = '{"speaker": "J\u00fcrgen"}'.encode()
    packed(tmp_path / "x.tar", clip | {"a.json": b"\xef\xbb\xbf" + said})
    (found,) = prepare("webdataset", tmp_path / "x.tar")
    assert found.speaker == "J\u00fcrgen"
    packed(tmp_path / "x.tar", clip | {"a.json": said.decode().encode("latin-1")})
    with pytest.raises(SereneError, match=r"x\.tar/a\.json is no UTF-8 text, as labels have to be"):
        prepare("webdataset", tmp_path / "x.tar")


def test_a_dataset_of_hugging_face_is_read_from_where_it_lies(tmp_path: Path) -> None:
    folder, loose = huggingface(tmp_path / "set"), tmp_path / "loose"
    manifest = prepare("huggingface", folder)
    assert said(manifest) == [*CLIPS.values()]
    assert [clip.id for clip in manifest] == [f"train-00000-of-00001/{n}" for n in range(len(CLIPS))]
    assert {clip.split for clip in manifest} == {"train"}
    assert [Path(clip.audio) for clip in manifest] == [folder / PARQUET / str(n) for n in range(len(CLIPS))]
    for n, row in enumerate(pyarrow.parquet.read_table(folder / PARQUET).to_pylist()):
        loose.with_suffix(".flac").write_bytes(row["audio"]["bytes"])
        assert np.array_equal(sound.read(folder / PARQUET / str(n)), sound.read(loose.with_suffix(".flac")))
    assert prepare("huggingface", folder / PARQUET).utterances == manifest.utterances


def test_files_of_one_name_in_several_folders_are_all_read(tmp_path: Path) -> None:
    for language in ("de", "en"):
        huggingface(tmp_path / language)
    manifest = prepare("huggingface", tmp_path)
    stem = PARQUET.removesuffix(".parquet")
    assert [clip.id for clip in manifest] == [f"{lang}/{stem}/{n}" for lang in ("de", "en") for n in range(len(CLIPS))]


@pytest.mark.parametrize(
    ("member", "sentence"),
    [("3", "has no row 3; it has 3"), ("x", "has no row x"), ("-1", "has no row -1"), ("0/a.wav", "has no row 0/a")],
)
def test_a_row_that_is_not_there_is_told(member: str, sentence: str, tmp_path: Path) -> None:
    folder = huggingface(tmp_path)
    with pytest.raises(AudioError, match=sentence):
        sound.read(folder / PARQUET / member)
    assert not inside.is_file(folder / PARQUET / member)


def test_a_parquet_file_that_is_cut_or_has_no_sounds_is_told(tmp_path: Path) -> None:
    path = huggingface(tmp_path) / PARQUET
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(AudioError, match=r"train-00000-of-00001\.parquet cannot be read as Parquet: "):
        prepare("huggingface", tmp_path)
    path.write_bytes(whole[:20] + bytes(len(whole) // 3) + whole[20 + len(whole) // 3 :])
    with pytest.raises(AudioError, match=r"parquet cannot be read"):
        sound.read(path / "0")
    pyarrow.parquet.write_table(pyarrow.table({"speaker": ["x"]}), path)
    with pytest.raises(AudioError, match="has no column of sounds; it has: speaker"):
        prepare("huggingface", tmp_path)
    twice = pyarrow.Table.from_arrays([pyarrow.array(["x"]), pyarrow.array(["y"])], ["speaker", "speaker"])
    pyarrow.parquet.write_table(twice, path)
    with pytest.raises(AudioError, match="has the column speaker twice; name its columns differently"):
        prepare("huggingface", tmp_path)


def test_sounds_are_found_beside_pictures_and_in_folders_that_are_called_like_shards(tmp_path: Path) -> None:
    folder = huggingface(tmp_path / "set.tar/data.parquet")
    whole = pyarrow.parquet.read_table(folder / PARQUET)
    pictures = pyarrow.array([{"bytes": b"picture", "path": "x.png"}] * len(whole))
    pyarrow.parquet.write_table(whole.add_column(0, "image", pictures), folder / PARQUET)
    (folder / "more.parquet").mkdir()
    assert said(prepare("huggingface", tmp_path)) == [*CLIPS.values()]
    webdataset(tmp_path / "other.tar")
    assert said(prepare("webdataset", tmp_path)) == [*CLIPS.values()]


def test_a_dataset_on_the_hub_keeps_its_address(hub: Hub, tmp_path: Path) -> None:
    manifest = prepare("huggingface", Path("hf://datasets/owner/voices"))
    address = f"hf://datasets/owner/voices/data/{PARQUET}"
    assert said(manifest) == [*CLIPS.values()]
    assert [clip.audio for clip in manifest] == [f"{address}/{n}" for n in range(len(CLIPS))]
    assert all(clip.audio_hash for clip in manifest)
    assert hub.opened == 1  # a file stays open
    manifest.write(tmp_path / "manifest.jsonl")
    assert Manifest.read(tmp_path / "manifest.jsonl").utterances == manifest.utterances
    local = hub.root / "datasets/owner/voices/data" / PARQUET
    assert np.array_equal(sound.read(f"{address}/1"), sound.read(local / "1"))


def test_a_hub_out_of_reach_and_an_empty_one_are_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SereneError, match=r"There is no folder hf:.*Expected: \.parquet files"):
        prepare("huggingface", Path("hf://datasets/owner/nothing"))

    def unreachable(_pattern: str) -> list[str]:
        raise ConnectionError("cannot connect\nto anything")

    monkeypatch.setattr(hub, "glob", unreachable)
    with pytest.raises(SereneError, match=r"hf://datasets/owner/voices cannot be read: cannot connect\."):
        prepare("huggingface", Path("hf://datasets/owner/voices"))


def test_what_another_process_reads_is_opened_there(hub: Hub) -> None:
    address = f"hf://datasets/owner/voices/data/{PARQUET}"
    assert inside.table(address) is inside.table(address)
    child = os.fork()
    if not child:  # it must not read through the handle that its parent holds
        before = hub.opened
        inside.table(address)
        os._exit(hub.opened - before)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
