"""Chunks of pictures on `concurrent.futures` executors: few under way at a time, nothing lost with a worker.

A slot is an executor whose chunks share one fate: when a worker of it dies, all its work under way is in doubt. So
each process is an executor of its own, and a death costs the others nothing. Work in doubt is run again, one picture
at a time with nothing beside it; a picture that kills its worker again and again is set aside.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from cloudfn.batch.values import Done, Item, Task
from cloudfn.batch.work import Cropper, crop_chunk, line, prepare_process, told, warm_up
from cloudfn.errors import CloudError, missing_extra, refusal, setup_error

CHUNK = 8  # pictures that travel together: some 0.3 ms a chunk against some 10 ms a picture
_DASK_CHUNK = 32  # of a cluster, whose scheduler and event loops take some 20 ms of CPU a chunk
_DEATHS = 3  # of new workers in a row, before any did its work: then they cannot start at all
_POLL = 0.5  # seconds after which a request to stop is noticed while nothing comes back
_CONNECT = 10  # seconds that a Dask scheduler has to answer


@dataclass
class Slot:
    """One executor. `width()` tells how many chunks it has under way at most, one of them waiting for the others."""

    start: Callable[[], Executor]
    width: Callable[[], int]
    work: Callable[[Sequence[Item]], list[Done]]
    warm_up: Callable[[], None] | None = None
    chunk: int = CHUNK
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    patience: int = 2  # workers that die of one picture alone before it is set aside
    executor: Executor | None = None
    flying: int = 0
    alone: bool = False  # a picture in doubt is under way, and nothing else may be
    deaths: int = 0

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Submit work to the executor, to a new one where the last one broke."""
        if self.executor is None:
            self.executor = self.start()
        return self.executor.submit(function, *args)

    def restart(self) -> None:
        """Drop a broken executor; the next work starts another. Raises CloudError where none can start."""
        self.deaths += 1
        if self.deaths > _DEATHS:
            cure = 'call it below `if __name__ == "__main__":`, and see what the workers say on stderr'
            raise refusal(-504001, f"{_DEATHS} workers in a row died before they did any work", cure)
        self.close(wait=False)

    def close(self, *, wait: bool) -> None:
        """Let the workers end."""
        if self.executor is not None:
            self.executor.shutdown(wait=wait)
            self.executor = None


@dataclass
class Run:
    """A batch under way: takes items as there is room for them, and yields their outcomes as they come."""

    items: Iterator[Item]
    slots: Sequence[Slot]
    stop: Callable[[], bool] = lambda: False
    pause: Callable[[], float] = lambda: 0.0  # seconds until the next chunk may start
    backend: str = "local"
    _flying: dict[Future[Any], tuple[Slot, tuple[Item, ...]]] = field(default_factory=dict)
    _in_doubt: deque[tuple[Item, int]] = field(default_factory=deque)  # with the workers that died of it alone
    _blamed: dict[bytes, int] = field(default_factory=dict)
    _halt: CloudError | None = None

    def __iter__(self) -> Iterator[Done]:
        """Yield the outcome of each picture; raise CloudError at the end where one of them said that all must stop.

        What is under way when `stop()` turns true, or when that error comes, is finished and yielded first.
        """
        try:
            while True:
                again_in = self._fill()
                if not self._flying:
                    if self._in_doubt and not self._ends():  # a worker died before it could begin
                        continue
                    if again_in and not self._ends():
                        threading.Event().wait(min(again_in, _POLL))
                        continue
                    break
                ready, _ = wait(self._flying, timeout=min(again_in or _POLL, _POLL), return_when=FIRST_COMPLETED)
                for future in ready:
                    yield from self._landed(future)
            if self._halt:
                raise self._halt
            for slot in self.slots:
                slot.close(wait=True)
        finally:
            for future in self._flying:
                future.cancel()
            for slot in self.slots:
                slot.close(wait=False)

    def _ends(self) -> bool:
        return self._halt is not None or self.stop()

    def _fill(self) -> float:
        """Hand out work while there is room; return the seconds until there may be more, 0 where none is to come."""
        for slot in self.slots:
            while not self._ends() and not slot.alone and slot.flying < slot.width():
                if self._in_doubt:
                    if slot.flying:
                        break  # until it has nothing else
                    self._send_alone(slot)
                    break
                if (delay := self.pause()) > 0:
                    return delay
                chunk = tuple(islice(self.items, slot.chunk))
                if not chunk:
                    break
                self._send(slot, chunk)
        return 0.0

    def _send(self, slot: Slot, chunk: tuple[Item, ...]) -> None:
        try:
            future = slot.submit(slot.work, chunk)
        except slot.lost:  # a worker died while nobody waited for it
            self._doubt(slot, chunk)
            return
        slot.flying += 1
        self._flying[future] = slot, chunk

    def _send_alone(self, slot: Slot) -> None:
        item, deaths = self._in_doubt.popleft()
        self._blamed[item.key] = deaths
        try:
            if slot.warm_up:  # so that a worker that dies now dies of the picture
                slot.submit(slot.warm_up).result()
            future = slot.submit(slot.work, (item,))
        except slot.lost:
            self._in_doubt.appendleft((item, deaths))
            slot.restart()
            return
        slot.alone = True
        slot.flying += 1
        self._flying[future] = slot, (item,)

    def _landed(self, future: Future[Any]) -> Iterator[Done]:
        slot, chunk = self._flying.pop(future)
        slot.flying -= 1
        alone, slot.alone = slot.alone, False
        try:
            dones: list[Done] = future.result()
        except slot.lost:
            yield from self._lost(slot, chunk, alone)
            return
        except (CancelledError, OSError) as error:  # Dask's, when its scheduler is gone
            self._halt = self._halt or refusal(
                -601003, f"the workers cannot be reached any more ({type(error).__name__})", "go on with --resume"
            )
            return
        except ImportError as error:
            self._halt = self._halt or setup_error(
                f"the workers cannot load cloudfn: {error}", "install cloudfn-aicrop[local] of this version there"
            )
            return
        slot.deaths = 0
        for done in dones:
            self._blamed.pop(done.item.key, None)
            if done.halt:
                self._halt = self._halt or done.halt
            else:
                yield done

    def _lost(self, slot: Slot, chunk: tuple[Item, ...], alone: bool) -> Iterator[Done]:
        if not alone:
            self._doubt(slot, chunk)
            return
        (item,) = chunk
        deaths = self._blamed.pop(item.key) + 1
        slot.deaths = 0  # it did start
        slot.restart()
        if deaths < slot.patience:
            self._in_doubt.append((item, deaths))
        else:
            problem = "workers die of the picture, it is set aside"
            cure = "look at it by itself; where memory is short, use fewer --workers"
            error = refusal(-504002, problem, cure)
            yield Done(item, line(item, told(error), self.backend, 0), error=error)

    def _doubt(self, slot: Slot, chunk: tuple[Item, ...]) -> None:
        self._in_doubt.extend((item, 0) for item in chunk)
        if slot.executor is not None and not slot.flying:
            slot.restart()


