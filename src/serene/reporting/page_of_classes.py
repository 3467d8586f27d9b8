"""What the report page shows of a task of classes: accuracies, what is taken for what, the recall of each speaker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from serene.evaluation.columns import MOST_CLASSES
from serene.evaluation.report import Report
from serene.reporting import plots, reliability_plots, speaker_plots
from serene.reporting.page_style import svg
from serene.reporting.page_words import (
    Card,
    bar,
    classes_word,
    interval,
    names_speakers,
    percent,
    points,
    probe_card,
    with_interval,
)

METRIC_NAMES = {
    "ua": "UA, mean recall over {classes}",
    "wa": "WA, share of right answers",
    "macro_f1": "macro-F1",
}
HEADLINE = "UA with its 95 % interval over speakers"
PERFORMANCE = "UA"


def headline(content: Mapping[str, Any]) -> dict[str, str]:
    """Give column -> cell of a report's line in a summary of several."""
    ua = content["metrics"]["ua"]
    return {"UA": interval(ua), "0 to 100 %": bar(ua)}


def cards(content: Mapping[str, Any]) -> list[Card]:
    """Give the figures that stand first."""
    ua, spread = content["metrics"]["ua"], content["speaker_spread"]
    n_classes, named = len(content["classes"]), names_speakers(content)
    found = [
        ("UA on unseen speakers" if content["speaker_independent"] else "UA", percent(ua["value"]), with_interval(ua)),
        ("chance", f"{100 / n_classes:.2g}&nbsp;%", f"one of {n_classes:,} speakers") if named else probe_card(content),
        (
            "worst to best speaker" if named else "speakers' UA, worst to best",
            f"{100 * spread['worst']:.0f}&ndash;{100 * spread['best']:.0f}&nbsp;%",
            f"the worst tenth {percent(spread['worst_tenth'])}",
        ),
    ]
    if content["gap"] is not None:
        validation = percent(content["validation"]["ua"]["value"])
        found.append(("validation less test", f"{100 * content['gap']:+.1f}", f"points of UA; validation {validation}"))
    return found


def figures(content: Mapping[str, Any]) -> list[list[str]]:
    """Give a row for each metric: its name, test, deviation over seeds, mean of folds, validation."""
    rows = []
    for key, name in METRIC_NAMES.items():
        test, folds = content["metrics"][key], content["metrics_mean_of_folds"][key]
        validation = interval(content["validation"][key]) if content["validation"] else "none"
        name = name.format(classes=classes_word(content))
        rows.append([name, interval(test), points(test["std"]), percent(folds["value"]), validation])
    return rows


def drawn(content: Mapping[str, Any]) -> str:
    """Say what is drawn for the intervals."""
    if names_speakers(content):
        return "utterances of each speaker drawn with replacement"
    return "speakers drawn with replacement, then utterances of each"


def answers(_: Report, content: Mapping[str, Any], name: str) -> str:
    """Draw which classes are taken for which, and how far the scores can be trusted."""
    return _confusion(content, name) + _reliability(content, name)


def _confusion(content: Mapping[str, Any], name: str) -> str:
    matrix, classes = content["confusion"], content["classes"]
    title = f"Which {classes_word(content)} are taken for which"
    if matrix is None:
        why = f"a picture of {len(classes):,} {classes_word(content)} against each other cannot be read"
        return f'<h3>{title}</h3><p class="soft">Not drawn: {why}. It is made for up to {MOST_CLASSES}.</p>'
    over = "all seeds together" if len(content["seeds"]) > 1 else "counts below the shares"
    return f"<h3>{title} ({over})</h3>" + svg(plots.confusion(np.array(matrix), classes), f"{name}-confusion")


def _reliability(content: Mapping[str, Any], name: str) -> str:
    """Draw whether scores mean what they say, and what abstaining brings; nothing where they are no probabilities."""
    found = content.get("reliability")
    if not found:
        return ""
    picture = svg(reliability_plots.reliability(found), f"{name}-reliability")
    scaled = found["temperatures"]
    by = f", after temperatures of {min(scaled):.2f} to {max(scaled):.2f}" if len(scaled) > 1 else ""
    by = f", after a temperature of {scaled[0]:.2f}" if len(scaled) == 1 else by
    note = (
        "Left: how often decisions of a score are right; the larger the dot, the more of them. On the dashed line the "
        "scores are what they say; dots below it are too sure of themselves. The expected calibration error, the mean "
        f"distance from it, is {interval(found['ece'])}{by}. Right: what is wrong of the clips that are answered, if "
        "those of low scores are not. Dots are thresholds on the score, the dashed line is the error of all clips; the "
        f"mean of the curve (AURC) is {percent(found['aurc'])}."
    )
    return f'<h3>Do the scores mean what they say?</h3>{picture}<p class="soft">{note}</p>'


def speakers(content: Mapping[str, Any], name: str) -> str:
    """Draw every speaker's UA, and the recall of each class where the report holds it."""
    people = content["per_speaker"]
    names, ua = [one["speaker"] for one in people], np.array([one["ua"] for one in people])
    if "recall" in people[0]:
        recall = np.array([[np.nan if v is None else v for v in one["recall"].values()] for one in people])
        return svg(speaker_plots.per_speaker_recall(names, ua, recall, content["classes"]), f"{name}-speakers")
    what = "recall" if names_speakers(content) else "UA"
    line = {what: (range(1, len(ua) + 1), ua.tolist(), None, None)}
    return svg(plots.curves(line, "speakers, the worst recognised first", what), f"{name}-speakers")


def of_speaker(content: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, str]:
    """Give column -> cell of a speaker's line; one who is a class has only one figure, the class's recall."""
    columns = {"recall": "ua"} if names_speakers(content) else {"UA": "ua", "WA": "wa"}
    recalls = {name: points(recall) for name, recall in one.get("recall", {}).items()}
    return {column: percent(one[key]) for column, key in columns.items()} | recalls
