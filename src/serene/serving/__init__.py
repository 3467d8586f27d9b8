"""A trained model answers over HTTP, and on a page to try it."""

import ipaddress
import logging
import socket

from serene.errors import SereneError

BACKLOG = 2048  # connections that wait until they are accepted


def listen(host: str, port: int, key: str | None = None) -> socket.socket:
    """Listen at an address, and warn where others than this machine need no key; port 0 takes any that is free.

    Raises:
        SereneError: there is no such port, something listens there already, or nothing can.
    """
    if not 0 <= port <= 65535:
        raise SereneError(f"There is no port {port}; 0 to 65535 were expected.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]  # some Pythons say the address once more
        raise SereneError(
            f"Cannot listen at {host}, port {port}: {reason}. "
            "Choose another --port or --host, or end what listens there."
        ) from error
    if key is None and not ipaddress.ip_address(listening.getsockname()[0]).is_loopback:
        logging.getLogger(__name__).warning(
            "WARNING: whoever reaches this machine can use what is served at %s, since it has no key.",
            host or "0.0.0.0",
        )
    return listening
