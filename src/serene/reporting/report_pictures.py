"""The pictures of a report page: answers against truths, speakers, shifts, embedding and training, by the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.predictions import Predictions
from serene.evaluation.report import Report
from serene.reporting import answer_plots, plots
from serene.reporting.figures import SHARE, Unit, count
from serene.reporting.style import escaped, soft, svg, table
from serene.task import Task

WORST = 5  # speakers in the short table
FEWEST_POINTS = 10  # that a layout in the plane can say anything about


@dataclass(frozen=True)
class Shown:
    """A report that is shown."""

    report: Report
    content: Mapping[str, Any]  # what its `report.json` holds
    task: Task
    unit: Unit  # of the headline figures
    name: str  # unique on the page


def answers(s: Shown) -> str:
    """Draw what was answered against what is true."""
    return "".join(shown(s) for shown in ANSWERS[s.task.metric])


def _confusion(s: Shown) -> str:
    matrix, names, nouns = s.content["confusion"], s.task.names, f"{s.task.noun}s"
    title = f"Which {nouns} are taken for which"
    if matrix is None:
        why = f"a picture of {len(names):,} {nouns} against each other cannot be read"
        return f"<h3>{title}</h3>" + soft(f"Not drawn: {why}. It is made for up to {MOST_CLASSES}.")
    over = "all seeds together" if len(s.content["seeds"]) > 1 else "counts below the shares"
    return f"<h3>{title} ({over})</h3>" + svg(answer_plots.confusion(np.array(matrix), names), f"{s.name}-confusion")


def _reliability(s: Shown) -> str:
    """Draw whether scores mean what they say, and what abstaining brings; nothing where they are no probabilities."""
    found = s.content["reliability"]
    if not found:
        return ""
    scaled = sorted({f"{temperature:.2f}" for temperature in found["temperatures"]})
    by = f", after temperature scaling by {' to '.join(dict.fromkeys((scaled[0], scaled[-1])))}" if scaled else ""
    note = (
        "Left: how often decisions of a score are right; the larger the dot, the more of them. On the dashed line the "
        "scores are what they say; dots below it are too sure of themselves. The expected calibration error, the mean "
        f"distance from it, is {SHARE.interval(found['ece'])}{by}. Right: what is wrong of the clips that are answered "
        "if those of low scores are not. Dots are thresholds on the score, the dashed line is the error of all clips; "
        f"the mean of the curve (AURC) is {SHARE.one(found['aurc'])}."
    )
    picture = svg(answer_plots.reliability(found), f"{s.name}-reliability")
    return f"<h3>Do the scores mean what they say?</h3>{picture}{soft(note)}"


def _agreement(s: Shown) -> str:
    predictions = s.report.predictions
    if predictions is None:
        return ""
    picture = answer_plots.agreement(predictions.truth, predictions.prediction, s.task.names)
    over = " (all seeds together)" if len(s.content["seeds"]) > 1 else ""
    note = (
        "Perfect predictions lie on the dashed line. A cloud that is flatter than the line shrinks what it predicts "
        "towards the mean, one that lies beside it is offset: CCC is lowered by both, a correlation by neither."
    )
    return f"<h3>Predicted over true{over}</h3>{svg(picture, f'{s.name}-agreement')}{soft(note)}"


ANSWERS = {"ua": (_confusion, _reliability), "ccc": (_agreement,)}  # by a task's metric


def speakers(s: Shown) -> str:
    """Draw every speaker, list the worst, and say who has no figure of their own."""
    people = s.content["per_speaker"]
    own = MEASURES[s.task.metric](s.task, people)
    recall = {name: [one["recall"][name] for one in people] for name in people[0].get("recall", ())}
    picture = answer_plots.per_speaker([one["speaker"] for one in people], own, recall, s.unit.scale == SHARE.scale)
    parts = [f"<h3>Speakers</h3>{svg(picture, f'{s.name}-speakers')}"]
    without = {name: many for name, many in s.content.get("speakers_without_ccc", {}).items() if many}
    if without:
        said = ", ".join(f"{count(many, 'speaker')} ({escaped(name)})" for name, many in without.items())
        why = "their true values do not differ, as those of a single clip cannot, and they are left out of the mean"
        parts.append(soft(f"Without a CCC of their own: {said}; {why}."))
    cells = [[s.unit.bare(value) for value in row] for row in zip(*own.values(), *recall.values(), strict=True)]
    rows = [[escaped(one["speaker"]), f"{one['n']:,}", *of] for one, of in zip(people, cells, strict=True)]
    head = ["speaker, worst first", "utterances", *own, *recall]
    parts.append(table(head, rows[:WORST]))
    if len(rows) > WORST:
        parts.append(f"<details><summary>All {len(rows):,} speakers</summary>{table(head, rows)}</details>")
    return "\n".join(parts)


MEASURES = {  # by a task's metric, what is drawn of every speaker
    "ua": lambda task, people: {"UA" if task.speaker_probe else "recall": [one["ua"] for one in people]},
    "ccc": lambda task, people: {f"CCC of {name}": [one["ccc"][name] for one in people] for name in task.names},
}


def shift(s: Shown) -> str:
    """Draw whether speakers far from the others are recognised worse, where enough were tested."""
    found = s.content["shift"]
    if not found or not any(r for pairs in found["correlations"].values() for r in pairs.values()):
        return ""
    together = (pairs["embedding_and_labels"] for pairs in found["correlations"].values())
    both = ", ".join(f"{r['r']:.2f}" for r in together if r)
    embedding, labels = (escaped(found["against"][what]) for what in ("embedding", "labels"))
    note = (
        f"Each dot is a test speaker: how far the speaker's clips are from {embedding} in the embedding (left), and "
        f"from {labels} in the labels (right), as Kullback-Leibler divergences that few clips do not inflate. Above: "
        "the correlation with its 95 % interval"
    )
    note += f"; the two shifts themselves correlate by {both}." if both else "."
    picture = svg(answer_plots.shifts(found, s.unit.name), f"{s.name}-shift")
    return f"<h3>Do speakers who are unlike the others fare worse?</h3>{picture}{soft(note)}"


def layout(s: Shown) -> str:
    """Draw the embedding of a few speakers in the plane."""
    found = s.report.embedding
    if found is None or len(found.vectors) < FEWEST_POINTS:
        return ""
    own = found.predictions
    kinds = KINDS[s.task.kind](own)
    note = "A layout by t-SNE: distances between far groups mean little. " + (
        "Where little of the speaker is left, the colours by speaker are mixed."
        if s.task.speaker_probe
        else "Where speakers are told apart, each has a place of their own."
    )
    where = f"{own.part[0]}, fold {escaped(own.fold[0])}, seed {own.seed[0]}"
    picture = svg(answer_plots.tsne(found.vectors, kinds, own.speaker.tolist()), f"{s.name}-tsne")
    return f"<h3>The embedding of up to four speakers ({where})</h3>{picture}{soft(note)}"


def _emotions(own: Predictions) -> dict[str, np.ndarray]:
    return {"emotion": np.array(own.names)[own.truth]}


KINDS = {  # by a task's kind, what the embedding is coloured by beside the speaker
    "classes": _emotions,
    "votes": _emotions,
    "dimensions": lambda own: dict(zip(own.names, own.truth.T, strict=True)),
    "speakers": lambda _: {},
}


def training(s: Shown) -> str:
    """Draw what was logged over the epochs."""
    if not any(s.report.logs):
        return ""
    title = f"Training ({count(len(s.report.logs), 'run')}: mean and range)"
    return f"<h3>{title}</h3>" + svg(plots.learning_curves(s.report.logs), f"{s.name}-curves")
