"""Who may ask: whoever has the key and calls the service by its name, from no page but its own and those allowed."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from serene.errors import SereneError, quoted
from serene.serving.uploads import Refused

LOOPBACK = ("localhost", "127.0.0.1", "::1")
KEY = re.compile(r"[!-~]+")  # what a header carries unchanged
NAMED = re.compile(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d+)?|\*", re.ASCII)
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\sA-Z]+|\*")
ABSOLUTE = re.compile(rb"^https?://[^/]+(?=/)")
READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Access:
    """Who may ask a service.

    Args:
        host: where it listens; a request's `Host` has to name that. It keeps out pages whose own name was made to point
            here (DNS rebinding).
        api_key: what requests have to carry, if anything.
        allowed_hosts: other names of the service, such as a proxy's; `*` is any.
        allow_origins: pages elsewhere whose scripts may ask, such as `https://example.org`; `*` is any.
        docs: whether there are pages that describe the service.

    Raises:
        SereneError: a key that no header could carry; a name or a page that is none.
    """

    host: str = "127.0.0.1"
    api_key: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    docs: bool = True

    def __post_init__(self) -> None:
        """Refuse what no request could match."""
        if self.api_key is not None and not KEY.fullmatch(self.api_key):
            raise SereneError(
                "The key is empty, or has blanks or signs beyond ASCII. Choose letters, digits and signs of ASCII for "
                "--api-key or SERENE_API_KEY, or leave both out for a service without a key."
            )
        for name in self.allowed_hosts:
            if not NAMED.fullmatch(name.lower()):
                raise SereneError(f"--allowed-host is '{quoted(name)}'; a name was expected: speech.example.org.")
        for page in self.allow_origins:
            if not ORIGIN.fullmatch(page):
                said = "scheme and name were expected, in small letters: https://example.org."
                raise SereneError(f"--allow-origin is '{quoted(page)}'; {said}")

    def opens(self, given: str) -> bool:
        """Whether a request's key is right, or none is needed."""
        return self.api_key is None or hmac.compare_digest(given.encode(), self.api_key.encode())

    def knows(self, called: str) -> bool:
        """Whether a request's `Host` names this service; where it listens at every address, any of them does."""
        name, bound = _name(called), self.host.lower() or "0.0.0.0"
        own, address = _address(bound), _address(name)
        allowed = {bound, *map(_name, self.allowed_hosts)}
        if bound in LOOPBACK or (own and (own.is_loopback or own.is_unspecified)):
            allowed.update(LOOPBACK)
        everywhere = own is not None and own.is_unspecified
        return name != "" and (
            name in allowed or "*" in allowed or (address is not None and (everywhere or address == own))
        )

    def takes(self, origin: str, called: str) -> bool:
        """Whether scripts of a page may ask: its own, by the name that the request called it, or one allowed."""
        return origin.partition("://")[2].lower() == called.lower() or bool({origin, "*"} & {*self.allow_origins})

    def refusal(self, method: str, called: str, origins: Sequence[str]) -> Refused | None:
        """Say why a request is not for this service, if it is not."""
        if not self.knows(called):
            said = f"The service is not called '{quoted(called, 100)}'. Start it with --allowed-host and that name."
            return Refused(400, said)
        strange = [origin for origin in origins if not self.takes(origin, called)]
        if strange and method not in READING:
            said = f"Pages of '{quoted(strange[0], 100)}' may not ask here. Start the service with --allow-origin"
            return Refused(403, f"{said} and that.")
        return None


def _name(called: str) -> str:
    found = NAMED.fullmatch(called.lower())
    return (found[1] or (found[2] or found[0]).rstrip(".")) if found else ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name)
    return None


def guarded(app: Any, access: Access) -> Callable[..., Awaitable[None]]:
    """Stand before an ASGI application, refuse what is not for it, and keep `Host` out of redirects."""

    async def serve(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                sent = message.get("headers", ())
                message["headers"] = [(n, ABSOLUTE.sub(b"", v) if n == b"location" else v) for n, v in sent]
            await send(message)

        refusal = None
        if scope["type"] == "http":
            headers = Headers(raw=scope["headers"])
            refusal = access.refusal(scope["method"], headers.get("host", ""), headers.getlist("origin"))
        await (refusal.response() if refusal else app)(scope, receive, sending)

    return serve
