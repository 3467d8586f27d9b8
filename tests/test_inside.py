"""Sounds inside tar files, as WebDataset keeps them, are read from where they lie; a cut file is told in a sentence."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serene import sound
from serene.corpora.prepare import prepare
from serene.errors import AudioError

KEYS = ("a", "b", "c")


def tone(hertz: int) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, 0.3 * np.sin(np.arange(8000) * hertz / 2000), 16_000, format="FLAC")
    return content.getvalue()


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Three clips, each a sound and what is said of it under the same key."""
    path = tmp_path / "shards/000.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for n, key in enumerate(KEYS):
            for name, content in ((f"{key}.flac", tone(100 + n)), (f"{key}.json", json.dumps({"n": n}).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def test_a_member_is_the_sound_that_was_put_in(shard: Path) -> None:
    for n, key in enumerate(KEYS):
        expected = sound.read(tone(100 + n))
        assert np.array_equal(sound.read(shard / f"{key}.flac"), expected)
        assert np.array_equal(sound.read(str(shard / f"{key}.flac"), 0.1, 0.2), expected[1600:4800])
        assert sound.seconds(shard / f"{key}.flac") == (0.5, 16_000)
    assert [path.name for path in shard.parent.iterdir()] == ["000.tar"], "nothing is unpacked"


def test_a_table_of_members_becomes_a_manifest(shard: Path, tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    rows = [f"shards/000.tar/{key}.flac,s{n}" for n, key in enumerate((*KEYS, "nobody"))]
    table.write_text("\n".join(["audio,speaker", *rows]) + "\n")
    manifest = prepare("table", table)
    assert [clip.audio for clip in manifest] == [str(shard / f"{key}.flac") for key in KEYS]
    assert all(clip.audio_hash and clip.duration == 0.5 for clip in manifest)
    assert [clip.reason.partition(":")[0] for clip in manifest.left_out] == ["no such file"]


def test_of_a_shard_that_is_cut_what_is_there_is_read_and_the_rest_is_told(shard: Path) -> None:
    with tarfile.open(shard) as tar:
        entry = tar.getmember("b.flac")
    shard.write_bytes(shard.read_bytes()[: entry.offset_data + 100])
    assert len(sound.read(shard / "a.flac")) == 8000
    with pytest.raises(AudioError, match=r"000\.tar (is cut off within|holds no) b\.flac"):
        sound.read(shard / "b.flac")
    with pytest.raises(AudioError, match=r"000\.tar holds no c\.flac, or is cut off before it\. Give the tar file as"):
        sound.read(shard / "c.flac")


@pytest.mark.parametrize("content", [b"", b"no tar file" * 200, b"\x1f\x8b compressed"])
def test_what_is_no_tar_file_is_told(shard: Path, content: bytes) -> None:
    shard.write_bytes(content)
    with pytest.raises(AudioError, match=r"000\.tar (cannot be read as a tar file|holds no a\.flac)"):
        sound.read(shard / "a.flac")
