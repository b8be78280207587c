"""Stores for tokens, results, and locks with an owner and a lease, all kept for a while: memory, files, or Redis.

A store that cannot answer raises `StoreError`, whatever it is made of, and says so in the log; its users go on without
it. Keys never hold a secret. Values live for a number of seconds and are gone afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import math
import os
import secrets
import stat
import struct
import tempfile
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from cloudfn import forks
from cloudfn.call.media import Bytes
from cloudfn.errors import missing_extra, setting_error
from cloudfn.secret import Secret

_log = logging.getLogger("cloudfn")

_PREFIX = "cloudfn:"
_SECONDS = 1.0  # that a Redis server may take for a command, or to be connected to
_PAUSE = 5.0  # seconds for which a store that failed is left alone
_CHANGES = 16  # locks on values of the file store that are being changed
_SWEEP = 500  # writes of a process between two looks for files whose life is over
_BLOCK = 4096  # bytes that the smallest file takes
_ABANDONED = 3600  # seconds after which a file that is still being written never will be


class StoreError(Exception):
    """A store that cannot be reached or written to; the text holds neither its address nor its password."""


class Store(Protocol):
    """Bytes by key, for a while; thread-safe, and safe after a fork. Each method raises `StoreError`."""

    name: str

    def get(self, key: str) -> bytes | None:
        """Return the value, None where there is none or its life is over."""

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        """Keep a value for a number of seconds, in place of any other."""

    def delete(self, key: str, value: Bytes) -> None:
        """Forget a value, if it is still this one."""

    def add(self, key: str, amount: int, seconds: float) -> int:
        """Add to a counter and return it; it begins at 0, and lives for a number of seconds from its first use."""

    def lock(self, key: str, lease: float) -> contextlib.AbstractContextManager[bool]:
        """Enter a block with the lock or without it: True where it was free. It is never held longer than the lease."""


class Memory:
    """This process's own memory: at most `largest` bytes, the least recently used are dropped."""

    name = "memory"

    def __init__(self, *, largest: int = 32 * 1024 * 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._largest = largest
        self.after_fork()
        forks.watch(self)

    def after_fork(self) -> None:
        """Start afresh; in a child the lock may be held by a thread that does not exist there."""
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._locks: dict[str, tuple[str, float]] = {}
        self._size = 0

    def get(self, key: str) -> bytes | None:
        with self._guard:
            return self._living(key)

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        with self._guard:
            self._put(key, bytes(value), self._clock() + seconds)

    def delete(self, key: str, value: Bytes) -> None:
        with self._guard:
            if self._living(key) == value:
                self._drop(key)

    def add(self, key: str, amount: int, seconds: float) -> int:
        with self._guard:
            value = self._living(key)
            until = self._kept[key][1] if value is not None else self._clock() + seconds
            count = int(value or 0) + amount
            self._put(key, str(count).encode(), until)
            return count

    @contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        owner = secrets.token_hex(8)
        with self._guard:
            held = self._locks.get(key)
            free = held is None or held[1] <= self._clock()
            if free:
                self._locks[key] = owner, self._clock() + lease
        try:
            yield free
        finally:
            with self._guard:
                if self._locks.get(key, ("", 0))[0] == owner:
                    del self._locks[key]

    def _living(self, key: str) -> bytes | None:
        value, until = self._kept.get(key, (b"", 0.0))
        if key not in self._kept or until <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return value

    def _put(self, key: str, value: bytes, until: float) -> None:
        self._drop(key)
        self._kept[key] = value, until
        self._size += len(key) + len(value)
        while self._size > self._largest:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        if dropped:
            self._size -= len(key) + len(dropped[0])


class Files:
    """A folder that only its owner can read, for all processes of a machine.

    A value is a file of its own, written beside its place and renamed into it; now and then those whose life is over
    are deleted and, beyond `largest` bytes, the oldest. A lock is the operating system's own on a file, which ends with
    its process, whatever ends that.
    """

    name = "file"
    _HEAD = struct.Struct(">dd")  # when it was written, and for how many seconds; both by the wall clock

    def __init__(
        self, folder: Path, *, largest: int = 64 * 1024 * 1024, clock: Callable[[], float] = time.time
    ) -> None:
        """Raises `CloudError` -601002 where the folder cannot be made, or others may write to it."""
        self._clock = clock
        self._largest = largest
        self._writes = itertools.count()
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            facts = folder.stat()
        except OSError as error:
            raise setting_error("CLOUDFN_STORE", f"{folder} ({error.strerror})", "a folder that can be made") from None
        foreign = hasattr(os, "getuid") and facts.st_uid != os.getuid()
        if foreign or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise setting_error("CLOUDFN_STORE", f"{folder}, which others may write to", "a folder of this user alone")

    def get(self, key: str) -> bytes | None:
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"the folder cannot be read ({error.strerror})") from None
        if len(content) < self._HEAD.size:
            return None
        written, seconds = self._HEAD.unpack_from(content)
        # A clock that was set back must not make a value live longer than it was meant to.
        return content[self._HEAD.size :] if 0 <= self._clock() - written < seconds else None

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", delete=False) as file:
                try:
                    file.write(self._HEAD.pack(self._clock(), seconds) + value)
                    file.close()
                    Path(file.name).replace(self._path(key))
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            if next(self._writes) % _SWEEP == 0:
                self._sweep()
        except OSError as error:
            raise StoreError(f"the folder cannot be written to ({error.strerror})") from None

    def delete(self, key: str, value: Bytes) -> None:
        with self._changing(key):
            if self.get(key) == value:
                self._path(key).unlink(missing_ok=True)

    def add(self, key: str, amount: int, seconds: float) -> int:
        with self._changing(key):
            try:
                written, life = self._HEAD.unpack_from(self._path(key).read_bytes())
            except (OSError, struct.error):
                written, life = self._clock(), seconds
            count = int(self.get(key) or 0) + amount
            left = written + life - self._clock()
            self.set(key, str(count).encode(), left if 0 < left <= seconds else seconds)
            return count

    @contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:  # noqa: ARG002 - it ends with its process
        with self._exclusive(f"{key}.lock", wait=False) as held:
            yield held

    def _changing(self, key: str) -> contextlib.AbstractContextManager[bool]:
        # A few locks for all keys: a file for each would stay for ever.
        return self._exclusive(f"change{zlib.crc32(key.encode()) % _CHANGES}", wait=True)

    @contextmanager
    def _exclusive(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold a file's lock, which one open file description alone can have, in whatever process."""
        try:
            descriptor = os.open(self._path(name), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"the folder cannot be written to ({error.strerror})") from None
        try:
            yield _locked(descriptor, wait=wait)
        finally:
            _unlock(descriptor)
            os.close(descriptor)

    def _sweep(self) -> None:
        """Delete what is over and, beyond the limit, the oldest. Locks, which are empty files, stay."""
        living = []
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError, struct.error):  # another process sweeps too
                facts = path.stat()
                if path.name.startswith("."):  # its writer was killed
                    if self._clock() - facts.st_mtime > _ABANDONED:
                        path.unlink()
                elif facts.st_size:
                    with path.open("rb") as file:
                        written, seconds = self._HEAD.unpack(file.read(self._HEAD.size))
                    if written + seconds <= self._clock():
                        path.unlink()
                    else:
                        living.append((written, max(facts.st_size, _BLOCK), path))
        size = sum(part for _, part, _ in living)
        for _, part, path in sorted(living):
            if size <= self._largest:
                break
            path.unlink(missing_ok=True)
            size -= part

    def _path(self, key: str) -> Path:
        return self._folder / hashlib.sha256(key.encode()).hexdigest()


