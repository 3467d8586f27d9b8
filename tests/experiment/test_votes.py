"""Listeners' votes as what is learned: shares of the classes, and a report on the class that most of them heard."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from serene.audio.dataset import Dataset
from serene.audio.mfcc import Mfcc
from serene.audio.store import Store
from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.experiment import embedding_probes, recipe
from serene.experiment.plan import make_plan
from serene.experiment.train import train
from serene.methods.baseline import Baseline
from serene.models.model import EmotionModel
from serene.task import Votes

HEARD: tuple[Mapping[str, float] | None, ...] = (
    {"anger": 3, "sadness": 1},
    {"neutral": 2, "frustration": 6, "anger": 2},
    {"happiness": 1, "excitement": 2, "neutral": 2},
    {"frustration": 4},
    None,
    {"sadness": 5},
    {"sadness": 2, "anger": 2},
)


def manifest(*heard: Mapping[str, float] | None) -> Manifest:
    """Clips of an actor who always meant boredom."""
    return Manifest(
        tuple(
            Utterance(id=f"{n}", audio="x", speaker="A", emotion="boredom", votes=votes)
            for n, votes in enumerate(heard or HEARD)
        ),
        remarks=("kept",),
    )


def chosen(*heard: Mapping[str, float] | None, **settings: Any) -> tuple[dict[str, Utterance], tuple[str, ...]]:
    kept, task = choose(manifest(*heard), **({"target": "votes", "join": {}} | settings))
    assert isinstance(task, Votes)
    return {u.id: u for u in kept}, task.names


# --- shares


def test_votes_become_shares_of_all_classes_that_were_heard() -> None:
    clips, classes = chosen()
    assert classes == ("anger", "excitement", "frustration", "happiness", "neutral", "sadness")
    assert clips.keys() == {"0", "1", "2", "3", "5", "6"}, "a clip that nobody judged is left out"
    for name, clip in clips.items():
        heard = HEARD[int(name)]
        total = sum(heard.values())
        assert clip.votes == {label: heard.get(label, 0) / total for label in classes}


def test_shares_are_restricted_to_the_classes_in_use_in_their_order() -> None:
    clips, classes = chosen(use=["sadness", "anger", "neutral"])
    assert classes == ("sadness", "anger", "neutral")
    assert clips["0"].votes == {"sadness": 0.25, "anger": 0.75, "neutral": 0.0}
    assert clips["1"].votes == {"sadness": 0.0, "anger": 0.5, "neutral": 0.5}, "the six others count no longer"
    assert clips["2"].votes == {"sadness": 0.0, "anger": 0.0, "neutral": 1.0}
    assert "3" not in clips, "nobody heard one of the three"
    assert list(clips["0"].votes) == list(classes)


def test_joined_labels_have_their_votes_together() -> None:
    join = {"excitement": "happiness", "frustration": "anger"}
    clips, classes = chosen(join=join)
    assert classes == ("anger", "happiness", "neutral", "sadness")
    assert clips["1"].votes == {"anger": 0.8, "happiness": 0.0, "neutral": 0.2, "sadness": 0.0}
    assert clips["2"].votes == {"anger": 0.0, "happiness": 0.6, "neutral": 0.4, "sadness": 0.0}
    assert clips["2"].emotion == "happiness", "apart neither had more than neutral"
    assert chosen(join={"happiness": "neutral"})[0]["2"].emotion == "neutral"


def test_the_emotion_is_the_one_with_most_votes_and_the_first_class_in_a_tie() -> None:
    clips, _ = chosen()
    assert {name: clip.emotion for name, clip in clips.items()} == {
        "0": "anger",
        "1": "frustration",
        "2": "excitement",
        "3": "frustration",
        "5": "sadness",
        "6": "anger",
    }
    assert chosen(use=["sadness", "anger"])[0]["6"].emotion == "sadness"
    assert chosen(use=["neutral", "anger"])[0]["1"].emotion == "neutral"


def test_the_manifest_itself_is_not_changed() -> None:
    whole = manifest()
    kept, _ = choose(whole, target="votes", join={})
    assert [u.votes for u in whole] == list(HEARD)
    assert {u.emotion for u in whole} == {"boredom"}
    assert kept.remarks == ("kept",)


def test_numbers_of_votes_need_not_be_whole() -> None:
    clips, _ = chosen({"anger": 0.5, "sadness": 0.25}, {"sadness": 1e-3})
    assert clips["0"].votes == {"anger": pytest.approx(2 / 3), "sadness": pytest.approx(1 / 3)}
    assert clips["1"].votes == {"anger": 0.0, "sadness": 1.0}


# --- what cannot be made shares


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        ({"anger": -1, "sadness": 3}, "The clip '1' has -1 votes for 'anger'; a number from 0 was expected."),
        ({"anger": math.nan}, "The clip '1' has nan votes for 'anger'; a number from 0 was expected."),
        ({"anger": math.inf}, "The clip '1' has inf votes for 'anger'; a number from 0 was expected."),
        (
            {"anger": 0, "sadness": 0},
            "The votes of the clip '1' sum to 0, so they have no shares; leave the clip's votes empty.",
        ),
    ],
)
def test_votes_that_do_not_sum_are_named(votes: dict[str, float], said: str) -> None:
    with pytest.raises(SereneError) as caught:
        chosen({"anger": 1, "sadness": 2}, votes)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("heard", "use", "said"),
    [
        ([None, {}], None, "Listeners' votes hold no two different classes. The corpus has: no votes at all."),
        ([None], ["anger", "sadness"], "Listeners' votes hold no 'anger'. The corpus has: no votes at all."),
        ([{"anger": 2}], None, "Listeners' votes hold no two different classes. The corpus has: anger."),
        (
            [{"anger": 1, "sadness": 2}],
            ["anger", "boredom"],
            "Listeners' votes hold no 'boredom'. The corpus has: anger, sadness.",
        ),
        (
            [{"anger": 1, "sadness": 2}],
            ["anger", "anger"],
            "Listeners' votes hold no two different classes. The corpus has: anger, sadness.",
        ),
        (
            [{"anger": 1, "sadness": 2, "fear": 0}],
            ["anger", "fear"],
            "Listeners' votes hold no 'fear'. The corpus has: anger, sadness.",
        ),
    ],
)
def test_classes_that_nobody_heard(heard: list[Any], use: list[str] | None, said: str) -> None:
    with pytest.raises(SereneError) as caught:
        chosen(*heard, use=use)
    assert str(caught.value) == said


def test_a_dataset_refuses_votes_that_are_no_shares(made_up_manifest: Manifest, tmp_path: Path) -> None:
    def targets(votes: dict[str, float] | None) -> torch.Tensor:
        clip = replace(made_up_manifest.utterances[0], emotion="anger", votes=votes)
        return Dataset([clip], Store(tmp_path, Mfcc()), task=Votes(("anger", "sadness")), speakers=()).targets

    assert targets({"anger": 0.75, "sadness": 0.25}).tolist() == [[0.75, 0.25]]
    for votes, total in (({"anger": 3, "sadness": 1}, "4"), ({"anger": 0.5, "fear": 0.5}, "0.5"), (None, "0")):
        with pytest.raises(
            SereneError, match=rf"for anger, sadness sum to {total}; shares that sum to 1 were expected"
        ):
            targets(votes)


# --- learned, and reported


@pytest.fixture
def voted(made_up_manifest: Manifest, tmp_path: Path) -> Manifest:
    """Made-up speech: four of five listeners heard what the speaker meant, the fifth, or sometimes all, the next."""
    emotions = sorted({str(u.emotion) for u in made_up_manifest})
    clips = []
    for n, clip in enumerate(made_up_manifest):
        following = emotions[(emotions.index(str(clip.emotion)) + 1) % len(emotions)]
        votes = {following: 5.0} if n % 6 == 0 else {str(clip.emotion): 4.0, following: 1.0}
        clips.append(replace(clip, votes=votes))
    Manifest(tuple(clips)).write(tmp_path / "voted.jsonl")
    return Manifest.read(tmp_path / "voted.jsonl")


@pytest.fixture
def made(tiny_recipe: Path, voted: Manifest, tmp_path: Path) -> Callable[..., recipe.Recipe]:
    """The tiny recipe on these votes, one fold."""

    def make(*changes: str) -> recipe.Recipe:
        where = [f"corpus.path={tmp_path / 'voted.jsonl'}", "labels.target=votes", "protocol.run=1"]
        return recipe.load(tiny_recipe, [*where, *changes])

    return make


@pytest.mark.parametrize("method", ["baseline", "label_adaptive_mixup"])
def test_a_model_that_learns_votes_reports_on_the_dominant_class(
    made: Callable[..., recipe.Recipe],
    voted: Manifest,
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding_probes, "speaker_probe", partial(embedding_probes.speaker_probe, draws=1))
    seen: dict[str, list[float]] = {}
    batch_of = Dataset.batch

    def noted(self: Dataset, *given: Any) -> Any:
        batch = batch_of(self, *given)
        seen.update(zip(batch.ids, batch.target.tolist(), strict=True))
        return batch

    monkeypatch.setattr(Dataset, "batch", noted)
    run = train(made(f"method.name={method}", "training.epochs=1"), tmp_path / "runs")
    (done,) = run.finished()
    predictions = done.predictions()
    place, names = {u.id: u for u in voted}, predictions.names
    meant = 0
    for name, truth in zip(predictions.id.tolist(), predictions.truth, strict=True):
        votes = place[name].votes or {}
        dominant = max(votes, key=lambda label: votes[label])
        assert names[truth] == dominant
        meant += dominant == place[name].emotion
        assert seen[name] == pytest.approx([votes.get(label, 0.0) / 5 for label in names])
    assert 0 < meant < len(predictions), "or it would be the emotion that was meant"
    report = json.loads((run.folder / "report.json").read_text())
    assert report["target"] == "votes"
    assert 0 <= report["metrics"]["ua"]["value"] <= 1


def test_the_loss_is_the_cross_entropy_of_the_shares(voted: Manifest, tmp_path: Path) -> None:
    kept, task = choose(voted, target="votes", join={})
    store, speakers = Store(tmp_path, Mfcc()), sorted({u.speaker for u in kept})
    train = Dataset(kept.utterances[:4], store, task=task, speakers=speakers)
    torch.manual_seed(0)
    model, batch = EmotionModel(task, store.front_end.spec.width).eval(), train.batch([0, 1, 2, 3])
    with torch.no_grad():
        found, logits = Baseline().loss(model, batch, 0.0)["emotion"].item(), model(batch).tolist()
    expected = 0.0
    for clip, scores in zip(kept.utterances[:4], logits, strict=True):
        whole = math.log(sum(math.exp(value) for value in scores))
        for name, value in zip(task.names, scores, strict=True):
            expected -= (clip.votes or {})[name] * (value - whole) / 4
    assert found == pytest.approx(expected, rel=1e-5)
    assert [max(row) < 1 for row in batch.target.tolist()].count(True) == 3


def test_other_votes_are_another_run(made: Callable[..., recipe.Recipe], voted: Manifest, tmp_path: Path) -> None:
    def identity(**labels: str) -> str:
        wanted = [f"labels.{key}={value}" for key, value in labels.items()]
        return make_plan(made(*wanted), tmp_path / "runs").run.identity

    before = {target: identity(target=target) for target in ("votes", "emotion")}
    first = voted.utterances[1]
    votes = {name: count * 2 - 1 for name, count in (first.votes or {}).items()}  # the same emotion has most
    assert max(votes, key=votes.__getitem__) == max(first.votes, key=first.votes.__getitem__)
    changed = Manifest(tuple(replace(u, votes=votes) if u.id == first.id else u for u in voted))
    changed.write(tmp_path / "voted.jsonl")
    assert identity(target="votes") != before["votes"]
    assert identity(target="emotion") == before["emotion"]
