"""What a model card is of, how it writes names and tables, and what it says to machines: the hub's front matter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from serene import registry
from serene.corpora import CORPORA, OWN
from serene.errors import SereneError, printable
from serene.reporting.figures import UNITS, Figure, Unit, metric_name
from serene.task import Task, task_of_report

LANGUAGES = {"english": "en", "german": "de", "mandarin": "zh"}  # as manifests write them
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
TASK = "audio-classification"
METRICS = {  # of a report -> type on the hub, and what distinguishes it
    "ua": ("recall", {"average": "macro"}),
    "wa": ("accuracy", {}),
    "macro_f1": ("f1", {"average": "macro"}),
}
TAGS = {  # by a task's kind
    "classes": ["speech-emotion-recognition"],
    "votes": ["speech-emotion-recognition"],
    "dimensions": ["speech-emotion-recognition", "dimensional-emotion"],
    "speakers": ["speaker-identification"],
}
DIGITS = 4  # of figures


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a card is of."""

    content: Mapping[str, Any]  # what `report.json` holds, of all folds and seeds of the run
    fold: str  # that this very model was trained in
    seed: int  # of its training
    facts: Mapping[str, Any]  # of its training, as `environment.json` holds them
    config: Mapping[str, Any]  # of the model, as `config.json` holds it
    preprocessor: Mapping[str, Any]  # as `preprocessor_config.json` holds it
    speakers: tuple[int, int] | None = None  # how many trained, and how many others selected it; None where unknown
    elsewhere: Sequence[Mapping[str, Any]] = ()  # what reports on other corpora hold, with this model's figures
    # with how many unlabelled clips a speaker is enrolled, such as "none" or "10" -> the first headline figure
    cold_start: Mapping[str, Figure] = field(default_factory=dict)
    licence: str | None = None  # of the weights, in the hub's words, such as `cc-by-4.0`; None where nobody chose one

    @property
    def task(self) -> Task:
        """What the model predicts."""
        return task_of_report(self.content)

    @property
    def unit(self) -> Unit:
        """How its headline figures are written."""
        return UNITS[self.task.metric]

    @property
    def fold_words(self) -> str:
        """Name the fold; one that is called by a test speaker of somebody's own corpus is counted instead."""
        people = {one["speaker"] for one in self.content["per_speaker"]}
        if self.fold in people and not published(str(self.content.get("corpus"))):
            return f"number {self.content['folds'].index(self.fold) + 1}"
        return plain(self.fold)


def corpus_of(content: Mapping[str, Any]) -> str:
    """Name the corpus that a report is of."""
    return code(content.get("corpus") or "an unnamed corpus")


def plain(value: object) -> str:
    """Write what somebody may have called anything, so that Markdown takes it for text."""
    text = printable(" ".join(str(value).split())).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\|`*[" else letter for letter in text)


def code(value: object) -> str:
    """Write a name of files and commands."""
    return "`" + printable(" ".join(str(value).split())).replace("`", "'").replace("|", "/") + "`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table, its figures to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def front_matter(
    content: Mapping[str, Any], elsewhere: Sequence[Mapping[str, Any]] = (), licence: str | None = None
) -> str:
    """Give the YAML between the dashes on top of a card, of a `Subject`'s facts."""
    tags = ["speech", *TAGS[task_of_report(content).kind], *["speaker-independent"] * content["speaker_independent"]]
    codes = [LANGUAGES.get(name.lower(), name.lower()) for name in content.get("languages") or ()]
    upstream, corpora = pretrained(content), dict.fromkeys((content.get("corpus"), content.get("speaker_corpus")))
    found = {
        "license": licence,
        "language": [code for code in codes if code and re.fullmatch("[a-z]{2,3}", code)],
        "library_name": "serene",
        "pipeline_tag": TASK,
        "tags": tags,
        "datasets": [name for name in corpora if name and published(name)],
        "base_model": upstream.partition("@")[0] if upstream and _on_hub(upstream) else None,
        "model-index": [{"name": str(content["title"]), "results": [_result(one) for one in (content, *elsewhere)]}],
    }
    given = {key: value for key, value in found.items() if value}
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=120)


def published(corpus: str) -> bool:
    """Say whether a corpus is one that this project knows by name, and not somebody's own."""
    return corpus in CORPORA and corpus not in (*OWN, "synthetic")


def licence_of(corpus: str) -> tuple[str | None, str | None]:
    """Give licence and citation of a corpus, as its reader states them; None where it does not."""
    try:
        module = inspect.getmodule(registry.load(corpus, CORPORA, "corpus"))
    except SereneError:  # a report names what it likes
        return None, None
    licence, citation = getattr(module, "LICENCE", None), getattr(module, "CITATION", None)
    return licence, None if citation == "none" else citation


def pretrained(content: Mapping[str, Any]) -> str | None:
    """Name the weights that the encoder began with, as the report's recipe does; None where it began with none."""
    recipe = yaml.safe_load(content.get("recipe") or "") or {}
    sections = (recipe.get(name) or {} for name in ("features", "model"))
    return next((str(section["weights"]) for section in sections if section.get("weights")), None)


def upstream_name(name: str) -> str:
    """Name pretrained weights without telling where on somebody's machine they lie."""
    return code(name) if _on_hub(name) else f"{code(Path(name).name)}, a folder of its author's"


def _on_hub(name: str) -> bool:
    return bool(HUB_NAME.fullmatch(name)) and not name.startswith(".") and not Path(name).is_dir()


def _result(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give a report's figures as an entry of the model index; those that there are none of are left out."""
    corpus = str(content.get("corpus") or "unnamed")
    measured = []
    for key, figure in ((key, one) for key, one in content["metrics"].items() if one["value"] is not None):
        kind, more = METRICS.get(key, ("ccc", {}))
        ends = [round(figure[end], DIGITS) for end in ("low", "high") if figure[end] is not None]
        more = more | ({"interval_95": ends} if ends else {})
        measured.append({"type": kind, "value": round(figure["value"], DIGITS), "name": metric_name(key), "args": more})
    facts = {"protocol": content["protocol"], "speaker_independent": content["speaker_independent"]}
    name = TAGS[task_of_report(content).kind][0].replace("-", " ").capitalize()
    dataset = {"name": corpus, "type": re.sub(r"[^\w.-]+", "_", corpus), "split": "test", "args": facts}
    return {"task": {"type": TASK, "name": name}, "dataset": dataset, "metrics": measured}
