"""A timeline's windows become segments: the likeliest sequence of labels, with borders that lie in pauses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from serene.inference.emotion import Segment
from serene.inference.speech import CHUNK, spoken
from serene.sound import SAMPLE_RATE

CHANGE = 1.5  # what a change of label costs, in nats: the new one has to be exp(1.5) = 4.5 times as likely
FLOOR = 1e-6  # probability; what is less likely counts as much
REACH = 0.5  # seconds from a border within which a pause draws it
PIECE = 320 * CHUNK  # samples (10.2 s) in which speech is looked for at one level

Pauses = Sequence[tuple[float, float]]  # when each begins and ends, in seconds


def merged(
    windows: Sequence[Segment], hop: float, pauses: Pauses = (), threshold: float | None = None
) -> tuple[Segment, ...]:
    """Join windows to segments that follow each other without a gap.

    Windows with labels get the likeliest sequence of labels (`smoothed`); of a run of one label whose mean score is
    below the threshold, the note `uncertain`. Windows without speech are joined by their note, and those with scores
    and no decision stay by themselves. The border between two segments lies halfway between the middles of their
    windows; a pause near it draws one between two labels to its own middle.

    Args:
        windows: begin so many seconds (`hop`) after each other.
        hop: seconds.
        pauses: in the speech.
        threshold: of the scores.
    """
    edges, segments = borders(windows, hop), list[Segment]()
    for (label, note, _), members in groupby(enumerate(_decided(windows, hop, threshold)), key=lambda own: own[1]):
        places = [place for place, _ in members]
        start, end = edges[places[0]], edges[places[-1] + 1]
        if label and segments and segments[-1].label:
            start = _drawn(start, segments[-1].start, end, pauses)
            segments[-1] = replace(segments[-1], end=start)
        segments.append(Segment(start, end, label, mean_scores([windows[place].scores for place in places]), note))
    return tuple(segments)


def smoothed(several: Sequence[Mapping[str, float]], share: float) -> list[str]:
    """Choose the likeliest sequence of labels for windows that follow each other (Viterbi 1967).

    Each window's log-probability counts by its share that is new, since overlapping windows tell of the same sound
    twice, and each change of label costs `CHANGE`.

    Args:
        several: every window's probabilities, all of the same labels.
        share: a hop's share of a window.
    """
    labels = list(several[0])
    evidence = share * np.log(np.maximum([[scores[label] for label in labels] for scores in several], FLOOR))
    best, before = evidence[0], list[np.ndarray]()
    for own in evidence[1:]:
        changed = best.max() - CHANGE
        before.append(np.where(best >= changed, np.arange(len(labels)), best.argmax()))
        best = np.maximum(best, changed) + own
    path = [int(best.argmax())]
    for back in reversed(before):
        path.append(int(back[path[-1]]))
    return [labels[place] for place in reversed(path)]


def borders(windows: Sequence[Segment], hop: float) -> list[float]:
    """Give the times, in seconds, between which each window speaks for the sound: one more than there are windows."""
    width = windows[0].end - windows[0].start
    return [0.0, *(round(window.start + (width - hop) / 2, 3) for window in windows[1:]), windows[-1].end]


def mean_scores(several: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Take the mean of the scores that are there; nothing where there are none."""
    held = [scores for scores in several if scores]
    return {label: float(np.mean([scores[label] for scores in held])) for label in held[0]} if held else {}


def watched(blocks: Iterable[np.ndarray], found: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Pass blocks of samples (sample,) on; put into `found` whether there is speech in every 32 ms of them."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        yield block
        held = np.concatenate([held, block])
        while len(held) >= PIECE:
            found.append(_spoken(held[:PIECE]))
            held = held[PIECE:]
    if len(held) >= SAMPLE_RATE // 10:  # less has no level
        found.append(_spoken(held))


def pauses_of(found: Sequence[np.ndarray]) -> Pauses:
    """Give the pauses between what is speech, as `watched` found it."""
    silent = ~np.concatenate([*found, np.ones(1, bool)])
    changes = np.flatnonzero(np.diff(np.concatenate([[False], silent])))
    return [(start, end) for start, end in (changes.reshape(-1, 2) * CHUNK / SAMPLE_RATE).tolist()]


def _spoken(samples: np.ndarray) -> np.ndarray:
    likely = spoken(samples)
    return np.zeros(-(-len(samples) // CHUNK), bool) if likely is None else likely


def _decided(
    windows: Sequence[Segment], hop: float, threshold: float | None
) -> list[tuple[str | None, str | None, int]]:
    """Give each window's label, or its note, and a number of its own where it has neither."""
    share = hop / max(hop, windows[0].end - windows[0].start)
    found = list[tuple[str | None, str | None, int]]()
    for decides, members in groupby(windows, key=lambda own: bool(own.scores and (own.label or own.note))):
        few = list(members)
        if not decides:
            found += [(None, own.note, -1 if own.note else len(found) + place) for place, own in enumerate(few)]
            continue
        labels = smoothed([own.scores for own in few], share)
        for label, run in groupby(zip(labels, few, strict=True), key=lambda own: own[0]):
            scores = [own.scores for _, own in run]
            unsure = threshold is not None and mean_scores(scores)[label] < threshold
            found += [(None, "uncertain", -1) if unsure else (label, None, -1)] * len(scores)
    return found


def _drawn(border: float, after: float, before: float, pauses: Pauses) -> float:
    """Give the middle of the longest pause near a border, if that lies between two times; else the border."""
    near = [
        (end - start, (start + end) / 2) for start, end in pauses if start < border + REACH and end > border - REACH
    ]
    middle = max(near)[1] if near else border
    return round(middle, 3) if after < middle < before else border
