"""The page needs nothing outside itself, escapes what users write, and shows what the reports hold."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from made_up_reports import FACTS

from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.predictions import Predictions
from serene.evaluation.probes import speaker_probe
from serene.evaluation.report import DEPENDENT, Embedding, Report, build
from serene.reporting.answer_plots import confusion
from serene.reporting.report_page import write_html
from serene.reporting.style import INK, STYLE, svg
from serene.task import Task

EVIL = '--><script>alert("x")</script>'


def naming(n_speakers: int) -> Report:
    """Report on a task that is to name one of some speakers."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(n_speakers), 3)
    names = [f"id{i}" for i in range(n_speakers)]
    predictions = Predictions.from_scores(
        ids=[f"u{i}" for i in range(len(truth))],
        speakers=[names[t] for t in truth],
        truth=truth,
        scores=rng.random((len(truth), n_speakers)) + np.eye(n_speakers)[truth],
        task=Task(tuple(names)),
        part="test",
        fold="official",
        seed=0,
    )
    facts = replace(FACTS, title="named", protocol="official", speaker_independent=False, target="speaker")
    return build(
        predictions,
        facts,
        probes=[{"test": None, "train": None}],
        embedding=Embedding(rng.normal(size=(len(truth), 4)), predictions),
    )


def made(title: str, **facts: Any) -> Report:
    rng = np.random.default_rng(len(title))
    names, truth = np.repeat(["s1", "s2", EVIL], 12), np.tile([0, 1], 18)
    predictions = Predictions.concatenate(
        Predictions.from_scores(
            ids=[f"{part}{i}" for i in range(36)],
            speakers=[f"{part[0]}-{name}" for name in names],
            truth=truth,
            scores=rng.random((36, 2)) + np.eye(2)[truth],
            task=Task(("anger", "<calm>")),
            part=part,
            fold=1,
            seed=0,
        )
        for part in ("validation", "test")
    )
    x = rng.normal(size=(36, 4))
    given: dict[str, Any] = {
        "title": title,
        "recipe": f"method: {EVIL}",
        "recipe_hash": "0a1b2c",
        "seconds": 4321,
        "environment": {"python": "3.12"},
    }
    return build(
        predictions,
        replace(FACTS, **(given | facts)),
        probes=[{"test": speaker_probe(x, names.tolist(), draws=1), "train": None}],
        logs=[[{"epoch": e, "loss": 1 / e, "validation_ua": 0.5} for e in (1, 2, 3)]],
        embedding=Embedding(x, predictions.select(part="validation")),
    )


