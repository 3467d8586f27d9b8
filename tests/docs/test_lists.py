"""What the docs list is what the code has: files, layers, verbs, settings, corpora, protocols, methods, encoders."""

from __future__ import annotations

import importlib
import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import tree
from pages import DOCS, PAGES, PROJECT, ROOT, VERBS, name, prose, snippets

from serene.audio import FRONT_ENDS
from serene.corpora import CORPORA
from serene.evaluation.label_calibration import LabelCalibration
from serene.experiment.sections import FeatureSettings, LabelSettings, SpeakerSettings
from serene.methods import METHODS, PRETRAINING
from serene.models import ENCODERS
from serene.models.frozen import Frozen
from serene.models.parts import Parts
from serene.protocols import PROTOCOLS
from serene.published import TABLES
from serene.registry import load
from serene.settings import CorpusSettings, settings_of
from serene.training.stages import StageSettings, TargetSettings
from serene.training.trainer import Trainer


@pytest.mark.parametrize("page", tree.PAGES, ids=name)
def test_tree_is_that_of_the_files_with_their_captions(page: Path) -> None:
    expected = tree.PAGES[page]()
    (shown,) = tree.TREE.findall(page.read_text())
    assert shown == expected, f"`python tests/docs/tree.py` writes the tree into {name(page)}:\n{expected}"


def test_every_file_has_a_caption_and_stands_below_a_layer() -> None:
    listed = [tree.SOURCE / "__init__.py", tree.SOURCE / "__main__.py", *tree.entries()]
    listed += [file for folder in tree.entries() if folder.is_dir() for file in tree.in_reading_order(folder)]
    files = {file for file in tree.SOURCE.rglob("*.py") if file.name != "__init__.py" or file.parent == tree.SOURCE}
    assert {file for file in listed if not file.is_dir()} == files
    assert not [file for file in listed if not tree.caption(file)]


def test_architecture_shows_the_contract() -> None:
    (shown,) = (s.body.splitlines() for s in snippets(DOCS / "architecture.md") if s.body.startswith("cli\n"))
    assert shown == tree.layers()[::-1]


def test_worked_diff_fits_the_files_and_its_encoder_keeps_what_every_encoder_promises() -> None:
    (diff,) = (s.body for s in snippets(DOCS / "architecture.md") if s.language == "diff")
    for old, new, hunk in re.findall(r"^--- (\S+)\n\+\+\+ b/(\S+)\n@@\n((?:[ +].*\n|\+\n)+)", diff, re.M):
        if old == "/dev/null":
            names: dict[str, Any] = {}
            exec("".join(re.findall(r"^\+(.*\n)", hunk, re.M)), names)
        else:
            there = "".join(re.findall(r"^ (.*\n)", hunk, re.M))
            assert there in (ROOT / new).read_text(), f"{new} no longer has the lines\n{there}"
    encoder = names["Gru"](5, units=4).eval()
    clips = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9) < torch.tensor([[6], [9]])
    assert encoder.out_width == 4
    torch.testing.assert_close(encoder(clips, mask)[:1, :6], encoder(clips[:1, :6], mask[:1, :6]))


def test_contract_keeps_every_paper_apart() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (papers,) = (contract["modules"] for contract in contracts if contract["type"] == "independence")
    modules = {entry.partition(":")[0] for entry in (METHODS | PRETRAINING).values()}
    assert set(papers) == modules - {"serene.methods.baseline"}


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
        for setting, default in settings_of(given, of, section).items():
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


def test_every_protocol_method_encoder_front_end_and_table_has_its_place() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| \w", prose(DOCS / "protocols.md"), re.M)) == set(PROTOCOLS)
    assert set(re.findall(r"^## `(\w+)`", prose(DOCS / "methods.md"), re.M)) == set(METHODS)
    encoders = prose(DOCS / "encoders.md").partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", encoders, re.M)) == set(ENCODERS)
    front_ends = prose(DOCS / "features.md").partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", front_ends, re.M)) == set(FRONT_ENDS)
    tables = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \|", prose(DOCS / "how-to" / "reproduce-a-table.md"), re.M)
    assert set(re.findall(r"[\w-]+", " ".join(tables))) == set(TABLES)


def test_every_corpus_is_described_with_its_licence() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \| (.*?) \|$", prose(DOCS / "corpora.md"), re.M)
    assert {corpus for corpus, _, _ in rows} == set(CORPORA)
    for corpus, licence, home in rows:
        module = importlib.import_module(CORPORA[corpus].partition(":")[0])
        address = re.search(r"https?://\S+?(?=[\s.]*(?:\s|$))", module.HOME)
        assert licence == module.LICENCE
        assert not address or home == f"<{address[0]}>"
    (arguments,) = (p.help for p in VERBS["prepare"].params if p.name == "corpus")
    assert all(corpus in arguments for corpus in CORPORA)


def test_reference_has_every_module() -> None:
    pages = (DOCS / "reference").glob("*.md")
    described = [module for page in pages for module in re.findall(r"^::: serene\.(\S+)", page.read_text(), re.M)]
    assert sorted(described) == sorted(entry.stem for entry in tree.entries())
