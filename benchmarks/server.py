"""How fast `serene serve` answers: throughput and waiting for few and many clients, beside one clip at a time.

Two services run in processes of their own, alike but for the clips in the network at once: one for each core, and one.
Clients in threads of a
third process post WAV files to either in turn, each over a connection that it keeps, the next file as soon as the last
is answered. The files are clips of the sample, one after another; their durations are quantiles of those of IEMOCAP's
clips (`padding.py`). Every answer is checked: it came, and its scores are those that one client alone is given.

    python benchmarks/server.py --json
    python benchmarks/server.py --model FOLDER --requests 400 --repeats 5
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile

from padding import fit
from voices import speech

CLIENTS = (1, 8, 32)
AT_ONCE = {"one a core": os.cpu_count() or 1, "one": 1}
FILES = 64
RATE = 16_000
BOUNDARY = "x" * 24
CLOSE = 1e-5  # between an answer in company and alone
SERVE = """
import sys
from serene.serving.server import serve
serve(sys.argv[1] or None, port=0, at_once=int(sys.argv[2]), device="cpu", ready=lambda url: print(url, flush=True))
"""


class Service:
    """A service in a process of its own."""

    def __init__(self, url: str) -> None:
        """Take where it listens."""
        self.host, port = url.removeprefix("http://").split(":")
        self.port = int(port)

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection."""
        return http.client.HTTPConnection(self.host, self.port, timeout=120)

    def get(self, path: str) -> str:
        """Read a page."""
        with contextlib.closing(self.connect()) as line:
            line.request("GET", path)
            return line.getresponse().read().decode()


@contextlib.contextmanager
def served(model: str, at_once: int) -> Iterator[Service]:
    """Start a service with so many clips in the network at once."""
    process = subprocess.Popen([sys.executable, "-c", SERVE, model, str(at_once)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit("The service did not start.")
        yield Service(url)
    finally:
        process.terminate()
        process.wait()


def files() -> tuple[list[bytes], np.ndarray]:
    """Make the bodies of requests, shuffled, and the durations of their sounds in seconds."""
    rng = np.random.default_rng(0)
    durations = np.round(rng.permutation(fit().quantiles(FILES)), 3)
    bodies = []
    for number, seconds in enumerate(durations):
        sound = io.BytesIO()
        soundfile.write(sound, speech(number, float(seconds)), RATE, format="wav")
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{number}.wav"\r\n\r\n'
        bodies.append(head.encode() + sound.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode())
    return bodies, durations


def ask(line: http.client.HTTPConnection, body: bytes) -> tuple[float, dict[str, float] | None]:
    """Post a file; give the seconds until its answer and the scores, or None where there was no answer."""
    began = time.perf_counter()
    try:
        line.request("POST", "/predict", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        answer = line.getresponse()
        content = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        line.close()
        return time.perf_counter() - began, None
    return time.perf_counter() - began, content["scores"] if answer.status == 200 else None


def measure(service: Service, bodies: list[bytes], clients: int, requests: int) -> dict[str, Any]:
    """Have so many clients post so many requests; give the wall time and, per request, its file, seconds and scores."""
    order, answers, lock = iter(range(requests)), [], threading.Lock()

    def client() -> None:
        with contextlib.closing(service.connect()) as line:
            while True:
                with lock:
                    number = next(order, None)
                if number is None:
                    return
                answers.append((number % len(bodies), *ask(line, bodies[number % len(bodies)])))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - began
    return {"wall": wall, "answers": answers}


def row_of(
    kind: str, clients: int, repeats: list[dict[str, Any]], alone: list[Any], durations: np.ndarray
) -> dict[str, Any]:
    """Sum up the repeats of one case: medians over them, waiting times over all of their requests."""
    answers = [answer for repeat in repeats for answer in repeat["answers"]]
    came = [(file, scores) for file, _, scores in answers if scores is not None]
    waits = np.array([seconds for _, seconds, _ in answers])
    apart = max((abs(scores[name] - alone[file][name]) for file, scores in came for name in scores), default=0.0)
    sound = [sum(durations[file] for file, *_ in repeat["answers"]) for repeat in repeats]
    return {
        "at_once": kind,
        "clients": clients,
        "requests": len(answers),
        "lost": len(answers) - len(came),
        "requests_per_second": statistics.median(len(r["answers"]) / r["wall"] for r in repeats),
        "sound_per_second": statistics.median(s / r["wall"] for s, r in zip(sound, repeats, strict=True)),
        "p50_ms": 1000 * float(np.quantile(waits, 0.5)),
        "p99_ms": 1000 * float(np.quantile(waits, 0.99)),
        "furthest_from_alone": apart,
    }


def compare(model: str, requests: int, repeats: int) -> dict[str, Any]:
    """Measure both services, interleaved."""
    bodies, durations = files()
    with contextlib.ExitStack() as stack:
        services = {kind: stack.enter_context(served(model, most)) for kind, most in AT_ONCE.items()}
        answered = {kind: sorted(measure(service, bodies, 1, FILES)["answers"]) for kind, service in services.items()}
        alone = [scores for _, _, scores in answered["one"]]
        if None in alone:
            raise SystemExit("The service does not answer a single client.")
        cases: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for turn in range(repeats):
            for clients in CLIENTS:
                kinds = list(services) if turn % 2 else list(services)[::-1]
                for kind in kinds:
                    cases.setdefault((kind, clients), []).append(measure(services[kind], bodies, clients, requests))
        facts = json.loads(services["one"].get("/model"))
    rows = [row_of(kind, clients, cases[kind, clients], alone, durations) for clients in CLIENTS for kind in services]
    rate = {(row["at_once"], row["clients"]): row["requests_per_second"] for row in rows}
    return {
        "model": facts["name"],
        "runs_on": facts["runs_on"],
        "mean_seconds_of_a_file": float(durations.mean()),
        "requests": requests,
        "repeats": repeats,
        "rows": [{key: round(v, 7) if isinstance(v, float) else v for key, v in row.items()} for row in rows],
        "gain": {str(clients): round(rate["one a core", clients] / rate["one", clients], 3) for clients in CLIENTS},
        "nothing_lost": not any(row["lost"] for row in rows),
        "same_as_alone": all(row["furthest_from_alone"] <= CLOSE for row in rows),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="", help="a model folder; the bundled model without it")
    parser.add_argument("--requests", type=int, default=256, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=3, help="of each, interleaved")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    options = parser.parse_args()
    result = compare(options.model, options.requests, options.repeats)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['model']} ({result['runs_on']}), files of {result['mean_seconds_of_a_file']:.1f} s on average")
    print("clients  at once     requests/s  sound/s  p50 ms  p99 ms  lost")
    for row in result["rows"]:
        print(
            f"{row['clients']:>7}  {row['at_once']:<10}  {row['requests_per_second']:>10.1f}  "
            f"{row['sound_per_second']:>7.0f}  {row['p50_ms']:>6.0f}  {row['p99_ms']:>6.0f}  "
            f"{row['lost']:>4}"
        )
    print(f"answers are those that one client alone gets: {result['same_as_alone']}")


if __name__ == "__main__":
    main()
