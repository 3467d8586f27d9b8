"""Protocols that leave one session, speaker or group of speakers out for the test, each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError
from serene.protocols.partition import check_choice, grouped_by, hold_back, make_split, need_two_speakers
from serene.protocols.split import Split, some, speakers_of

GroupValidation = Literal["speaker", "random20", "random10", "none"]


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
    splits = []
    for session, held in grouped_by("session", manifest).items():
        talkers = {letter: tuple(u for u in held if _letter(u) == letter) for letter in ("F", "M")}
        found = sorted({f"{u.speaker} ({u.gender or 'gender unknown'})" for u in held})
        if len(found) != 2 or any(len(speakers_of(clips)) != 1 for clips in talkers.values()):
            raise SereneError(
                f"Protocol tu2019 needs one woman and one man in each session; session {session} has {some(found)}."
            )
        train = tuple(u for u in manifest if u.session != session)
        for letter in "FM" if validation == "both" else validation:
            test = talkers["M" if letter == "F" else "F"]
            splits.append(make_split("tu2019", f"{session}{letter}", train, talkers[letter], test, "speaker"))
    return splits


def speaker_folds(
    manifest: Manifest, *, folds: int = 5, validation: GroupValidation = "speaker", seed: int = 0
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
    groups = {fold: tuple(u for u in manifest if u.speaker in chunk) for fold, chunk in chunks.items()}
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


def _leave_one_out(
    name: str, manifest: Manifest, groups: Mapping[str, Sequence[Utterance]], validation: str, seed: int
) -> list[Split]:
    check_choice(validation, get_args(GroupValidation))
    need_two_speakers(manifest)
    needed = 3 if validation == "speaker" else 2
    if len(groups) < needed:
        raise SereneError(
            f"Protocol {name} with validation {validation} needs at least {needed} groups of speakers; "
            f"there are {len(groups)} ({some(groups)})."
        )
    splits, folds = [], list(groups)
    for n, fold in enumerate(folds):
        following = folds[(n + 1) % len(folds)]
        if validation == "speaker":
            train = [u for other in folds if other not in (fold, following) for u in groups[other]]
            held: Iterable[Utterance] = groups[following]
        else:
            train, held = hold_back([u for o in folds if o != fold for u in groups[o]], validation, seed, fold)
        splits.append(make_split(name, fold, train, held, groups[fold], validation))
    return splits


def _letter(utterance: Utterance) -> str:
    return (utterance.gender or " ")[0].upper()
