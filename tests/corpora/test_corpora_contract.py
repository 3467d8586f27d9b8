"""Every corpus in the table keeps the same promises, on a small fake tree with its real names."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_trees import TREES, sound_files

from serene import inside
from serene.corpora import CORPORA
from serene.corpora.manifest import Manifest
from serene.corpora.prepare import prepare
from serene.corpora.spelling import EMOTIONS
from serene.errors import SereneError
from serene.registry import load

SPONTANEOUS = ("voxceleb1", "msp_podcast")  # nobody wrote down what is said, or not with the labels
OF_SPEAKERS = ("voxceleb1", "speechocean762")  # corpora to learn speakers from, without emotions
OWN = ("table", "files", "webdataset", "huggingface")  # of anybody's labels


def module_of(corpus: str):
    return importlib.import_module(CORPORA[corpus].partition(":")[0])


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    return {
        name: load(name, CORPORA, "corpus")(tree(tmp_path_factory.mktemp(name))).check() for name, tree in TREES.items()
    }


def test_every_corpus_has_a_fake_tree() -> None:
    assert set(TREES) == set(CORPORA)


@pytest.mark.parametrize("corpus", CORPORA)
def test_reads_its_tree(corpus: str, manifests: dict[str, Manifest]) -> None:
    manifest = manifests[corpus]
    assert len({u.id for u in manifest}) == len(manifest) >= 2
    assert len(manifest.speakers) >= 2
    assert all(u.speaker for u in manifest)
    assert {u.emotion for u in manifest if u.emotion} <= set(EMOTIONS)
    labelled = sum(u.emotion is not None for u in manifest)
    assert labelled == 0 if corpus in OF_SPEAKERS else labelled >= 2
    assert {label for u in manifest for label in u.votes or ()} <= set(EMOTIONS)
    assert {u.gender for u in manifest} <= {"female", "male", None}
    assert all(inside.is_file(u.audio) for u in manifest)
    assert not manifest.left_out


@pytest.mark.parametrize("corpus", [name for name in CORPORA if name not in OWN])
def test_says_which_corpus_it_is_and_what_is_said(corpus: str, manifests: dict[str, Manifest]) -> None:
    drawn_from = {"sample": "crema_d"}
    assert {u.corpus for u in manifests[corpus]} == {drawn_from.get(corpus, corpus)}
    assert {bool(u.text_id) for u in manifests[corpus]} == {corpus not in SPONTANEOUS}


@pytest.mark.parametrize("corpus", CORPORA)
def test_is_the_same_twice_and_survives_writing(corpus: str, tmp_path: Path, manifests: dict[str, Manifest]) -> None:
    tree = TREES[corpus](tmp_path)
    read = load(corpus, CORPORA, "corpus")
    first = read(tree)
    assert read(tree) == first
    assert [u.id for u in first] == [u.id for u in manifests[corpus]]
    first.write(tmp_path / "manifest.jsonl")
    assert Manifest.read(tmp_path / "manifest.jsonl").utterances == first.utterances


def test_what_was_left_out_survives_writing(tmp_path: Path) -> None:
    manifest = prepare("emodb", sound_files(TREES["emodb"](tmp_path), ["wav/stray.wav"]))
    manifest.write(tmp_path / "manifest.jsonl")
    assert Manifest.read(tmp_path / "manifest.jsonl").left_out == manifest.left_out != ()


@pytest.mark.parametrize("corpus", CORPORA)
def test_prepares_its_tree(corpus: str, tmp_path: Path) -> None:
    manifest = prepare(corpus, TREES[corpus](tmp_path))
    assert not manifest.left_out
    assert all(u.duration and u.duration > 0.1 and u.audio_hash and u.sample_rate == 16_000 for u in manifest)


@pytest.mark.parametrize("corpus", CORPORA)
def test_documents_itself(corpus: str) -> None:
    module = module_of(corpus)
    assert len((module.__doc__ or "").splitlines()) > 3
    for constant in (module.HOME, module.LICENCE, module.CITATION):
        assert constant.strip() == constant != ""


@pytest.mark.parametrize("corpus", [name for name in CORPORA if name != "synthetic"])
@pytest.mark.parametrize("there", [False, True], ids=["absent", "empty"])
def test_missing_folder_says_what_was_expected_and_where_it_is_had(corpus: str, there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    if there:
        folder.mkdir()
    module = module_of(corpus)
    with pytest.raises(SereneError) as caught:
        prepare(corpus, folder)
    message = str(caught.value)
    for part in (str(folder), "Expected: ", module.HOME, module.LICENCE):
        assert part in message
    assert (there and corpus != "table") == ("does not hold" in message)


def test_reading_needs_no_heavy_library() -> None:
    code = "import sys, serene.corpora.prepare; " + "; ".join(
        f"import {target.partition(':')[0]}" for target in CORPORA.values()
    )
    code += "; sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'matplotlib', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_corpus_lists_the_choices(tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=r"Did you mean 'emodb'\?.*Choices: crema_d, emodb, esd, files, huggingface"):
        prepare("emo_db", tmp_path)


def test_a_reader_of_your_own_needs_no_table_entry(tmp_path: Path) -> None:
    assert len(prepare("serene.corpora.emodb:read", TREES["emodb"](tmp_path))) == 7
