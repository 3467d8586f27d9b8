"""Pages of dimensions show what the report holds, and speak of no accuracy or class."""

from __future__ import annotations

import re
from dataclasses import replace

import made_up_reports
import numpy as np
import pytest
from made_up_reports import RATED, made_of, rated

from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Report, build
from serene.reporting.report_page import write_html
from serene.reporting.style import STYLE
from serene.task import Task


@pytest.fixture(scope="module")
def ratings() -> Predictions:
    return made_up_reports.ratings()


@pytest.fixture(scope="module")
def text(ratings: Predictions, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html([made_of(ratings)], path)
    return path.read_text(encoding="utf-8")


def test_the_page_shows_what_the_report_holds(text: str, ratings: Predictions) -> None:
    content = made_of(ratings).to_json()
    for name in ("arousal", "&lt;valence&gt;"):
        figure = content["metrics"][f"ccc_{name.replace('&lt;', '<').replace('&gt;', '>')}"]
        said = f"{figure['value']:.3f} [{figure['low']:.3f} to {figure['high']:.3f}]"
        assert f"<td>CCC of {name}</td><td>{said}</td>" in text
        assert f"CCC of {name} on unseen speakers" in text
    assert "Without a CCC of their own: 1 speaker (&lt;valence&gt;)" in text
    assert text.count("<svg") == 5, "agreement, speakers, shift, t-SNE and curves"
    assert "predicted arousal" in text and "validation CCC" in text and "by arousal" in text
    assert "<valence>" not in text
    r = content["shift"]["correlations"]["arousal"]["embedding"]
    assert f"r = {r['r']:.2f} [{r['low']:.2f} to {r['high']:.2f}]" in text


def test_the_page_speaks_of_no_accuracy_or_class(text: str) -> None:
    said = re.sub(r"speaker probe.*?<h3>", "", text.replace(STYLE, ""), flags=re.IGNORECASE | re.DOTALL)
    assert not re.search(r"\bUA\b|\bWA\b|macro|recall|confus", said)
    for reference in re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', text):
        assert "".join(reference).startswith(("#", "data:")), reference


def test_without_embedding_values_or_logs_the_page_is_shorter(tmp_path) -> None:
    content = build(rated(), facts=RATED).content
    write_html([Report({**content, "shift": None})], tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().count("<svg") == 1


def test_classes_and_dimensions_have_tables_of_their_own_on_one_page(ratings: Predictions, tmp_path) -> None:
    answers = Predictions.from_scores(
        ids=[f"u{i}" for i in range(12)],
        speakers=[f"s{i % 3}" for i in range(12)],
        truth=np.arange(12) % 2,
        scores=np.eye(2)[np.arange(12) % 2],
        task=Task(("anger", "calm")),
        part="test",
        fold=1,
        seed=0,
    )
    plain = build(answers, facts=replace(RATED, title="classes", target="emotion"))
    bare = [Report(made_of(ratings, title=title).content) for title in ("first", "second")]
    write_html([bare[0], plain, bare[1]], tmp_path / "r.html")
    first, second = re.findall(r'<table class="summary">.*?</table>', (tmp_path / "r.html").read_text())
    assert re.findall(r"#report-(\d)", first) == ["1", "3"] and "CCC of arousal" in first and "UA" not in first
    assert re.findall(r"#report-(\d)", second) == ["2"] and "CCC" not in second
