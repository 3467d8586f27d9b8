"""Reports as one HTML page that needs nothing else: no network, no scripts, pictures and style inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from serene.evaluation.report import Report
from serene.files import write_text
from serene.reporting import page_of_classes, page_of_dimensions, plots, speaker_plots
from serene.reporting.page_style import FRAME, STYLE, svg
from serene.reporting.page_words import count, duration, escaped, names_speakers, percent

WORST = 5  # speakers in the short table
KINDS = {  # what the embedding is coloured by, beside the speaker: name -> what each utterance has of it
    "probabilities": lambda own: {"emotion": np.array(own.names)[own.truth]},
    "values": lambda own: dict(zip(own.names, own.truth.T, strict=True)),
}
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


def _of(content: Mapping[str, Any]) -> ModuleType:
    """Give what knows how to show a report of this kind."""
    return page_of_dimensions if "dimensions" in content else page_of_classes


def _summary(contents: Sequence[Mapping[str, Any]]) -> str:
    """Make a table of the reports on classes, and one for those on the same dimensions."""
    tables: dict[tuple[str, ...], list[tuple[int, Mapping[str, Any]]]] = {}
    for number, content in enumerate(contents, 1):
        tables.setdefault(tuple(content.get("dimensions", ())), []).append((number, content))
    return "\n".join(_summary_table(rows) for rows in tables.values())


def _summary_table(numbered: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    contents = [content for _, content in numbered]
    kind, rows, columns = _of(contents[0]), [], {}
    for number, content in numbered:
        probe, hint = content["speaker_probe"] or {}, " &#9888;" if content["stamps"] else ""
        columns = kind.headline(content)
        columns |= {"speaker probe": percent(probe.get("accuracy")), "chance": percent(probe.get("chance"))}
        link = f'<a href="#report-{number}">{escaped(_title(content))}</a>{hint}'
        rows.append([link, *columns.values()])
    note = (
        f"Test speakers only. {kind.HEADLINE}; the speaker probe says how often a fresh probe names the right test "
        "speaker from the embedding, with chance beside it."
    )
    if any(content["stamps"] for content in contents):
        note += " &#9888; marks results with a warning: read it before comparing."
    if len({content["protocol"] for content in contents}) > 1:
        note += " <b>The protocols differ, so these rows cannot be compared.</b>"
    return _table(["", *columns], rows, ' class="summary"') + f'<p class="soft">{note}</p>'


def _section(report: Report, number: int) -> str:
    content = report.to_json()
    stamps = "".join(f"<li>{escaped(stamp[:1].upper() + stamp[1:])}</li>" for stamp in content["stamps"])
    parts = [
        f'<section id="report-{number}"><h2>{escaped(_title(content))}</h2>',
        f'<p class="soft">{_what(content)}</p>',
        f'<ul class="stamps">{stamps}</ul>' if stamps else "",
        _cards(content),
        _probe_words(content),
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


def _probe_words(content: Mapping[str, Any]) -> str:
    """Explain the speaker probe in a sentence, chance and majority beside it."""
    probe = content["speaker_probe"]
    if probe is None:
        why = ": the task itself is to name the speaker" if names_speakers(content) else ""
        return f'<p class="soft">Speaker probe was not measured{why}.</p>'
    words = []
    for part, found in (("test", probe), ("training", probe["train_speakers"] or {})):
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
    return f"<h3>Speaker probe</h3><p>{'</p><p>'.join(words)}</p>"


def _cards(content: Mapping[str, Any]) -> str:
    boxes = (
        f'<div class="card"><span class="name">{name}</span><b>{value}</b><span class="more">{more}</span></div>'
        for name, value, more in _of(content).cards(content)
    )
    return f'<div class="cards">{"".join(boxes)}</div>'


def _figures(content: Mapping[str, Any]) -> str:
    note = (
        f"In brackets: 95 % intervals, {_of(content).drawn(content)}. Pooled counts the answers of all folds together, "
        "mean of folds weighs every fold alike."
    )
    head = ["", "test, folds pooled", "deviation over seeds", "test, mean of folds", "validation"]
    return _table(head, _of(content).figures(content)) + f'<p class="soft">{note}</p>'


def _pictures(report: Report, content: Mapping[str, Any], name: str) -> str:
    kind, n_speakers = _of(content), len(content["per_speaker"])
    parts = [kind.answers(report, content, name), "<h3>Speakers</h3>", kind.speakers(content, name)]
    parts.append(_speakers(content, WORST))
    if n_speakers > WORST:
        everyone = _speakers(content, n_speakers)
        parts.append(f"<details><summary>All {n_speakers:,} speakers</summary>{everyone}</details>")
    parts += [_shift(content, name), _layout(report, content, name)]
    if any(report.logs):
        trainings = f"Training ({count(len(report.logs), 'run')}: mean and range)"
        parts.append(f"<h3>{trainings}</h3>" + svg(plots.learning_curves(report.logs), f"{name}-curves"))
    return "\n".join(parts)


def _speakers(content: Mapping[str, Any], most: int) -> str:
    """Make the table of the worst speakers."""
    people = content["per_speaker"][:most]
    own = [_of(content).of_speaker(content, one) for one in people]
    rows = [[escaped(one["speaker"]), f"{one['n']:,}", *cells.values()] for one, cells in zip(people, own, strict=True)]
    return _table(["speaker, worst first", "utterances", *own[0]], rows)


def _shift(content: Mapping[str, Any], name: str) -> str:
    """Draw whether speakers far from the others are recognised worse, where enough were tested."""
    found = content.get("shift")
    if not found or not any(r for pairs in found["correlations"].values() for r in pairs.values()):
        return ""
    picture = svg(speaker_plots.shifts(found, _of(content).PERFORMANCE), f"{name}-shift")
    together = (pairs["embedding_and_labels"] for pairs in found["correlations"].values())
    both = ", ".join(f"{r['r']:.2f}" for r in together if r)
    embedding, labels = (escaped(found["against"][what]) for what in ("embedding", "labels"))
    note = (
        f"Each dot is a test speaker: how far the speaker's clips are from {embedding} in the embedding (left), and "
        f"from {labels} in the labels (right), as Kullback-Leibler divergences that few clips do not inflate. Above: "
        "the correlation with its 95 % interval"
    )
    note += f"; the two shifts themselves correlate by {both}." if both else "."
    return f'<h3>Do speakers who are unlike the others fare worse?</h3>{picture}<p class="soft">{note}</p>'


def _layout(report: Report, content: Mapping[str, Any], name: str) -> str:
    """Draw the embedding of a few speakers in the plane."""
    e = report.embedding
    if e is None or len(e.vectors) < FEWEST_POINTS:
        return ""
    named, own = names_speakers(content), e.predictions
    kinds = {} if named else KINDS[own.task.gives](own)
    figure = speaker_plots.tsne(e.vectors, kinds, own.speaker)
    picture = svg(figure, f"{name}-tsne")
    note = "A layout by t-SNE: distances between far groups mean little. "
    if named:
        note += "Where speakers are told apart, each has a place of their own."
    else:
        place = "by speaker" if len(kinds) > 1 else "on the right"
        note += f"Where little of the speaker is left, the colours {place} are mixed."
    title = f"The embedding of up to four speakers ({own.part[0]}, fold {escaped(own.fold[0])}, seed {own.seed[0]})"
    return f'<h3>{title}</h3>{picture}<p class="soft">{note}</p>'


def _appendix(content: Mapping[str, Any]) -> str:
    parts = []
    if content.get("recipe"):
        parts.append(f"<details><summary>Recipe</summary><pre>{escaped(content['recipe'])}</pre></details>")
    if content.get("environment"):
        text = json.dumps(content["environment"], indent=2, ensure_ascii=False)
        parts.append(f"<details><summary>Environment</summary><pre>{escaped(text)}</pre></details>")
    return "\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Make a table of cells that are HTML already, below names that are not."""
    names = "".join(f"<th>{escaped(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table{kind}><tr>{names}</tr>{lines}</table></div>'


def _title(content: Mapping[str, Any]) -> str:
    return str(content.get("title") or content.get("method") or content["protocol"])
