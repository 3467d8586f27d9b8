"""Corpora inside shards: WebDataset's tar files, and Parquet files of Hugging Face's datasets, also on the hub."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from corpus_trees import CLIPS, huggingface, webdataset

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
