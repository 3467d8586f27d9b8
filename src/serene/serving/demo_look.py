"""What the demo's page shows: an answer as a headline and bars, kind words where there is none, the card, the style."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from serene.inference.emotion import Emotion
from serene.inference.folder import ModelFolder
from serene.inference.speech import SHORTEST
from serene.inference.timeline import Timeline
from serene.inference.timeline_picture import figure_of
from serene.reporting.style import svg

ACCENT = "#1769aa"

STYLE = """
.gradio-container, .gradio-container main { width: 100% !important; max-width: 66rem !important; margin: 0 auto; }
#top h1 { font-size: 1.9rem; font-weight: 600; line-height: 1.2; letter-spacing: -.01em; margin: .6rem 0 .2rem; }
#top p, #answer .soft { color: var(--body-text-color-subdued); margin: 0; }
#answer, #timeline { border: 1px solid var(--border-color-primary); border-radius: var(--block-radius);
  background: var(--block-background-fill); padding: 1.3rem 1.5rem !important; overflow: hidden; }
#answer { min-height: 23rem; }
#answer h2 { font-size: 2.3rem; font-weight: 600; line-height: 1.15; letter-spacing: -.02em; margin: .15rem 0 .35rem; }
#answer h2::first-letter { text-transform: uppercase; }
#answer .kind h2 { font-size: 1.7rem; }
#answer .waiting h2 { color: var(--body-text-color-subdued); font-weight: 400; }
#answer ol { list-style: none; margin: 1.3rem 0 0; padding: 0; display: grid; gap: .6rem; }
#answer li { display: grid; grid-template-columns: 7.5rem 1fr 3.4rem; gap: .8rem; align-items: center; margin: 0; }
#answer .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
#answer .track { height: .7rem; border-radius: .35rem; background: color-mix(in srgb, ACCENT 12%, transparent); }
#answer .track i { display: block; height: 100%; min-width: 2px; border-radius: .35rem; background: ACCENT; opacity: .4;
  animation: grow .5s ease-out; transform-origin: left; }
#answer .value { text-align: right; font-variant-numeric: tabular-nums; }
#answer .values li { grid-template-columns: 1fr auto; border-bottom: 1px solid var(--border-color-primary); }
#answer .values .value { font-size: 1.5rem; font-weight: 600; }
#answer .first .name, #answer .first .value { font-weight: 600; }
#answer .first .track i { opacity: 1; }
#card img { display: none; }
#card table { display: block; width: fit-content; max-width: 100%; overflow-x: auto; }
#card :is(table, thead, tbody, tr, th, td) { border: 0 !important; border-collapse: collapse; }
#card :is(th, td) { border-bottom: 1px solid var(--border-color-primary) !important; padding: .35rem .9rem .35rem 0;
  overflow-wrap: normal; word-break: normal; }
