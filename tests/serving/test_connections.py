"""Connections that say nothing, trickle, or do not read: they are closed, and everybody else is answered."""

from __future__ import annotations

import contextlib
import json
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from served import WAIT, Served, serving

from serene.serving.connections import ROOM, holder

POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is not this machine")


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    """A service that waits a second for headers, and has little room."""
    with serving(header_seconds=1.0, answer_seconds=5.0, connections=12, per_address=6) as served:
        yield served


def connect(served: Served, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((served.host, int(served.port)), WAIT, (address, 0))


def is_closed(line: socket.socket) -> bool:
    """Whether the other side has closed a connection on which nothing was said."""
    try:
        return bool(select.select([line], [], [], 0)[0]) and line.recv(1) == b""
    except ConnectionError:
        return True


def read_to_the_end(line: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionError):
        while more := line.recv(65536):
            said += more
    return said


def until_closed(line: socket.socket, drop: bytes) -> None:
    """Send the same again and again until it fails."""
    ends = time.monotonic() + WAIT
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < ends:
            line.sendall(drop)
            if is_closed(line):
                return
            time.sleep(0.05)
        pytest.fail("it was never closed")


@pytest.mark.slow
def test_600_silent_clients_lock_nobody_out() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[0] < 900:
        pytest.skip("600 connections need more open files than this process may have")
    with serving(header_seconds=10.0 * WAIT) as served, ExitStack() as lines:  # the deadline helps nobody here
        silent = [lines.enter_context(connect(served)) for _ in range(600)]
        began = time.monotonic()
        assert json.loads(served.read("/health")) == {"status": "ok"}
        assert served.post("70")[0] == 200
        assert time.monotonic() - began < WAIT  # it is milliseconds, where the machine is not busy
        closed = sum(map(is_closed, silent))
        assert 600 - 512 - ROOM <= closed < 600 - 512 + ROOM
        assert is_closed(silent[0]) and not is_closed(silent[-1])  # who has waited longest goes first
        assert served.complaints() == ""


@pytest.mark.parametrize(
    "drop", [b"", b"G", b"X: y\r\n"], ids=["says nothing", "trickles a first line", "trickles headers"]
)
def test_a_connection_whose_headers_do_not_come_is_closed(hasty: Served, drop: bytes) -> None:
    with connect(hasty) as line:
        if drop:
            line.sendall(b"GET /health HTTP/1.1\r\n" * (len(drop) > 1))
            until_closed(line, drop)
        assert read_to_the_end(line) == b""


def test_the_next_request_of_a_connection_has_a_deadline_too(hasty: Served) -> None:
    with connect(hasty) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not line.recv(65536).endswith(b'{"status":"ok"}'):
            pass
        line.sendall(b"GET /health HTTP/1.1\r\n")
        until_closed(line, b"X: y\r\n")


def test_who_trickles_a_body_after_the_answer_reads_it_and_is_closed(hasty: Served) -> None:
    with connect(hasty) as line:
        line.sendall(POST + b"Content-Length: 90000\r\n\r\n--x\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 408 ")
        until_closed(line, b"-")


def test_who_never_reads_the_answers_is_closed(hasty: Served) -> None:
    with connect(hasty) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(1.0)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200
        ends = time.monotonic() + 3 * WAIT
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < ends:
                with contextlib.suppress(TimeoutError):
                    line.sendall(asked)
            pytest.fail("it was never closed")


@LINUX
def test_an_address_has_so_many_connections_and_an_idle_one_makes_way(hasty: Served) -> None:
    with ExitStack() as lines:
        silent = [lines.enter_context(connect(hasty, "127.0.0.2")) for _ in range(7)]
        wait_until(lambda: is_closed(silent[0]))  # the seventh needs its place
        other = lines.enter_context(connect(hasty, "127.0.0.3"))
        other.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert other.recv(65536).startswith(b"HTTP/1.1 200 ")


@LINUX
@pytest.mark.slow
def test_while_uploads_take_all_connections_health_is_answered_and_others_are_told_to_come_later() -> None:
    with serving(upload_seconds=WAIT, connections=12, per_address=6) as served, ExitStack() as lines:
        for address in ("127.0.0.2", "127.0.0.3") * 6:
            line = lines.enter_context(connect(served, address))
            line.sendall(POST + b"Content-Length: 9000\r\n\r\n--x\r\n")
        statuses = set()
        wait_until(lambda: statuses.add(served.post("70")[0]) or 503 in statuses)
        with connect(served) as line:
            line.sendall(b"GET /model HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            said = read_to_the_end(line)
        assert said.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 1\r\n" in said
        assert said.endswith(b'{"detail":"The service has too many requests."}')
        assert json.loads(served.read("/health")) == {"status": "ok"}
        with connect(served) as line:  # a body would hold the answer back
            line.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            assert line.recv(65536).startswith(b"HTTP/1.1 503 ")


def wait_until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_who_holds_one_address_of_a_network_of_ipv6_holds_all() -> None:
    assert holder("2001:db8:0:1::5") == holder("2001:db8:0:1:ffff::") != holder("2001:db8:0:2::5")
    assert [holder(said) for said in ("192.0.2.7", "", "unknown", "a:b")] == ["192.0.2.7", "", "unknown", "a:b"]
