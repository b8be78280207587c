"""Start workers and stop them; each is a process with an application of its own."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cloudfn.errors import missing_extra, setup_error
from cloudfn.server.options import Options

if TYPE_CHECKING:
    from cloudfn.server.front import Front

_HEADER_MILLISECONDS = 10_000  # within which a request's head must have come
_STOP_SECONDS = 60  # that a worker has to finish what it accepted
# What a worker's environment has besides, where it says nothing else.
_ENVIRONMENT = {
    # Workers are one a core already: numpy's own threads would only wait for each other.
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    # glibc gives memory back to the kernel after every picture, and takes it again page by page for the next one: a
    # seventh of a call. What the engine works in is kept; whole pictures, which are larger, are given back as before.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}
_CONNECTIONS = 1024  # of one worker at a time


def serve(options: Options, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; what was accepted by then is finished. Port 0 takes a free one.

    `announce` gets the base address when the workers answer. Raises CloudError -601002 where the extra is not
    installed, the port is taken, or an option needs a single worker.
    """
    if options.needs_one_worker and options.workers > 1:
        flags = ", ".join(options.needs_one_worker)
        raise setup_error(f"{flags}: workers share no state, so one worker must hold it", "add --workers 1")
    # prometheus-client decides when it is imported whether processes share their counts, so the folder comes first.
    with tempfile.TemporaryDirectory(prefix="cloudfn-metrics-") as folder, _taken(host, port) as held:
        if options.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        else:
            os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        _start(options, host, held.getsockname()[1], announce)


def check_extra() -> None:
    """Raise CloudError -601002, with the cure, where a package of the server is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("flask", "granian", "prometheus_client", "numpy", "PIL") if find_spec(name) is None]
    if missing:
        raise missing_extra("the server", ", ".join(missing), "local")


def _taken(host: str, port: int) -> socket.socket:
    """A socket that holds the port for us without listening; raises CloudError where another program has it.

    Workers listen on one port with SO_REUSEPORT, so a second server would share it in silence: asked for without
    that option, the port is refused when anybody listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        held = socket.socket(family)
        if hasattr(socket, "SO_REUSEPORT"):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        cure = "choose another --port (0 takes a free one) or --host"
        raise setup_error(f"{host}:{port}: {error.strerror}", cure) from None
    return held


def _start(options: Options, host: str, port: int, announce: Callable[[str], None]) -> None:
    from granian.constants import Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server as Granian

    server = Granian(
        "cloudfn",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        workers=options.workers,
        backpressure=_CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_MILLISECONDS),
        websockets=False,
        log_level=LogLevels.warning,
        # granian logs to stdout, which is for data.
        log_dictconfig={
            "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}},
            "loggers": {"_granian": {"handlers": ["console"], "propagate": False}},
        },
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # A forked worker would inherit the locks that this process' threads hold at that moment.
    multiprocessing.set_start_method("spawn", force=True)
    shown = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    threading.Thread(target=_announce, args=(host, port, shown, announce), daemon=True).start()
    server.serve(target_loader=partial(worker, options), wrap_loader=False)  # type: ignore[arg-type]


def _announce(host: str, port: int, shown: str, announce: Callable[[str], None]) -> None:
    """Wait until a worker listens, then say so."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where others may reach us, we can too
    while True:
        try:
            socket.create_connection((reachable, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            announce(shown)
            return


def worker(options: Options) -> Front:
    """The application of one worker, made in its own process, its engine loaded."""
    from cloudfn.server.app import create_app
    from cloudfn.server.front import Front
    from cloudfn.server.journal import write_log
    from cloudfn.server.state import State

    write_log(as_json=options.log_json)
    state = State(options)
    state.crops.warm_up()
    return Front(state, create_app(state))
