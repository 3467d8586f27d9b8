"""Who may ask: keys, names of the service, pages elsewhere, and the pages that describe it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fake_recognizer import FakeRecognizer
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from serene.cli import app
from serene.errors import SereneError
from serene.serving import listen
from serene.serving.access import Access
from serene.serving.server import application, serve
from serene.serving.service import Service

PAGE = "https://page.example"
PAGES = ("/docs", "/redoc", "/openapi.json")


@contextmanager
def running(**access: Any) -> Iterator[TestClient]:
    service = Service(FakeRecognizer(), decoders=1)  # pyright: ignore[reportArgumentType]
    with TestClient(application(service, Access(**access)), "http://127.0.0.1:8000", follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with running() as client:
        yield client


def ask(client: TestClient, **headers: str) -> Any:
    return client.post("/predict", files={"file": b"70"}, headers=headers)


@pytest.mark.parametrize("key", ["", " ", "\t", "tulip ", "my key", "tülip", "tulip\n", "\0"])
def test_a_key_that_is_none_or_that_no_header_carries_is_refused_at_the_start(key: str) -> None:
    with pytest.raises(SereneError, match=r"^The key is empty, or has blanks or signs beyond ASCII\. Choose"):
        serve("no such model", api_key=key)


@pytest.mark.parametrize("words", [["--api-key", ""], []])
def test_an_empty_key_on_the_command_line_or_in_the_environment_is_no_service_without_a_key(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERENE_API_KEY", "tulip" if words else "")
    done = CliRunner().invoke(app, ["serve", "--model", "no such model", *words])
    assert isinstance(done.exception, SereneError) and str(done.exception).startswith("The key is empty")


def test_the_command_line_says_who_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("serene.serving.server.serve", lambda model, **settings: asked.update(settings))
    monkeypatch.setenv("SERENE_API_KEY", "tulip")
    names = ["--allowed-host", "a.example", "--allowed-host", "b.example", "--allow-origin", PAGE, "--no-docs"]
    assert CliRunner().invoke(app, ["serve", *names]).exit_code == 0
    assert list(asked["allowed_hosts"]) == ["a.example", "b.example"] and list(asked["allow_origins"]) == [PAGE]
    assert (asked["api_key"], asked["docs"]) == ("tulip", False)


@pytest.mark.parametrize("sent", ["tülip".encode("latin-1"), "tülip".encode(), b"Bearer", b"Bearer  tulip x", b"\xff"])
def test_a_wrong_key_of_any_bytes_is_a_401(sent: bytes) -> None:
    with running(api_key="tu!ip~") as client:
        assert client.get("/model", headers={b"authorization": b"Bearer " + sent}).status_code == 401
        assert client.get("/model", headers={"authorization": "Bearer tu!ip~"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "known", "unknown"),
    [
        ("127.0.0.1", ["127.0.0.1", "LocalHost:8000", "[::1]:8000"], ["10.0.0.7", "evil.example", "localhost.evil"]),
        ("localhost", ["localhost.", "127.0.0.1:1"], ["", "*", "localhost@evil.org", "evil.org@localhost", "a b"]),
        ("0.0.0.0", ["10.0.0.7:8000", "[2001:db8::1]", "localhost"], ["evil.example", "10.0.0.7.evil.example"]),
        ("", ["10.0.0.7"], ["evil.example"]),
        ("10.0.0.7", ["10.0.0.7:8000"], ["10.0.0.8", "localhost", "evil.example"]),
        ("2001:db8::1", ["[2001:db8:0::1]:8000"], ["[2001:db8::2]", "2001:db8::1"]),
        ("mybox.example", ["MYBOX.example:8000"], ["evil.example", "127.0.0.1"]),
    ],
)
def test_a_service_is_called_by_what_it_listens_at(host: str, known: list[str], unknown: list[str]) -> None:
    access = Access(host)
    assert [name for name in (*known, *unknown) if access.knows(name)] == known


def test_other_names_are_allowed_one_by_one_or_all() -> None:
    access = Access(allowed_hosts=("Speech.example.org", "[2001:db8::1]"))
    assert access.knows("speech.EXAMPLE.org:8443") and access.knows("[2001:db8::1]") and access.knows("127.0.0.1")
    assert not access.knows("other.example.org")
    assert Access(allowed_hosts=("*",)).knows("other.example.org")
    for name in ("", "*.example.org", "http://example.org", "example.org/", "a b"):
        with pytest.raises(SereneError, match=r"--allowed-host is .*; a name was expected"):
            Access(allowed_hosts=(name,))
    for page in ("", "example.org", "https://example.org/", "https://Example.org", "null"):
        with pytest.raises(SereneError, match=r"--allow-origin is .*; scheme and name were expected"):
            Access(allow_origins=(page,))


@pytest.mark.parametrize("path", ["/predict", "/model", "/health", "/openapi.json", "/nowhere", "/predict/"])
def test_a_request_that_calls_the_service_otherwise_is_refused_at_every_path(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"host": "evil.example"})
    said = "The service is not called 'evil.example'. Start it with --allowed-host and that name."
    assert (answer.status_code, answer.json()) == (400, {"detail": said})


def test_redirects_name_no_host(client: TestClient) -> None:
    assert client.get("/").headers["location"] == "docs"
    assert client.post("/predict/").headers["location"] == "/predict"
    with running(allowed_hosts=("*",)) as client:
        assert client.get("/model/", headers={"host": "evil.example"}).headers["location"] == "/model"


def test_posts_of_pages_elsewhere_are_refused(client: TestClient) -> None:
    for origin in (
        PAGE,
        "null",
        "http://127.0.0.1:3000",
        "http://localhost:8000",
        "http://127.0.0.1:8000.evil.example",
    ):
        answer = ask(client, origin=origin)
        assert answer.status_code == 403
        said = f"Pages of '{origin}' may not ask here. Start the service with --allow-origin and that."
        assert answer.json() == {"detail": said}
    assert ask(client, origin="http://127.0.0.1:8000").status_code == ask(client).status_code == 200
    assert "access-control-allow-origin" not in client.get("/model", headers={"origin": PAGE}).headers


def test_a_page_that_is_allowed_can_ask_and_read_the_answer() -> None:
    asks = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with running(allow_origins=(PAGE,), api_key="tulip") as client:
        assert client.options("/predict", headers=asks).status_code == 200
        answer = ask(client, origin=PAGE, authorization="Bearer tulip")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        assert ask(client, origin="https://other.example", authorization="Bearer tulip").status_code == 403


def test_what_describes_the_service_needs_the_key_or_is_off(client: TestClient) -> None:
    assert [client.get(path).status_code for path in PAGES] == [200] * 3
    assert "'openapi.json'" in client.get("/docs").text  # relative: a proxy may serve it below a path of its own
    with running(api_key="tulip") as guarded:
        assert [guarded.get(path).status_code for path in PAGES] == [401] * 3
        guarded.headers["Authorization"] = "Bearer tulip"
        assert [guarded.get(path).status_code for path in PAGES] == [200] * 3
    with running(docs=False) as bare:
        assert [bare.get(path).status_code for path in ("/", *PAGES)] == [404] * 4


@pytest.mark.parametrize(
    ("host", "key", "warned"), [("127.0.0.1", None, False), ("0.0.0.0", "tulip", False), ("0.0.0.0", None, True)]
)
def test_who_lets_everybody_in_is_told(host: str, key: str | None, warned: bool, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING), listen(host, 0, key):
        assert ("has no key" in caplog.text) == warned
