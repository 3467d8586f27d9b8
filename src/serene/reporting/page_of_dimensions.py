"""What the report page shows of dimensions: CCC, predictions over truths, the CCC of each speaker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serene.evaluation.report import Report
from serene.reporting import plots, speaker_plots
from serene.reporting.page_style import svg
from serene.reporting.page_words import Card, count, escaped, number, plain_interval, probe_card, with_plain_interval

HEADLINE = "CCC with its 95 % interval over speakers (1 is perfect agreement, 0 none)"
PERFORMANCE = "CCC"


def headline(content: Mapping[str, Any]) -> dict[str, str]:
    """Give column -> cell of a report's line in a summary of several."""
    return {f"CCC, {name}": plain_interval(content["metrics"][f"ccc_{name}"]) for name in content["dimensions"]}


def cards(content: Mapping[str, Any]) -> list[Card]:
    """Give the figures that stand first."""
    found: list[Card] = []
    unseen = " on unseen speakers" if content["speaker_independent"] else ""
    for name in content["dimensions"]:
        overall, of_speakers = content["metrics"][f"ccc_{name}"], content["metrics"][f"ccc_{name}_of_speakers"]
        spread = content["speaker_spread"][name]
        reach = f"worst {number(spread['worst'])}, best {number(spread['best'])}"
        word = escaped(name)
        found.append((f"CCC of {word}{unseen}", number(overall["value"]), with_plain_interval(overall)))
        found.append((f"mean of speakers' own CCC, {word}", number(of_speakers["value"]), reach))
    found.append(probe_card(content))
    if content["gap"] is not None:
        over = ", mean over dimensions" if len(content["dimensions"]) > 1 else ""
        found.append(("validation less test", f"{content['gap']:+.3f}", f"of CCC{over}"))
    return found


def figures(content: Mapping[str, Any]) -> list[list[str]]:
    """Give a row for each metric: its name, test, deviation over seeds, mean of folds, validation."""
    rows = []
    for name in content["dimensions"]:
        for key, said in ((f"ccc_{name}", "CCC of {}"), (f"ccc_{name}_of_speakers", "mean of speakers' own CCC of {}")):
            test, folds = content["metrics"][key], content["metrics_mean_of_folds"][key]
            validation = plain_interval(content["validation"][key]) if content["validation"] else "none"
            said = said.format(escaped(name))
            rows.append([said, plain_interval(test), number(test["std"]), number(folds["value"]), validation])
    return rows


def drawn(_: Mapping[str, Any]) -> str:
    """Say what is drawn for the intervals."""
    return "speakers drawn with replacement, then utterances of each (for the mean of speakers' own, speakers alone)"


def answers(report: Report, content: Mapping[str, Any], name: str) -> str:
    """Draw what was predicted over what is true."""
    if report.predictions is None:
        return ""
    picture = plots.agreement(report.predictions.truth, report.predictions.prediction, content["dimensions"])
    over = " (all seeds together)" if len(content["seeds"]) > 1 else ""
    note = (
        "Perfect predictions lie on the dashed line. A cloud that is flatter than the line shrinks what it predicts "
        "towards the mean, one that lies beside it is offset: CCC is lowered by both, a correlation by neither."
    )
    return f'<h3>Predicted over true{over}</h3>{svg(picture, f"{name}-agreement")}<p class="soft">{note}</p>'


def speakers(content: Mapping[str, Any], name: str) -> str:
    """Draw every speaker's own CCC, and say who has none."""
    people = content["per_speaker"]
    ccc = {dimension: [one["ccc"][dimension] for one in people] for dimension in content["dimensions"]}
    picture = svg(speaker_plots.per_speaker_ccc([one["speaker"] for one in people], ccc), f"{name}-speakers")
    without = {dimension: many for dimension, many in content["speakers_without_ccc"].items() if many}
    if not without:
        return picture
    said = ", ".join(f"{count(many, 'speaker')} ({escaped(dimension)})" for dimension, many in without.items())
    why = "their true values do not differ, as those of a single clip cannot, and they are left out of the mean"
    return f'{picture}<p class="soft">Without a CCC of their own: {said}; {why}.</p>'


def of_speaker(_: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, str]:
    """Give column -> cell of a speaker's line."""
    return {f"CCC, {dimension}": number(value) for dimension, value in one["ccc"].items()}
