"""Every snippet of the README and the docs runs, page by page, as a reader would type it."""

from __future__ import annotations

import contextlib
import doctest
import glob
import importlib.util
import io
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pages import PAGES, PROJECT, ROOT, VERBS, Snippet, commands, name, snippets

import serene
from serene import cli
from serene.corpora import CORPORA, synthetic
from serene.evaluation.probes import speaker_probe
from serene.experiment import recipe
from serene.experiment.recipe_file import RECIPES, find
from serene.published import TABLES
from serene.reporting import report_page
from serene.training.stages import pretraining

LANGUAGES = {"python", "bash", "console", "yaml", "csv", "text", "diff"}
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Reader:
    """Somebody who follows a page word by word in a folder of their own, but trains for one epoch at a time."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.names: dict[str, Any] = {"__name__": "snippet"}

    def follow(self, snippet: Snippet) -> None:
        if snippet.title:
            sys.modules.pop(Path(snippet.title).stem, None)  # each command of a reader is a process of its own
            importlib.invalidate_caches()
            (self.folder / snippet.title).write_text(snippet.body, encoding="utf-8")
        elif snippet.language == "python":
            with self.monkeypatch.context() as patch:
                patch.syspath_prepend(self.folder)
                exec(compile(snippet.body, snippet.where, "exec"), self.names)
        elif snippet.language == "bash":
            for command in commands(snippet.body):
                self.type(command, snippet.where)
        elif snippet.language == "console":
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", snippet.body, re.MULTILINE):
                printed = self.type(command, snippet.where)
                right = doctest.OutputChecker().check_output(shown, printed, ELLIPSIS)
                assert right, f"{snippet.where}: `{command}` printed\n{printed}\nand the page shows\n{shown}"
        elif snippet.language == "yaml":
            check_recipe(snippet.body)

    def type(self, command: str, where: str) -> str:
        """Run a command, expect the exit code that its comment names, and return what it printed."""
        program, *words = shlex.split(command, comments=True)
        if program == "export":
            assert words == ["PYTHONPATH=."], where
            self.monkeypatch.syspath_prepend(self.folder)
            return ""
        assert program == "serene", f"{where}: a reader under test only knows serene and export, not `{command}`"
        expected = re.search(r"# exits with (\d)", command)
        code, printed, complaint = self.serene(words)
        assert code == int(expected[1] if expected else 0), f"{where}: `{command}` ended with {code}\n{complaint}"
        return complaint if code == 2 else printed

    def serene(self, words: list[str]) -> tuple[int, str, str]:
        words = [match for word in words for match in (sorted(glob.glob(word)) or [word] if "*" in word else [word])]
        quick = ["training.epochs=1", "--jobs", "1"] if words[0] == "train" and learns_emotions(words[1]) else []
        self.monkeypatch.setattr(sys, "argv", ["serene", *words, *quick])
        printed, complaint = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(complaint),
            pytest.raises(SystemExit) as ended,
        ):
            cli.main()
        return int(ended.value.code or 0), printed.getvalue(), complaint.getvalue()


def learns_emotions(path: str) -> bool:
    """Say whether a recipe trains, or makes an encoder of stages alone."""
    return "protocol" in find(path)[0].head


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips that `serene prepare synthetic` makes, only shorter, made once, and a store for their features."""
    folder = tmp_path_factory.mktemp("built-in")
    synthetic.make(folder / "made-up", seconds=0.3)
    (folder / "store").mkdir()
    return folder


