"""Protocols: who is in which part, what the proof refuses, what the reports have to say."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from serene.corpora import UNKNOWN_SPEAKER
from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.protocols import PROTOCOLS, Split, make_some_splits, make_splits, title
from serene.protocols.holdout import official, random_speaker_dependent, speaker_holdout
from serene.protocols.leave_one_group_out import (
    leave_one_session_out,
    leave_one_speaker_out,
    low_resource,
    speaker_folds,
    tu2019,
)
from serene.protocols.partition import VERSIONS
from serene.protocols.split import SpeakerDependentSplit

EMOTIONS = ("anger", "neutral", "sadness")


def utterance(speaker: str, emotion: str | None, number: int, **more: Any) -> Utterance:
    name = f"{speaker}_{emotion}_{number}"
    return Utterance(id=name, audio=f"{name}.wav", speaker=speaker, emotion=emotion, **more)


def corpus(speakers: int = 10, clips: int = 10, sessions: bool = True) -> Manifest:
    """Two talkers a session, the even ones women; every talker has `clips` of each emotion."""
    return Manifest(
        tuple(
            utterance(
                f"s{n:02}",
                emotion,
                number,
                session=str(n // 2 + 1) if sessions else None,
                gender="female" if n % 2 == 0 else "male",
            )
            for n in range(speakers)
            for emotion in EMOTIONS
            for number in range(clips)
        )
    )


def who(utterances: tuple[Utterance, ...]) -> set[str]:
    return {u.speaker for u in utterances}


def split_of(train: Any, validation: Any, test: Any, kind: type[Split] = Split, rule: str = "speaker") -> Split:
    return kind(
        protocol="mine",
        version=1,
        fold="1",
        train=tuple(train),
        validation=tuple(validation),
        test=tuple(test),
        validation_rule=rule,
    )


A, B, C = (utterance(speaker, "anger", 0) for speaker in ("ann", "bob", "cat"))
A1 = utterance("ann", "anger", 1)


@pytest.mark.parametrize("rule", ["speaker", "none", "random20", "random10", "official"])
@pytest.mark.parametrize("parts", [([A], [B], [A1]), ([B], [A], [A1])])
def test_a_split_whose_test_shares_a_speaker_cannot_be_made(parts: Any, rule: str) -> None:
    with pytest.raises(SereneError, match=r"fold 1: test shares speakers with training or validation: ann\."):
        split_of(*parts, rule=rule)


def test_only_the_random_rules_let_validation_share_speakers() -> None:
    for rule in ("speaker", "official", "none", "random30"):
        with pytest.raises(SereneError, match="validation shares speakers with training: ann"):
            split_of([A], [A1], [B], rule=rule)
    split = split_of([A], [A1], [B], rule="random20")
    assert split.speaker_independent
    assert split.stamps == ("validation (random20) shares 1 speakers with training",)


def test_a_changed_copy_of_a_split_is_proven_again() -> None:
    with pytest.raises(SereneError, match="test shares speakers"):
        replace(split_of([A], [B], [C]), test=(A1,))


@pytest.mark.parametrize("kind", [Split, SpeakerDependentSplit])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (([A, B], [B], [C]), "bob_anger_0 in more than one place"),
        (([A, A], [B], [C]), "ann_anger_0 in more than one place"),
        (([], [B], [C]), "the train part is empty"),
        (([A], [B], []), "the test part is empty"),
        (([A], [B], [utterance("cat", "fear", 0)]), "fold 1: training holds no clip of fear"),
    ],
)
def test_what_no_split_may_be(kind: type[Split], parts: Any, message: str) -> None:
    with pytest.raises(SereneError, match=message):
        split_of(*parts, kind=kind)


def test_a_speaker_dependent_split_is_stamped_with_what_it_shares() -> None:
    split = split_of([A], [B], [A1, C], kind=SpeakerDependentSplit)
    assert not split.speaker_independent
    assert split.stamps == ("speaker dependent: 1 of 2 test speakers are also in training or validation",)
    assert split_of([A], [B], [C]).stamps == ()


def test_clips_without_an_emotion_do_not_disturb() -> None:
    nameless = Manifest(tuple(utterance(s, None, n) for s in "abc" for n in range(5)))
    assert [s.fold for s in leave_one_speaker_out(nameless)] == ["a", "b", "c"]
    assert len(random_speaker_dependent(nameless, train=0.6, validation=0.2, test=0.2)[0].test) == 3


def test_unlabelled_audio_is_drawn_of_every_speaker_whatever_the_labels() -> None:
    manifest = corpus(clips=4)
    split = speaker_folds(manifest)[0]
    assert not split.saw_unlabelled_test_audio
    parts = (*split.train, *split.validation, *split.test)
    enrolled = split.with_unlabelled(5)
    assert who(enrolled.unlabelled) == who(parts)
    for speaker in who(parts):
        own = [u.id for u in parts if u.speaker == speaker]
        hashed = sorted(own, key=lambda name: hashlib.blake2b(f"0\0enrolment\0{name}".encode()).digest())
        assert [u.id for u in enrolled.unlabelled if u.speaker == speaker] == sorted(hashed[:5])
    assert enrolled.saw_unlabelled_test_audio
    assert enrolled.stamps == ("test speakers are enrolled with 10 unlabelled clips of their own",)
    assert split.with_unlabelled().unlabelled == tuple(sorted(parts, key=lambda u: u.id))
    unlabelled = [replace(u, id=f"{u.id} again", emotion=None) for u in manifest]
    other = replace(unlabelled[0], id="other", speaker="nobody of this split")
    more = split.with_unlabelled(audio=[*manifest, *unlabelled, other]).unlabelled
    assert len(more) == 2 * len(parts), "clips without a label count, other speakers do not"
    with pytest.raises(SereneError, match="at least 1 is needed"):
        split.with_unlabelled(0)


def test_the_same_audio_under_another_speakers_name_is_not_unseen() -> None:
    split = speaker_folds(corpus(clips=4))[0]
    same = replace(split.test[0], audio_hash="the same")
    trained = replace(split.train[0], audio_hash="the same")
    with pytest.raises(SereneError, match="shares audio with training or validation under another speaker's name"):
        replace(split, train=(trained, *split.train[1:]), test=(same, *split.test[1:]))


U, U1 = utterance(UNKNOWN_SPEAKER, "anger", 0), utterance(UNKNOWN_SPEAKER, "anger", 1)


@pytest.mark.parametrize("parts", [([A, U], [B], [C]), ([A], [U], [C]), ([A], [B], [C, U]), ([A, U], [B], [C, U1])])
def test_an_unknown_speaker_may_be_anybody_so_nothing_is_proven(parts: Any) -> None:
    with pytest.raises(SereneError, match=r"clips are of the speaker 'Unknown', such as Unknown_anger_0\. That may be"):
        split_of(*parts)
    split = split_of(*parts, kind=SpeakerDependentSplit)
    assert not split.speaker_independent
    count = sum(u.speaker == UNKNOWN_SPEAKER for part in parts for u in part)
    assert split.stamps == (f"speakers not proven to be apart: {count} clips are of unknown ones, who may be anybody",)


def test_speakers_who_are_known_to_be_shared_are_stamped_beside_the_unknown() -> None:
    split = split_of([A, U], [B], [A1, C, U1], kind=SpeakerDependentSplit)
    assert split.stamps == (
        "speakers not proven to be apart: 2 clips are of unknown ones, who may be anybody",
        "speaker dependent: 1 of 2 test speakers are also in training or validation",
    )


def test_only_the_protocols_that_prove_nothing_take_unknown_speakers() -> None:
    manifest = parted(s00="train", s01="validation", s02="test1")
    some_unknown = [replace(u, speaker=UNKNOWN_SPEAKER) if u.id == "s00_anger_0" else u for u in manifest]
    (split,) = official(Manifest(tuple(some_unknown)))
    assert isinstance(split, SpeakerDependentSplit)
    with pytest.raises(SereneError) as error:
        make_splits("speaker_folds", Manifest(tuple(some_unknown)), {"folds": 3})
    assert "Leave such clips out" in str(error.value)
    assert str(error.value).endswith("This corpus can serve: official, random_speaker_dependent.")


def test_clips_set_aside_are_in_no_part_and_are_all_that_is_heard_of_their_speakers() -> None:
    manifest = corpus(clips=4)
    split = speaker_folds(manifest)[0]
    kept = tuple(u for u in split.test if not u.id.endswith("_3"))
    aside = tuple(u for u in split.test if u.id.endswith("_3"))
    with pytest.raises(SereneError, match="in more than one place"):
        replace(split, set_aside=aside)
    apart = replace(split, test=kept, set_aside=aside)
    assert (apart.unlabelled, apart.saw_unlabelled_test_audio, apart.stamps) == ((), False, ())
    for audio in (None, manifest):
        enrolled = apart.with_unlabelled(audio=audio)
        assert {u.id for u in enrolled.unlabelled if u.speaker in split.test_speakers} == {u.id for u in aside}
        assert who(enrolled.unlabelled) == set(manifest.speakers)
        assert enrolled.stamps == ("test speakers are enrolled with 6 unlabelled clips of their own",)
    fewer = apart.with_unlabelled(2).unlabelled
    assert Counter(u.speaker for u in fewer) == dict.fromkeys(manifest.speakers, 2)


def test_leave_one_session_out_takes_the_next_session_to_validate() -> None:
    splits = leave_one_session_out(corpus())
    assert [s.fold for s in splits] == ["1", "2", "3", "4", "5"]
    assert (who(splits[0].test), who(splits[0].validation)) == ({"s00", "s01"}, {"s02", "s03"})
    assert (who(splits[4].test), who(splits[4].validation)) == ({"s08", "s09"}, {"s00", "s01"})
    assert who(splits[4].train) == {"s02", "s03", "s04", "s05", "s06", "s07"}


@pytest.mark.parametrize(("rule", "held"), [("random20", 2), ("random10", 1)])
def test_random_validation_takes_its_share_of_each_emotion(rule: Any, held: int) -> None:
    for split in leave_one_session_out(corpus(clips=10), validation=rule):
        assert Counter(u.emotion for u in split.validation) == dict.fromkeys(EMOTIONS, 8 * held)
        assert len(split.train) + len(split.validation) == 8 * 30
        assert split.stamps


def test_random_validation_follows_its_seed_and_differs_between_folds() -> None:
    first, again, other = (leave_one_session_out(corpus(), validation="random20", seed=s) for s in (0, 0, 1))
    assert first == again
    assert first[0].validation != other[0].validation
    numbers = [{(u.emotion, u.id[-1]) for u in s.validation if u.speaker == "s09"} for s in first[:2]]
    assert numbers[0] != numbers[1]


def test_tu2019_validates_with_one_talker_of_the_session_and_tests_with_the_other() -> None:
    women, men, both = (tu2019(corpus(), validation=v) for v in ("F", "M", "both"))
    assert [s.fold for s in both] == ["1F", "1M", "2F", "2M", "3F", "3M", "4F", "4M", "5F", "5M"]
    assert (who(women[1].validation), who(women[1].test)) == ({"s02"}, {"s03"})
    assert (who(men[1].validation), who(men[1].test)) == ({"s03"}, {"s02"})
    assert both == [split for pair in zip(women, men, strict=True) for split in pair]
    assert all(len(who(s.train)) == 8 for s in both)


@pytest.mark.parametrize("gender", ["female", None])
def test_tu2019_needs_a_woman_and_a_man_in_each_session(gender: str | None) -> None:
    odd = Manifest(tuple(replace(u, gender=gender) if u.speaker == "s03" else u for u in corpus()))
    with pytest.raises(SereneError, match=r"one woman and one man in each session; session 2 has s02 \(female\), s03"):
        tu2019(odd)


def test_speaker_folds_cut_sorted_speakers_into_chunks() -> None:
    splits = speaker_folds(corpus(speakers=11), folds=4)
    assert [sorted(who(s.test)) for s in splits] == [
        ["s00", "s01", "s02"],
        ["s03", "s04", "s05"],
        ["s06", "s07", "s08"],
        ["s09", "s10"],
    ]
    assert [s.fold for s in splits] == ["1", "2", "3", "4"]
    assert [who(s.validation) for s in splits] == [who(splits[(n + 1) % 4].test) for n in range(4)]
    without = speaker_folds(corpus(speakers=11), folds=4, validation="none")
    assert [s.test for s in without] == [s.test for s in splits]
    assert all(s.validation == () for s in without)


def test_leave_one_speaker_out_tests_everybody_once() -> None:
    splits = leave_one_speaker_out(corpus(speakers=4))
    assert [who(s.test) for s in splits] == [{"s00"}, {"s01"}, {"s02"}, {"s03"}]
    assert [who(s.validation) for s in splits] == [{"s01"}, {"s02"}, {"s03"}, {"s00"}]


@pytest.mark.parametrize("sizes", [{"train": 40, "validation": 5, "test": 5}, {}])
def test_speaker_holdout_takes_counts_or_fractions(sizes: dict[str, Any]) -> None:
    (split,) = speaker_holdout(corpus(speakers=50, clips=1), **sizes)
    assert [len(who(p)) for p in (split.train, split.validation, split.test)] == [40, 5, 5]
    assert split != speaker_holdout(corpus(speakers=50, clips=1), **sizes, seed=1)[0]


def test_speaker_holdout_without_validation() -> None:
    (split,) = speaker_holdout(corpus(), train=8, validation=0, test=2)
    assert (split.validation, split.validation_rule) == ((), "none")


@pytest.mark.parametrize("seed", range(5))
def test_speaker_holdout_balances_columns(seed: int) -> None:
    countries = ("north", "north", "north", "south", "south")
    speakers = tuple(
        utterance(f"s{n:03}", "anger", 0, gender="FM"[n % 2], ethnicity=countries[n // 2 % 5]) for n in range(200)
    )
    (split,) = speaker_holdout(
        Manifest(speakers), train=160, validation=20, test=20, balance=("gender", "ethnicity"), seed=seed
    )
    for part, size in ((split.train, 160), (split.validation, 20), (split.test, 20)):
        genders, mix = Counter(u.gender for u in part), Counter((u.gender, u.ethnicity) for u in part)
        assert genders == {"F": size // 2, "M": size // 2}
        for (_, country), count in mix.items():
            expected = size / 2 * (0.6 if country == "north" else 0.4)
            assert math.isclose(count, expected, abs_tol=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": 9, "validation": 1, "test": 1}, "numbers of speakers that sum to 10 or fractions that sum to 1"),
        ({"train": 0.8, "validation": 0.1, "test": 0.2}, "are 0.8, 0.1 and 0.2"),
        ({"train": 10, "validation": 0, "test": 0}, "training and test need at least one each"),
        ({"train": 0.97, "validation": 0.01, "test": 0.02}, "10 speakers cannot be partitioned"),
        ({"train": -1, "validation": 1, "test": 10}, "10 speakers cannot be partitioned"),
        ({"balance": ("gendre",)}, "Unknown column to balance 'gendre'. Did you mean 'gender'"),
    ],
)
def test_speaker_holdout_refuses_sizes_that_do_not_add_up(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        speaker_holdout(corpus(), **settings)


def parted(**part_of: str) -> Manifest:
    """A corpus whose speakers belong to official parts."""
    return Manifest(tuple(replace(u, split=part_of[u.speaker]) for u in corpus(speakers=len(part_of), clips=5)))


def test_official_makes_a_fold_of_each_test_part() -> None:
    splits = official(parted(s00="Train", s01="Development", s02="Test1", s03="test2"))
    assert [(s.fold, who(s.test)) for s in splits] == [("test1", {"s02"}), ("test2", {"s03"})]
    assert all(type(s) is Split and who(s.validation) == {"s01"} and who(s.train) == {"s00"} for s in splits)


def test_official_parts_as_other_tables_call_them() -> None:
    (split,) = official(parted(s00="Training", s01="PublicTest", s02="PrivateTest"))
    assert split.fold == "test"
    assert [{u.speaker for u in part} for part in (split.train, split.validation, split.test)] == [
        {"s00"},
        {"s01"},
        {"s02"},
    ]


def test_official_parts_that_share_speakers_are_stamped() -> None:
    manifest = corpus(speakers=2)
    parts = [replace(u, split="test" if u.id.endswith(("8", "9")) else "train") for u in manifest]
    (split,) = official(Manifest(tuple(parts)), validation="random10")
    assert isinstance(split, SpeakerDependentSplit)
    assert split.stamps == (
        "speaker dependent: 2 of 2 test speakers are also in training or validation",
        "validation (random10) shares 2 speakers with training",
    )


def test_official_random_validation_is_the_same_for_every_test_part() -> None:
    splits = official(parted(s00="train", s01="train", s02="test1", s03="test2"), validation="random20")
    assert splits[0].validation == splits[1].validation
    assert [type(s) for s in splits] == [Split, Split]


@pytest.mark.parametrize(
    ("parts", "settings", "message"),
    [
        ({"s00": "train", "s01": "test"}, {}, "no official validation part; set validation to random20"),
        ({"s00": "train", "s01": "validation"}, {}, "found train, validation"),
        ({"s00": "train", "s01": "test", "s02": "spare"}, {"validation": "none"}, "found spare, test, train"),
    ],
)
def test_official_says_what_the_corpus_lacks(parts: dict[str, str], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        official(parted(**parts), **settings)


def test_random_speaker_dependent_deals_each_emotion() -> None:
    first, second = random_speaker_dependent(corpus(speakers=4, clips=10), repeats=2)
    for split in (first, second):
        for part, count in ((split.train, 32), (split.validation, 4), (split.test, 4)):
            assert Counter(u.emotion for u in part) == dict.fromkeys(EMOTIONS, count)
        assert split.stamps[0] == "speaker dependent: 4 of 4 test speakers are also in training or validation"
    assert (first.fold, second.fold) == ("1", "2")
    assert first.test != second.test
    with pytest.raises(SereneError, match="0 repeats; at least 1"):
        random_speaker_dependent(corpus(), repeats=0)


def test_an_emotion_too_rare_to_share_stays_in_training() -> None:
    manifest = Manifest((*corpus(), utterance("s00", "fear", 0)))
    (split,) = random_speaker_dependent(manifest)
    assert [u.id for u in split.train if u.emotion == "fear"] == ["s00_fear_0"]


SETTINGS = {
    "official": {"validation": "random20"},
    "speaker_lists": {"test": ("s08", "s09")},
    "low_resource": {"per_class": 20, "subsets": 2},
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_by_name(name: str) -> None:
    manifest = Manifest(tuple(replace(u, split="test" if u.session == "5" else "train") for u in corpus()))
    shuffled = list(manifest)
    random.Random(3).shuffle(shuffled)
    splits = make_splits(name, manifest, SETTINGS.get(name))
    assert splits == make_splits(name, Manifest(tuple(shuffled)), SETTINGS.get(name))
    assert len({s.fold for s in splits}) == len(splits)
    for split in splits:
        assert (split.protocol, split.version) == (name, VERSIONS[name])
        assert split.speaker_independent is (name != "random_speaker_dependent")
        for part in (split.train, split.validation, split.test):
            assert list(part) == sorted(part, key=lambda u: u.id)


def test_a_protocol_keeps_its_splits_from_release_to_release() -> None:
    """The clips a version 1 protocol chose when it was published: another answer needs another version."""
    (holdout,) = speaker_holdout(corpus(), train=7, validation=1, test=2)
    assert (who(holdout.validation), who(holdout.test)) == ({"s03"}, {"s01", "s05"})
    validation = leave_one_session_out(corpus(), validation="random10")[0].validation
    assert [u.id for u in validation][:3] == ["s02_neutral_7", "s03_sadness_5", "s03_sadness_7"]
    test = random_speaker_dependent(corpus())[0].test
    assert [u.id for u in test][:3] == [
        "s00_anger_0",
        "s00_neutral_7",
        "s00_sadness_0",
    ]
    train = low_resource(corpus(), per_class=1, subsets=2)[1].train
    assert [u.id for u in train] == ["s02_anger_6", "s02_neutral_0", "s02_sadness_9"]


def test_a_protocol_that_cannot_serve_names_those_that_can() -> None:
    with pytest.raises(SereneError) as error:
        make_splits("tu2019", corpus(sessions=False))
    assert str(error.value) == (
        "300 of 300 utterances have no session; this protocol needs one. This corpus can serve: speaker_folds, "
        "leave_one_speaker_out, speaker_holdout, random_speaker_dependent."
    )
    with pytest.raises(SereneError) as error:
        make_splits("speaker_folds", corpus(speakers=2))
    assert str(error.value) == (
        "Protocol speaker_folds was asked for 5 folds of 2 speakers; at least 2 folds and no more folds than speakers "
        "are needed. This corpus can serve: speaker_folds (with folds 2, validation random20), leave_one_speaker_out "
        "(with validation random20), speaker_holdout (with train 1, validation 0, test 1), random_speaker_dependent."
    )
    with pytest.raises(SereneError, match=r"serve: .*speaker_folds \(with folds 4\), .*train 2, validation 1, test 1"):
        make_splits("speaker_folds", corpus(speakers=4), {"folds": 7, "seed": 3})


@pytest.mark.parametrize("name", ["speaker_folds", "low_resource"])
def test_a_fold_that_nobody_asks_for_stops_no_other(name: str) -> None:
    """Fear has a single speaker, so the fold that tests them, the third, cannot be made, and all others can."""
    manifest = Manifest((*corpus(), *(utterance("s04", "fear", n) for n in range(40))))
    settings: dict[str, Any] = {"of": "speaker_folds", "per_class": 10} if name == "low_resource" else {}
    whole = make_splits(name, corpus(), settings)
    third = {split.fold for split in whole if split.fold.startswith("3")}
    with pytest.raises(SereneError, match=r"Folds that can be made: 1.*, 5.* \(protocol\.run\)"):
        make_splits(name, manifest, settings)
    with pytest.raises(SereneError, match="fear"):
        make_some_splits(name, manifest, settings, sorted(third))
    splits, of_folds = make_some_splits(name, manifest, settings, [whole[0].fold])
    assert of_folds == len(whole)
    assert {split.fold for split in splits} == {split.fold for split in whole} - third


@pytest.mark.parametrize("name", ["leave_one_session_out", "speaker_folds", "leave_one_speaker_out", "speaker_holdout"])
def test_one_speaker_only(name: str) -> None:
    with pytest.raises(SereneError, match=r"All 30 utterances are of one speaker \(s00\).*serve: random_speaker_dep"):
        make_splits(name, corpus(speakers=1))


def test_a_class_that_only_one_speaker_has_is_named_with_the_fold() -> None:
    manifest = Manifest((*corpus(), utterance("s04", "fear", 0)))
    with pytest.raises(SereneError, match="speaker_folds, fold 3: training holds no clip of fear"):
        speaker_folds(manifest)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("speaker_fold", {}, "Unknown protocol 'speaker_fold'. Did you mean 'speaker_folds'"),
        ("speaker_folds", {"fold": 3}, "Unknown setting of the protocol speaker_folds, 'fold'. Did you mean 'folds'"),
        ("speaker_folds", {"folds": 4, "validation": "random"}, "Unknown validation 'random'. Did you mean 'random"),
        ("speaker_folds", {"folds": 1}, "at least 2 folds"),
        ("official", {"validation": "speaker"}, "Unknown validation 'speaker'"),
        ("tu2019", {"validation": "W"}, "Choices: F, M, both"),
        ("leave_one_session_out", {"validation": "random10"}, "too few for validation random10"),
    ],
)
def test_mistakes_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SereneError, match=message):
        make_splits(name, corpus(speakers=4, clips=1), settings)


def test_a_protocol_of_ones_own() -> None:
    (split,) = make_splits(f"{__name__}:women_train", corpus(), {"letter": "f"})
    assert {u.gender for u in split.train} == {"female"}
    assert title(f"{__name__}:women_train") == f"{__name__}:women_train (letter m)"


def women_train(manifest: Manifest, *, letter: str = "m") -> list[Split]:
    parts = [tuple(u for u in manifest if (u.gender or "")[0] == one) for one in ("f", "m")]
    return [split_of(parts[0 if letter == "f" else 1], (), parts[1 if letter == "f" else 0], rule="none")]


def test_a_title_says_every_setting() -> None:
    assert title("tu2019") == "tu2019 v1 (validation F)"
    assert title("speaker_folds", {"folds": 6}) == "speaker_folds v1 (folds 6, validation speaker, seed 0)"
    assert set(VERSIONS) == set(PROTOCOLS)


def test_a_title_counts_the_names_of_a_long_list() -> None:
    few, many = ("a", "b", "c", "d"), ("a", "b", "c", "d", "e")
    titles = [title("speaker_lists", {"test": names}) for names in (few, many, list(many), (*many[:-1], "f"))]
    assert titles[0].startswith("speaker_lists v1 (test ('a', 'b', 'c', 'd'), validation random10")
    assert titles[1].startswith("speaker_lists v1 (test 5 names ")
    assert titles[1] == titles[2] != titles[3]
