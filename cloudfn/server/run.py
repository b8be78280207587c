"""Start, restart and stop of the workers; each is a process with an application of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfn.errors import CloudError, missing_extra, not_loaded, setup_error, shortage
from cloudfn.server.options import Options

if TYPE_CHECKING:
    from cloudfn.server.front import Front

_log = logging.getLogger("cloudfn.server")

_HEAD_MILLISECONDS = 5_000  # within which a request's head must have come, counted from the end of the one before
_STOP_SECONDS = 60  # that a worker has to finish its accepted requests
_CONNECTIONS = 8192  # of one worker at a time, where it may have so many descriptors
_OTHER_DESCRIPTORS = 256  # of files, pipes, and connections to pictures
_ADDRESS_SPACE = 768  # MiB that a worker needs at least: the stacks of its threads, libraries, buffers of pictures
# Defaults for a worker's environment.
_ENVIRONMENT = {
    # Workers are one a core already: numpy's own threads would only wait for each other.
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    # glibc returns memory to the kernel after every picture, and takes it again page by page for the next one: a
    # seventh of a call. The engine's working memory is kept; whole pictures, which are larger, are released as before.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(4 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}


def serve(options: Options, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests accepted by then are finished. Port 0 takes a free one.

    `announce` gets the base address when the workers answer. Raises CloudError -601002 where the extra is not
    installed, the port is taken, an option needs a single worker, or the workers cannot start.
    """
    if options.needs_one_worker and options.workers > 1:
        flags = ", ".join(options.needs_one_worker)
        raise setup_error(f"{flags}: workers share no state, so one worker must hold it", "add --workers 1")
    _check_memory()
    with _metrics_folder(options) as folder, _taken(host, port) as held:
        _start(options, host, held.getsockname()[1], folder, announce)


def check_extra() -> None:
    """Raise CloudError -601002, with the cure, where a package of the server is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("flask", "granian", "prometheus_client", "numpy", "PIL") if find_spec(name) is None]
    if missing:
        raise missing_extra("the server", ", ".join(missing), "local")


def _check_memory() -> None:
    """Raise CloudError -601002 where a limit leaves a worker too little: its libraries would end it, in C."""
    try:
        import resource
    except ImportError:  # on Windows, which has no such limit
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE << 20:
        problem = f"the address space is limited to {limit >> 20} MiB, and a worker needs {_ADDRESS_SPACE}"
        raise setup_error(problem, "raise the limit: ulimit -v unlimited")


@contextmanager
def _metrics_folder(options: Options) -> Iterator[Path | None]:
    """Yield the folder in which workers share their counts; None for a single worker, or where none can be made."""
    folder = None
    if options.workers > 1:
        try:
            folder = Path(tempfile.mkdtemp(prefix="cloudfn-metrics-"))
        except OSError as error:
            _log.warning("%s", _no_metrics(error))
    try:
        yield folder
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _no_metrics(error: OSError) -> str:
    return f"there are no metrics: workers cannot share them ({error.strerror}); make room in the temporary folder"


def _taken(host: str, port: int) -> socket.socket:
    """Return a socket that reserves the port without listening; raises CloudError where another program has it.

    Workers listen on one port with SO_REUSEPORT, so a second server would share it in silence: without that option
    the port is refused when anybody listens there.
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


def _start(options: Options, host: str, port: int, folder: Path | None, announce: Callable[[str], None]) -> None:
    try:
        from cloudfn.server.master import Master
    except ImportError as error:
        raise not_loaded("the server", error) from error

    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # A forked worker would inherit the locks that this process' threads hold at that moment.
    multiprocessing.set_start_method("spawn", force=True)
    connections = _allow_connections()
    master = Master(
        host,
        port,
        workers=options.workers,
        connections=connections,
        head_milliseconds=_HEAD_MILLISECONDS,
        stop_seconds=_STOP_SECONDS,
        folder=folder,
    )
    shown = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def answers() -> None:
        master.answered = True
        announce(shown)

    try:
        threading.Thread(target=_when_reachable, args=(host, port, answers), daemon=True).start()
    except RuntimeError as error:
        raise shortage(error) from error
    loader = partial(worker, options, port, connections, folder)
    master.serve(target_loader=loader, wrap_loader=False)  # type: ignore[arg-type]
    if master.failed is not None:
        problem = f"a worker ended before the server could answer (exit code {master.failed})"
        raise setup_error(problem, "it said why, or memory is short")


def _allow_connections() -> int:
    """Raise this process' limit of descriptors, which workers inherit; return the connections that a worker takes."""
    try:
        import resource
    except ImportError:  # on Windows, where sockets are no descriptors
        return _CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS + _OTHER_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _CONNECTIONS if soft == resource.RLIM_INFINITY else max(64, min(_CONNECTIONS, soft - _OTHER_DESCRIPTORS))


def _when_reachable(host: str, port: int, then: Callable[[], None]) -> None:
    """Wait until a worker listens, then call `then`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where others may reach us, we can
    while True:
        try:
            socket.create_connection((reachable, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            then()
            return


def worker(options: Options, port: int = 0, connections: int = _CONNECTIONS, folder: Path | None = None) -> Front:
    """Return the application of one worker, made in its own process, with the engine loaded."""
    threading.Thread(target=_end_with_master, args=(folder,), name="cloudfn-master-watch", daemon=True).start()
    from cloudfn.server.journal import write_log

    write_log(as_json=options.log_json)
    off = _share_metrics(folder) if options.workers > 1 else ""

    try:
        from cloudfn.server.app import create_app
        from cloudfn.server.connections import Connections
        from cloudfn.server.front import Front
        from cloudfn.server.metrics import Metrics
        from cloudfn.server.state import State

        state = State(options, metrics=Metrics(off))
        state.crops.warm_up()
        watched = Connections(port, connections, options.per_address, options.body_seconds)
        return Front(state, create_app(state), watched)
    except (CloudError, ImportError) as error:
        facts = (error if isinstance(error, CloudError) else not_loaded("a worker", error)).facts
        sys.exit(f"cloudfn: {facts.problem}; {facts.cure}")


def _share_metrics(folder: Path | None) -> str:
    """Let this worker count in the folder; return why it cannot, "" where it can.

    prometheus-client decides when it is imported whether processes share their counts, so this comes before.
    """
    from cloudfn.server.metric_files import reserve

    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if folder is None:
        return "there are no metrics: there is no temporary folder in which workers could share them"
    try:
        reserve(folder, os.getpid())
    except OSError as error:
        _log.warning("%s", _no_metrics(error))
        return _no_metrics(error)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return ""


def _end_with_master(folder: Path | None) -> None:
    """Wait for the master's end, stop this worker as the master would have, and clean up after it."""
    master = multiprocessing.parent_process()
    if master is None:
        return
    master.join()
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_SECONDS)
    os._exit(1)
