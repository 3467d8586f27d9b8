"""Reports as one HTML page that needs nothing else: no network, no scripts, pictures and style inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serene.evaluation import plots
from serene.evaluation.page_style import FRAME, STYLE, svg
from serene.evaluation.page_words import (
    bar,
    classes_word,
    count,
    duration,
    escaped,
    interval,
    names_speakers,
    percent,
    points,
    with_interval,
)
from serene.evaluation.predictions import MOST_CLASSES
from serene.evaluation.report import Report
from serene.files import write_text

METRIC_NAMES = {
    "ua": "UA, mean recall over {classes}",
    "wa": "WA, share of right answers",
    "macro_f1": "macro-F1",
}
WORST = 5  # speakers in the short table
FEWEST_POINTS = 10  # that a layout in the plane can say anything about


def write_html(reports: Sequence[Report], path: str | Path, *, title: str = "serene report") -> None:
    """Write one page: a summary where there are several reports, then each of them.

    Args:
        reports: in the order in which they are to be read.
        path: the `.html` file, written whole or not at all.
        title: heading of the page.
    """
    parts = [f"<h1>{escaped(title)}</h1>"]
    if len(reports) > 1:
        parts.append(_summary([report.to_json() for report in reports]))
    parts += [_section(report, number) for number, report in enumerate(reports, 1)]
    write_text(path, FRAME.format(title=escaped(title), style=STYLE, body="\n".join(parts)))


def _summary(contents: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for number, content in enumerate(contents, 1):
        ua, leak = content["metrics"]["ua"], content["leak"] or {}
        hint = " &#9888;" if content["stamps"] else ""
        rows.append(
            f'<tr><td><a href="#report-{number}">{escaped(_title(content))}</a>{hint}</td><td>{interval(ua)}</td>'
            f"<td>{bar(ua)}</td><td>{percent(leak.get('accuracy'))}</td><td>{percent(leak.get('chance'))}</td></tr>"
        )
    note = (
        "Test speakers only. UA with its 95 % interval over speakers; leak is how often a fresh probe names the right "
        "test speaker from the embedding, with chance beside it."
    )
    if any(content["stamps"] for content in contents):
        note += " &#9888; marks results with a warning: read it before comparing."
    if len({content["protocol"] for content in contents}) > 1:
        note += " <b>The protocols differ, so these rows cannot be compared.</b>"
    head = "<tr><th></th><th>UA</th><th>0 to 100 %</th><th>speaker leak</th><th>chance</th></tr>"
    return f'<div class="scroll"><table class="summary">{head}{"".join(rows)}</table></div><p class="soft">{note}</p>'


def _section(report: Report, number: int) -> str:
    content = report.to_json()
    stamps = "".join(f"<li>{escaped(stamp[:1].upper() + stamp[1:])}</li>" for stamp in content["stamps"])
    parts = [
        f'<section id="report-{number}"><h2>{escaped(_title(content))}</h2>',
        f'<p class="soft">{_what(content)}</p>',
        f'<ul class="stamps">{stamps}</ul>' if stamps else "",
        _cards(content),
        _leak_words(content),
        "<h3>Figures</h3>",
        _figures(content),
        _pictures(report, content, f"r{number}"),
        _appendix(content),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _what(content: Mapping[str, Any]) -> str:
    folds, seeds = len(content["folds"]), len(content["seeds"])
    title = _title(content)
    facts = [
        f"{content['n_utterances']:,} test utterances of {content['n_speakers']:,} speakers",
        f"protocol {content['protocol']}, {count(folds, 'fold')}, {count(seeds, 'seed')}",
        f"selected by {content['selection']}",
        *(f"{name} {content[name]}" for name in ("corpus", "method") if content.get(name, title) != title),
        *([f"recipe {content['recipe_hash']}"] if content.get("recipe_hash") else []),
        *([f"on {content['machine']}"] if content.get("machine") else []),
        *([f"in {duration(content['seconds'])}"] if content.get("seconds") else []),
    ]
    return escaped(" · ".join(facts))


def _cards(content: Mapping[str, Any]) -> str:
    ua, leak, spread = content["metrics"]["ua"], content["leak"] or {}, content["speaker_spread"]
    n_classes, named = len(content["classes"]), names_speakers(content)
    cards = [
        ("UA on unseen speakers" if content["speaker_independent"] else "UA", percent(ua["value"]), with_interval(ua)),
        ("chance", f"{100 / n_classes:.2g}&nbsp;%", f"one of {n_classes:,} speakers")
        if named
        else (
            "leak of test speakers",
            percent(leak.get("accuracy")),
            f"chance {percent(leak.get('chance'))}, majority {percent(leak.get('majority'))}",
        ),
        (
            "worst to best speaker" if named else "speakers' UA, worst to best",
            f"{100 * spread['worst']:.0f}&ndash;{100 * spread['best']:.0f}&nbsp;%",
            f"the worst tenth {percent(spread['worst_tenth'])}",
        ),
    ]
    if content["gap"] is not None:
        validation = percent(content["validation"]["ua"]["value"])
        cards.append(("validation less test", f"{100 * content['gap']:+.1f}", f"points of UA; validation {validation}"))
    return '<div class="cards">' + "".join(
        f'<div class="card"><span class="name">{name}</span><b>{value}</b><span class="more">{more}</span></div>'
        for name, value, more in cards
    ) + "</div>"  # fmt: skip


def _leak_words(content: Mapping[str, Any]) -> str:
    """Explain the leak in a sentence, chance and majority beside it."""
    leak = content["leak"]
    if leak is None:
        why = ": the task itself is to name the speaker" if names_speakers(content) else ""
        return f'<p class="soft">Speaker leak was not measured{why}.</p>'
    words = []
    for part, found in (("test", leak), ("training", leak["train_speakers"] or {})):
        if found.get("accuracy") is None:
            words.append(f"The {part} speakers were not probed.")
            continue
        texts = ", in other sentences than it was trained on" if found["text_disjoint"] else ""
        words.append(
            f"<b>{part.capitalize()} speakers:</b> from the embedding alone, a fresh probe names the right one of "
            f"{found['n_speakers']:,.4g} speakers for {percent(found['linear']['mean'])} of the utterances if it is "
            f"linear, for {percent(found['nonlinear']['mean'])} if it is not{texts}; chance is "
            f"{percent(found['chance'])}, always naming the most frequent speaker {percent(found['majority'])}. Two "
            f"utterances of one speaker and of two are confused at an equal-error rate of {percent(found['eer'])} "
            f"(50 % is no difference). {escaped(found.get('note', ''))}"
        )
    return f"<h3>Speaker leak</h3><p>{'</p><p>'.join(words)}</p>"


def _figures(content: Mapping[str, Any]) -> str:
    rows = []
    for key, name in METRIC_NAMES.items():
        test, folds = content["metrics"][key], content["metrics_mean_of_folds"][key]
        validation = interval(content["validation"][key]) if content["validation"] else "none"
        rows.append(
            f"<tr><td>{name.format(classes=classes_word(content))}</td><td>{interval(test)}</td>"
            f"<td>{points(test['std'])}</td><td>{percent(folds['value'])}</td><td>{validation}</td></tr>"
        )
    head = (
        "<tr><th></th><th>test, folds pooled</th><th>deviation over seeds</th><th>test, mean of folds</th>"
        "<th>validation</th></tr>"
    )
    drawn = "speakers drawn with replacement, then utterances of each"
    if names_speakers(content):
        drawn = "utterances of each speaker drawn with replacement"
    note = (
        f"In brackets: 95 % intervals, {drawn}. Pooled counts the answers of all folds together, mean of folds weighs "
        "every fold alike."
    )
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div><p class="soft">{note}</p>'


def _pictures(report: Report, content: Mapping[str, Any], name: str) -> str:
    n_speakers = len(content["per_speaker"])
    parts = [_confusion(content, name), "<h3>Speakers</h3>", _recall(content, name), _speakers(content, WORST)]
    if n_speakers > WORST:
        everyone = _speakers(content, n_speakers)
        parts.append(f"<details><summary>All {n_speakers:,} speakers</summary>{everyone}</details>")
    parts.append(_layout(report, content, name))
    if any(report.logs):
        trainings = f"Training ({count(len(report.logs), 'run')}: mean and range)"
        parts.append(f"<h3>{trainings}</h3>" + svg(plots.learning_curves(report.logs), f"{name}-curves"))
    return "\n".join(parts)


def _confusion(content: Mapping[str, Any], name: str) -> str:
    matrix, classes = content["confusion"], content["classes"]
    title = f"Which {classes_word(content)} are taken for which"
    if matrix is None:
        why = f"a picture of {len(classes):,} {classes_word(content)} against each other cannot be read"
        return f'<h3>{title}</h3><p class="soft">Not drawn: {why}. It is made for up to {MOST_CLASSES}.</p>'
    over = "all seeds together" if len(content["seeds"]) > 1 else "counts below the shares"
    return f"<h3>{title} ({over})</h3>" + svg(plots.confusion(np.array(matrix), classes), f"{name}-confusion")


def _recall(content: Mapping[str, Any], name: str) -> str:
    """Draw every speaker's UA, and the recall of each class where the report holds it."""
    people = content["per_speaker"]
    speakers, ua = [one["speaker"] for one in people], np.array([one["ua"] for one in people])
    if "recall" in people[0]:
        recall = np.array([[np.nan if v is None else v for v in one["recall"].values()] for one in people])
        return svg(plots.per_speaker_recall(speakers, ua, recall, content["classes"]), f"{name}-speakers")
    what = "recall" if names_speakers(content) else "UA"
    line = {what: (range(1, len(ua) + 1), ua.tolist(), None, None)}
    return svg(plots.curves(line, "speakers, the worst recognised first", what), f"{name}-speakers")


