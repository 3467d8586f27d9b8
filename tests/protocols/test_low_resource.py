"""The low-resource protocol: how much is drawn, from where, what is nested in what, and what it refuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.protocols import Split, make_splits, title
from serene.protocols.leave_one_group_out import leave_one_session_out, low_resource, speaker_folds

EMOTIONS = ("anger", "neutral", "sadness")


def corpus(speakers: int = 10, clips: int = 20) -> Manifest:
    """Two talkers a session; every talker has `clips` of each emotion."""
    return Manifest(
        tuple(
            Utterance(
                id=f"s{n:02}_{emotion}_{number}",
                audio="a.wav",
                speaker=f"s{n:02}",
                emotion=emotion,
                session=str(n // 2 + 1),
            )
            for n in range(speakers)
            for emotion in EMOTIONS
            for number in range(clips)
        )
    )


def drawn(splits: list[Split]) -> dict[str, set[str]]:
    return {split.fold: {u.id for u in split.train} for split in splits}


@pytest.mark.parametrize("per_class", [1, 7, 128])
def test_training_is_so_many_clips_of_each_emotion_and_the_rest_stays_whole(per_class: int) -> None:
    whole = leave_one_session_out(corpus(), validation="random20", seed=4)
    splits = low_resource(corpus(), per_class=per_class, subsets=2, seed=4)
    assert [s.fold for s in splits] == [f"{fold}-{subset}" for fold in "12345" for subset in "12"]
    for place, split in enumerate(splits):
        base = whole[place // 2]
        assert (split.validation, split.test) == (base.validation, base.test)
        assert Counter(u.emotion for u in split.train) == dict.fromkeys(EMOTIONS, per_class)
        assert {u.id for u in split.train} <= {u.id for u in base.train}
        assert (split.protocol, split.validation_rule) == ("low_resource", "random20")
        assert split.speaker_independent


def test_as_many_as_there_are_is_the_base_protocol() -> None:
    whole = leave_one_session_out(corpus(), validation="random20")
    assert [s.train for s in low_resource(corpus(), per_class=128, subsets=1)] == [s.train for s in whole]


def test_a_smaller_draw_is_part_of_a_larger_one_of_the_same_number() -> None:
    smaller, larger = (drawn(low_resource(corpus(), per_class=n)) for n in (10, 20))
    for fold in larger:
        assert smaller[fold] < larger[fold]
    assert not smaller["1-1"] < larger["1-2"]


def test_subsets_are_drawn_independently_of_each_other_and_of_other_folds() -> None:
    """Two draws of 32 of 128 share 8 on average, with a deviation of 2.1, if neither knows of the other."""
    draws = low_resource(corpus(), per_class=32)
    by_fold = {fold: [s for s in draws if s.fold[0] == fold] for fold in "12345"}
    pairs = [pair for of in by_fold.values() for pair in combinations(of, 2)]
    shared = [
        len({u.id for u in a.train if u.emotion == emotion} & {u.id for u in b.train})
        for a, b in pairs
        for emotion in EMOTIONS
    ]
    assert min(shared) > 0 and max(shared) < 18
    assert 7 < sum(shared) / len(shared) < 9
    both = {u.id for u in by_fold["1"][0].train} & {u.id for u in by_fold["2"][0].train}
    assert len(both) < 48, "the same draw from two folds would share most of what both folds have"


def test_seed_and_number_of_subsets() -> None:
    manifest = corpus()
    few, more = (low_resource(manifest, per_class=10, subsets=n, validation="none") for n in (2, 3))
    assert [s for s in more if s.fold[-1] != "3"] == few
    other = low_resource(manifest, per_class=10, subsets=2, validation="none", seed=1)
    assert all(a.train != b.train and a.test == b.test for a, b in zip(few, other, strict=True))


def test_of_speaker_folds() -> None:
    splits = low_resource(corpus(), per_class=5, subsets=1, of="speaker_folds", folds=3, validation="speaker")
    base = speaker_folds(corpus(), folds=3, validation="speaker")
    assert [s.fold for s in splits] == ["1-1", "2-1", "3-1"]
    assert [(s.validation, s.test) for s in splits] == [(s.validation, s.test) for s in base]
    assert all({u.id for u in s.train} <= {u.id for u in b.train} for s, b in zip(splits, base, strict=True))


def test_clips_without_an_emotion_are_not_drawn() -> None:
    silent = replace(corpus().utterances[0], id="nameless", emotion=None)
    splits = low_resource(Manifest((*corpus(), silent)), per_class=128)
    assert all(u.emotion for split in splits for u in split.train)
    assert "nameless" in {u.id for split in splits for u in (*split.validation, *split.test)}
    with pytest.raises(SereneError, match="of each emotion, and these clips have none: it cannot serve dimensions"):
        low_resource(Manifest(tuple(replace(u, emotion=None) for u in corpus())), per_class=1)


def test_a_class_with_too_few_clips_is_named_with_the_fold_that_has_the_fewest() -> None:
    """Anger has 8, 16, 24, 32 and 40 clips in the sessions: 80 without the fifth, less the 16 of validation."""
    fewer = [u for u in corpus() if u.emotion != "anger" or int(u.id.split("_")[2]) < 4 * int(u.session or 0)]
    for asked in (65, 100):
        message = rf"needs {asked} training clips of each emotion; fold 5 has only 64 of anger: set per_class to 64 or"
        with pytest.raises(SereneError, match=message):
            low_resource(Manifest(tuple(fewer)), per_class=asked)
    assert len(low_resource(Manifest(tuple(fewer)), per_class=64)) == 25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_class": 0}, "asked for 0 clips per class and 5 subsets; at least 1 of each"),
        ({"per_class": 5, "subsets": 0}, "5 clips per class and 0 subsets"),
        ({"of": "speaker_fold"}, "Unknown base protocol of low_resource 'speaker_fold'. Did you mean 'speaker_folds'"),
        ({"folds": 4}, "leave_one_session_out has a fold for each session; leave `folds` out"),
        ({"of": "speaker_folds", "folds": 11}, "speaker_folds was asked for 11 folds of 10 speakers"),
        ({"validation": "random30"}, "Unknown validation 'random30'"),
    ],
)
def test_mistakes_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        make_splits("low_resource", corpus(clips=2), settings)


def test_only_a_corpus_with_a_hundred_clips_is_offered_the_protocol_as_it_is() -> None:
    for clips, offered in ((12, False), (16, True)):
        with pytest.raises(SereneError, match="This corpus can serve") as error:
            make_splits("tu2019", corpus(clips=clips))
        assert ("low_resource" in str(error.value)) is offered


def test_title() -> None:
    assert title("low_resource", {"per_class": 20}) == (
        "low_resource v1 (per_class 20, subsets 5, of leave_one_session_out, folds 5, validation random20, seed 0)"
    )
