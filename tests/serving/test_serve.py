"""`serve` in a process of its own: real connections, many clients, slow and rude ones, and its end."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pytest

import serene

SERVE = """
import sys
from fake_recognizer import FakeRecognizer
from serene.serving import server
from serene.serving.uploads import Limits
server.Recognizer.load = lambda *given, **settings: FakeRecognizer(seconds=0.01)
server.serve(port=0, limits=Limits(upload=100_000, upload_seconds=1.0), ready=lambda url: print(url, flush=True))
"""
WAIT = 60  # seconds; only a test that fails waits so long


@dataclass
class Served:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    errors: TextIO
    host: str
    port: str

    def post(self, *words: str, path: str = "/predict", name: str = "file") -> tuple[int, dict]:
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n{word}\r\n' for word in words
        ]
        return self.send("POST", path, "".join(parts).encode() + b"--x--\r\n")

    def send(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict]:
        connection = http.client.HTTPConnection(self.host, int(self.port), timeout=WAIT)
        try:
            connection.request(method, path, body, {"Content-Type": "multipart/form-data; boundary=x"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def read(self, path: str) -> str:
        connection = http.client.HTTPConnection(self.host, int(self.port), timeout=WAIT)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def complaints(self) -> str:
        """What it wrote to its error stream."""
        self.errors.seek(0)
        return self.errors.read()

    def children(self) -> list[int]:
        """The service's processes: those that decode, and one that multiprocessing keeps."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, parent = stat.parent.name, stat.read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if int(parent) == self.process.pid:
                found.append(int(pid))
        return found


@contextmanager
def serving() -> Iterator[Served]:
    command = [sys.executable, "-W", "error", "-c", SERVE]
    paths = Path(__file__).parents[1] / "inference", Path(serene.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout
            address = re.fullmatch(r"http://(127\.0\.0\.1):(\d+)\n", process.stdout.readline())
            served = Served(process, errors, *(address.groups() if address else ("", "0")))
            assert address, served.complaints()
            yield served
        finally:
            process.kill()
            process.communicate()


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
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_an_upload_that_never_ends_is_given_up(served: Served) -> None:
    with socket.create_connection((served.host, served.port), timeout=WAIT) as line:
        line.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 9000\r\n\r\n--x\r\n"
        )
        answer = line.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert served.post("70")[0] == 200


def test_a_client_that_goes_away_in_the_middle_leaves_no_trace(served: Served) -> None:
    for body in (b"--x\r\n", b""):
        with socket.create_connection((served.host, served.port), timeout=WAIT) as line:
            line.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
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
