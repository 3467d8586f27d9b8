"""Protocols that leave one session, speaker or group of speakers out for the test, each once; on few clips, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np

from serene.corpora.manifest import Manifest
from serene.corpora.utterances import Utterances
from serene.errors import SereneError, unknown
from serene.protocols.partition import (
    FoldsRefused,
    check_choice,
    grouped_by,
    hold_back,
    make_folds,
    make_split,
    need_two_speakers,
)
from serene.protocols.split import Split, shuffled_places, some, speakers_of

GroupValidation = Literal["speaker", "random20", "random10", "none"]
Base = Literal["leave_one_session_out", "speaker_folds"]
FOLDS = 5

Clips = Mapping[str, Utterances]  # of a training part, by emotion


def leave_one_session_out(manifest: Manifest, *, validation: GroupValidation = "speaker", seed: int = 0) -> list[Split]:
    """Test on each session once; the fold bears the session's name.

    Args:
        manifest: every utterance has a session.
        validation: `speaker` takes the next session (after the last, the first); `random20` and `random10` take that
            share of the remaining utterances, stratified by emotion; `none` takes nothing.
        seed: of the random validation.
    """
    sessions = grouped_by("session", manifest)
    return _leave_one_out("leave_one_session_out", manifest, sessions, validation, seed)


def tu2019(manifest: Manifest, *, validation: Literal["F", "M", "both"] = "F") -> list[Split]:
    """Hold out each two-talker session: one talker validates, the other tests (Tu et al. 2019, section 4.1).

    The paper does not say which talker validates: `F` the woman, `M` the man, `both` each once (two splits per
    session). The fold `1F` is session 1 with its woman validating.
    """
    check_choice(validation, ("F", "M", "both"))
    folds = {}
    for session, held in grouped_by("session", manifest).items():
        talkers = {
            letter: held.where("gender", lambda g, letter=letter: (g or "").upper().startswith(letter))
            for letter in "FM"
        }
        found = sorted({f"{u.speaker} ({u.gender or 'gender unknown'})" for u in held})
        if len(found) != 2 or any(len(speakers_of(clips)) != 1 for clips in talkers.values()):
            raise SereneError(
                f"Protocol tu2019 needs one woman and one man in each session; session {session} has {some(found)}."
            )
        train = manifest.utterances.where("session", lambda other, session=session: other != session)
        for letter in "FM" if validation == "both" else validation:
            test = talkers["M" if letter == "F" else "F"]
            fold = f"{session}{letter}"
            folds[fold] = partial(make_split, "tu2019", fold, train, talkers[letter], test, "speaker")
    return make_folds(folds)


def speaker_folds(
    manifest: Manifest, *, folds: int = FOLDS, validation: GroupValidation = "speaker", seed: int = 0
) -> list[Split]:
    """Test on each of so many chunks of speakers once: sorted speaker ids, cut by `numpy.array_split`.

    Args:
        manifest: has at least as many speakers as folds.
        folds: number of chunks; the folds are named 1, 2, ...
        validation: `speaker` takes the next chunk (after the last, the first); the others as in
            `leave_one_session_out`.
        seed: of the random validation.
    """
    need_two_speakers(manifest)
    if not 2 <= folds <= len(manifest.speakers):
        raise SereneError(
            f"Protocol speaker_folds was asked for {folds} folds of {len(manifest.speakers)} speakers; "
            "at least 2 folds and no more folds than speakers are needed."
        )
    chunks = {str(n): set(chunk.tolist()) for n, chunk in enumerate(np.array_split(manifest.speakers, folds), 1)}
    groups = {fold: manifest.utterances.where("speaker", chunk.__contains__) for fold, chunk in chunks.items()}
    return _leave_one_out("speaker_folds", manifest, groups, validation, seed)


def leave_one_speaker_out(manifest: Manifest, *, validation: GroupValidation = "speaker", seed: int = 0) -> list[Split]:
    """Test on each speaker once; the fold bears the speaker's name.

    Args:
        manifest: any.
        validation: `speaker` takes the next speaker (after the last, the first); the others as in
            `leave_one_session_out`.
        seed: of the random validation.
    """
    speakers = grouped_by("speaker", manifest)
    return _leave_one_out("leave_one_speaker_out", manifest, speakers, validation, seed)


def low_resource(
    manifest: Manifest,
    *,
    per_class: int = 100,
    subsets: int = 5,
    of: Base = "leave_one_session_out",
    folds: int = FOLDS,
    validation: GroupValidation = "random20",
    seed: int = 0,
) -> list[Split]:
    """Cut the training of every fold of a base protocol to `per_class` clips of each emotion, `subsets` times.

    Validation and test stay whole. The subsets of a fold are drawn independently of each other; but a smaller
    `per_class` takes a part of what a larger one takes in the same subset, so that the steps of a curve differ by the
    clips that are added alone. Fold `3-2` is the second subset of fold 3. One point of the learning curve of Gat et al.
    2022, which names neither its steps nor the draw.

    Args:
        manifest: what the base protocol needs, with enough clips of each emotion; clips without one are not drawn.
        per_class: clips of each emotion that training keeps.
        subsets: number of draws per fold.
        of: the base protocol.
        folds: number of folds, for `speaker_folds` only: `leave_one_session_out` has one per session.
        validation: of the base protocol; it is taken before the training is cut.
        seed: of a random validation and of the draws.

    Raises:
        SereneError: fewer than one clip or subset, an emotion with fewer training clips than `per_class` in some fold,
            or whatever the base protocol refuses.
    """
    if per_class < 1 or subsets < 1:
        raise SereneError(
            f"Protocol low_resource was asked for {per_class} clips per class and {subsets} subsets; at least 1 of "
            "each is needed."
        )
    if not any(manifest.utterances.counts("emotion")):
        raise SereneError(
            "Protocol low_resource takes so many clips of each emotion, and these clips have none: it cannot serve "
            "dimensions."
        )
    whole, refused = _base(manifest, of, folds, validation, seed)
    training = {split.fold: _by_emotion(split.train) for split in whole}
    cut = partial(_cut, training, per_class, seed)
    numbers = range(1, subsets + 1)
    wanted = {fold: partial(cut, split, fold) for split in whole for fold in (f"{split.fold}-{n}" for n in numbers)}
    return make_folds(wanted, {f"{fold}-{n}": why for fold, why in refused.items() for n in numbers})


def _leave_one_out(
    name: str, manifest: Manifest, groups: Mapping[str, Utterances], validation: str, seed: int
) -> list[Split]:
    check_choice(validation, get_args(GroupValidation))
    need_two_speakers(manifest)
    needed = 3 if validation == "speaker" else 2
    if len(groups) < needed:
        raise SereneError(
            f"Protocol {name} with validation {validation} needs at least {needed} groups of speakers; "
            f"there are {len(groups)} ({some(groups)})."
        )
    folds = list(groups)

    def without(fold: str, following: str) -> Split:
        if validation == "speaker":
            train = Utterances.joined(groups[other] for other in folds if other not in (fold, following))
            return make_split(name, fold, train, groups[following], groups[fold], validation)
        rest = Utterances.joined(groups[other] for other in folds if other != fold)
        train, held = hold_back(rest, validation, seed, fold)
        return make_split(name, fold, train, held, groups[fold], validation)

    following = [*folds[1:], folds[0]]
    return make_folds({fold: partial(without, fold, after) for fold, after in zip(folds, following, strict=True)})


def _base(
    manifest: Manifest, of: str, folds: int, validation: GroupValidation, seed: int
) -> tuple[Sequence[Split], Mapping[str, SereneError]]:
    """Make the folds that are cut, and say why others cannot be made."""
    if of not in get_args(Base):
        raise SereneError(unknown("base protocol of low_resource", of, get_args(Base)))
    if of == "leave_one_session_out" and folds != FOLDS:
        raise SereneError(
            f"folds is {folds}, but {of} has a fold for each session; leave `folds` out, or set `of` to speaker_folds."
        )
    try:
        if of == "speaker_folds":
            return speaker_folds(manifest, folds=folds, validation=validation, seed=seed), {}
        return leave_one_session_out(manifest, validation=validation, seed=seed), {}
    except FoldsRefused as error:
        return error.made, error.refused


def _by_emotion(train: Utterances) -> Clips:
    return {emotion: clips for emotion, clips in train.groups("emotion").items() if emotion}


def _too_few(training: Mapping[str, Clips], per_class: int) -> SereneError:
    """Name the fold and emotion with the fewest clips, so that what is advised serves all folds."""
    counts = [(len(clips), emotion, fold) for fold, found in training.items() for emotion, clips in found.items()]
    fewest, emotion, fold = min(counts)
    return SereneError(
        f"Protocol low_resource needs {per_class} training clips of each emotion; fold {fold} has only {fewest} "
        f"of {emotion}: set per_class to {fewest} or less."
    )


def _cut(training: Mapping[str, Clips], per_class: int, seed: int, split: Split, fold: str) -> Split:
    """Draw a subset: always the first clips of the same order, so that a smaller draw is part of a larger one."""
    by_emotion = training[split.fold]
    if any(len(clips) < per_class for clips in by_emotion.values()):
        raise _too_few(training, per_class)
    drawn = (c.take(shuffled_places(c.values("id"), seed, f"subset {fold}")[:per_class]) for c in by_emotion.values())
    return make_split(
        "low_resource", fold, Utterances.joined(drawn), split.validation, split.test, split.validation_rule
    )
