"""Preparing: every clip is decoded once, and what cannot be trusted is left out by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_trees import emodb, ravdess, tone

from serene import sound
from serene.corpora import CORPORA, sample
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import SILENCE, folder_of, prepare
from serene.corpora.ravdess import read
from serene.errors import SereneError


def write(path: Path, samples: np.ndarray, rate: int = 16_000, subtype: str = "FLOAT") -> None:
    soundfile.write(path, samples, rate, subtype=subtype)


def kinds(manifest: Manifest) -> dict[str, str]:
    return {item.id: item.kind for item in manifest.left_out}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return emodb(tmp_path)


def test_duration_rate_and_hash_are_of_what_models_hear(folder: Path) -> None:
    write(folder / "wav/03a04Fa.wav", np.stack([tone(50, 0.5, 48_000), tone(51, 0.5, 48_000)], axis=1), 48_000)
    clip = {u.id: u for u in prepare("emodb", folder)}["03a04Fa"]
    assert (clip.duration, clip.sample_rate) == (0.5, 48_000)
    samples = sound.read(clip.audio)
    assert len(samples) == 8_000
    assert clip.audio_hash == sound.content_hash(samples)
    assert clip.audio_hash == sound.content_hash(sound.read(clip.audio, clip.start, clip.duration))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100])
def test_the_duration_reads_the_same_samples_again_at_any_rate(rate: int, folder: Path) -> None:
    write(folder / "wav/03a04Fa.wav", 0.1 * np.random.default_rng(0).standard_normal(rate // 3 + 1), rate)
    clip = {u.id: u for u in prepare("emodb", folder)}["03a04Fa"]
    assert clip.audio_hash == sound.content_hash(sound.read(clip.audio, clip.start, clip.duration))


def test_broken_empty_and_not_finite_audio_is_unreadable(folder: Path) -> None:
    (folder / "wav/03a04Fa.wav").write_bytes(b"RIFF and then nothing that is audio")
    (folder / "wav/03a05Fa.wav").touch()
    write(folder / "wav/03a07Fa.wav", np.zeros(0))
    write(folder / "wav/03b01Fa.wav", np.append(tone(60), np.nan))
    write(folder / "wav/03b02Fa.wav", np.append(tone(61), np.inf))
    manifest = prepare("emodb", folder)
    assert len(manifest) == 7
    broken = ("03a04Fa", "03a05Fa", "03a07Fa", "03b01Fa", "03b02Fa")
    assert kinds(manifest) == dict.fromkeys(broken, "unreadable")
    assert all(o.audio in o.reason or "no samples" in o.reason for o in manifest.left_out)


@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_silence_is_left_out_wherever_its_zero_lies(offset: float, folder: Path) -> None:
    hum = np.sin(np.arange(4_000))
    write(folder / "wav/03a04Fa.wav", offset + 0.5 * SILENCE * hum)
    write(folder / "wav/03a05Fa.wav", offset + 3.0 * SILENCE * hum)
    manifest = prepare("emodb", folder)
    assert kinds(manifest) == {"03a04Fa": "silent"}
    assert "03a05Fa" in [u.id for u in manifest]


def test_channels_in_opposite_phase_are_no_silence_and_are_remarked(folder: Path) -> None:
    for n, name in enumerate(("03a04Fa", "03a05Fa", "03a07Fa", "03b01Fa"), 50):
        write(folder / f"wav/{name}.wav", np.stack([tone(n), -tone(n)], axis=1))
    manifest = prepare("emodb", folder)
    assert (len(manifest), manifest.left_out) == (11, ())
    assert manifest.remarks == (
        "Clips with channels in opposite phase, of which the louder is read: 4, such as 03a04Fa, 03a05Fa, 03a07Fa.",
    )
    clip = {u.id: u for u in manifest}["03a04Fa"]
    assert clip.audio_hash == sound.content_hash(tone(50).astype(np.float32))


def test_a_wav_whose_length_was_never_written_is_read_to_its_end(folder: Path) -> None:
    path = folder / "wav/03a04Fa.wav"
    for placeholder in (bytes(4), b"\xff" * 4):
        write(path, tone(50, 0.5), subtype="PCM_16")
        content = bytearray(path.read_bytes())
        for place in (4, content.index(b"data") + 4):
            content[place : place + 4] = placeholder
        path.write_bytes(content)
        assert {u.id: u.duration for u in prepare("emodb", folder)}["03a04Fa"] == 0.5


def test_odd_labels_and_speakers_who_may_be_one_are_remarked(tmp_path: Path) -> None:
    rows = ["a,s1,anger", "b,S01,ps", "c,s2,pleasant_surprise", "d,s2,0", "e,s3,anger;sadness", "f,s3,n/a"]
    for n, row in enumerate(rows):
        write(tmp_path / f"{row[0]}.wav", tone(n))
    (tmp_path / "t.csv").write_text("\n".join(["id,speaker,emotion,audio", *(f"{row},{row[0]}.wav" for row in rows)]))
    manifest = prepare("table", tmp_path / "t.csv")
    labels = ["anger", "pleasant_surprise", "pleasant_surprise", "0", "anger;sadness", None]
    assert [clip.emotion for clip in manifest] == labels
    assert manifest.remarks == (
        "Emotion names made whole words: ps -> pleasant_surprise 1.",
        "Read as no emotion: n/a 1.",
        "Odd labels, kept as they are: '0' 1, 'anger;sadness' 1.",
        "Speakers that may be one, since only case, blanks, leading zeros or .0 tell them apart: 'S01' and 's1'.",
    )


def test_identical_audio_with_two_labels_is_left_out_whatever_the_bytes(folder: Path) -> None:
    samples = np.round(tone(70) * 32768) / 32768
    for name, subtype in (("03a04Fa.wav", "PCM_16"), ("03a04Wb.flac", "PCM_24"), ("03a04Fc.wav", "FLOAT")):
        write(folder / "wav" / name, samples, subtype=subtype)
    manifest = prepare("emodb", folder)
    copies = ("03a04Fa", "03a04Fc", "03a04Wb")
    assert kinds(manifest) == dict.fromkeys(copies, "identical audio with two labels")
    assert "03a04Fa (happiness), 03a04Fc (happiness), 03a04Wb (anger)" in manifest.left_out[0].reason
    assert len(manifest) == 7


def test_identical_audio_with_one_label_is_kept_and_named(folder: Path) -> None:
    for name in ("03a04Fa", "03a04Fb"):
        write(folder / f"wav/{name}.wav", tone(80))
    manifest = prepare("emodb", folder)
    assert (len(manifest), manifest.left_out) == (9, ())
    assert manifest.remarks == ("Identical audio, kept: 03a04Fa, 03a04Fb.",)


def test_identical_audio_of_two_speakers_is_remarked_as_such(folder: Path) -> None:
    for name in ("03a04Fa", "08a04Fa"):
        write(folder / f"wav/{name}.wav", tone(80))
    assert prepare("emodb", folder).remarks == (
        "Identical audio, kept although their speakers differ: 03a04Fa, 08a04Fa.",
    )


def test_fast_reads_headers_only_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "wav/03a04Fa.wav", np.zeros(8_000))
    (folder / "wav/03a05Fa.wav").touch()
    monkeypatch.setattr(sound, "read", None)  # decoding anything would fail
    manifest = prepare("emodb", folder, fast=True)
    clip = {u.id: u for u in manifest}["03a04Fa"]
    assert (clip.duration, clip.sample_rate, clip.audio_hash) == (0.5, 16_000, None)
    assert kinds(manifest) == {"03a05Fa": "unreadable"}
    assert manifest.remarks == ("Only headers were read: silent, broken and identical audio was not looked for.",)


def test_the_readers_order_and_its_left_out_stay(tmp_path: Path) -> None:
    root = ravdess(tmp_path)
    write(root / "Actor_01/stray.wav", tone(1))
    write(root / "Actor_01/03-01-08-02-01-01-01.wav", np.zeros(100))
    manifest = prepare("ravdess", root, workers=3)
    assert [u.id for u in manifest] == [u.id for u in read(root) if u.id != "03-01-08-02-01-01-01"]
    assert kinds(manifest) == {"stray": "not a name of the corpus", "03-01-08-02-01-01-01": "silent"}


def test_progress_counts_every_clip(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare("emodb", folder, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 7) for n in range(1, 8)]


def test_the_number_of_workers_changes_nothing(folder: Path) -> None:
    assert prepare("emodb", folder, workers=1) == prepare("emodb", folder, workers=4)


def test_an_interruption_ends_it(folder: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("emodb", folder, progress=stop)


def test_a_corpus_of_pointers_says_what_to_fetch(tmp_path: Path) -> None:
    for name in ("03a01Fa", "03a02Nc"):
        (tmp_path / f"{name}.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    with pytest.raises(
        SereneError, match=r"Left out: unreadable 2\. The first: .*03a01Fa\.wav .*Git LFS pointer.* git lfs pull\.$"
    ):
        prepare("emodb", tmp_path)


def test_nothing_left_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "03a01Fa.wav").touch()
    (tmp_path / "03a02Fa.wav").touch()
    with pytest.raises(SereneError, match=r"empty.*Left out: unreadable 2\."):
        prepare("emodb", tmp_path)


def test_a_part_of_a_file_is_all_that_is_heard(tmp_path: Path) -> None:
    write(tmp_path / "long.wav", np.concatenate([tone(1, 1.0), np.zeros(16_000), tone(2, 0.5)]))
    rows = "wav,spk,start,duration\nlong.wav,s,0.0,1.0\nlong.wav,s,1.0,1.0\nlong.wav,s,2.0,9.0\nlong.wav,s,5,1\n"
    (tmp_path / "t.csv").write_text(rows)
    manifest = prepare("table", tmp_path / "t.csv")
    first, last = manifest.utterances
    assert (first.id, first.start, first.duration) == ("long#0.0", 0.0, 1.0)
    assert first.audio_hash == sound.content_hash(tone(1, 1.0).astype("float32"))
    assert (last.start, last.duration) == (2.0, 0.5)  # no more than there is
    assert kinds(manifest) == {"long#1.0": "silent", "long#5": "unreadable"}
    assert "the clip begins at 5 s of 2.5 s" in manifest.left_out[-1].reason


def test_clips_that_end_after_their_file_are_cut_and_remarked(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.wav", tone(50 + number, 0.5))
    table = tmp_path / "t.csv"
    table.write_text("path,speaker,start,duration\n0.wav,s,0.2,9\n1.wav,s,0,0.505\n2.wav,s,0.1,0.2\n")
    manifest = prepare("table", table)
    assert [u.duration for u in manifest] == [pytest.approx(0.3), 0.5, 0.2]  # a hundredth is rounding, and no remark
    assert manifest.remarks == (
        "Clips that end after their file does, cut at its end: 1, such as 0 ends at 9.2 s of 0.5 s.",
    )


def test_a_setting_that_the_reader_does_not_have_is_refused(folder: Path) -> None:
    with pytest.raises(SereneError, match="The corpus 'emodb' is read without --encoding; leave the option out"):
        prepare("emodb", folder, encoding="latin-1")


def test_a_corpus_lies_where_one_says_or_where_its_reader_looks_by_itself(tmp_path: Path) -> None:
    assert folder_of("sample", None) == sample.FOLDER
    assert folder_of("sample", str(tmp_path)) == tmp_path
    assert [name for name in CORPORA if folder_of(name, None)] == ["sample"]
