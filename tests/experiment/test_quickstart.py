"""The quickstart: the whole line on built-in data, here on less of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serene.corpora.synthetic import make
from serene.experiment import recipe
from serene.experiment.recipe_file import RECIPES


def test_both_recipes_differ_in_the_method_alone() -> None:
    first, second = recipe.load_table(RECIPES / "quickstart.yaml").values()
    assert first.method.name != second.method.name
    plain, adversarial = (made.resolved() | {"method": None} for made in (first, second))
    assert plain == adversarial


@pytest.mark.slow
def test_quickstart_reports_both_models_on_unseen_speakers(serene: Callable[..., Any], tmp_path: Path) -> None:
    make(tmp_path / "synthetic", speakers=10, clips_per_speaker=4, seconds=0.3)  # found there, and not made anew
    ended = serene("quickstart", "-o", tmp_path, "--jobs", "1", "--json")
    assert ended.code == 0, ended.err
    titles = [report["title"] for report in ended.json["reports"]]
    assert titles == ["quickstart-baseline", "quickstart-domain_adversarial"]
    for report in ended.json["reports"]:
        assert report["speaker_independent"] is True
        assert (report["n_speakers"], report["folds"]) == (6, ["1", "2", "3"])
        assert report["speaker_probe"]["accuracy"] is not None
    page = Path(ended.json["page"])
    assert page == tmp_path / "report.html"
    for title in titles:
        assert title in page.read_text()

    shown = serene("quickstart", "-o", tmp_path, "--jobs", "1")  # finished: only the page is made again
    assert shown.code == 0
    for report in ended.json["reports"]:  # as measured, whichever wins
        (line,) = (line for line in shown.out.splitlines() if line.startswith(report["title"]))
        assert f"{100 * report['metrics']['ua']['value']:.1f} [" in line
        assert f"{100 * report['speaker_probe']['accuracy']:.1f} (chance 50.0)" in line
    assert "it shows how things work, not which method is better" in shown.out
    assert f"Report: {page}" in shown.out
