"""What the words promise: snippets run, links lead somewhere; captions, verbs, layers and defaults are the code's."""

from __future__ import annotations

import ast
import contextlib
import doctest
import functools
import glob
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import serene
from serene import cli
from serene.audio import FRONT_ENDS
from serene.corpora import CORPORA, synthetic
from serene.evaluation.label_calibration import LabelCalibration
from serene.evaluation.probes import speaker_probe
from serene.experiment import recipe
from serene.experiment.recipe import CorpusSettings, FeatureSettings, LabelSettings, SpeakerSettings
from serene.methods import METHODS, PRETRAINING
from serene.models import ENCODERS
from serene.models.frozen import Frozen
from serene.models.parts import Parts
from serene.protocols import PROTOCOLS
from serene.published import TABLES
from serene.registry import load
from serene.reporting import report_page
from serene.training.stages import StageSettings, TargetSettings
from serene.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
README, DOCS, SOURCE = ROOT / "README.md", ROOT / "docs", ROOT / "src" / "serene"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
VERBS: dict[str, Any] = typer.main.get_command(cli.app).commands  # pyright: ignore[reportAttributeAccessIssue]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

FENCE = re.compile(
    r"(?:^<!-- not executed: (?P<excuse>\S.*?) -->\n)?"
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
LANGUAGES = {"python", "bash", "console", "yaml", "csv", "text"}
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Snippet:
    """A fence of a page; a title makes it a file, an excuse keeps it from being run."""

    where: str
    language: str
    body: str
    title: str | None
    excuse: str | None


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body"))
        found.append(Snippet(f"{name(page)}:{line}", *match.group("language", "body", "title", "excuse")))
    return found


def prose(page: Path) -> str:
    """Give a page without its fences and comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.DOTALL)


def commands(script: str) -> list[str]:
    lines = script.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


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
        words = [match for word in words for match in (sorted(glob.glob(word)) if "*" in word else [word])]
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
    return "protocol" in recipe.read(path)


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in corpus as `serene prepare synthetic` makes it, made once, and a store for its features."""
    folder = tmp_path_factory.mktemp("built-in")
    synthetic.make(folder / "made-up")
    (folder / "store").mkdir()
    return folder


@pytest.fixture
def reader(tmp_path: Path, built_in: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader in a folder that holds `recipes`; the built-in corpus is there already, and probes take one draw."""
    (tmp_path / "runs").mkdir()
    for link, target in (("recipes", ROOT / "recipes"), ("made-up", built_in / "made-up")):
        (tmp_path / link).symlink_to(target)
    (tmp_path / "runs" / "store").symlink_to(built_in / "store")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("serene.experiment.trial.speaker_probe", functools.partial(speaker_probe, draws=1))
    monkeypatch.setattr(report_page, "FEWEST_POINTS", 10**6)  # the layout in the plane alone takes a second
    reader = Reader(tmp_path, monkeypatch)
    yield reader
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(file.stem, None)


def trains(page: Path) -> bool:
    return any("serene train" in s.body for s in snippets(page) if s.language == "bash" and not s.excuse)


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=[pytest.mark.slow] * trains(p), id=name(p)) for p in PAGES if snippets(p)]
)
def test_snippets_of_a_page_run_in_order(page: Path, reader: Reader) -> None:
    for snippet in snippets(page):
        if not snippet.excuse:
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
            recipe.load(ROOT / given["recipe"], given["overrides"] or ())
        elif words[0] == "prepare":
            assert given["corpus"] in CORPORA, where
        elif words[0] == "reproduce" and given["table"]:
            for file in TABLES[given["table"]].files:
                recipe.load(recipe.RECIPES / file, given["overrides"] or ())


def check_recipe(text: str) -> None:
    """Check a recipe, or a part of one, against the signatures."""
    whole = {"corpus": {"name": "synthetic"}, "protocol": {"name": "speaker_folds"}, "method": {"name": "baseline"}}
    recipe.check(whole | yaml.safe_load(text), "snippet")


def test_a_wrong_snippet_is_noticed(reader: Reader) -> None:
    def snippet(language: str, body: str) -> Snippet:
        return Snippet("here", language, body, None, None)

    reader.follow(snippet("console", "$ serene reproduce --list\ntu2019-table2: ...\n"))
    with pytest.raises(AssertionError, match="and the page shows"):
        reader.follow(snippet("console", "$ serene reproduce --list\ntu2019-table9: ...\n"))
    with pytest.raises(AssertionError, match="ended with 2"):
        reader.follow(snippet("bash", "serene reproduce tu2019-table2\n"))
    with pytest.raises(AssertionError, match="only knows serene"):
        reader.follow(snippet("bash", "rm -r runs\n"))
    with pytest.raises(ZeroDivisionError):
        reader.follow(snippet("python", "1 / 0\n"))
    for command in ("serene train recipes/none.yaml", "serene bake x", "make nothing", "pip install '.[none]'"):
        with pytest.raises((AssertionError, serene.SereneError)):
            check_command(command, "here")


def test_tree_in_the_readme_has_every_files_caption_in_reading_order() -> None:
    (tree,) = (s.body for s in snippets(README) if s.body.startswith("src/serene/\n"))
    folder, listed = "", []
    for line in tree.splitlines()[1:]:
        entry, caption = line.split(maxsplit=1)
        if entry.endswith("/"):
            folder = entry
        elif not line.startswith("    "):
            folder = ""
        file = SOURCE / folder / ("__init__.py" if entry.endswith("/") else entry)
        expected = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
        assert caption == expected, f"the tree should say of {file.relative_to(SOURCE)}: {expected}"
        listed.append(file)
    assert sorted(listed) == sorted(SOURCE.rglob("*.py"))
    levels = [level_of(file.relative_to(SOURCE).parts[0]) for file in listed[1:]]
    assert levels == sorted(levels), "a file stands before one that it builds on"


def layers() -> list[str]:
    """Give the layers of the import contract, the lowest first."""
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    return [layer.replace("serene.", "") for layer in reversed(contract["layers"])]


def level_of(entry: str) -> int:
    return next(n for n, layer in enumerate(layers()) if entry.removesuffix(".py") in layer.split(" | "))


def test_architecture_shows_the_contract() -> None:
    (shown,) = (s.body.splitlines() for s in snippets(DOCS / "architecture.md") if s.body.startswith("cli\n"))
    assert shown == layers()[::-1]


def test_every_verb_and_option_is_documented_and_no_other() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(VERBS)
    for verb, text in sections.items():
        documented = {
            option for line in re.findall(r"^\* (`-.*?):", text, re.M) for option in re.findall(r"-[\w-]+", line)
        }
        options = {o for p in VERBS[verb].params if p.param_type_name == "option" for o in p.opts}
        assert documented == options - {"--json", "--help"}, verb
        assert "--json" in options
    for page in PAGES:
        for verb in re.findall(r"`serene (\w+)", prose(page)):
            assert verb in VERBS, f"{name(page)} names the verb {verb}"


def test_recipe_page_has_every_setting_with_its_default() -> None:
    rows = re.findall(
        r"^\| `(\w+)\.(\w+)`(?: of `(\w+)`)? \| (?:none|needed|`(.*?)`) \|", prose(DOCS / "recipes.md"), re.M
    )
    shown = {(section, setting, owner): default for section, setting, owner, default in rows}
    assert len(shown) == len(rows)
    owners = [("corpus", "", CorpusSettings), ("labels", "", LabelSettings), ("speakers", "", SpeakerSettings)]
    owners += [("features", "", FeatureSettings), ("model", "", Parts), ("training", "", Trainer)]
    owners += [("features", n, load(n, FRONT_ENDS, "front end")) for n in FRONT_ENDS]
    owners += [("model", n, load(n, ENCODERS, "encoder")) for n in ENCODERS]
    owners += [("protocol", n, load(n, PROTOCOLS, "protocol")) for n in PROTOCOLS]
    owners += [("method", n, load(n, METHODS | PRETRAINING, "method")) for n in METHODS | PRETRAINING]
    owners += [("stages", "", StageSettings), ("targets", "", TargetSettings), ("calibration", "", LabelCalibration)]
    expected = {("model", "encoder", ""): "tdnn_bilstm"}
    needed = {CorpusSettings: "name", SpeakerSettings: "name", FeatureSettings: "normalize", Frozen: "weights"}
    needed |= {StageSettings: "corpora"}
    for section, owner, of in owners:
        must = needed.get(of)
        given = {must: [] if must == "corpora" else "none"} if must else {}
        for setting, default in recipe.settings_of(given, of, section).items():
            expected[section, setting, owner] = "" if setting == must else written(default)
    assert shown == expected


def written(default: Any) -> str:
    """Write a default as the page does."""
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if is_dataclass(default):
        return "{}"  # its own settings have rows of their own
    return str(list(default)) if isinstance(default, tuple) else str(default)


def test_every_protocol_method_corpus_and_module_has_its_place() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| \w", prose(DOCS / "protocols.md"), re.M)) == set(PROTOCOLS)
    assert set(re.findall(r"^## `(\w+)`", prose(DOCS / "methods.md"), re.M)) == set(METHODS)
    licences = re.search(r"^## Licences$.*?(?=^## )", README.read_text(), re.M | re.S)
    for corpus in CORPORA:
        module = importlib.import_module(CORPORA[corpus].partition(":")[0])
        home = re.search(r"https?://\S+?(?=[\s.]*(?:\s|$))", module.HOME)
        assert licences and f"| {module.LICENCE} |" in licences[0]
        assert not home or f"<{home[0]}>" in licences[0], home
    described = {
        m for page in (DOCS / "reference").glob("*.md") for m in re.findall(r"^::: (\S+)", page.read_text(), re.M)
    }
    modules = {".".join(p.relative_to(SOURCE.parent).with_suffix("").parts) for p in SOURCE.rglob("*.py")}
    assert described == {module.removesuffix(".__init__") for module in modules}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.is_file(), f"{name(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(aim), re.MULTILINE)
            slugs = {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
            assert anchor in slugs, f"{name(page)} links to {target}"


def test_every_page_is_in_the_navigation() -> None:
    text = re.search(r"^nav:\n(.*?)^\w", (ROOT / "mkdocs.yml").read_text(), re.M | re.S)
    listed = re.findall(r"\S+\.md", text[1] if text else "")
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_versions_agree() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == serene.__version__ == PROJECT["project"]["version"]
    assert serene.__version__ in (ROOT / "CHANGELOG.md").read_text()
    assert cited["license"] == PROJECT["project"]["license"]


def test_padding_costs_what_the_benchmarks_page_says() -> None:
    spec = importlib.util.spec_from_file_location("padding", ROOT / "benchmarks" / "padding.py")
    assert spec and spec.loader
    padding = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(padding)
    page = (ROOT / "benchmarks" / "README.md").read_text()
    shown = {
        int(size): (float(a), float(b))
        for size, a, b in re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \|", page, re.M)
    }
    measured = {row["batch_size"]: (row["length_buckets"], row["random"]) for row in padding.measure()["overhead"]}
    assert shown.keys() == measured.keys()
    for size, (bucketed, at_random) in measured.items():
        assert bucketed <= 1.10
        assert shown[size] == pytest.approx((bucketed, at_random), abs=0.01)


@pytest.mark.slow
def test_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    for needed in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(needed)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "speaker_probe" in (tmp_path / "site" / "reference" / "evaluation" / "index.html").read_text()
