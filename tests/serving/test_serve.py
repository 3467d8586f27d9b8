"""`serve` in a process of its own: real connections, many clients, slow and rude ones, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served import WAIT, Served, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as served:
        yield served


def test_32_clients_at_a_time_lose_nothing_and_get_their_own_answers(served: Served) -> None:
    single = [served.post(str(number))[1] for number in range(1, 9)]

    def ask(client: int) -> list[tuple[int, dict]]:
        return [served.post(str(number)) for number in range(1, 9)]

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(32)))
    for own in answers:
        assert [status for status, _ in own] == [200] * 8
        for (_, answer), alone in zip(own, single, strict=True):
            assert answer["scores"] == pytest.approx(alone["scores"], abs=1e-5)
            assert answer["duration"] == alone["duration"]


def test_an_upload_that_is_too_large_is_read_to_its_end_so_that_its_sender_reads_why(served: Served) -> None:
    status, answer = served.post("1" * 700_000)
    assert (status, answer["detail"][:40]) == (413, "The upload is larger than 0.1 MB. Cut th")


def test_a_body_to_a_path_that_does_not_exist_is_read_to_its_end_too(served: Served) -> None:
    assert served.send("POST", "/nowhere", bytes(700_000)) == (404, {"detail": "Not Found"})


def test_who_waits_for_a_word_before_sending_is_refused_at_once(served: Served) -> None:
    with socket.create_connection((served.host, served.port), timeout=WAIT) as line:
        line.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_an_upload_that_never_ends_is_given_up(served: Served) -> None:
    with socket.create_connection((served.host, served.port), timeout=WAIT) as line:
        line.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 9000\r\n\r\n--x\r\n"
        )
        answer = line.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert served.post("70")[0] == 200


def test_a_client_that_goes_away_in_the_middle_leaves_no_trace(served: Served) -> None:
    for body in (b"--x\r\n", b""):
        with socket.create_connection((served.host, served.port), timeout=WAIT) as line:
            line.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                b"Content-Length: 9000\r\n\r\n" + body
            )
            time.sleep(0.2)
    assert served.post("70")[0] == 200
    assert served.complaints() == ""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 0)])
def test_what_is_in_flight_is_answered_before_the_end(number: int, code: int) -> None:
    with serving() as served, ThreadPoolExecutor(2) as pool:
        assert served.post("1")[0] == 200
        children = served.children()
        asked = [pool.submit(served.post, "slow1.5"), pool.submit(served.post, "slow1.5")]
        while "serene_files_inside 2" not in served.read("/metrics"):
            assert not any(one.done() for one in asked)
        for process in (served.process.pid, *children):  # as a terminal and a service manager do: to all at once
            os.kill(process, number)
        assert [one.result(WAIT)[0] for one in asked] == [200, 200]
        assert served.process.wait(WAIT) == code
        assert served.complaints() == ""
        with pytest.raises(ConnectionError):
            served.post("1")
        wait_for_the_end_of(children)


@pytest.mark.slow
def test_a_second_interrupt_tells_those_who_wait_and_ends_in_order() -> None:
    with serving() as served, ThreadPoolExecutor(2) as pool, connect_silently(served):
        children = served.children()
        asked = [pool.submit(served.post, "slow50"), pool.submit(served.post, "slow50")]
        while "serene_files_inside 2" not in served.read("/metrics"):
            assert not any(one.done() for one in asked)
        served.process.send_signal(signal.SIGINT)
        with contextlib.suppress(ConnectionError):  # until it has taken the first
            while served.read("/health"):
                pass
        served.process.send_signal(signal.SIGINT)
        said = {"detail": "The service ends before there was an answer. Ask again a little later."}
        assert [one.result(WAIT) for one in asked] == [(503, said)] * 2
        assert served.process.wait(WAIT) == 0
        assert served.complaints() == ""
        wait_for_the_end_of(children)


def connect_silently(served: Served) -> socket.socket:
    return socket.create_connection((served.host, int(served.port)), WAIT)


@pytest.mark.slow
def test_decoders_end_with_a_service_that_was_killed() -> None:
    with serving() as served:
        assert served.post("1")[0] == 200
        children = served.children()
        assert len(children) >= 2
        served.process.kill()
        served.process.wait(WAIT)
        wait_for_the_end_of(children)


def wait_for_the_end_of(processes: list[int]) -> None:
    ends = time.monotonic() + WAIT
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("serene.inference.recognizer", ("fastapi", "uvicorn", "prometheus_client", "torch")),
        ("serene.serving.decoding", ("fastapi", "torch", "onnxruntime", "sklearn")),
        ("serene.serving.server", ("torch", "transformers", "sklearn", "matplotlib", "onnxruntime")),
    ],
)
def test_imports_stay_light(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT, check=True)
    assert done.stdout == "[]\n"
