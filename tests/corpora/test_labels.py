"""Labels: which column, which classes in which order, what is joined, and what is said where one is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serene.corpora.labels import choose
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError

INTENDED = ("anger", "excitement", "happiness", "neutral", "excitement", None, "sadness")
PERCEIVED = ("neutral", "happiness", None, "neutral", "anger", "anger", None)


@pytest.fixture
def manifest() -> Manifest:
    pairs = enumerate(zip(INTENDED, PERCEIVED, strict=True))
    return Manifest(
        tuple(Utterance(id=str(n), audio="x", speaker="A", emotion=e, emotion_perceived=p) for n, (e, p) in pairs),
        remarks=("kept",),
    )


def labels(manifest: Manifest) -> dict[str, str | None]:
    return {u.id: u.emotion for u in manifest}


def test_all_labels_that_occur_are_the_classes_sorted(manifest: Manifest) -> None:
    chosen, task = choose(manifest, join={})
    assert task.names == ("anger", "excitement", "happiness", "neutral", "sadness")
    assert labels(chosen) == {str(n): e for n, e in enumerate(INTENDED) if e}  # a clip without a label is left out
    assert chosen.remarks == ("kept",)
    assert labels(manifest)["1"] == "excitement"  # the manifest itself is not changed


def test_joining_comes_first_and_use_gives_the_order(manifest: Manifest) -> None:
    chosen, task = choose(
        manifest, use=["sadness", "happiness", "anger"], join={"excitement": "happiness", "frustration": "anger"}
    )
    assert task.names == ("sadness", "happiness", "anger")
    assert labels(chosen) == {"0": "anger", "1": "happiness", "2": "happiness", "4": "happiness", "6": "sadness"}


def test_the_perceived_label_takes_the_intended_ones_place(manifest: Manifest) -> None:
    chosen, task = choose(manifest, target="emotion_perceived", join={})
    assert task.names == ("anger", "happiness", "neutral")
    assert labels(chosen) == {"0": "neutral", "1": "happiness", "3": "neutral", "4": "anger", "5": "anger"}
    assert {u.id: u.emotion_perceived for u in chosen} == labels(chosen)


def test_a_class_that_does_not_occur_is_named_with_those_that_do(manifest: Manifest) -> None:
    with pytest.raises(SereneError) as caught:
        choose(manifest, use=["anger", "boredom"], join={"excitement": "happiness"})
    assert str(caught.value) == (
        "No utterance has the emotion 'boredom'. The corpus has: anger 1, happiness 3, neutral 1, sadness 1."
    )
    with pytest.raises(SereneError, match="No utterance has the emotion perceived 'sadness'"):
        choose(manifest, target="emotion_perceived", use=["anger", "sadness"], join={})


def test_the_speaker_takes_the_emotions_place(manifest: Manifest) -> None:
    clips = [replace(u, speaker=name) for u, name in zip(manifest, "BABACAB", strict=True)]
    chosen, task = choose(Manifest(tuple(clips)), target="speaker", join={})
    assert task.names == ("A", "B", "C")
    assert labels(chosen) == dict(zip("0123456", "BABACAB", strict=True))  # one without an emotion has a speaker too
    assert [u.speaker for u in chosen] == list("BABACAB")
    some, _ = choose(Manifest(tuple(clips)), target="speaker", use=["C", "A"], join={})
    assert labels(some) == {"1": "A", "3": "A", "4": "C", "5": "A"}


@pytest.mark.parametrize("use", [None, ["anger", "sadness"]])
def test_a_corpus_without_any_emotion_is_told_what_it_can_teach(use: list[str] | None, manifest: Manifest) -> None:
    silent = Manifest(tuple(replace(u, emotion=None, emotion_perceived=None) for u in manifest))
    with pytest.raises(SereneError) as caught:
        choose(silent, use=use, join={})
    assert str(caught.value) == "No utterance has an emotion; to learn speakers set labels.target: speaker."
    with pytest.raises(SereneError, match="No utterance has an emotion perceived; to learn speakers set"):
        choose(silent, target="emotion_perceived", use=use, join={})


@pytest.mark.parametrize("use", [["anger"], [], ["anger", "anger"]])
def test_two_different_classes_are_needed(use: list[str], manifest: Manifest) -> None:
    with pytest.raises(SereneError, match="At least two different classes are needed; the labels give"):
        choose(manifest, use=use, join={})
