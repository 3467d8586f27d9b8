"""`serene demo`: a web page takes a microphone or a file, and shows scores, a timeline and the model's card."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # else it would tell its makers of every start

import gradio
from gradio import themes
from gradio.themes.utils.fonts import LocalFont
from starlette.middleware import Middleware

from serene.errors import SereneError
from serene.inference.recognizer import Recognizer
from serene.inference.timeline import WINDOW, Progress, timeline
from serene.serving import demo_look as look
from serene.sound import seconds

UPLOAD = "500mb"
KEPT = 3600  # seconds that uploads and recordings stay on disk; they go when the page is closed down, too
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"  # a card cannot make a browser call elsewhere


def demo(
    recognizer: Recognizer,
    host: str = "127.0.0.1",
    port: int = 7860,
    share: bool = False,
    *,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Show the page until the process is interrupted.

    Args:
        recognizer: answers.
        host: the address to listen at. Others than this machine reach the page only where this says so; their browsers
            give a microphone to `https` addresses only.
        port: to listen at; 0 takes any that is free.
        share: give the page a public address for a week, through gradio's servers: whoever knows it can use it.
        ready: told the page's address once it can be opened.

    Raises:
        SereneError: nothing can listen there, or no public address was to be had.
    """
    with opened(recognizer, host, port, share) as url, contextlib.suppress(KeyboardInterrupt):
        ready(url)
        threading.Event().wait()


@contextlib.contextmanager
def opened(recognizer: Recognizer, host: str = "127.0.0.1", port: int = 7860, share: bool = False) -> Iterator[str]:
    """Show the page, from a thread, for as long as the block lasts, and give its address; arguments as of `demo`."""
    port = _free(host, port)
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
        css=look.STYLE,
        app_kwargs={"middleware": [Middleware(_AtHome)]},
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
        gradio.HTML(look.TOP, elem_id="top")
        with gradio.Row(equal_height=False):
            with gradio.Column():
                sound = gradio.Audio(
                    sources=["upload", "microphone"], type="filepath", label="Voice", buttons=[], elem_id="sound"
                )
                button = gradio.Button("Recognise", variant="primary", elem_id="recognise")
            with gradio.Column():
                shown = gradio.HTML(look.waiting(), elem_id="answer")
        line = gradio.HTML("", elem_id="timeline")
        with gradio.Accordion(f"About the model: {info['name']}", open=False, elem_id="card"):
            gradio.Markdown(look.facts(info))
            gradio.Markdown(look.card(recognizer.folder))
        sound.change(None, js=f"() => {json.dumps([look.waiting(), ''])}", outputs=[shown, line])
        button.click(recognise, sound, [shown, line], show_progress_on=shown, api_visibility="private")
    return blocks


def extract(recognizer: Recognizer, path: str | None, told: Progress | None = None) -> tuple[str, str]:
    """Answer for a file; for one that is longer than a window with a timeline.

    Args:
        recognizer: answers.
        path: of the sound; None where none was given.
        told: how far the timeline is, as `timeline` tells it.

    Returns:
        The answer and the timeline, as HTML; the latter is empty where there is none.
    """
    if path is None:
        return look.waiting("There is no sound yet: record a sentence or choose a file first."), ""
    try:
        length, _ = seconds(path)
        line = timeline(path, recognizer, progress=told) if length > WINDOW else None
        emotion = recognizer(path) if line is None or length <= recognizer.extractor.longest else line.emotion
    except SereneError as error:
        return look.mistake(str(error).replace(path, "The file")), ""
    return look.answer(emotion, recognizer.abstain), "" if line is None else look.drawn(line)


def _free(host: str, port: int) -> int:
    """Give the port, or any that is free instead of 0.

    Raises:
        SereneError: something listens there already, or nothing can.
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
            return listening.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (")[0]  # some Pythons repeat the address
        raise SereneError(
            f"Cannot listen at {host}, port {port}: {reason}. "
            "Choose another --port or --host, or end what listens there."
        ) from error


class _AtHome:
    """An ASGI application that tells browsers to load nothing from elsewhere."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, sending)
