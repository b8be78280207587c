"""Small files of the set-up: whether they changed, and their bytes, safely whatever kind of file is in their place."""

from __future__ import annotations

import os
import stat
from typing import TypeAlias

Version: TypeAlias = tuple[int, ...]

_MOST = 1024 * 1024  # bytes; config.json, .env and a token have a thousandth of it


def version(path: str | os.PathLike[str]) -> Version | None:
    """Return a value that changes when the file does; None where there is no file or it is not accessible."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    # The change time tells of permissions too, and nothing sets it back.
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a file that can be read to its end: no folder, no pipe."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read(path: str | os.PathLike[str]) -> bytes:
    """Return a file's bytes; OSError where it is no regular file (a pipe would never end), or has over 1 MiB."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no regular file")
        if status.st_size > _MOST:
            raise OSError(0, f"it has {status.st_size:,} bytes, more than {_MOST:,}")
        return file.read(_MOST)