@pytest.fixture
def reader(tmp_path: Path, built_in: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader in a folder that holds `recipes`, the built-in corpus, and features; nothing is probed or drawn."""
    (tmp_path / "runs").mkdir()
    for link, target in (("recipes", ROOT / "recipes"), ("made-up", built_in / "made-up")):
        (tmp_path / link).symlink_to(target)
    (tmp_path / "runs" / "store").symlink_to(built_in / "store")
    monkeypatch.chdir(tmp_path)
    probed = speaker_probe(np.random.default_rng(0).standard_normal((24, 2)), ["a", "b", "c"] * 8, draws=1)
    monkeypatch.setattr("serene.experiment.embedding_probes.speaker_probe", lambda *_, **__: dict(probed))
    monkeypatch.setattr(report_page, "SECTIONS", report_page.SECTIONS[:4])  # nothing is drawn
    reader = Reader(tmp_path, monkeypatch)
    yield reader
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


def to_follow(page: Path) -> list[Snippet]:
    return [s for s in snippets(page) if not s.excuse and (s.title or s.language not in ("text", "diff"))]


def trains(page: Path) -> bool:
    return any("serene train" in s.body for s in to_follow(page) if s.language == "bash")


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=[pytest.mark.slow] * trains(p), id=name(p)) for p in PAGES if to_follow(p)]
)
def test_snippets_of_a_page_run_in_order(page: Path, reader: Reader) -> None:
    for snippet in to_follow(page):
        reader.follow(snippet)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_fence_is_known_and_what_is_not_run_says_why_and_is_right(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = snippets(page)
    assert len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)) == 2 * len(found), "a fence that no test sees"
    assert text.count("not executed: ") - text.count("`<!-- not executed: ") == sum(bool(s.excuse) for s in found)
    for snippet in found:
        assert snippet.language in LANGUAGES, snippet.where
        if snippet.excuse and snippet.language == "python":
            compile(snippet.body, snippet.where, "exec")
        elif snippet.excuse:
            assert snippet.language == "bash", snippet.where
            for command in commands(snippet.body):
                check_command(command, snippet.where)


def check_command(command: str, where: str) -> None:
    """Check what can be checked of a command without running it."""
    program, *words = shlex.split(command, comments=True)
    if program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), where
    elif program == "pip":
        extras = re.findall(r"\[(\w+)\]", words[1])
        assert words[0] == "install" and set(extras) <= set(PROJECT["project"]["optional-dependencies"]), where
    else:
        assert program == "serene" and words[0] in VERBS, where
        given = VERBS[words[0]].make_context(words[0], words[1:]).params  # a wrong option raises
        if words[0] == "train":
            check_train(f"{ROOT}/{given['recipe']}", given["overrides"] or ())
        elif words[0] == "prepare":
            assert given["corpus"] in CORPORA, where
        elif words[0] == "reproduce" and given["table"]:
            for address in TABLES[given["table"]].recipes:
                recipe.load(RECIPES / address, given["overrides"] or ())


def check_train(address: str, overrides: Sequence[str]) -> None:
    """Check a recipe, or all rows of a table, with what is overridden."""
    file, row = find(address)
    for one in [row] if row or not file.rows else file.rows:
        tree = file.tree(one, overrides)
        pretraining(tree, "page") if "protocol" not in tree else recipe.check(tree, "page")


def check_recipe(text: str) -> None:
    """Check a recipe, or a part of one, against the signatures."""
    whole = {"corpus": {"name": "synthetic"}, "protocol": {"name": "speaker_folds"}, "method": {"name": "baseline"}}
    recipe.check(whole | yaml.safe_load(text), "snippet")


def test_a_wrong_snippet_is_noticed(reader: Reader) -> None:
    reader.follow(Snippet("here", "console", "$ serene reproduce --list\ntu2019-table2: ...\n"))
    with pytest.raises(AssertionError, match="and the page shows"):
        reader.follow(Snippet("here", "console", "$ serene reproduce --list\ntu2019-table9: ...\n"))
    with pytest.raises(AssertionError, match="ended with 2"):
        reader.follow(Snippet("here", "bash", "serene reproduce tu2019-table2\n"))
    with pytest.raises(AssertionError, match="only knows serene"):
        reader.follow(Snippet("here", "bash", "rm -r runs\n"))
    with pytest.raises(ZeroDivisionError):
        reader.follow(Snippet("here", "python", "1 / 0\n"))
    for command in ("serene train recipes/none.yaml", "serene bake x", "make nothing", "pip install '.[none]'"):
        with pytest.raises((AssertionError, serene.SereneError)):
            check_command(command, "here")
