"""The low-resource protocol of Gat et al. 2022: training cut to so many clips of each emotion, several times over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from serene.corpora.manifest import Manifest, Utterance
from serene.errors import SereneError, unknown
from serene.protocols.leave_one_group_out import GroupValidation, leave_one_session_out, speaker_folds
from serene.protocols.partition import make_split, shuffled
from serene.protocols.split import Split

Base = Literal["leave_one_session_out", "speaker_folds"]
FOLDS = 5

Clips = Mapping[str, Mapping[str, Utterance]]  # of a training part: emotion -> id -> clip


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
    if not any(u.emotion for u in manifest):
        raise SereneError(
            "Protocol low_resource takes so many clips of each emotion, and these clips have none: it cannot serve "
            "dimensions."
        )
    whole = _base(manifest, of, folds, validation, seed)
    training = {split.fold: _by_emotion(split.train) for split in whole}
    _need_enough(training, per_class)
    return [
        make_split("low_resource", f"{split.fold}-{subset}", train, split.validation, split.test, validation)
        for split in whole
        for subset, train in _draws(training[split.fold], split.fold, per_class, subsets, seed)
    ]


def _base(manifest: Manifest, of: str, folds: int, validation: GroupValidation, seed: int) -> list[Split]:
    if of not in get_args(Base):
        raise SereneError(unknown("base protocol of low_resource", of, get_args(Base)))
    if of == "speaker_folds":
        return speaker_folds(manifest, folds=folds, validation=validation, seed=seed)
    if folds != FOLDS:
        raise SereneError(
            f"folds is {folds}, but {of} has a fold for each session; leave `folds` out, or set `of` to speaker_folds."
        )
    return leave_one_session_out(manifest, validation=validation, seed=seed)


def _by_emotion(train: Sequence[Utterance]) -> Clips:
    clips: defaultdict[str, dict[str, Utterance]] = defaultdict(dict)
    for u in train:
        if u.emotion:
            clips[u.emotion][u.id] = u
    return clips


def _need_enough(training: Mapping[str, Clips], per_class: int) -> None:
    """Raise SereneError for the fold and emotion with the fewest clips, so that what it advises serves all folds."""
    lacking = [
        (len(clips), emotion, fold)
        for fold, by_emotion in training.items()
        for emotion, clips in by_emotion.items()
        if len(clips) < per_class
    ]
    if lacking:
        fewest, emotion, fold = min(lacking)
        raise SereneError(
            f"Protocol low_resource needs {per_class} training clips of each emotion; fold {fold} has only {fewest} "
            f"of {emotion}: set per_class to {fewest} or less."
        )


def _draws(
    by_emotion: Clips, fold: str, per_class: int, subsets: int, seed: int
) -> Iterator[tuple[int, list[Utterance]]]:
    """Draw the subsets: always the first clips of the same order, so that a smaller draw is part of a larger one."""
    for subset in range(1, subsets + 1):
        orders = [(clips, shuffled(clips, seed, f"subset {fold}-{subset}")) for clips in by_emotion.values()]
        yield subset, [clips[name] for clips, names in orders for name in names[:per_class]]
