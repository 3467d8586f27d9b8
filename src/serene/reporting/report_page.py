"""Reports as one HTML page that needs nothing else: no network, no scripts, pictures and style inside."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serene.evaluation.report import Report
from serene.files import write_text
from serene.reporting.figures import (
    DIFFERENCE_COLUMNS,
    HEAD,
    SHARE,
    UNITS,
    Figure,
    count,
    difference_rows,
    duration,
    heading,
    metric_rows,
    probe_words,
    short_name,
    spreads,
)
from serene.reporting.report_pictures import Shown, answers, layout, shift, speakers, training
from serene.reporting.style import escaped, page, soft, table
from serene.task import task_of_report

WARNING = " &#9888;"
UTTERANCES = "speakers drawn with replacement, then utterances of each"
DRAWN = {  # by a task's kind, what is drawn for the intervals
    "classes": UTTERANCES,
    "votes": UTTERANCES,
    "dimensions": f"{UTTERANCES} (for the mean of speakers' own, speakers alone)",
    "speakers": "utterances of each speaker drawn with replacement",
}


def write_html(
    reports: Sequence[Report],
    path: str | Path,
    *,
    title: str = "serene report",
    differences: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write one page, whole or not at all: a summary where there are several reports, then each of them.

    Differences are paired ones of the reports' runs, where they were compared.
    """
    parts = [f"<h1>{escaped(title)}</h1>"]
    if len(reports) > 1:
        parts.append(_summary([report.to_json() for report in reports]))
    if differences:
        rows = [[escaped(cell) for cell in row.values()] for row in difference_rows(differences)]
        note = f"{escaped(heading(differences))}. Paired over the same test utterances, speakers resampled."
        parts.append(soft(note) + table(DIFFERENCE_COLUMNS, rows))
    for number, report in enumerate(reports, 1):
        content, task = report.to_json(), report.task
        shown = Shown(report, content, task, UNITS[task.metric], f"r{number}")
        said = "\n".join(text for section in SECTIONS if (text := section(shown)))
        parts.append(f'<section id="report-{number}">{said}</section>')
    write_text(path, page(title, "\n".join(parts)))


