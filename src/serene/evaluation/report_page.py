"""Reports as one HTML page that needs nothing else: no network, no scripts, pictures and style inside."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serene.evaluation import plots
from serene.evaluation.page_style import FRAME, STYLE, svg
from serene.evaluation.report import Report
from serene.files import write_text

METRIC_NAMES = {
    "ua": "UA, mean recall over emotions",
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
    parts = [f"<h1>{_text(title)}</h1>"]
    if len(reports) > 1:
        parts.append(_summary([report.to_json() for report in reports]))
    parts += [_section(report, number) for number, report in enumerate(reports, 1)]
    write_text(path, FRAME.format(title=_text(title), style=STYLE, body="\n".join(parts)))


def _summary(contents: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for number, content in enumerate(contents, 1):
        ua, leak = content["metrics"]["ua"], content["leak"] or {}
        hint = " &#9888;" if content["stamps"] else ""
        rows.append(
            f'<tr><td><a href="#report-{number}">{_text(_title(content))}</a>{hint}</td><td>{_interval(ua)}</td>'
            f"<td>{_bar(ua)}</td><td>{_percent(leak.get('accuracy'))}</td><td>{_percent(leak.get('chance'))}</td></tr>"
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
    stamps = "".join(f"<li>{_text(stamp[:1].upper() + stamp[1:])}</li>" for stamp in content["stamps"])
    parts = [
        f'<section id="report-{number}"><h2>{_text(_title(content))}</h2>',
        f'<p class="soft">{_what(content)}</p>',
        f'<ul class="stamps">{stamps}</ul>' if stamps else "",
        _cards(content),
        _leak_words(content["leak"]),
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
        f"{content['n_utterances']:,} test utterances of {content['n_speakers']} speakers",
        f"protocol {content['protocol']}, {_count(folds, 'fold')}, {_count(seeds, 'seed')}",
        f"selected by {content['selection']}",
        *(f"{name} {content[name]}" for name in ("corpus", "method") if content.get(name, title) != title),
        *([f"recipe {content['recipe_hash']}"] if content.get("recipe_hash") else []),
        *([f"on {content['machine']}"] if content.get("machine") else []),
        *([f"in {_duration(content['seconds'])}"] if content.get("seconds") else []),
    ]
    return _text(" · ".join(facts))


def _cards(content: Mapping[str, Any]) -> str:
    ua, leak, spread = content["metrics"]["ua"], content["leak"] or {}, content["speaker_spread"]
    cards = [
        ("UA on unseen speakers" if content["speaker_independent"] else "UA", _percent(ua["value"]), _more(ua)),
        (
            "leak of test speakers",
            _percent(leak.get("accuracy")),
            f"chance {_percent(leak.get('chance'))}, majority {_percent(leak.get('majority'))}",
        ),
        (
            "speakers' UA, worst to best",
            f"{100 * spread['worst']:.0f}&ndash;{100 * spread['best']:.0f}&nbsp;%",
            f"the worst tenth {_percent(spread['worst_tenth'])}",
        ),
    ]
    if content["gap"] is not None:
        validation = _percent(content["validation"]["ua"]["value"])
        cards.append(("validation less test", f"{100 * content['gap']:+.1f}", f"points of UA; validation {validation}"))
    return '<div class="cards">' + "".join(
        f'<div class="card"><span class="name">{name}</span><b>{value}</b><span class="more">{more}</span></div>'
        for name, value, more in cards
    ) + "</div>"  # fmt: skip


def _leak_words(leak: Mapping[str, Any] | None) -> str:
    """Explain the leak in a sentence, chance and majority beside it."""
    if leak is None:
        return '<p class="soft">Speaker leak was not measured.</p>'
    words = []
    for part, found in (("test", leak), ("training", leak["train_speakers"] or {})):
        if found.get("accuracy") is None:
            words.append(f"The {part} speakers were not probed.")
            continue
        texts = ", in other sentences than it was trained on" if found["text_disjoint"] else ""
        words.append(
            f"<b>{part.capitalize()} speakers:</b> from the embedding alone, a fresh probe names the right one of "
            f"{found['n_speakers']:,.4g} speakers for {_percent(found['linear']['mean'])} of the utterances if it is "
            f"linear, for {_percent(found['nonlinear']['mean'])} if it is not{texts}; chance is "
            f"{_percent(found['chance'])}, always naming the most frequent speaker {_percent(found['majority'])}. Two "
            f"utterances of one speaker and of two are confused at an equal-error rate of {_percent(found['eer'])} "
            f"(50 % is no difference). {_text(found.get('note', ''))}"
        )
    return f"<h3>Speaker leak</h3><p>{'</p><p>'.join(words)}</p>"


def _figures(content: Mapping[str, Any]) -> str:
    rows = []
    for key, name in METRIC_NAMES.items():
        test, folds = content["metrics"][key], content["metrics_mean_of_folds"][key]
        validation = _interval(content["validation"][key]) if content["validation"] else "none"
        rows.append(
            f"<tr><td>{name}</td><td>{_interval(test)}</td><td>{_number(test['std'])}</td>"
            f"<td>{_percent(folds['value'])}</td><td>{validation}</td></tr>"
        )
    head = (
        "<tr><th></th><th>test, folds pooled</th><th>deviation over seeds</th><th>test, mean of folds</th>"
        "<th>validation</th></tr>"
    )
    note = (
        "In brackets: 95 % intervals, speakers drawn with replacement, then utterances of each. Pooled counts the "
        "answers of all folds together, mean of folds weighs every fold alike."
    )
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div><p class="soft">{note}</p>'


def _pictures(report: Report, content: Mapping[str, Any], name: str) -> str:
    classes, people = content["classes"], content["per_speaker"]
    recall = np.array([[np.nan if v is None else v for v in one["recall"].values()] for one in people])
    speakers, ua = [one["speaker"] for one in people], np.array([one["ua"] for one in people])
    over = "all seeds together" if len(content["seeds"]) > 1 else "counts below the shares"
    parts = [
        f"<h3>Which emotions are taken for which ({over})</h3>",
        svg(plots.confusion(np.array(content["confusion"]), classes), f"{name}-confusion"),
        "<h3>Speakers</h3>",
        svg(plots.per_speaker_recall(speakers, ua, recall, classes), f"{name}-speakers"),
        _speakers(people[:WORST]),
    ]
    if len(people) > WORST:
        parts.append(f"<details><summary>All {len(people)} speakers</summary>{_speakers(people)}</details>")
    e = report.embedding
    if e is not None and len(e.vectors) >= FEWEST_POINTS:
        title = f"The embedding of up to four speakers ({_text(e.name)})"
        note = "A layout by t-SNE: distances between far groups mean little. Where little of the speaker is left, the "
        note += "colours on the right are mixed."
        picture = svg(plots.tsne(e.vectors, e.emotions, e.speakers), f"{name}-tsne")
        parts.append(f'<h3>{title}</h3>{picture}<p class="soft">{note}</p>')
    if any(report.logs):
        trainings = f"Training ({_count(len(report.logs), 'run')}: mean and range)"
        parts.append(f"<h3>{trainings}</h3>" + svg(plots.learning_curves(report.logs), f"{name}-curves"))
    return "\n".join(parts)


def _speakers(people: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{_text(one['speaker'])}</td><td>{one['n']:,}</td><td>{_percent(one['ua'])}</td>"
        f"<td>{_percent(one['wa'])}</td>{''.join(f'<td>{_number(v)}</td>' for v in one['recall'].values())}</tr>"
        for one in people
    )
    emotions = "".join(f"<th>{_text(name)}</th>" for name in people[0]["recall"])
    head = f"<tr><th>speaker, worst first</th><th>utterances</th><th>UA</th><th>WA</th>{emotions}</tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _appendix(content: Mapping[str, Any]) -> str:
    parts = []
    if content.get("recipe"):
        parts.append(f"<details><summary>Recipe</summary><pre>{_text(content['recipe'])}</pre></details>")
    if content.get("environment"):
        text = json.dumps(content["environment"], indent=2, ensure_ascii=False)
        parts.append(f"<details><summary>Environment</summary><pre>{_text(text)}</pre></details>")
    return "\n".join(parts)


def _title(content: Mapping[str, Any]) -> str:
    return str(content.get("title") or content.get("method") or content["protocol"])


def _interval(figure: Mapping[str, float]) -> str:
    return f"{_percent(figure['value'])} [{_number(figure['low'])} to {_number(figure['high'])}]"


def _more(figure: Mapping[str, float]) -> str:
    spread = f"; deviation over seeds {_number(figure['std'])}" if figure["std"] is not None else ""
    return f"95 % interval {_number(figure['low'])} to {_number(figure['high'])}{spread}"


def _bar(figure: Mapping[str, float]) -> str:
    low, value, high = (100 * figure[key] for key in ("low", "value", "high"))
    fill = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i><u style="left:{value:.1f}%"></u>'
    return f'<div class="bar">{fill}</div>'


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{100 * share:.1f}&nbsp;%"


def _number(share: float | None) -> str:
    return "&ndash;" if share is None else f"{100 * share:.1f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min"
    )


def _text(value: object) -> str:
    return html.escape(str(value))
