"""`serene demo`: a web page takes a microphone or a file, and shows scores, a timeline and the model's card."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # else it would tell its makers of every start

import gradio
from gradio import themes
from gradio.themes.utils.fonts import LocalFont
from starlette.middleware import Middleware

from serene.errors import SereneError
from serene.inference.emotion import Emotion
from serene.inference.folder import ModelFolder
from serene.inference.recognizer import Recognizer
from serene.inference.speech import SHORTEST
from serene.inference.timeline import WINDOW, Progress, Timeline, timeline
from serene.inference.timeline_picture import figure_of
from serene.reporting.style import svg
from serene.serving import listen
from serene.serving.access import Access, guarded
from serene.sound import seconds

UPLOAD = "500mb"
KEPT = 3600  # seconds that uploads and recordings stay on disk; they go when the page is closed down, too
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"  # a card cannot make a browser call elsewhere
STYLE = Path(__file__).with_name("demo.css")

TOP = """<h1>How does this voice feel?</h1>
<p>serene listens to how something is said. What you record or choose is deleted after an hour.</p>"""

NOTES = {
    "too short": ("Too short to tell", f"At least {SHORTEST:g} seconds are needed; a sentence is better."),
    "silence": ("Nothing to hear", "The sound is silent, or very nearly. Is the right microphone on, and not muted?"),
    "no speech": ("No speech found", "There is no voice in this sound. Move closer to the microphone and speak."),
}
HINT = "It goes by the voice, not by the words. Take it for a model's guess about a sound, not a fact about a person."


def demo(
    recognizer: Recognizer,
    host: str = "127.0.0.1",
    port: int = 7860,
    share: bool = False,
    *,
    allowed_hosts: Sequence[str] = (),
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Show the page until the process is interrupted.

    Others than this machine reach the page only where `host` says so, by its name or an allowed one, as `Access` has
    it; their browsers give a microphone to `https` addresses only. Port 0 is any that is free. A page that is shared
    gets a public address for a week, through gradio's servers: whoever knows it can use it. `ready` is told the address
    once the page can be opened.

    Raises:
        SereneError: nothing can listen there, or no public address was to be had.
    """
    with opened(recognizer, host, port, share, allowed_hosts) as url, contextlib.suppress(KeyboardInterrupt):
        ready(url)
        threading.Event().wait()


@contextlib.contextmanager
def opened(
    recognizer: Recognizer,
    host: str = "127.0.0.1",
    port: int = 7860,
    share: bool = False,
    allowed_hosts: Sequence[str] = (),
) -> Iterator[str]:
    """Show the page, from a thread, for as long as the block lasts, and give its address; arguments as of `demo`."""
    access = Access(host, allowed_hosts=("*",) if share else tuple(allowed_hosts))  # gradio's servers choose a name
    with listen(host, port) as listening:  # says so if it cannot, and finds a port that is free
        port = listening.getsockname()[1]
    shown = page(recognizer)
    shown.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        inline=False,
        quiet=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        run_history=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size=UPLOAD,
        theme=_theme(),
        css_paths=STYLE,
        app_kwargs={"middleware": [Middleware(guarded, access=access), Middleware(_at_home)]},
    )
    try:
        if share and shown.share_url is None:
            raise SereneError("No public address was to be had: is there a way to the internet? Or leave out --share.")
        yield str(shown.share_url or shown.local_url)
    finally:
        shown.close(verbose=False)


def _theme() -> themes.Base:
    """Take a font that gradio brings along (its weight of 600 lacks letters), and grey that can be read."""
    fonts = (themes.Font(name) for name in ("ui-sans-serif", "system-ui", "sans-serif"))
    theme = themes.Default(primary_hue="blue", font=[LocalFont("IBM Plex Sans", weights=(400, 700)), *fonts])
    return theme.set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")


def page(recognizer: Recognizer) -> gradio.Blocks:
    """Lay out the page and wire it to a recognizer."""
    info = recognizer.info

    def recognise(path: str | None, progress: Any = gradio.Progress()) -> tuple[str, str]:  # noqa: B008
        return extract(recognizer, path, lambda _, done, of: progress((done, of), unit="windows"))

    with gradio.Blocks(title="serene", analytics_enabled=False, delete_cache=(KEPT // 10, KEPT)) as blocks:
        gradio.HTML(TOP, elem_id="top")
        with gradio.Row(equal_height=False):
            with gradio.Column():
                sound = gradio.Audio(
                    sources=["upload", "microphone"], type="filepath", label="Voice", buttons=[], elem_id="sound"
                )
                button = gradio.Button("Recognise", variant="primary", elem_id="recognise")
            with gradio.Column():
                shown = gradio.HTML(waiting(), elem_id="answer")
        line = gradio.HTML("", elem_id="timeline")
        with gradio.Accordion(f"About the model: {info['name']}", open=False, elem_id="card"):
            gradio.Markdown(facts(info))
            gradio.Markdown(card(recognizer.folder))
        sound.change(None, js=f"() => {json.dumps([waiting(), ''])}", outputs=[shown, line])
        button.click(recognise, sound, [shown, line], show_progress_on=shown, api_visibility="private")
    return blocks


def extract(recognizer: Recognizer, path: str | None, told: Progress | None = None) -> tuple[str, str]:
    """Answer for a file, if there is one; for one that is longer than a window with a timeline, whose progress is told.

    Returns:
        The answer and the timeline, as HTML; the latter is empty where there is none.
    """
    if path is None:
        return waiting("There is no sound yet: record a sentence or choose a file first."), ""
    try:
        length, _ = seconds(path)
        line = timeline(path, recognizer, progress=told) if length > WINDOW else None
        emotion = recognizer(path) if line is None or length <= recognizer.extractor.longest else line.emotion
    except SereneError as error:
        return mistake(str(error).replace(path, "The file")), ""
    return answer(emotion, recognizer.abstain), "" if line is None else drawn(line)


def _at_home(app: Any) -> Callable[..., Awaitable[None]]:
    """Stand before an ASGI application, and tell browsers to load nothing from elsewhere."""

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await app(scope, receive, sending)

    return serve


def waiting(what: str = "Record a sentence or choose a file, then press Recognise.") -> str:
    """Say what to do before there is an answer."""
    return _shown("waiting", "Say something", what)


def mistake(what: str) -> str:
    """Say why a sound was not answered for."""
    return _shown("kind", "That did not work", what)


def answer(emotion: Emotion, abstain: float | None = None) -> str:
    """Show what a model says of a sound, uncertain below a threshold, as HTML; every name in it is escaped."""
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
    if folder.card is None:
        return "This model folder has no card (`README.md`)."
    text = re.sub(r"\A---\n.*?\n---\n", "", folder.card, flags=re.DOTALL)
    return re.sub(r"!\[([^\]]*)\]\([^)]*\)", r"\1", text)  # they lie beside the card, or on somebody's server