def processes(task: Task, workers: int) -> list[Slot]:
    """Return slots for this many processes on this machine, one for each."""
    # A forked worker would inherit the locks that this process' threads hold at that moment.
    start = partial(_Process, 1, multiprocessing.get_context("spawn"), prepare_process)
    return [Slot(start, lambda: 2, partial(crop_chunk, task), partial(warm_up, task)) for _ in range(max(1, workers))]


class _Process(ProcessPoolExecutor):
    """A process that ignores Ctrl-C, which a terminal sends to it too: its parent ends it."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        with _sigint_blocked():  # the process may be started now
            return super().submit(function, *args, **kwargs)


def here(cropper: Cropper) -> list[Slot]:
    """Return a slot that works in the calling thread, one picture after the other."""
    return [Slot(_Here, lambda: 1, cropper, chunk=1)]


class _Here(Executor):
    """An executor that runs work as it is submitted."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def threads(cropper: Cropper, workers: int) -> list[Slot]:
    """Return one slot of threads of this process, which share the backend, its token and its connections."""
    from concurrent.futures import ThreadPoolExecutor

    return [Slot(partial(ThreadPoolExecutor, workers), lambda: workers, cropper, chunk=1)]


def own(executor: Executor, task: Task, workers: int) -> list[Slot]:
    """Return a slot with the caller's executor, which stays open, for this many chunks at a time."""
    lost: tuple[type[BaseException], ...] = (BrokenExecutor, *_killed_worker())
    return [Slot(lambda: _Borrowed(executor), lambda: 2 * workers, partial(crop_chunk, task), lost=lost, patience=1)]


@contextlib.contextmanager
def dask(task: Task, address: str) -> Iterator[list[Slot]]:
    """Yield a slot with all workers of a Dask cluster, however many there are at the moment.

    Dask runs again by itself what a dead worker had, until `distributed.scheduler.allowed-failures` (3) have died;
    a picture with which that happens while it is alone is set aside.

    Raises CloudError -601002 where distributed is not installed or the scheduler cannot be reached.
    """
    try:
        from distributed import Client
    except ImportError:
        raise missing_extra("--scheduler", "distributed", "cluster") from None
    try:
        client = Client(address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        problem = f"no Dask scheduler answers at {address} ({type(error).__name__})"
        cure = "start `dask scheduler`, and name its address, such as tcp://127.0.0.1:8786"
        raise setup_error(problem, cure) from None

    def width() -> int:
        return 2 * max(1, sum(client.nthreads().values()))  # type: ignore[no-untyped-call]

    with client:
        start = partial(client.get_executor, pure=False)  # a chunk that is run again is to be run, not looked up
        slot = Slot(start, width, partial(crop_chunk, task), chunk=_DASK_CHUNK, lost=_killed_worker(), patience=1)
        yield [slot]


def _killed_worker() -> tuple[type[BaseException], ...]:
    """Return Dask's exception for work that killed its workers, where Dask is in use."""
    import sys

    scheduler = sys.modules.get("distributed.scheduler")
    killed: type[BaseException] | None = getattr(scheduler, "KilledWorker", None)
    return (killed,) if killed else ()


class _Borrowed(Executor):
    """A caller's executor, which is not shut down."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._executor.submit(function, *args, **kwargs)


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT, for good, in the processes that are started inside the block."""
    if os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
