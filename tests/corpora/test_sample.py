"""The sample that comes with the package is what its page says, and is found without a path."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from serene.corpora.prepare import prepare
from serene.corpora.sample import FOLDER, read
from serene.experiment.plan import load_corpus
from serene.protocols import make_splits
from serene.settings import CorpusSettings


def test_every_speaker_says_every_emotion_twice_and_every_sentence_three_times() -> None:
    manifest = read()
    assert len(manifest) == 288
    assert set(Counter((u.speaker, u.emotion) for u in manifest).values()) == {2}
    assert set(Counter((u.speaker, u.text_id) for u in manifest).values()) == {3}
    shares = Counter((u.emotion, u.text_id) for u in manifest)
    assert len(shares) == 24, "no sentence lacks an emotion"
    assert max(shares.values()) <= 16
    assert Counter((u.split, u.gender) for u in manifest if u.text_id == "DFA" for _ in "1") == {
        (split, gender): 18 for split in ("train", "test") for gender in ("female", "male")
    }


def test_nobody_is_in_both_parts() -> None:
    (split,) = make_splits("official", read(), {"validation": "random20"})
    assert len({u.speaker for u in split.test}) == 12
    assert not {u.speaker for u in split.train} & {u.speaker for u in split.test}


def test_every_clip_is_sound_and_its_licence_is_beside_it() -> None:
    prepared = prepare("sample", FOLDER)
    assert [u.audio_hash for u in prepared] == [u.audio_hash for u in read()]
    assert not prepared.left_out
    assert {Path(u.audio).name for u in prepared} == {path.name for path in (FOLDER / "audio").iterdir()}
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3e6
    page = (FOLDER / "README.md").read_text()
    assert all(words in page for words in ("Open Database License (ODbL) 1.0", "(DbCL) 1.0", "Cao", "2014"))


def test_a_recipe_need_not_say_where_it_lies(tmp_path: Path) -> None:
    assert len(load_corpus(CorpusSettings(name="sample"), tmp_path)) == 288
