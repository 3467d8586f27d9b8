"""The command line: what every verb prints, writes and ends with."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from serene.corpora import CORPORA
from serene.corpora.manifest import Manifest
from serene.corpora.synthetic import make
from serene.evaluation.predictions import Predictions
from serene.experiment.run import Run
from serene.experiment.run_report import report_of
from serene.inference import answer_file, timeline_file
from serene.inference.folder import ModelFolder
from serene.published import TABLES

Serene = Callable[..., Any]  # the fixture of conftest.py: words -> exit code, output, errors
VERBS = (
    *("prepare", "audit", "train", "evaluate", "compare", "leaderboard"),
    *("reproduce", "probe", "quickstart", "doctor"),
)


ROOT = Path(__file__).parents[2]
EXTRAS = ("torch", "transformers", "huggingface_hub", "peft", "sklearn", "scipy", "matplotlib", "tensorboard")


def base_installation(*words: str) -> str:
    """Give code that runs the command line where torch and the like are not installed."""
    return (
        "import sys\n"
        f"sys.modules |= dict.fromkeys({EXTRAS})\n"
        f"sys.argv = ['serene', *{[str(word) for word in words]!r}]\n"
        "from serene.cli import main\n"
        "main()\n"
    )


def apart(*words: object) -> subprocess.CompletedProcess[str]:
    code = base_installation(*map(str, words))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


# --- the command itself


def test_help_names_every_verb_and_needs_nothing_heavy() -> None:
    ended = apart("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    for verb in VERBS:
        assert re.search(rf"^\W*{verb}\s+\w", ended.stdout, re.MULTILINE), verb


def test_the_module_is_the_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "serene", "audit", "absent.jsonl"], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ")


def test_help_lists_what_the_tables_hold(serene: Serene) -> None:
    def told(verb: str) -> str:
        return " ".join(serene(verb, "--help").out.split())

    assert f"One of {', '.join(CORPORA)}; or package.module:read." in told("prepare")
    own = [form for form in timeline_file.FORMATS if form not in answer_file.FORMATS]
    assert f"{', '.join(answer_file.FORMATS)}; {' or '.join(own)} of timelines." in told("predict")


def test_preparing_and_auditing_need_no_torch_and_training_says_how_to_get_it(tmp_path: Path, made_up: Path) -> None:
    ended = apart("prepare", "synthetic", made_up.parent / "corpus", "-o", tmp_path / "m.jsonl")
    assert ended.returncode == 0, ended.stderr
    assert apart("audit", tmp_path / "m.jsonl").returncode == 0
    ended = apart("train", "recipes/made_up.yaml")
    assert ended.returncode == 2
    assert ended.stderr == "error: torch is not installed. Install it with: pip install 'serene-ser[train]'\n"


def test_a_word_that_is_not_of_the_command_is_a_users_mistake(serene: Serene) -> None:
    for words in (["trian"], ["prepare"], ["train", "x.yaml", "--jobs", "0"], ["evaluate", "--of", "x"]):
        ended = serene(*words)
        assert ended.code == 2
        assert "Traceback" not in ended.err


def test_an_interrupted_command_says_how_to_go_on(
    serene: Serene, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_words: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("serene.experiment.train.train", interrupted)
    ended = serene("train", tiny_recipe)
    assert ended.code == 130
    assert ended.err.strip().endswith("stopped; run the same command again to go on")


def test_doctor(serene: Serene) -> None:
    ended = serene("doctor")
    assert ended.code == 0
    assert f"numpy {np.__version__}" in ended.out
    assert "extra train: installed" in ended.out
    found = serene("doctor", "--json").json
    assert found["extras"]["train"] is True
    assert found["packages"]["numpy"] == np.__version__
    assert set(found) == {"python", "cores", "packages", "extras", "lines"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert found["extras"].keys() == extras.keys() - {"dev", "docs", "benchmarks"}
    wanted = [*project["dependencies"], *(package for name in found["extras"] for package in extras[name])]
    wanted = {re.match(r"[\w-]+", package)[0] for package in wanted}
    assert found["packages"].keys() >= wanted
    ended = apart("doctor")
    assert ended.returncode == 0, ended.stderr
    assert "extra train: not installed: pip install 'serene-ser[train]'" in ended.stdout


# --- prepare and audit


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of five clips: two good, one silent, one that is no audio, one that is not there."""
    draw = np.random.default_rng(0)
    for name, samples in (("a", draw.normal(0, 0.1, 8000)), ("b", draw.normal(0, 0.1, 16000)), ("c", np.zeros(8000))):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000)
    (tmp_path / "d.wav").write_text("no audio")
    rows = [(f"{name}.wav", speaker, "ang") for name, speaker in zip("abcde", "XXYYY", strict=True)]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "speaker", "label"), *rows])
    return tmp_path / "table.csv"