#timeline:not(:has(h3)) { display: none; }
#timeline h3 { font-size: 1.05rem; font-weight: 600; margin: 0 0 .6rem; }
#timeline text { font-family: inherit !important; }
#timeline svg { display: block; width: 100%; height: auto; max-width: none !important; }
#timeline [role=img] { overflow-x: auto; }
#timeline [role=img] svg { min-width: 36rem; }
.dark #answer .track i { background: #6db3ec; }
@keyframes grow { from { transform: scaleX(0); } }
@media (prefers-reduced-motion: reduce) { #answer .track i { animation: none; } }
""".replace("ACCENT", ACCENT)

TOP = """<h1>How does this voice feel?</h1>
<p>serene listens to how something is said. What you record or choose is deleted after an hour.</p>"""

NOTES = {
    "too short": ("Too short to tell", f"At least {SHORTEST:g} seconds are needed; a sentence is better."),
    "silence": ("Nothing to hear", "The sound is silent, or very nearly. Is the right microphone on, and not muted?"),
    "noise": ("No speech found", "This is steady noise or hum, not a voice. Move closer to the microphone and speak."),
}
HINT = "It goes by the voice, not by the words. Take it for a model's guess about a sound, not a fact about a person."


def waiting(what: str = "Record a sentence or choose a file, then press Recognise.") -> str:
    """Say what to do before there is an answer."""
    return _shown("waiting", "Say something", what)


def mistake(what: str) -> str:
    """Say why a sound was not answered for."""
    return _shown("kind", "That did not work", what)


def answer(emotion: Emotion, abstain: float | None = None) -> str:
    """Show what a model says of a sound.

    Args:
        emotion: as the recognizer gave it.
        abstain: the threshold below which the recognizer is uncertain.

    Returns:
        HTML; every name in it is escaped.
    """
    length = f"{emotion.duration:.1f} seconds of sound"
    if emotion.note in NOTES:
        headline, words = NOTES[emotion.note]
        return _shown("kind", headline, words, length)
    if emotion.label is None and emotion.note is None:
        return _shown("dimensions", "This voice", HINT, length, _values(emotion.scores))
    first = max(emotion.scores, key=emotion.scores.__getitem__)
    if emotion.label is not None:
        return _shown("sure", emotion.label, HINT, length, _bars(emotion.scores, first))
    threshold = "" if abstain is None else f"; at least {100 * abstain:.0f} % were asked for"
    words = f"No emotion stands out. The likeliest is {first}{threshold}."
    return _shown("kind", "Not sure", words, length, _bars(emotion.scores, first))


def _shown(kind: str, headline: str, words: str, length: str = "", scores: str = "") -> str:
    above = f'<p class="soft length">{escape(length)}</p>' if length else ""
    words = f'<p class="soft words">{escape(words)}</p>'
    return f'<div class="{kind}" role="status">{above}<h2>{escape(headline)}</h2>{words}{scores}</div>'


def _bars(scores: Mapping[str, float], first: str) -> str:
    """Draw probabilities, the highest first."""
    rows = []
    for name in sorted(scores, key=scores.__getitem__, reverse=True):
        percent = 100 * scores[name]
        mark = ' class="first"' if name == first else ""
        rows.append(
            f'<li{mark}><span class="name" title="{escape(name)}">{escape(name)}</span>'
            f'<span class="track"><i style="width: {percent:.1f}%"></i></span>'
            f'<span class="value">{percent:.0f} %</span></li>'
        )
    return f"<ol>{''.join(rows)}</ol>"


def _values(scores: Mapping[str, float]) -> str:
    """List values of dimensions; they are on scales of their own, which no bar could show."""
    rows = (
        f'<li><span class="name">{escape(name)}</span><span class="value">{value:.2f}</span></li>'
        for name, value in scores.items()
    )
    return f'<ol class="values">{"".join(rows)}</ol>'


def drawn(line: Timeline) -> str:
    """Show a timeline as a picture: HTML."""
    picture = svg(figure_of(line), "timeline").replace("*{", "#timeline svg *{")  # its style is for itself alone
    return f'<h3>Over time</h3><div role="img" aria-label="Scores over time">{picture}</div>'


def facts(info: Mapping[str, Any]) -> str:
    """Say in a line what runs: Markdown."""
    kind = info["noun"] + "s"
    said = [f"{len(info['classes'])} {kind}: {', '.join(info['classes'])}", f"runs on {info['runs_on']}"]
    return " · ".join([*said, f"takes up to {info['longest']:g} seconds at once"])


def card(folder: ModelFolder) -> str:
    """Read a folder's model card, without its metadata and pictures: Markdown."""
    path = folder.path / "README.md"
    if not path.is_file():
        return "This model folder has no card (`README.md`)."
    text = path.read_text(encoding="utf-8", errors="replace")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    return re.sub(r"!\[([^\]]*)\]\([^)]*\)", r"\1", text)  # they lie beside the card, or on somebody's server
