"""The process that starts the workers and starts them again: granian's, with these differences.

- A worker that dies is started again, however often; granian gives up when it dies twice within seconds. From the
  second quick death on there is a pause before. Only before the first answer a worker's death ends the server: what
  cannot start once will not start the next time.
- Workers get no SIGINT. A terminal sends Ctrl-C to every process, and theirs is the master's SIGTERM: one signal, once.
- Signal handlers wake the main loop by a queue: a `threading.Event` has a lock, which the interrupted thread may hold.
"""

from __future__ import annotations

import logging
import queue
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from cloudfn.errors import shortage
from cloudfn.server.metric_files import forget

_log = logging.getLogger("cloudfn.server")

_QUICK_SECONDS = 60  # a worker that dies within them died quickly
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds
_TICK_SECONDS = 1.0  # between two looks at the workers when nothing wakes the loop


class _Alarm:
    """The part of `threading.Event` that granian uses; signal handlers may call `set`."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Wake the loop."""
        self._queue.put(None)

    def wait(self, seconds: float = _TICK_SECONDS) -> None:
        """Wait until something wakes the loop, or until the time is over."""
        with suppress(queue.Empty):
            self._queue.get(timeout=seconds)

    def clear(self) -> None:
        """Do nothing: each `set` wakes one `wait`."""


def pause(quick_deaths: int) -> float:
    """Return the pause, in seconds, before a worker is restarted that died quickly this many times in a row."""
    return 0.0 if quick_deaths < 2 else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(quick_deaths - 2, 30))


class Master(MPServer):
    """granian's server, which its `serve` runs."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        workers: int,
        connections: int,
        head_milliseconds: int,
        stop_seconds: int,
        folder: Path | None,
    ) -> None:
        """Set up the workers: `connections` are those of each, `folder` is where they share their metrics."""
        super().__init__(
            "cloudfn",
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            workers=workers,
            backpressure=connections,
            # HTTP/1 only: while granian still looks which version comes, a silent connection has no time limit.
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=head_milliseconds),
            websockets=False,
            log_level=LogLevels.warning,
            # granian logs to stdout, which is for data.
            log_dictconfig={
                "handlers": {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}},
                "loggers": {"_granian": {"handlers": ["console"], "propagate": False}},
            },
            workers_kill_timeout=stop_seconds,
        )
        self.main_loop_interrupt: Any = _Alarm()
        self._folder = folder
        self._stop_seconds = stop_seconds
        self._quick_deaths: Counter[int] = Counter()
        self._due: dict[int, float] = {}  # a worker that is to be started again -> when
        self.answered = False  # a worker was reachable; the caller sets it
        self.failed: int | None = None  # the exit code of a worker that ended before that

    def startup(self, *args: Any, **options: Any) -> None:
        """Start the workers; raises `CloudError` where there are no descriptors, processes or memory for them."""
        try:
            super().startup(*args, **options)  # type: ignore[no-untyped-call]
        except (OSError, RuntimeError) as error:  # the latter is granian's for its socket
            self._stop_workers()
            raise shortage(error) from error

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        while not self.interrupt_signal:
            self.main_loop_interrupt.wait()
            if self.reload_signal and not self.interrupt_signal:
                self._reload(spawn_target, target_loader)  # type: ignore[no-untyped-call]
            for index in range(len(self.wrks)):
                if self.interrupt_signal or self.wrks[index].inner.is_alive():
                    continue
                if self.answered:
                    self._start_again(index, spawn_target, target_loader)
                else:
                    self.failed = self.wrks[index].inner.exitcode
                    self.interrupt_signal = True
        self.interrupt_children.clear()  # none of them is why the server ends

    def _start_again(self, index: int, spawn_target: Any, target_loader: Any) -> None:
        """Replace a worker that died, once its pause is over."""
        now = time.monotonic()
        dead = self.wrks[index]
        if index not in self._due:
            self._quick_deaths[index] = self._quick_deaths[index] + 1 if now - dead.birth < _QUICK_SECONDS else 0
            self._due[index] = now + pause(self._quick_deaths[index])
            if self._folder:
                forget(self._folder, dead.inner.pid)
        if now >= self._due[index]:
            del self._due[index]
            self._respawn_workers([index], spawn_target, target_loader)

    def _spawn_workers(self, *args: Any, **options: Any) -> None:
        with _no_interrupt():
            super()._spawn_workers(*args, **options)  # type: ignore[no-untyped-call]

    def _respawn_workers(self, *args: Any, **options: Any) -> None:
        with _no_interrupt():
            super()._respawn_workers(*args, **options)

    def _stop_workers(self) -> None:
        """Stop every worker, and wait for their ends; granian's waiting races with its own watching threads."""
        left: dict[Any, Any] = {worker.inner.sentinel: worker for worker in self.wrks}
        for worker in self.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]
        until = time.monotonic() + self._stop_seconds
        while left and time.monotonic() < until:
            for sentinel in connection.wait(left, _TICK_SECONDS):
                del left[sentinel]
        for worker in left.values():
            _log.warning("a worker did not stop within %d seconds and is killed", self._stop_seconds)
            worker.kill()
        self.wrks.clear()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Block SIGINT in this thread, and for good in the processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    resource_tracker.ensure_running()  # to start it while a process is started would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