def test_prepare_writes_the_manifest_and_what_was_left_out(serene: Serene, table: Path) -> None:
    manifest = table.parent / "m.jsonl"
    ended = serene("prepare", "table", table, "-o", manifest)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[:2] == [
        f"2 utterances, 1 speakers, 0.0 hours -> {manifest}",
        "emotions: anger 2",
    ]
    for words in ("left out: c: silent: nothing beyond", "left out: d: unreadable: ", "left out: e: no such file: "):
        assert words in ended.out
    assert "note: Emotion names made whole words: ang -> anger 5." in ended.out
    assert [(u.id, u.speaker, u.emotion, u.duration) for u in Manifest.read(manifest)] == [
        ("a", "X", "anger", 0.5),
        ("b", "X", "anger", 1.0),
    ]
    with (table.parent / "m.left_out.csv").open() as file:
        assert {row["id"]: row["reason"].partition(":")[0] for row in csv.DictReader(file)} == {
            "c": "silent",
            "d": "unreadable",
            "e": "no such file",
        }


def test_prepare_as_json_and_fast(serene: Serene, table: Path) -> None:
    ended = serene("prepare", "table", table, "-o", table.parent / "m.jsonl", "--json")
    assert ended.json["utterances"] == 2
    assert ended.json["left_out"] == {"no such file": 1, "silent": 1, "unreadable": 1}
    assert {clip["id"] for clip in ended.json["left_out_clips"]} == {"c", "d", "e"}
    ended = serene("prepare", "table", table, "-o", table.parent / "fast.jsonl", "--fast")
    assert ended.code == 0
    assert "note: Only headers were read: silent, broken and identical audio was not looked for." in ended.out
    assert {u.id for u in Manifest.read(table.parent / "fast.jsonl")} == {"a", "b", "c"}


def test_what_was_left_out_is_written_even_where_nothing_is_left(serene: Serene, tmp_path: Path) -> None:
    for name in ("03a01Fa", "stray"):
        (tmp_path / f"{name}.wav").touch()
    ended = serene("prepare", "emodb", tmp_path, "-o", tmp_path / "m.jsonl")
    assert ended.code == 2
    assert f"Why each was left out: {tmp_path / 'm.left_out.csv'}." in ended.err
    assert not (tmp_path / "m.jsonl").exists()
    with (tmp_path / "m.left_out.csv").open() as file:
        assert {row["id"]: row["reason"].partition(":")[0] for row in csv.DictReader(file)} == {
            "03a01Fa": "unreadable",
            "stray": "not a name of the corpus",
        }
    (tmp_path / "03a01Fa.wav").unlink()  # the reader itself finds no clip then
    ended = serene("prepare", "emodb", tmp_path, "-o", tmp_path / "n.jsonl")
    assert "does not hold EmoDB" in ended.err
    assert "stray" in (tmp_path / "n.left_out.csv").read_text()
    assert serene("prepare", "emodb", tmp_path / "nowhere", "-o", tmp_path / "o.jsonl").code == 2
    assert not (tmp_path / "o.left_out.csv").exists()