def _summary(contents: Sequence[Mapping[str, Any]]) -> str:
    """Make a table of the reports on classes, and one for those on the same dimensions."""
    tables: dict[tuple[str, ...], dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for number, content in enumerate(contents, 1):
        tables[task_of_report(content).headline][number] = content
    return "\n".join(map(_summary_table, tables.values()))


def _summary_table(numbered: Mapping[int, Mapping[str, Any]]) -> str:
    contents, lines = [*numbered.values()], []
    task = task_of_report(contents[0])
    unit = UNITS[task.metric]
    for number, content in numbered.items():
        link = f'<a href="#report-{number}">{escaped(content["title"])}</a>{WARNING if content["stamps"] else ""}'
        figures = [content["metrics"][key] for key in task.headline]
        probe = content["speaker_probe"] or {}
        told = [SHARE.one(probe.get(name), "not measured") for name in ("accuracy", "chance")]
        lines.append([link, *(unit.interval(figure) + _bar(figure) for figure in figures), *told])
    note = (
        f"Test speakers only. {unit.name} with its 95 % interval over speakers{unit.hint}, on a bar from 0 to "
        f"{unit.scale:g}{unit.sign}; the speaker probe says how often a fresh probe names the right test speaker from "
        "the embedding, with chance beside it."
    )
    if any(content["stamps"] for content in contents):
        note += f"{WARNING} marks results with a warning: read it before comparing."
    if len({content["protocol"] for content in contents}) > 1:
        note += " <b>The protocols differ, so these rows cannot be compared.</b>"
    head = ["", *map(short_name, task.headline), "speaker probe", "chance"]
    return table(head, lines, ' class="summary"') + soft(note)


def _bar(figure: Figure) -> str:
    """Draw a figure and its interval on a bar from 0 to 1."""
    low, value, high = (100 * min(max(figure[key] or 0.0, 0.0), 1.0) for key in ("low", "value", "high"))
    fill = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i><u style="left:{value:.1f}%"></u>'
    return f'<div class="bar">{fill}</div>'


def _head(s: Shown) -> str:
    content, runs = s.content, [count(len(s.content[f"{name}s"]), name) for name in ("fold", "seed")]
    facts = [
        f"{content['n_utterances']:,} test utterances of {count(content['n_speakers'], 'speaker')}",
        f"protocol {content['protocol']}, {', '.join(runs)}",
        f"selected by {content['selection']}",
        *(f"{name} {content[name]}" for name in ("corpus", "method") if content[name] not in (None, content["title"])),
        *([f"recipe {content['recipe_hash']}"] if content["recipe_hash"] else []),
        *([f"on {content['machine']}"] if content["machine"] else []),
        *([f"in {duration(content['seconds'])}"] if content["seconds"] else []),
    ]
    stamps = "".join(f"<li>{escaped(stamp[:1].upper() + stamp[1:])}</li>" for stamp in content["stamps"])
    warnings = f'<ul class="stamps">{stamps}</ul>' if stamps else ""
    return f"<h2>{escaped(content['title'])}</h2>{soft(escaped(' · '.join(facts)))}{warnings}"


def _cards(s: Shown) -> str:
    """Give the figures that stand first: headline, spread over speakers, speaker probe, gap to validation."""
    content, unit, found = s.content, s.unit, []
    unseen = " on unseen speakers" * bool(content["speaker_independent"])
    for key, spread in spreads(s.task, content).items():
        figure, name = content["metrics"][key], short_name(key)
        deviation = f"; deviation over seeds {unit.bare(figure['std'])}" if figure["std"] is not None else ""
        ends = f"95 % interval {unit.bare(figure['low'])} to {unit.bare(figure['high'])}{deviation}"
        found.append((name + unseen, unit.one(figure["value"]), ends))
        reach = f"{unit.rough(spread['worst'])}–{unit.rough(spread['best'])}{unit.sign}"
        found.append((f"{name} of speakers, worst to best", reach, f"worst tenth {unit.one(spread['worst_tenth'])}"))
    probe = content["speaker_probe"] or {}
    told = {name: SHARE.one(probe.get(name), "not measured") for name in ("accuracy", "chance", "majority")}
    by_chance = f"chance {told['chance']}, majority {told['majority']}"
    named = ("chance", f"{100 / len(s.task.names):.2g} %", f"one of {count(len(s.task.names), s.task.noun)}")
    found.append(("speaker probe, test speakers", told["accuracy"], by_chance) if s.task.speaker_probe else named)
    if content["gap"] is not None:
        before = unit.one(s.task.merit(content["validation"]))
        found.append(("validation less test", unit.signed(content["gap"]), f"{unit.differences}; validation {before}"))
    box = '<div class="card"><span class="name">{}</span><b>{}</b><span class="more">{}</span></div>'
    boxes = (box.format(escaped(name), value, more) for name, value, more in found)
    return f'<div class="cards">{"".join(boxes)}</div>'


def _probe(s: Shown) -> str:
    if s.content["speaker_probe"] is None:
        return soft(f"Speaker probe: not measured{'' if s.task.speaker_probe else ', the task itself is the speaker'}.")
    words = (f"<p><b>{part}:</b> {escaped(said)}</p>" for part, said in probe_words(s.content).items())
    return f"<h3>Speaker probe</h3>{''.join(words)}"


def _figures(s: Shown) -> str:
    lines = [[escaped(name), *cells] for name, *cells in metric_rows(s.task, s.content)]
    note = (
        f"In brackets: 95 % intervals, {DRAWN[s.task.kind]}. Pooled counts the answers of all folds together, mean of "
        "folds weighs every fold alike."
    )
    return f"<h3>Figures</h3>{table(HEAD, lines)}{soft(note)}"


def _appendix(s: Shown) -> str:
    environment = s.content["environment"] and json.dumps(s.content["environment"], indent=2, ensure_ascii=False)
    found = {title: text for title, text in (("Recipe", s.content["recipe"]), ("Environment", environment)) if text}
    fold = "<details><summary>{}</summary><pre>{}</pre></details>"
    return "\n".join(fold.format(title, escaped(text)) for title, text in found.items())


SECTIONS = (_head, _cards, _probe, _figures, answers, speakers, shift, layout, training, _appendix)
