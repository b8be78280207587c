"""The server of a container: a WSGI application on waitress until SIGTERM, after which accepted requests are answered.

In a container the server is process 1, for which the kernel has no default: without a handler SIGTERM does nothing, and
the platform kills it in the middle of an answer when its patience ends.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from cloudfn.platforms.base import MAX_BODY

_GRACE = 60.0
"""Seconds after SIGTERM that answers may take: CloudRun waits as long for a call."""
_THREADS = 8
_QUIET = 0.2  # seconds without work, after which no request is under way


def serve(application: Callable[..., Any], *, host: str = "0.0.0.0", port: int = 80) -> None:  # noqa: S104 - a container
    """Serve `application` until SIGTERM or SIGINT; then stop listening, answer what was accepted, and return."""
    from waitress import wasyncore
    from waitress.server import create_server

    sockets: dict[int, Any] = {}
    server: Any = create_server(
        application, map=sockets, host=host, port=port, threads=_THREADS, max_request_body_size=2 * MAX_BODY, ident=None
    )
    stopping: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stopping.append(number)
        server.pull_trigger()  # wakes the loop

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping:
        wasyncore.loop(timeout=1, use_poll=True, map=sockets, count=1)
    _accept_the_last(server)
    wasyncore.dispatcher.close(server)
    now = time.monotonic()
    end, quiet = now + _GRACE, now + _QUIET
    while now < min(end, quiet):
        wasyncore.loop(timeout=_QUIET / 4, use_poll=True, map=sockets, count=1)
        now = time.monotonic()
        if any(map(_at_work, server.active_channels.values())):
            quiet = now + _QUIET
    server.task_dispatcher.shutdown()
    wasyncore.close_all(sockets)


def _accept_the_last(server: Any) -> None:
    """Take the connections that the kernel has accepted already; closing the door would reset them."""
    known = -1
    while known != len(server.active_channels):
        known = len(server.active_channels)
        server.handle_accept()


def _at_work(channel: Any) -> bool:
    """Return whether a connection has a request that is not answered, or an answer that is not sent."""
    return bool(channel.requests or channel.request is not None or channel.total_outbufs_len)
