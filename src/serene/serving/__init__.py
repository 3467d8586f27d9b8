"""A trained model answers over HTTP, and on a page to try it."""

import socket

from serene.errors import SereneError


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address; port 0 takes any that is free.

    Raises:
        SereneError: there is no such port, something listens there already, or nothing can.
    """
    if not 0 <= port <= 65535:
        raise SereneError(f"There is no port {port}; 0 to 65535 were expected.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]  # some Pythons say the address once more
        raise SereneError(
            f"Cannot listen at {host}, port {port}: {reason}. "
            "Choose another --port or --host, or end what listens there."
        ) from error
