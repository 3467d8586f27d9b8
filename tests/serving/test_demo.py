"""The demo in a real browser: a file and a microphone in, a headline, bars, a timeline and kind words out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from small_model import spoken

from serene.audio.batch import Batch
from serene.errors import SereneError
from serene.inference import features
from serene.inference.emotion import Emotion
from serene.inference.folder import ModelFolder
from serene.inference.recognizer import Recognizer
from serene.models.model import EmotionModel
from serene.models.network import Network
from serene.models.parts import Parts

gradio = pytest.importorskip("gradio", reason="gradio is not installed")

from serene.serving import demo as demonstration  # noqa: E402

# gradio sets an option of pandas that pandas is about to drop, now and then, as it looks at its queue
pytestmark = pytest.mark.filterwarnings("ignore:.*no_silent_downcasting:DeprecationWarning")
EMOTIONS = ("anger", "<b>joy</b>", "neutral")
LOGITS = (1.0, 3.0, 0.5)
CARD = """---
license: apache-2.0
---
# A card

| corpus | accuracy |
|---|---|
| made up | 71 % |

![a picture](https://elsewhere.example/a.png)
<img src="https://elsewhere.example/b.png">
"""


class Fixed(Network):
    """A network that says the same of every clip."""

    what = "a fixed network"

    def __call__(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        clips = len(batch.lengths)
        return np.tile(np.float32(LOGITS), (clips, 1)), np.zeros((clips, 4), np.float32)


def shares() -> dict[str, float]:
    powers = [math.exp(logit) for logit in LOGITS]
    return {name: power / sum(powers) for name, power in zip(EMOTIONS, powers, strict=True)}


@pytest.fixture(scope="module", autouse=True)
def loops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Close the event loops that gradio makes with a page and forgets; they would be warned of in any later test."""
    made, new = [], asyncio.new_event_loop
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        patch.setattr(asyncio, "new_event_loop", lambda: made.append(new()) or made[-1])
        yield
    for loop in made:
        loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A model folder whose card asks for pictures from elsewhere."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    EmotionModel(EMOTIONS, 39).save(path, {"front_end": "mfcc"})
    (path / "README.md").write_text(CARD)
    return ModelFolder.read(path, "tiny")


@pytest.fixture(scope="module")
def recognizer(model: ModelFolder) -> Recognizer:
    return Recognizer(model, Fixed())


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of every kind that a visitor may bring."""
    folder = tmp_path_factory.mktemp("sounds")
    draw = np.random.default_rng(0)
    samples = {
        "sentence": spoken(1.5),
        "talk": np.resize(spoken(2.0), 8 * 16000),
        "click": spoken(1.5)[:3200],
        "silence": np.zeros(16000),
        "noise": 0.1 * draw.standard_normal(32000),
    }
    for name, own in samples.items():
        soundfile.write(folder / f"{name}.wav", own, 16000)
    (folder / "letter.wav").write_text("Dear Sir or Madam")
    return {path.stem: path for path in folder.iterdir()}


class Shown(HTMLParser):
    """The words of a piece of HTML, by the class of the nearest element that has one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        assert not self.open  # every element is closed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(dict(attrs).get("class") or tag)

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1], data))

    def of(self, kind: str) -> list[str]:
        return [words for name, words in self.words if name == kind]


def emotion(**settings: Any) -> Emotion:
    return Emotion(**{"label": "anger", "scores": {"anger": 0.625, "neutral": 0.375}, "duration": 2.04} | settings)


def test_an_answer_is_a_headline_and_bars_from_the_highest_down() -> None:
    html = demonstration.answer(Emotion("fear", {"anger": 0.25, "fear": 0.625, "neutral": 0.125}, 2.04))
    shown = Shown(html)
    assert shown.of("h2") == ["fear"]
    assert shown.of("soft length") == ["2.0 seconds of sound"]
    assert shown.of("name") == ["fear", "anger", "neutral"]
    assert shown.of("value") == ["62 %", "25 %", "12 %"]
    assert re.findall(r"width: ([\d.]+)%", html) == ["62.5", "25.0", "12.5"]
    assert html.count('<li class="first">') == 1