class Page(HTMLParser):
    """What a browser would make of it: tags, identifiers, references and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href", "src") and value:
                self.references.append(value)
            self.references += re.findall(r"url\(([^)]*)\)", value or "")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html([made("plain"), made("stamped", speaker_independent=False)], path, title="A & B")
    return path.read_text(encoding="utf-8")


def test_the_page_refers_to_nothing_outside_itself(text: str) -> None:
    page = Page(text)
    assert page.references
    for reference in page.references:
        assert reference.startswith(("#", "data:")), reference
        assert not reference.startswith("#") or reference[1:] in page.ids, f"{reference} leads nowhere"
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "http" not in text


def test_no_two_things_on_the_page_have_one_name(text: str) -> None:
    ids = Page(text).ids
    assert len(ids) == len(set(ids))


def test_what_users_write_is_escaped(text: str) -> None:
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "<calm>" not in text
    assert "<h1>A &amp; B</h1>" in text


def test_the_page_shows_what_the_report_holds(text: str) -> None:
    content = made("plain").to_json()
    ua = content["metrics"]["ua"]
    assert f"{100 * ua['value']:.1f}&nbsp;% [{100 * ua['low']:.1f} to {100 * ua['high']:.1f}]" in text
    probe = content["speaker_probe"]
    assert f"chance {100 * probe['chance']:.1f}&nbsp;%, majority {100 * probe['majority']:.1f}&nbsp;%" in text
    assert f"{100 * probe['nonlinear']['mean']:.1f}&nbsp;% if it is not" in text
    assert "<b>Training speakers:</b> not probed." in text
    assert "recipe 0a1b2c" in text and "in 1 h 12 min" in text
    assert text.count("<svg") == 8, "confusion, speakers, t-SNE and curves of two reports"


def test_warnings_stand_in_their_section_and_are_marked_in_the_summary(text: str) -> None:
    summary, plain, stamped = text.split("<section")
    assert DEPENDENT in stamped and DEPENDENT not in plain
    assert summary.count("&#9888;") == 2, "one row and the note that explains the sign"


def test_one_report_needs_no_summary_and_may_lack_probe_logs_and_embedding(tmp_path) -> None:
    content = made("bare").content
    bare = {**content, "speaker_probe": None, "validation": None, "gap": None}
    write_html([Report(bare | {"recipe": None, "environment": None})], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert 'class="summary"' not in text
    assert "Speaker probe: not measured." in text
    assert text.count("<svg") == 2
    assert "<summary>Recipe" not in text


@pytest.mark.parametrize("n_speakers", [6, MOST_CLASSES + 1])
def test_the_page_of_a_speaker_task_speaks_of_speakers(tmp_path, n_speakers: int) -> None:
    write_html([naming(n_speakers)], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    said = re.sub(r"<li>.*?</li>", "", text.replace(STYLE, ""))  # what the warning says of emotion is right
    assert not re.search("emotion|by class", said, flags=re.IGNORECASE)
    assert "Speaker probe: not measured, the task itself is the speaker." in text
    assert "UA, mean recall over classes" in text and "utterances of each speaker drawn with replacement" in text
    assert f"{100 / n_speakers:.2g}&nbsp;%" in text and f"one of {n_speakers} speakers" in text
    assert "<th>utterances</th><th>recall</th></tr>" in text, "one figure for each speaker"
    drawn = n_speakers <= MOST_CLASSES
    sentence = f"a picture of {n_speakers} speakers against each other cannot be read. It is made for up to"
    assert (sentence in text) is not drawn
    assert text.count("<svg") == 2 + drawn, "speakers, t-SNE, and the confusion matrix of few"


def test_the_page_shows_whether_scores_mean_what_they_say(tmp_path) -> None:
    scores = np.array([0.55, 0.58, 0.61, 0.9, 0.92, 0.99])
    predictions = Predictions.from_scores(
        ids=list("abcdef"),
        speakers=list("xyzxyz"),
        truth=np.array([0, 1, 0, 0, 0, 1]),
        scores=np.stack([scores, 1 - scores], axis=1),
        task=Task(("anger", "calm")),
        part="test",
        fold="1",
        seed=0,
    )
    report = build(predictions, FACTS, temperatures=[1.25, 0.8])
    write_html([report], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "Do the scores mean what they say?" in text and "after temperature scaling by 0.80 to 1.25" in text
    assert f"is {100 * report.to_json()['reliability']['ece']['value']:.1f}&nbsp;%" in text
    write_html([Report({**report.content, "reliability": None})], tmp_path / "r.html")
    assert "Do the scores" not in (tmp_path / "r.html").read_text()


def test_rows_of_other_protocols_are_said_not_to_compare(tmp_path, text: str) -> None:
    write_html([made("a"), made("b", protocol="official")], tmp_path / "r.html")
    assert "The protocols differ" in (tmp_path / "r.html").read_text()
    assert "The protocols differ" not in text


def test_a_picture_takes_the_colour_of_the_page_and_draws_the_same_every_time() -> None:
    first, second = (svg(confusion(np.eye(2) * 5, ["感情", "b"]), "one") for _ in range(2))
    assert first == second
    assert "currentColor" in first and INK not in first
    assert "感情" in first
