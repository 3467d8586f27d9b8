"""Split-half: utterances in two halves that share no text, with every speaker in both as far as can be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TRIES = 20  # splits of the texts, until every speaker is in both halves


def groups(names: np.ndarray, texts: Sequence[str | None] | None) -> tuple[np.ndarray, str | None]:
    """Number what must stay together: a text, or the utterance alone.

    Args:
        names: who speaks (utterance,).
        texts: what is said (utterance,), empty or None for a text that occurs once; None where texts are unknown.

    Returns:
        Index of the group (utterance,), and a note where texts cannot be kept apart, so that each utterance is alone.
    """
    alone = np.arange(len(names))
    if texts is None:
        return alone, None
    labels = [("text", text) if text else ("utterance", str(i)) for i, text in enumerate(texts)]
    place = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    group = np.array([place[label] for label in labels])
    usable = len(np.unique(names[spread(names, group)]))
    if usable >= max(2, len(np.unique(names)) / 2):
        return group, None
    return alone, f"The halves share texts: only {usable} of {len(np.unique(names))} speakers say more than one text."


def spread(names: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mark the utterances of speakers who have at least two groups (utterance,)."""
    pairs = {(name, number) for name, number in zip(names.tolist(), group.tolist(), strict=True)}
    found = np.array([name for name, _ in pairs])
    speakers, counts = np.unique(found, return_counts=True)
    return np.isin(names, speakers[counts >= 2])


def split(speaker: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split until all speakers are on both sides, or keep the best of 20 splits.

    Returns:
        bool (utterance,), True for the training half; bool (speaker,), True for speakers on both sides.
    """
    first = halves(speaker, group, rng)
    both = _on_both_sides(speaker, first)
    for _ in range(TRIES - 1):
        if both.all():
            break
        other = halves(speaker, group, rng)
        if _on_both_sides(speaker, other).sum() > both.sum():
            first, both = other, _on_both_sides(speaker, other)
    return first, both


def halves(speaker: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Split whole groups into two halves, at random but so that each speaker's utterances are shared out evenly.

    Groups come in random order; each goes to the half where its speakers have less so far.

    Args:
        speaker: index of the speaker (utterance,).
        group: index of the text, or of the utterance itself where texts are unknown (utterance,).
        rng: source of randomness.

    Returns:
        bool (utterance,): True for the training half.
    """
    surplus = np.zeros(speaker.max() + 1)  # utterances of each speaker in the training half, less those in the other
    first = np.zeros(len(speaker), dtype=bool)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    for place in rng.permutation(len(members)):
        rows = members[place]
        lean = surplus[speaker[rows]].sum()
        goes_first = lean < 0 or (lean == 0 and rng.random() < 0.5)
        first[rows] = goes_first
        np.add.at(surplus, speaker[rows], 1 if goes_first else -1)
    return first


def _on_both_sides(speaker: np.ndarray, first: np.ndarray) -> np.ndarray:
    n_speakers = speaker.max() + 1
    return (np.bincount(speaker[first], minlength=n_speakers) > 0) & (
        np.bincount(speaker[~first], minlength=n_speakers) > 0
    )