def test_a_pattern_is_tried_before_anything_is_decoded(
    serene: Serene, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = table.parent
    for name in "abcd":
        (folder / f"{name}.wav").rename(folder / f"{name}_sad_1.wav")
    soundfile.write(folder / "stray.wav", np.ones(8000), 16_000)
    fits = "The pattern '{speaker}_{emotion}_*.wav' fits 4 of 5 sound files; not, for example, stray.wav."
    words = ("prepare", "files", folder, "--pattern", "{speaker}_{emotion}_*.wav", "-o", folder / "m.jsonl")
    ended = serene(*words)
    assert ended.code == 0, ended.err
    assert f"note: {fits}" in ended.out
    assert [(u.speaker, u.emotion) for u in Manifest.read(folder / "m.jsonl")] == [("a", "sadness"), ("b", "sadness")]
    monkeypatch.setattr("serene.sound.seconds", None)
    with pytest.raises(TypeError):
        serene(*words)


def test_an_option_of_another_corpus_is_refused(serene: Serene, table: Path) -> None:
    ended = serene("prepare", "table", table, "--pattern", "{speaker}", "-o", table.parent / "m.jsonl")
    assert ended.code == 2
    assert "The corpus 'table' is read without --pattern; leave the option out." in ended.err


def test_repeated_reasons_are_grouped_on_the_terminal_and_all_in_the_file(serene: Serene, table: Path) -> None:
    table.write_text(table.read_text() + "".join(f"missing/{n}.wav,X,ang\n" for n in range(9)))
    manifest = table.parent / "m.jsonl"
    ended = serene("prepare", "table", table, "-o", manifest)
    listed = table.parent / "m.left_out.csv"
    assert sum("no such file: " in line for line in ended.out.splitlines()) == 3
    assert f"left out: 7 more like these (no such file); {listed} has them all." in ended.out
    assert ended.out.count("left out: c: silent: nothing beyond") == 1
    assert listed.read_text().count("no such file") == 10


def test_unreadable_sounds_are_grouped_by_why_they_are(serene: Serene, table: Path) -> None:
    table.write_text(table.read_text() + "".join(f"{n}.wav,X,ang\n" for n in range(7)))
    for n in range(7):
        foreign = b"#!AMR\n" if n < 6 else b"version https://git-lfs.github.com/spec/v1\n"
        (table.parent / f"{n}.wav").write_bytes(foreign)
    said = serene("prepare", "table", table, "-o", table.parent / "m.jsonl").out
    assert said.count("AMR is not decoded here") == 3
    assert "left out: 3 more like these (unreadable); " in said
    assert said.count("git lfs pull") == 1


def test_speakers_who_may_be_one_are_remarked_and_strict_exits_with_1(serene: Serene, table: Path) -> None:
    manifest = table.parent / "m.jsonl"
    table.write_text("path,speaker,label\na.wav,S1,ang\nb.wav,s01,sad\n")
    remark = "only case, blanks, leading zeros or .0 tell them apart: 'S1' and 's01'."
    ended = serene("prepare", "table", table, "-o", manifest)
    assert ended.code == 0
    assert remark in ended.out
    assert serene("prepare", "table", table, "-o", manifest, "--strict").code == 1
    assert remark in serene("audit", manifest).out
    assert [serene("audit", manifest, *more).code for more in ([], ["--strict"], ["--strict", "--json"])] == [0, 1, 1]
    table.write_text("path,speaker,label\na.wav,S1,ang\nb.wav,S11,sad\n")
    assert serene("prepare", "table", table, "-o", manifest, "--strict").code == 0
    assert serene("audit", manifest, "--strict").code == 0


def test_a_table_where_a_manifest_is_expected_says_what_to_run(serene: Serene, table: Path) -> None:
    ended = serene("audit", table)
    assert ended.code == 2
    assert "run `serene prepare table` on it" in ended.err
    table.write_text("path,speaker,label\na.wav,Zoë,ang\n", encoding="latin-1")
    assert "run `serene prepare table` on it" in serene("audit", table).err


def test_prepare_reads_a_table_of_another_folder_and_encoding(serene: Serene, table: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    rows = ["file;start;end;speaker", "a.wav;0;0,25;Zoë", "a.wav;0,25;9;Zoë", "b.wav;0;0:01;Zoë", ";;;"]
    (tmp_path / "lists/t.csv").write_bytes("\n".join(rows).encode("latin-1"))
    asked = ("prepare", "table", tmp_path / "lists/t.csv", "-o", tmp_path / "m.jsonl")
    assert "name its encoding, as with --encoding latin-1." in serene(*asked).err
    assert "taken from the table's folder, or from --root FOLDER" in serene(*asked, "--encoding", "latin-1").err
    ended = serene(*asked, "--encoding", "latin-1", "--root", table.parent)
    assert ended.code == 0, ended.err
    assert "note: Empty rows skipped: 1." in ended.out
    assert "cut at its end: 1, such as a#0.25 ends at 9 s of 0.5 s." in ended.out
    clips = Manifest.read(tmp_path / "m.jsonl")
    assert [(u.id, u.speaker, u.start, u.duration) for u in clips] == [
        ("a#0", "Zoë", 0.0, 0.25),
        ("a#0.25", "Zoë", 0.25, 0.25),
        ("b", "Zoë", 0.0, 1.0),
    ]
    ended = serene("prepare", "synthetic", tmp_path / "made", "-o", tmp_path / "n.jsonl", "--root", tmp_path)
    assert (ended.code, "The corpus 'synthetic' is read without --root" in ended.err) == (2, True)


def test_prepare_with_plots_says_where_the_page_is(serene: Serene, made_up: Path, tmp_path: Path) -> None:
    corpus, page = made_up.parent / "corpus", tmp_path / "m.plots" / "index.html"
    ended = serene("prepare", "synthetic", corpus, "-o", tmp_path / "m.jsonl", "--plots", "--fast")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[-1] == f"Pictures: {page}"
    assert "48 clips of 6 speakers" in page.read_text()
    assert "decoding" in ended.err and "voices" in ended.err
    page.unlink()
    told = serene("prepare", "synthetic", corpus, "-o", tmp_path / "m.jsonl", "--plots", "--json").json
    assert told["plots"] == str(page)
    assert page.exists()
    assert "plots" not in serene("prepare", "synthetic", corpus, "-o", tmp_path / "n.jsonl", "--json").json
    assert not (tmp_path / "n.plots").exists()


def test_prepare_with_plots_says_what_is_missing_before_it_decodes(tmp_path: Path, made_up: Path) -> None:
    ended = apart("prepare", "synthetic", made_up.parent / "corpus", "-o", tmp_path / "m.jsonl", "--plots")
    assert ended.returncode == 2
    assert ended.stderr == "error: matplotlib is not installed. Install it with: pip install 'serene-ser[train]'\n"
    assert not list(tmp_path.iterdir())


def parted(manifest: Manifest, path: Path) -> Path:
    """Write a manifest whose sessions 1, 2 and 3 train, validate and test."""
    part = {"1": "train", "2": "validation", "3": "test"}
    Manifest(tuple(replace(u, split=part[str(u.session)]) for u in manifest)).write(path)
    return path


def test_audit_ends_with_1_where_a_split_shares_speakers(
    serene: Serene, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    clean = parted(made_up_manifest, tmp_path / "clean.jsonl")
    ended = serene("audit", clean)
    assert ended.code == 0, ended.out
    assert "No speaker and no audio is shared between parts." in ended.out

    clips = list(Manifest.read(clean))
    first, last = clips[0], clips[-1]
    Manifest((*clips[:-1], replace(last, speaker=first.speaker))).write(tmp_path / "speaker.jsonl")
    ended = serene("audit", tmp_path / "speaker.jsonl")
    assert ended.code == 1
    assert f"OVERLAP  speaker, train and test: 1 of 3 in test are also in train ({first.speaker})" in ended.out

    Manifest((*clips[:-1], replace(last, audio_hash=first.audio_hash))).write(tmp_path / "audio.jsonl")
    ended = serene("audit", tmp_path / "audio.jsonl", "--json")
    assert (ended.code, ended.json["passed"]) == (1, False)
    (found,) = [overlap for overlap in ended.json["overlaps"] if overlap["fails"]]
    assert (found["kind"], found["first"], found["second"], found["count"]) == ("audio", "train", "test", 1)


def test_audit_takes_one_file_per_part_or_one_with_a_part_column(
    serene: Serene, made_up: Path, made_up_manifest: Manifest, tmp_path: Path
) -> None:
    ids = [u.id for u in made_up_manifest]
    for name, chosen in (("train", ids[:20]), ("test", ids[20:])):  # a speaker has eight clips: the third is cut in two
        (tmp_path / f"{name}.csv").write_text("\n".join(["id", *chosen]))
    ended = serene("audit", made_up, "--splits", tmp_path / "train.csv", tmp_path / "test.csv")
    assert ended.code == 1
    assert f"OVERLAP  speaker, train and test: 1 of 4 in test are also in train ({ids[20][:3]})" in ended.out
    lines = [f"{name},{'train' if place < 24 else 'test'}" for place, name in enumerate(ids)]
    (tmp_path / "parts.csv").write_text("\n".join(["id,part", *lines]))
    assert serene("audit", made_up, "--splits", tmp_path / "parts.csv").code == 0
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/parts.csv").write_bytes("\n".join(["id;part", *lines]).replace(",", ";").encode("utf-16-le"))
    assert serene("audit", made_up, "--splits", tmp_path / "folder", "--encoding", "utf-16").code == 0


# --- train, evaluate, compare, probe

PROMISED = {
    *("protocol", "speaker_independent", "selection", "seeds", "n_utterances", "n_speakers"),
    *("saw_unlabelled_test_audio", "metrics", "speaker_probe", "per_speaker"),
}


def test_train_ends_with_the_promised_report(serene: Serene, tiny_run: Path, tiny_recipe: Path) -> None:
    ended = serene("train", tiny_recipe, "-o", tiny_run.parent, "--jobs", "1")  # finished: only the report is made
    assert ended.code == 0, ended.err
    assert "speaker_folds v1 (folds 3, validation speaker, seed 0); selection: best validation UA" in ended.out
    assert f"Report: {tiny_run / 'report.html'}" in ended.out
    report = json.loads((tiny_run / "report.json").read_text())
    assert report.keys() >= PROMISED
    assert report["metrics"].keys() == {"ua", "wa", "macro_f1"}
    for metric in report["metrics"].values():
        assert metric.keys() == {"value", "low", "high", "std"}
        assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
    assert report["speaker_probe"].keys() >= {"accuracy", "chance", "majority"}
    assert report["speaker_independent"] is True
    assert {one["speaker"] for one in report["per_speaker"]} == {"S1F", "S1M", "S2F", "S2M"}
    shown = serene("train", tiny_recipe, "-o", tiny_run.parent, "--jobs", "1", "--json").json
    assert shown == {"folder": str(tiny_run), **report}


def test_the_report_is_one_page_that_needs_no_network(tiny_run: Path) -> None:
    page = (tiny_run / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "<svg" in page
    for foreign in (r"<script", r"<link", r"@import", r"\bsrc\s*=\s*[\"']?(?!data:)", r"url\(\s*[\"']?(?!#|data:)"):
        assert not re.search(foreign, page), foreign
    assert not re.search(r"<(?:a|image|use)\b[^>]*href=[\"'](?!#|data:)", page)


def test_evaluate_rebuilds_the_report(serene: Serene, tiny_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, copy)
    (copy / "report.json").unlink()
    (copy / "report.html").unlink()
    ended = serene("evaluate", copy, "--json")
    assert ended.code == 0, ended.err
    original = json.loads((tiny_run / "report.json").read_text())
    assert json.loads((copy / "report.json").read_text()) == original
    assert ended.json == {"folder": str(copy), **original}
    assert "<svg" in (copy / "report.html").read_text()


def test_evaluate_on_another_corpus(serene: Serene, tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, run)
    others = make(tmp_path / "others", speakers=2, clips_per_speaker=4, seconds=0.3, seed=5)
    Manifest(tuple(replace(u, corpus="elsewhere") for u in others)).write(tmp_path / "others.jsonl")
    ended = serene("evaluate", run, "--on", tmp_path / "others.jsonl", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["folder"] == str(run / "on/others")
    assert ended.json["n_utterances"] == 8
    assert json.loads((run / "on/others/report.json").read_text()) == {
        key: value for key, value in ended.json.items() if key != "folder"
    }


def test_evaluate_scores_a_model_on_its_own(serene: Serene, made_up: Path, tmp_path: Path) -> None:
    ended = serene("evaluate", "bundled", "--on", made_up, "-o", tmp_path / "runs", "--json")
    assert ended.code == 0, ended.err
    folder = tmp_path / "runs" / "on" / f"bundled-{ModelFolder.find().identity}" / made_up.stem
    content = {key: value for key, value in ended.json.items() if key != "folder"}
    assert ended.json["folder"] == str(folder)
    assert json.loads((folder / "report.json").read_text()) == content
    assert len(Predictions.read(folder / "predictions.csv")) == content["n_utterances"] > 0
    assert content["protocol"] == f"cross-corpus: models of bundled, all of {made_up.stem}"


@pytest.mark.parametrize("model", ["bundled", "fold-1/seed-0/model"])
def test_a_model_on_its_own_is_evaluated_on_a_manifest_alone(serene: Serene, tiny_run: Path, model: str) -> None:
    given = model if model == "bundled" else tiny_run / model
    ended = serene("evaluate", given)
    assert (ended.code, ended.out) == (2, "")
    said = f"error: {given} is a model and no run: say with --on which manifest it is to be scored on.\n"
    assert ended.err == said


def test_the_corpus_of_a_manifest_is_said_on_the_command_line(serene: Serene, made_up: Path, tmp_path: Path) -> None:
    clips = tuple(replace(u, corpus=None) for u in Manifest.read(made_up))
    Manifest(clips).write(tmp_path / "m.jsonl")
    words = ("evaluate", "bundled", "--on", tmp_path / "m.jsonl", "-o", tmp_path / "runs")
    assert "note: it is unknown whether the models have met these speakers" in serene(*words).out
    assert serene(*words, "--corpus", "mine", "--json").json["speaker_independent"] is True
    ended = serene("evaluate", "bundled", "--corpus", "mine")
    assert ended.code == 2
    assert "--on" in ended.err


def test_compare_gives_paired_differences(serene: Serene, tiny_run: Path, enrolled_run: Path) -> None:
    ended = serene("compare", tiny_run, enrolled_run, "--json")
    assert ended.code == 0, ended.err
    first, second = (report_of(Run.open(run)).content["metrics"] for run in (tiny_run, enrolled_run))
    rows = {row["metric"]: row for row in ended.json["differences"]}
    assert rows.keys() == {"ua", "wa", "macro_f1"}
    for metric, row in rows.items():
        assert row["value"] == pytest.approx(second[metric]["value"] - first[metric]["value"])
        assert row["low"] <= row["value"] <= row["high"]
        assert (row["run"], row["against"]) == (enrolled_run.name, tiny_run.name)
    shown = serene("compare", tiny_run, enrolled_run).out
    assert f"Differences to {tiny_run.name}, in points:" in shown
    assert f"{100 * rows['ua']['value']:+.1f}" in shown
    same = serene("compare", tiny_run, tiny_run, "--json").json["differences"]
    assert all((row["value"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1) for row in same)


def test_probe(serene: Serene, tiny_run: Path, made_up: Path, tmp_path: Path) -> None:
    shutil.copytree(made_up.parent, tmp_path / "corpus")
    manifest = tmp_path / "corpus" / made_up.name
    ended = serene("probe", tiny_run / "fold-1/seed-0/model", manifest)
    assert ended.code == 0, ended.err
    assert re.search(r"linear probe: \d+\.\d% of 6 speakers told apart", ended.out)
    assert "chance 16.7%, majority" in ended.out
    found = serene("probe", tiny_run / "fold-1/seed-0/model", manifest, "--json").json
    assert found.keys() >= {"accuracy", "linear", "nonlinear", "chance", "majority", "eer"}
    assert found["n_speakers"] == 6


def test_reproduce_lists_its_tables(serene: Serene) -> None:
    ended = serene("reproduce", "--list")
    assert ended.code == 0
    assert re.search(
        r"^tu2019-table2: .*IEMOCAP.* \(Tu et al\. 2019, arXiv 1903\.09606, table 2; needs iemocap\)$", ended.out, re.M
    )
    assert serene("reproduce", "--list", "--json").json.keys() == TABLES.keys()
    promised = {
        *("tu2019-table2", "tu2019-table3", "gat2022-table1", "gat2022-figure2", "gat2022-probe"),
        *("brown-table1", "brown-table2", "brown-trials"),
    }
    assert TABLES.keys() >= promised
