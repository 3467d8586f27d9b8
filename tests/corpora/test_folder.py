"""The files of a corpus folder: which count, in which order, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import sound_files

from serene.corpora.folder import gather, not_found, rows, sounds, stray
from serene.corpora.manifest import LeftOut, Utterance
from serene.errors import SereneError
from serene.sound import DECODED, NOT_DECODED


def clip(name: str, audio: str) -> Utterance:
    return Utterance(id=name, audio=audio, speaker="s")


@pytest.mark.parametrize("extension", ["wav", "flac", "opus", "ogg", "mp3", "aiff", "WAV", "Flac"])
def test_any_container_counts(extension: str, tmp_path: Path) -> None:
    (tmp_path / f"b.{extension}").touch()
    assert sounds(tmp_path) == [tmp_path / f"b.{extension}"]


def test_extensions_are_lower_case_with_a_dot() -> None:
    endings = (*DECODED, *NOT_DECODED)
    assert all(e.startswith(".") and e == e.lower() for e in endings)
    assert len(set(endings)) == len(endings)


def test_hidden_and_other_files_are_no_clips(tmp_path: Path) -> None:
    sound_files(tmp_path, ["b/1.wav", "a/2.wav", "._1.wav", "b/._1.wav", ".cache/3.wav", "__MACOSX/b/._1.wav"])
    (tmp_path / "notes.txt").touch()
    assert sounds(tmp_path) == [tmp_path / "a/2.wav", tmp_path / "b/1.wav"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    sound_files(tmp_path / "real", ["1.wav"])
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(corpus)
    (corpus / "itself").symlink_to(corpus / "itself")
    assert sounds(corpus) == [corpus / "linked/1.wav"]


def test_a_folder_that_is_not_there_has_no_sounds(tmp_path: Path) -> None:
    assert sounds(tmp_path / "nowhere") == []


def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", forbidden)
    with pytest.raises(SereneError, match=r"Cannot look into .*: Permission denied"):
        sounds(tmp_path)


def test_a_table_in_the_place_of_a_corpus_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").touch()
    error = str(not_found("EmoDB", tmp_path / "mine.csv", "a folder", "Home.", "free"))
    assert "mine.csv is a file; of a table of your own make a manifest first: run `serene prepare table`. " in error


def test_a_quote_in_a_corpuss_own_table_loses_no_row(tmp_path: Path) -> None:
    table = tmp_path / "t.txt"
    table.write_text('id\tname\n1\t"Ann\n2\tBob\n')
    assert [row["name"] for _, row in rows(table, ["id"], "", "\t")] == ['"Ann', "Bob"]
    table.write_text('id,name\n1,"Ann\n2,Bob"\n')
    with pytest.raises(
        SereneError, match=r"damaged before line 3: a quote opens a field that runs over a line break\. Get"
    ):
        list(rows(table, ["id"], "Get it anew."))


def test_gather_parts_kept_from_left_out_and_keeps_the_first_of_an_id() -> None:
    clips = [clip("a", "1.wav"), LeftOut("x", "x.wav", "odd"), clip("a", "2.flac"), clip("b", "3.wav")]
    manifest = gather(clips, SereneError("none"), ["a remark"])
    assert [u.audio for u in manifest] == ["1.wav", "3.wav"]
    assert [(o.audio, o.kind) for o in manifest.left_out] == [("x.wav", "odd"), ("2.flac", "the same clip again")]
    assert manifest.left_out[1].reason.endswith("1.wav is used")
    assert manifest.remarks == ("a remark",)


def test_gather_raises_what_it_was_given_where_nothing_is_kept(tmp_path: Path) -> None:
    missing = not_found("EmoDB", tmp_path, "x.wav", "It is had there.", "free")
    with pytest.raises(SereneError) as caught:
        gather([stray(Path("y.wav"), "x")], missing)
    assert str(caught.value) == f"{tmp_path} does not hold EmoDB. Expected: x.wav. It is had there. Licence: free."


def test_kinds_of_defects_are_counted_without_their_particulars() -> None:
    manifest = gather([clip("a", "1"), stray(Path("p.wav"), "x"), stray(Path("q.wav"), "x")], SereneError(""))
    assert manifest.summarise()["left_out"] == {"not a name of the corpus": 2}
