"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

ELSEWHERE = "other"  # paths that do not exist share a name, or a client could fill the memory with them
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Counters:
    """Counts of one service; another in the same process has its own.

    Args:
        inside: says how many files are in the service.
    """

    def __init__(self, inside: Callable[[], float]) -> None:
        """Begin all counts."""
        own = self.registry = CollectorRegistry()
        self._requests = Counter("serene_requests", "Requests answered.", ["path", "status"], registry=own)
        self._seconds = Histogram(
            "serene_request_seconds", "From a request to its answer.", ["path"], buckets=SECONDS, registry=own
        )
        self._files = Counter(
            "serene_files",
            "Files: answered, without speech, refused, or the end of a decoder.",
            ["outcome"],
            registry=own,
        )
        self._audio = Counter("serene_audio_seconds", "Seconds of sound answered for.", registry=own)
        self._sizes = Histogram("serene_batch_clips", "Clips in a batch.", buckets=SIZES, registry=own)
        self._network = Histogram(
            "serene_batch_seconds", "A batch's time in the network.", buckets=SECONDS, registry=own
        )
        Gauge("serene_files_inside", "Files in the service now.", registry=own).set_function(inside)
        ProcessCollector(registry=own)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def file(self, outcome: str, seconds: float = 0.0) -> None:
        """Count a file by its outcome, and its duration where it is known."""
        self._files.labels(outcome).inc()
        self._audio.inc(seconds)

    def batch(self, size: int, seconds: float) -> None:
        """Count a batch and its time in the network."""
        self._sizes.observe(size)
        self._network.observe(seconds)

    def page(self) -> bytes:
        """Write all counts in Prometheus' text format."""
        return generate_latest(self.registry)


class Counted:
    """An ASGI application whose answers are counted."""

    def __init__(self, app: Any, counters: Counters) -> None:
        """Stand before an application."""
        self.app, self.counters = app, counters

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve a request, and count its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            path = getattr(scope.get("route"), "path", ELSEWHERE)
            self.counters.request(path, status, time.perf_counter() - began)
