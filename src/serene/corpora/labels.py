"""The labels a recipe asks for: which one, which classes of it, and which of them are joined."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from serene.corpora.manifest import Manifest, Utterance
from serene.corpora.spelling import words
from serene.errors import SereneError, quoted
from serene.task import RATINGS, Task, task_of


def choose(
    manifest: Manifest, *, target: str = "emotion", use: Sequence[str] | None = None, join: Mapping[str, str]
) -> tuple[Manifest, Task]:
    """Keep the utterances that have a wanted label, and put that label in `emotion`.

    Args:
        manifest: as prepared: it keeps every label of the corpus and is not changed.
        target: the column to learn: `emotion`, `emotion_perceived` or `speaker`; or `votes`, whose shares are learned:
            they stay in `votes`, restricted to the classes and summing to 1, and `emotion` is the one with most; or
            `dimensions`, the numeric columns that `use` names, on their native scales: `emotion` is then None.
        use: the classes, in the order of the scores; all that occur, sorted, without it.
        join: label -> the class it counts as, applied first.

    Returns:
        The chosen utterances, and the task of telling their labels.

    Raises:
        SereneError: no utterance has the label, a class does not occur, there are fewer than two, or a clip's votes
            cannot be made shares.
    """
    chosen, names = CHOICES.get(target, _choose_column)(manifest, target, use, join)
    return chosen, task_of(target, names)


def _choose_column(
    manifest: Manifest, target: str, use: Sequence[str] | None, join: Mapping[str, str]
) -> tuple[Manifest, tuple[str, ...]]:
    found, counts = manifest.utterances.counts(target), Counter[str]()
    labels = {label: join.get(label, label) for label in found if label is not None}
    for label, name in labels.items():
        counts[name] += found[label]
    if not counts:
        raise SereneError(f"No utterance has an {_named(target)}; to learn speakers set labels.target: speaker.")
    classes = tuple(use) if use is not None else tuple(sorted(counts))
    missing = [name for name in classes if name not in counts]
    if missing:
        held = words(sorted(counts.items()))
        raise SereneError(f"No utterance has the {_named(target)} '{quoted(missing[0])}'. The corpus has: {held}.")
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise SereneError(f"At least two different classes are needed; the labels give {quoted(list(classes))}.")
    kept = manifest.utterances.where(target, lambda label: labels.get(label) in classes)
    return replace(manifest, utterances=kept.replacing("emotion", map(labels.get, kept.values(target)))), classes


def _choose_dimensions(
    manifest: Manifest, _target: str, use: Sequence[str] | None, _join: Mapping[str, str]
) -> tuple[Manifest, tuple[str, ...]]:
    names = tuple(use or ())
    known = sorted({name for u in manifest for name in (*RATINGS, *u.numbers) if u.number(name) is not None})
    for name in names:
        if name not in known:
            raise SereneError(
                f"No utterance has the dimension '{name}'. "
                f"The corpus has: {quoted(', '.join(known)) or 'no numbers at all'}."
            )
    if not names or len(set(names)) < len(names):
        raise SereneError(
            f"labels.use is {list(names)}; labels.target dimensions needs different numeric columns there, such as "
            "[arousal, valence]."
        )
    rated = (all(u.number(name) is not None for name in names) for u in manifest)
    kept = manifest.utterances.take(np.fromiter(rated, bool, len(manifest)))
    if not kept:
        raise SereneError(f"No utterance has all of the dimensions {', '.join(names)}.")
    return replace(manifest, utterances=kept.replacing("emotion", itertools.repeat(None, len(kept)))), names


def _choose_votes(
    manifest: Manifest, _target: str, use: Sequence[str] | None, join: Mapping[str, str]
) -> tuple[Manifest, tuple[str, ...]]:
    occurring = {label for u in manifest if u.votes for label, count in _joined(u, join).items() if count}
    classes = tuple(use) if use is not None else tuple(sorted(occurring))
    missing = [name for name in classes if name not in occurring]
    if missing or len(set(classes)) < max(2, len(classes)):
        held = ", ".join(sorted(occurring)) or "no votes at all"
        wanted = f"'{missing[0]}'" if missing else "two different classes"
        raise SereneError(f"Listeners' votes hold no {wanted}. The corpus has: {quoted(held)}.")
    voted = (bool(_shares(u, classes, join)) for u in manifest)
    kept = manifest.utterances.take(np.fromiter(voted, bool, len(manifest)))
    emotions = (max(shares, key=shares.__getitem__) for shares in (_shares(u, classes, join) for u in kept))
    kept = kept.replacing("emotion", emotions).replacing("votes", (_shares(u, classes, join) for u in kept))
    return replace(manifest, utterances=kept), classes


def _shares(utterance: Utterance, classes: Sequence[str], join: Mapping[str, str]) -> dict[str, float]:
    """Give each class's share of the votes for these classes; nothing where no listener voted for one of them."""
    joined = _joined(utterance, join) if utterance.votes else {}
    votes = {name: joined.get(name, 0.0) for name in classes}
    total = sum(votes.values())
    return {name: count / total for name, count in votes.items()} if total > 0 else {}


def _joined(utterance: Utterance, join: Mapping[str, str]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for label, count in (utterance.votes or {}).items():
        if not 0 <= count < math.inf:
            raise SereneError(
                f"The clip '{quoted(utterance.id)}' has {count:g} votes for '{quoted(label)}'; a number from 0 was "
                "expected."
            )
        counts[join.get(label, label)] = counts.get(join.get(label, label), 0.0) + count
    if not sum(counts.values()) > 0:
        raise SereneError(
            f"The votes of the clip '{quoted(utterance.id)}' sum to 0, so they have no shares; leave the clip's votes "
            "empty."
        )
    return counts


def _named(target: str) -> str:
    return target.replace("_", " ")


CHOICES = {"votes": _choose_votes, "dimensions": _choose_dimensions}  # what is not a column of words
