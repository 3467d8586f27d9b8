"""The quickstart: the whole line on the sample of real speech; the bundled model has to be new to its test speakers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serene.corpora import sample
from serene.experiment import recipe
from serene.experiment.plan import make_plan
from serene.experiment.recipe_file import RECIPES
from serene.inference import folder as model_folder
from serene.models.training_speakers import FILE, TrainingSpeakers, people

TESTED = people(clip for clip in sample.read() if clip.split == "test")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundled model, had it been trained on the same people without the sample's test speakers."""
    folder = tmp_path / "box"
    shutil.copytree(model_folder.BUNDLED, folder)
    met = json.loads((folder / FILE).read_text())
    unmet = {part: [person for person in people if tuple(person) not in TESTED] for part, people in met.items()}
    (folder / FILE).write_text(json.dumps(unmet))
    monkeypatch.setattr(model_folder, "BUNDLED", folder)
    return folder


def test_the_rows_differ_in_the_method_and_in_what_it_acts_on() -> None:
    plain, adversarial = (made.resolved() for made in recipe.load_table(RECIPES / "quickstart.yaml").values())
    assert plain["method"] != adversarial["method"]
    assert (plain["model"].pop("projector"), adversarial["model"].pop("projector")) == ("none", "residual")
    assert plain | {"method": None} == adversarial | {"method": None}


def test_who_tests_is_unseen_by_the_bundled_model_or_nothing_is_trained(
    serene: Callable[..., Any], tmp_path: Path
) -> None:
    """Of the model as it ships: what it says of its training decides."""
    known = TrainingSpeakers.read(model_folder.BUNDLED)
    assert known is not None
    if TESTED & (known.trained | known.validated):
        ended = serene("quickstart", "-o", tmp_path, "--jobs", "1")
        assert ended.code == 2
        assert "should be unseen, and the bundled model was trained on them" in ended.err
    else:
        assert make_plan(recipe.load(RECIPES / "quickstart.yaml:plain"), tmp_path).splits


@pytest.mark.slow
@pytest.mark.usefixtures("box")
def test_quickstart_reports_both_heads_on_unseen_speakers_and_answers(
    serene: Callable[..., Any], tmp_path: Path
) -> None:
    ended = serene("quickstart", "-o", tmp_path, "--jobs", "1", "--json")
    assert ended.code == 0, ended.err
    titles = [report["title"] for report in ended.json["reports"]]
    assert titles == ["quickstart-plain", "quickstart-domain_adversarial"]
    for report in ended.json["reports"]:
        assert report["speaker_independent"] is True
        assert (report["n_speakers"], report["n_utterances"]) == (12, 144)
        assert report["speaker_probe"]["accuracy"] is not None
        assert report["metrics"]["ua"]["low"] > 1 / 6, "real speech has more than chance to learn from"
    page = Path(ended.json["page"])
    assert page == tmp_path / "report.html"
    for title in titles:
        assert title in page.read_text()
    (clip,) = (u for u in sample.read() if u.id == ended.json["clip"])
    assert (clip.emotion, clip.split) == (ended.json["emotion"], "test")
    assert ended.json["answer"]["label"] in {u.emotion for u in sample.read()}

    shown = serene("quickstart", "-o", tmp_path, "--jobs", "1")  # finished: only the page is made again
    assert shown.code == 0
    for report in ended.json["reports"]:  # as measured, whichever wins
        (line,) = (line for line in shown.out.splitlines() if line.startswith(report["title"]))
        assert f"{100 * report['metrics']['ua']['value']:.1f} [" in line
        assert f"{100 * report['speaker_probe']['accuracy']:.1f} (chance 8.3)" in line
    assert f"says {ended.json['answer']['label']} of {clip.id}, which was meant as {clip.emotion}." in shown.out
    assert f"serene predict {clip.audio} --model {tmp_path}" in shown.out
    assert "it shows how things work, not which method is better" in shown.out
    assert f"Report: {page}" in shown.out