@pytest.mark.parametrize(
    ("note", "headline", "words"),
    [
        ("too short", "Too short to tell", "At least 0.3 seconds are needed"),
        ("silence", "Nothing to hear", "Is the right microphone on"),
        ("no speech", "No speech found", "There is no voice"),
    ],
)
def test_where_there_is_no_speech_the_page_says_so_and_draws_no_bars(note: str, headline: str, words: str) -> None:
    shown = Shown(demonstration.answer(emotion(label=None, scores={}, note=note)))
    assert shown.of("h2") == [headline]
    assert words in shown.of("soft words")[0]
    assert shown.of("soft length") == ["2.0 seconds of sound"]
    assert "ol" not in shown.tags


def test_an_uncertain_answer_names_the_likeliest_and_the_threshold() -> None:
    shown = Shown(demonstration.answer(emotion().abstaining(0.7), 0.7))
    assert shown.of("h2") == ["Not sure"]
    assert shown.of("soft words") == ["No emotion stands out. The likeliest is anger; at least 70 % were asked for."]
    assert shown.of("value") == ["62 %", "38 %"]


def test_dimensions_are_numbers_and_not_bars() -> None:
    shown = Shown(demonstration.answer(emotion(label=None, scores={"valence": -0.5, "arousal": 61.257})))
    assert shown.of("name") == ["valence", "arousal"]
    assert shown.of("value") == ["-0.50", "61.26"]
    assert "i" not in shown.tags


def test_a_name_from_a_model_folder_is_text() -> None:
    shown = Shown(demonstration.answer(Emotion("<script>", {"<script>": 1.0}, 1.0)) + demonstration.mistake("<script>"))
    assert shown.of("h2")[0] == "<script>"
    assert shown.of("soft words")[-1] == "<script>"
    assert "script" not in shown.tags


def test_the_card_comes_without_its_metadata_and_pictures(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path, "made up", {}, {}, Parts())
    (tmp_path / "README.md").write_text(CARD)
    card = demonstration.card(folder)
    assert card.startswith("# A card")
    assert "license" not in card
    assert "a picture\n" in card and "a.png" not in card
    (tmp_path / "README.md").write_text("# Plain\n\n---\nA rule is no metadata.\n---\n")
    assert demonstration.card(folder).endswith("A rule is no metadata.\n---\n")
    (tmp_path / "README.md").unlink()
    assert "no card" in demonstration.card(folder)


def test_a_sentence_is_answered_without_a_timeline(recognizer: Recognizer, sounds: dict[str, Path]) -> None:
    html, line = demonstration.extract(recognizer, str(sounds["sentence"]))
    assert Shown(html).of("h2") == ["<b>joy</b>"]
    assert Shown(html).of("value") == [f"{100 * share:.0f} %" for share in sorted(shares().values(), reverse=True)]
    assert line == ""


def test_a_talk_gets_a_timeline_and_its_progress_is_told(recognizer: Recognizer, sounds: dict[str, Path]) -> None:
    told = []
    html, line = demonstration.extract(recognizer, str(sounds["talk"]), lambda *how: told.append(how))
    assert Shown(html).of("soft length") == ["8.0 seconds of sound"]
    assert "<svg" in line and all(f">{name}</text>" in line for name in ("anger", "neutral"))
    assert "<b>" not in line
    assert told[-1][1] == told[-1][2] >= 6


