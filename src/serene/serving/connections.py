"""Connections are bounded in time and number, so that those that say nothing lock nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from serene.serving.uploads import Limits, Refused, has_body

ROOM = 32  # connections beyond the limit, on which `/health` is answered and everything else refused
LINGER = 2.0  # seconds in which who still sends may read the answer
HEALTH = "/health"


class Connection(H11Protocol):
    """A connection that asks in time, reads its answer and makes way for others, or is closed.

    uvicorn waits for a request's headers for as long as a client likes. Here they have to be whole within
    `header_seconds` of the connection or of the answer before, and an answer has its time, too. Where there are too
    many connections, of one address or in all, a new one takes the place of those that have waited longest without
    asking, of the address that has most of them.

    Args:
        limits: the service's.
        of_uvicorn: what uvicorn gives to each of its connections.
    """

    def __init__(self, *, limits: Limits, **of_uvicorn: Any) -> None:
        """Wait for the connection."""
        super().__init__(**of_uvicorn)
        self._limits, self._ends, self._lingers, self.admitted = limits, None, False, False
        self._proxies = getattr(self.app, "trusted_hosts", ())  # of uvicorn's ProxyHeadersMiddleware
        self._application, self.app = self.app, self._admit

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, where need be in another connection's place."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        self.holder, self.since = holder(address), self.loop.time()
        self._end_in(self._limits.header_seconds)
        every: Any = self.connections
        own = [one for one in every if one.holder == self.holder]
        if len(own) > self._limits.per_address and address not in self._proxies:
            _close(own, 1)
        elif sum(not one.transport.is_closing() for one in every) > self._limits.connections + ROOM:
            _close(list(every), ROOM // 2)  # several: to look for them costs more than to close them

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        if self._ends:
            self._ends.cancel()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """Whether it is open, and no request has come since its beginning or its last answer."""
        return not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the answer has been given already."""
        if not self._lingers:
            super().data_received(data)

    def handle_events(self) -> None:
        """Read what has come; once a request's headers are whole, its answer has its own time."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            limits = self._limits
            self._end_in(2 * limits.upload_seconds + limits.answer_seconds + limits.header_seconds)

    def on_response_complete(self) -> None:
        """Wait for the next request; who has not finished sending this one reads the answer, and that is all."""
        self.since = self.loop.time()
        self._end_in(self._limits.header_seconds)
        if self.cycle.more_body and not self.transport.is_closing():
            self._lingers = True  # closed at once, with bytes unread, the system would take the answer back
            self.flow.resume_reading()
            with contextlib.suppress(OSError):  # the client has gone
                self.transport.write_eof()
            self._end_in(LINGER)
        super().on_response_complete()

    def _end_in(self, seconds: float) -> None:
        if self._ends:
            self._ends.cancel()
        self._ends = self.loop.call_later(seconds, self.transport.abort)  # `close` waits until all has been read

    async def _admit(self, scope: Any, receive: Any, send: Any) -> None:
        every: Any = self.connections
        full = sum(one.admitted for one in every) >= self._limits.connections
        self.admitted = not full or (scope["path"] == HEALTH and not has_body(scope))
        refusal = Refused(503, "The service has too many requests.", later=True).response()
        try:
            await (self._application if self.admitted else refusal)(scope, receive, send)
        except asyncio.CancelledError:  # the service ends, and waits no longer
            if not self.cycle.response_started:
                said = "The service ends before there was an answer. Ask again a little later."
                await Refused(503, said, later=True).response()(scope, receive, send)
        finally:
            self.admitted = False


def _close(connections: list[Connection], most: int) -> None:
    waiting = [one for one in connections if one.waits]
    each = Counter(one.holder for one in waiting)
    for one in sorted(waiting, key=lambda one: (-each[one.holder], one.since))[:most]:
        one.transport.abort()


def holder(address: str) -> str:
    """Name who holds an address: of IPv6 its network of 64 bits, since whoever has one of its addresses has all.

    >>> holder("192.0.2.1"), holder("2001:db8::7:1")
    ('192.0.2.1', '2001:db8::/64')
    """
    try:
        return str(ipaddress.ip_network((address, 64), strict=False)) if ":" in address else address
    except ValueError:  # a proxy may say anything
        return address
