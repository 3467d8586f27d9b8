"""A service in a process of its own, for tests of real connections.

`tests/serving` is on the path of the tests.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import serene

SERVE = """
import json, sys
from fake_recognizer import FakeRecognizer
from serene.serving import server
from serene.serving.uploads import Limits
server.Recognizer.load = lambda *given, **settings: FakeRecognizer(seconds=0.01)
limits, settings = map(json.loads, sys.argv[1:])
server.serve(port=0, limits=Limits(**limits), ready=lambda url: print(url, flush=True), **settings)
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
def serving(settings: dict[str, Any] | None = None, **limits: Any) -> Iterator[Served]:
    """Serve a fake recognizer until the block ends."""
    given = json.dumps({"upload": 100_000, "upload_seconds": 1.0} | limits), json.dumps(settings or {})
    command = [sys.executable, "-W", "error", "-c", SERVE, *given]
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