def test_what_is_longer_than_the_model_takes_at_once_is_answered_by_its_timeline(
    model: ModelFolder, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Recognizer(model, Fixed())
    windows = short.extractor
    monkeypatch.setattr(short, "extractor", SimpleNamespace(longest=5.0, front_end=windows.front_end))
    monkeypatch.setattr(short, "extract", lambda sound, rate=None: windows(sound, rate))
    html, line = demonstration.extract(short, str(sounds["talk"]))
    assert Shown(html).of("h2") == ["<b>joy</b>"]
    assert Shown(html).of("soft length") == ["8.0 seconds of sound"]
    assert line


@pytest.mark.parametrize(
    ("name", "kind", "headline"),
    [
        ("click", "kind", "Too short to tell"),
        ("silence", "kind", "Nothing to hear"),
        ("noise", "kind", "No speech found"),
        ("letter", "kind", "That did not work"),
    ],
)
def test_bad_sounds_are_met_with_words(
    recognizer: Recognizer, sounds: dict[str, Path], name: str, kind: str, headline: str
) -> None:
    html, line = demonstration.extract(recognizer, str(sounds[name]))
    assert Shown(html).of("h2") == [headline]
    assert f'<div class="{kind}"' in html
    assert str(sounds[name].parent) not in html  # where a server keeps its files is nobody's business
    assert line == ""


def test_without_a_sound_it_asks_for_one(recognizer: Recognizer) -> None:
    html, line = demonstration.extract(recognizer, None)
    assert "no sound yet" in html
    assert line == ""


def test_a_port_that_is_taken_is_a_plain_mistake(recognizer: Recognizer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(SereneError, match=rf"Cannot listen at 127.0.0.1, port {port}: [^(]*\. Choose .*--port"),
            demonstration.opened(recognizer, port=port),
        ):
            pass


def test_a_page_whose_name_was_made_to_point_here_is_refused(recognizer: Recognizer) -> None:
    with demonstration.opened(recognizer, port=0, allowed_hosts=["voice.example.org"]) as url:
        for host, status in ((None, 200), ("voice.example.org", 200), ("evil.example.org", 400)):
            asked = urllib.request.Request(url, headers={} if host is None else {"Host": host})
            try:
                got = urllib.request.urlopen(asked, timeout=30).status
            except urllib.error.HTTPError as error:
                got = error.code
            assert got == status, host


def test_gradio_is_told_to_tell_nobody(recognizer: Recognizer) -> None:
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert demonstration.page(recognizer).analytics_enabled is False


def test_demo_tells_its_address_calls_nobody_and_ends_when_interrupted(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, called, looked_up = [], set(), socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *how, **more: called.add(host) or looked_up(host, *how, **more)
    )

    def ready(url: str) -> None:
        told.append(url)
        with urllib.request.urlopen(url) as page:
            told.append(page.headers["content-security-policy"])
        raise KeyboardInterrupt

    demonstration.demo(recognizer, port=0, ready=ready)
    assert called and called <= {"127.0.0.1", b"127.0.0.1", "localhost", b"localhost"}
    url, policy = told
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    assert policy.startswith("default-src 'self' ") and "http" not in policy and "*" not in policy
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until something is so, and give it."""
    from selenium.common.exceptions import WebDriverException

    end, found = time.monotonic() + seconds, None
    while not found and time.monotonic() < end:
        time.sleep(0.1)
        with contextlib.suppress(WebDriverException):  # what is drawn anew is not there for a moment
            found = what()
    assert found, "it did not come to pass"
    return found


class Visitor:
    """Somebody with a browser, in front of the page."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self) -> Visitor:
        self.browser.get(self.url)
        until(lambda: self.all("#sound input[type=file]"))
        self.logged()  # what the page before it left behind
        return self

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return " ".join(element.get_attribute("textContent") for element in self.all(selector))

    def click(self, selector: str) -> None:
        until(lambda: [element.click() or True for element in self.all(selector)[:1]])

    def choose(self, path: Path) -> None:
        self.all("#sound input[type=file]")[0].send_keys(str(path))
        until(lambda: self.all('#sound [aria-label="Play"]'))

    def ask(self) -> str:
        """Press the button and give the headline."""
        self.click("#recognise")
        until(lambda: self.all("#answer [role=status]:not(.waiting) h2"))
        return self.text("#answer h2")

    def logged(self) -> list[dict[str, Any]]:
        return [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]

    def asked_for(self) -> dict[str, str]:
        """Give the addresses that the browser was to load, each with the reason why it did not."""
        sent, failed = {}, {}
        for entry in self.browser.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            about = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                sent[about["requestId"]] = about["request"]["url"]
            if event["method"] == "Network.loadingFailed":
                failed[about["requestId"]] = about.get("blockedReason", about["errorText"])
        return {url: failed.get(request, "") for request, url in sent.items()}


@pytest.fixture(scope="module")
def visitor(recognizer: Recognizer, sounds: dict[str, Path]) -> Iterator[Visitor]:
    """A visitor whose microphone has the talk again and again."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no Chromium with its driver (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1200,1000"):
        options.add_argument(f"--{argument}")
    for argument in ("device-for-media-stream", "ui-for-media-stream"):
        options.add_argument(f"--use-fake-{argument}")
    options.add_argument(f"--use-file-for-fake-audio-capture={sounds['talk']}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with demonstration.opened(recognizer, port=0) as url:
        browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
        try:
            yield Visitor(browser, url)
        finally:
            browser.quit()


@pytest.mark.slow
def test_a_visitor_chooses_a_file_and_reads_label_and_bars(visitor: Visitor, sounds: dict[str, Path]) -> None:
    visitor.open().choose(sounds["sentence"])
    assert visitor.text("#answer h2") == "Say something"
    assert visitor.ask() == "<b>joy</b>"
    assert visitor.text("#answer .name").split() == ["<b>joy</b>", "anger", "neutral"]
    tracks = [element.size["width"] for element in visitor.all("#answer .track")]
    bars = [element.size["width"] for element in visitor.all("#answer .track i")]
    assert len(set(tracks)) == 1 and tracks[0] > 100
    for bar, share in zip(bars, sorted(shares().values(), reverse=True), strict=True):
        assert bar == pytest.approx(share * tracks[0], abs=2.0)
    assert not visitor.all("#timeline h3")
    assert not visitor.logged()


@pytest.mark.slow
def test_a_visitor_speaks_and_sees_the_timeline(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "why_not", lambda _samples: None)  # a busy browser's recording has gaps: no speech
    visitor.open().click('#sound [aria-label="Record audio"]')
    visitor.click("#sound .record-button")
    until(lambda: [button for button in visitor.all("#sound .stop-button") if button.is_displayed()])
    time.sleep(5.0)
    visitor.click("#sound .stop-button")
    until(lambda: visitor.all('#sound [aria-label="Play"]'))
    assert visitor.ask() == "<b>joy</b>"
    assert float(visitor.text("#answer .length").split()[0]) > 3.0
    until(lambda: visitor.all("#timeline h3"))
    picture = visitor.all("#timeline [role=img] svg")[0]
    assert picture.is_displayed() and picture.size["width"] > 500
    assert "anger" in visitor.text("#timeline text").split()
    assert not visitor.logged()


@pytest.mark.slow
def test_on_a_telephone_picture_and_tables_can_be_read_and_the_page_stays_as_wide(
    visitor: Visitor, sounds: dict[str, Path]
) -> None:
    wide = visitor.browser.get_window_size()
    visitor.browser.set_window_size(500, 900)
    try:
        visitor.open().choose(sounds["talk"])
        visitor.ask()
        until(lambda: visitor.all("#timeline h3"))
        visitor.click("#card button")
        until(lambda: [cell for cell in visitor.all("#card td") if cell.is_displayed()])
        assert visitor.all("#timeline svg")[0].size["width"] > 550
        assert visitor.all("#timeline [role=img]")[0].size["width"] < 500
        assert {cell.value_of_css_property("word-break") for cell in visitor.all("#card td")} == {"normal"}
        page, window = visitor.browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert page <= window
    finally:
        visitor.browser.set_window_size(wide["width"], wide["height"])


@pytest.mark.slow
def test_a_new_sound_takes_the_old_answer_away(visitor: Visitor, sounds: dict[str, Path]) -> None:
    visitor.open().choose(sounds["noise"])
    assert visitor.ask() == "No speech found"
    visitor.click('#sound [aria-label="Clear"]')
    until(lambda: visitor.text("#answer h2") == "Say something")
    visitor.click("#recognise")
    until(lambda: "no sound yet" in visitor.text("#answer .words"))
    assert not visitor.logged()


@pytest.mark.slow
def test_the_card_is_shown_and_nothing_is_loaded_from_elsewhere(visitor: Visitor) -> None:
    visitor.asked_for()
    visitor.open()
    assert not any(element.is_displayed() for element in visitor.all("#card h1"))
    visitor.click("#card button")
    until(lambda: [element for element in visitor.all("#card h1") if element.is_displayed()])
    assert visitor.text("#card h1") == "A card"
    assert visitor.text("#card td").split(" ", 2) == ["made", "up", "71 %"]
    assert "3 emotions" in visitor.text("#card") and "runs on a fixed network" in visitor.text("#card")
    asked = visitor.asked_for()
    outside = {url: why for url, why in asked.items() if not url.startswith((visitor.url, "data:", "blob:"))}
    assert len(asked) > 10
    assert outside == {"https://elsewhere.example/b.png": "csp"}


@pytest.mark.slow
def test_what_was_uploaded_is_gone_with_the_page(recognizer: Recognizer, sounds: dict[str, Path]) -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    with demonstration.opened(recognizer, port=0) as url:
        boundary = "b"
        body = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'.encode()
        body += sounds["sentence"].read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        request = urllib.request.Request(f"{url}gradio_api/upload", body, headers)
        with urllib.request.urlopen(request) as answer:
            (kept,) = map(Path, json.load(answer))
        assert kept.read_bytes() == sounds["sentence"].read_bytes()
        assert folder in kept.parents
    assert not kept.exists()
