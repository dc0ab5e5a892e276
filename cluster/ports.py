"""Free ports on this machine."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def free_port(preferred: int = 0, host: str = LOOPBACK) -> int:
    """Return `preferred` where nobody listens on it, else a free port.

    Somebody else may take it before the caller does: bind it at once.

    Parameters
    ----------
    preferred
        Port to take if it is free; 0 takes any.
    host
        Interface to look at.
    """
    try:
        return _bindable(host, preferred)
    except OSError:
        return _bindable(host, 0)


def answers(host: str, port: int, timeout_s: float = 5.0) -> bool:
    """Say whether something accepts connections on `host`:`port`."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def _bindable(host: str, port: int) -> int:
    with socket.socket() as probe:
        # Without this a port whose last owner has just gone (TIME_WAIT) would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])
