"""The figures of a model card: metrics, speakers and groups, speaker probe, calibration, other corpora, cold start."""

from __future__ import annotations

from serene.evaluation.columns import MOST_CLASSES
from serene.reporting.card_words import Subject, corpus_of, decimal, metric, percent, plain, share, table


def figures(s: Subject) -> str:
    """Give the metrics with their intervals, and the recall of each class."""
    one, rows = decimal if s.dimensional else share, []
    for key, figure in s.content["metrics"].items():
        before = (s.content["validation"] or {}).get(key)
        deviation = "one seed" if figure["std"] is None else one(figure["std"])
        rows.append([metric(key), s.said(figure), deviation, s.said(before) if before else "no such part"])
    parts = ["## Figures", table(["", "test", "deviation over seeds", "validation"], rows)]
    recalls = s.content.get("per_class_recall") or {}
    if recalls and len(recalls) <= MOST_CLASSES:
        parts.append(table(["", "recognised"], [[plain(name), share(recall)] for name, recall in recalls.items()]))
    return "\n\n".join(parts)


def speakers(s: Subject) -> str:
    """Say how far the speakers are apart, and the groups that the corpus tells apart; nobody is named."""
    found, one = s.content["speaker_spread"], decimal if s.dimensional else share
    spreads = {f"CCC of {plain(name)}": of for name, of in found.items()} if s.dimensional else {"UA": found}
    lines = [
        f"{name} of single test speakers goes from {one(of['worst'])} to {one(of['best'])}; the worst tenth has "
        f"{one(of['worst_tenth'])} on average."
        for name, of in spreads.items()
    ]
    return "\n\n".join(["## Speakers and groups", *lines, *_groups(s)])


def _groups(s: Subject) -> list[str]:
    keys, tables = [f"ccc_{name}" for name in s.classes] if s.dimensional else ["ua"], []
    for column, groups in (s.content.get("per_group") or {}).items():
        rows = []
        for name, own in groups.items():
            measured = [s.said(own["metrics"][key]) if own["metrics"] else "too few speakers" for key in keys]
            rows.append([plain(name), f"{own['n_speakers']:,}", f"{own['n_utterances']:,}", *measured])
        tables.append(table([column, "speakers", "clips", *map(metric, keys)], rows))
    return tables or ["Groups of speakers were not compared: the corpus does not say who belongs to which."]


def probe(s: Subject) -> str:
    """Say how much of the speaker is left in the embedding."""
    found, lines = s.content["speaker_probe"] or {}, []
    for part, own in (("test", found), ("training", found.get("train_speakers") or {})):
        if own.get("accuracy") is not None:
            lines.append(
                f"* {part.capitalize()} speakers: from the embedding of a clip, a fresh probe names the right one of "
                f"{own['n_speakers']:.4g} for {share(own['accuracy'])} of the clips. Chance is {share(own['chance'])}, "
                f"always naming the most frequent one {share(own['majority'])}."
            )
    return "\n\n".join(["## Speaker probe", "\n".join(lines) or "How much of the speaker is left was not measured."])


def calibration(s: Subject) -> str:
    """Say how far scores can be taken for probabilities, and what a threshold brings."""
    if s.dimensional:
        return ""
    found, temperature = s.content.get("reliability"), s.config.get("temperature", 1.0)
    scaled = f"divides its logits by {temperature:.4g}, which was fitted to validation clips (temperature scaling)"
    lines = ["## Calibration", f"In serene, this model {'does not scale its scores' if temperature == 1 else scaled}."]
    if not found:
        return "\n\n".join([*lines, "How far scores are from probabilities was not measured."])
    rows = [[f"{one['threshold']:g}", share(one["answered"]), share(one["risk"])] for one in found["coverage"]]
    return "\n\n".join(
        [
            *lines,
            f"Expected calibration error (15 bins): {percent(found['ece'])}. Where clips whose highest score is below "
            "a threshold are left unanswered (`serene predict --abstain`):",
            table(["threshold", "clips answered", "of these wrong"], rows),
        ]
    )


def elsewhere(s: Subject) -> str:
    """Give the figures of the run's models on corpora that they were not trained on."""
    if not s.elsewhere:
        return ""
    keys = list(dict.fromkeys(key for one in s.elsewhere for key in one["metrics"]))
    enrolled = any(one.get("cold_start") for one in s.elsewhere)
    rows, notes = [], []
    for one in s.elsewhere:
        measured = [s.said(one["metrics"][key]) if key in one["metrics"] else "not measured" for key in keys]
        measured += [s.said(one["cold_start"]["all"]) if one.get("cold_start") else "not measured"] * enrolled
        rows.append([corpus_of(one), f"{one['n_utterances']:,}", f"{one['n_speakers']:,}", *measured])
        notes += [f"* {corpus_of(one)}: {plain(stamp)}" for stamp in one["stamps"]]
    last = f"{f'CCC of {plain(s.classes[0])}' if s.dimensional else 'UA'}, each speaker enrolled by all of their clips"
    head = ["", "clips", "speakers", *map(metric, keys), *[last] * enrolled]
    lines = ["## On other corpora", table(head, rows), "\n".join(notes)]
    return "\n\n".join(line for line in lines if line)


def cold_start(s: Subject) -> str:
    """Give accuracy by how many of a speaker's clips are enrolled, where that was measured."""
    if not s.cold_start:
        return ""
    rows = [[plain(clips), s.said(figure)] for clips, figure in s.cold_start.items()]
    head = ["clips of the speaker", f"CCC of {plain(s.classes[0])}" if s.dimensional else "UA"]
    said = (
        "Each test speaker is enrolled by so many of their own clips, or by all that there are if these are fewer, "
        "without labels. The enrolled clips are answered as well; so never compare with a system that hears one clip "
        "at a time."
    )
    return "\n\n".join(["## Cold start", said, table(head, rows)])