def _layout(report: Report, content: Mapping[str, Any], name: str) -> str:
    """Draw the embedding of a few speakers in the plane."""
    e = report.embedding
    if e is None or len(e.vectors) < FEWEST_POINTS:
        return ""
    named = names_speakers(content)
    picture = svg(plots.tsne(e.vectors, None if named else e.emotions, e.speakers), f"{name}-tsne")
    note = "A layout by t-SNE: distances between far groups mean little. "
    if named:
        note += "Where speakers are told apart, each has a place of their own."
    else:
        note += "Where little of the speaker is left, the colours on the right are mixed."
    title = f"The embedding of up to four speakers ({escaped(e.name)})"
    return f'<h3>{title}</h3>{picture}<p class="soft">{note}</p>'


def _speakers(content: Mapping[str, Any], most: int) -> str:
    """Make the table of the worst speakers; one who is a class has only one figure, the class's recall."""
    people = content["per_speaker"][:most]
    figures = {"recall": "ua"} if names_speakers(content) else {"UA": "ua", "WA": "wa"}
    rows = []
    for one in people:
        cells = [f"{one['n']:,}", *(percent(one[key]) for key in figures.values())]
        cells += [points(recall) for recall in one.get("recall", {}).values()]
        rows.append(f"<tr><td>{escaped(one['speaker'])}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    names = ["speaker, worst first", "utterances", *figures, *people[0].get("recall", {})]
    head = "".join(f"<th>{escaped(name)}</th>" for name in names)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _appendix(content: Mapping[str, Any]) -> str:
    parts = []
    if content.get("recipe"):
        parts.append(f"<details><summary>Recipe</summary><pre>{escaped(content['recipe'])}</pre></details>")
    if content.get("environment"):
        text = json.dumps(content["environment"], indent=2, ensure_ascii=False)
        parts.append(f"<details><summary>Environment</summary><pre>{escaped(text)}</pre></details>")
    return "\n".join(parts)


def _title(content: Mapping[str, Any]) -> str:
    return str(content.get("title") or content.get("method") or content["protocol"])