def _locked(descriptor: int, *, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        lock: Any = msvcrt
        try:
            lock.locking(descriptor, lock.LK_LOCK if wait else lock.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    """Release a lock, which closing alone does not where a child that was forked meanwhile has the same file open."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)


class Redis:
    """A Redis server, for any number of machines: `redis://` or, with TLS, `rediss://`."""

    name = "redis"

    def __init__(self, url: Secret) -> None:
        """Raises `CloudError` -601002 where the package is not installed, or for an invalid address."""
        try:
            import redis
        except ImportError:
            raise missing_extra("CLOUDFN_STORE=redis://", "the package redis", "redis") from None
        self._error: type[Exception] = redis.RedisError
        self._url = url
        with contextlib.suppress(ValueError):
            self.after_fork()
            forks.watch(self)
            return
        # Raised out here so that the address stays in no __context__.
        raise setting_error("CLOUDFN_STORE", "an address that is none", "redis://host:6379/0")

    def after_fork(self) -> None:
        """Connect anew: in a child another thread may have held a lock of the client that is the parent's."""
        import redis

        self._client: Any = redis.Redis.from_url(
            self._url.reveal(),
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            health_check_interval=30,
        )
        # The counter's life begins with its first use, in the same step.
        self._count = self._client.register_script(
            "local n = redis.call('incrby', KEYS[1], ARGV[1]) "
            "if redis.call('pttl', KEYS[1]) < 0 then redis.call('pexpire', KEYS[1], ARGV[2]) end return n"
        )
        self._forget = self._client.register_script(
            "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
        )

    def __repr__(self) -> str:
        return "Redis()"

    def get(self, key: str) -> bytes | None:
        with self._reported():
            value: bytes | None = self._client.get(_PREFIX + key)
            return value

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        with self._reported():
            self._client.set(_PREFIX + key, value, px=max(1, int(seconds * 1000)))

    def delete(self, key: str, value: Bytes) -> None:
        with self._reported():
            self._forget(keys=[_PREFIX + key], args=[value])

    def add(self, key: str, amount: int, seconds: float) -> int:
        with self._reported():
            return int(self._count(keys=[_PREFIX + key], args=[amount, max(1, int(seconds * 1000))]))

    @contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        name, owner = f"{_PREFIX}{key}.lock", secrets.token_hex(8).encode()
        with self._reported():
            held = bool(self._client.set(name, owner, px=max(1, int(lease * 1000)), nx=True))
        try:
            yield held
        finally:
            if held:
                with contextlib.suppress(StoreError), self._reported():  # its lease ends it
                    self._forget(keys=[name], args=[owner])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            # The error's text names the server; the class alone says enough.
            raise StoreError(f"the Redis server does not answer ({type(error).__name__})") from None


class Resting:
    """A store that is left alone for a while after it failed: that costs calls no time, and the log one warning."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = store.name
        self._store = store
        self._clock = clock
        self._until = -math.inf
        self._failed = False

    def get(self, key: str) -> bytes | None:
        with self._watched():
            return self._store.get(key)

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        with self._watched():
            self._store.set(key, value, seconds)

    def delete(self, key: str, value: Bytes) -> None:
        with self._watched():
            self._store.delete(key, value)

    def add(self, key: str, amount: int, seconds: float) -> int:
        with self._watched():
            return self._store.add(key, amount, seconds)

    @contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        with contextlib.ExitStack() as held:
            with self._watched():
                is_mine = held.enter_context(self._store.lock(key, lease))
            yield is_mine

    @contextmanager
    def _watched(self) -> Iterator[None]:
        if self._clock() < self._until:
            raise StoreError("it failed a moment ago")
        try:
            yield
        except StoreError as error:
            self._until = self._clock() + _PAUSE
            if not self._failed:
                effect = "each process fetches tokens itself, results are not kept, calls are not counted"
                _log.warning("CLOUDFN_STORE: %s; until it works again %s", error, effect)
            self._failed = True
            raise
        self._failed = False


@lru_cache(maxsize=8)
def open_store(address: Secret) -> Store:
    """Return this process's store of CLOUDFN_STORE: `memory`, `file:///folder`, `redis://...`, `rediss://...`.

    Raises `CloudError` -601002 for anything else. `file:` alone is a folder in the temporary directory, which can be
    written to where the code's own folder cannot.
    """
    kind = kind_of(address)
    if kind == "memory":
        return Memory()
    if kind == "file":
        return Resting(Files(_folder(address)))
    if kind == "redis":
        return Resting(Redis(address))
    raise setting_error("CLOUDFN_STORE", "no such store", "memory, file:///folder, redis://host or rediss://host")


def kind_of(address: Secret) -> str:
    """Return memory, file or redis; "" for any other address."""
    scheme, colon, _ = address.reveal().lower().partition(":")
    known = {"memory": "memory"} if not colon else {"file": "file", "redis": "redis", "rediss": "redis"}
    return known.get(scheme, "")


def _folder(address: Secret) -> Path:
    folder = unquote(urlsplit(address.reveal()).path)
    return Path(folder) if folder.strip("/") else Path(tempfile.gettempdir()) / f"cloudfn-{_user()}"


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
