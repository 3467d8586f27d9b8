"""The labels a recipe asks for: which one, which classes of it, and which of them are joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from serene.corpora.manifest import Manifest, words
from serene.errors import SereneError


def choose(
    manifest: Manifest, *, target: str = "emotion", use: Sequence[str] | None = None, join: Mapping[str, str]
) -> tuple[Manifest, tuple[str, ...]]:
    """Keep the utterances that have a wanted label, and put that label in `emotion`.

    Args:
        manifest: as prepared: it keeps every label of the corpus and is not changed.
        target: the column to learn, `emotion` or `emotion_perceived`.
        use: the classes, in the order of the scores; all that occur, sorted, without it.
        join: label -> the class it counts as, applied first.

    Returns:
        The chosen utterances and the classes.

    Raises:
        SereneError: a class that does not occur, or fewer than two.
    """
    labels = {u.id: getattr(u, target) for u in manifest}
    labels = {name: join.get(label, label) for name, label in labels.items() if label is not None}
    counts = Counter(labels.values())
    classes = tuple(use) if use is not None else tuple(sorted(counts))
    missing = [name for name in classes if name not in counts]
    if missing:
        held = words(sorted(counts.items()))
        raise SereneError(f"No utterance has the {target.replace('_', ' ')} '{missing[0]}'. The corpus has: {held}.")
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise SereneError(f"At least two different classes are needed; the labels give {list(classes)}.")
    kept = tuple(replace(u, emotion=labels[u.id]) for u in manifest if labels.get(u.id) in classes)
    return replace(manifest, utterances=kept), classes
