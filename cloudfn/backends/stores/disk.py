"""The store in a folder, for all processes of a machine."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cloudfn.backends.stores.store import StoreError
from cloudfn.call.media import Bytes
from cloudfn.errors import setting_error

_CHANGES = 16  # locks on values that are being changed
_SWEEP = 500  # writes of a process between two looks for files whose life is over
_BLOCK = 4096  # bytes that the smallest file takes
_ABANDONED = 3600  # seconds after which a file that is still being written never will be


class Disk:
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
