"""The places that pictures come from and go to: local files, http(s) addresses, and every file system of fsspec.

http and https go through the one fetch that reaches nothing private (`CLOUDFN_ALLOW_HOSTS` says otherwise); every other
`scheme://` is a file system of fsspec (https://filesystem-spec.readthedocs.io), configured as fsspec is: by its
configuration files and environment, never by the URL.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

from cloudfn.errors import CloudError, Limit, missing_extra, picture_error, refusal

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two characters at least: C:\ is no scheme
_LARGEST_FILE = 512 << 20  # bytes; the engine's limits, by pixels, lie far below
FULL = (errno.ENOSPC, errno.EDQUOT)


def is_url(source: str) -> bool:
    """Return whether a source is a URL and not a path."""
    return bool(_URL.match(source))


def is_http(source: str) -> bool:
    """Return whether a source is an http(s) address, which the safe fetch, or WeChat itself, takes."""
    return source[:8].lower().startswith(("http://", "https://"))


def shown(source: str) -> str:
    """Return a source as it may be printed: a URL without user, password and query, which may be secret."""
    if not is_url(source):
        return source
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def stem(source: str) -> str:
    """Return the file name of a path or URL without its ending."""
    path = unquote(urlsplit(source).path) if is_url(source) else source
    return Path(path.rstrip("/")).stem or "picture"


def file_system(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL, and the path in it.

    Raises CloudError -601002 where a package for it is not installed, -401002 for a scheme that nobody knows.
    """
    try:
        import fsspec
        from fsspec.core import url_to_fs
    except ImportError:
        raise missing_extra(f"{shown(url)}", "fsspec", "local") from None
    if "::" in url:  # a chain could lead past the safe fetch
        raise refusal(-401002, f"{shown(url)}: chained URLs are not read", "name the file or folder itself")
    scheme = url.partition("://")[0].lower()
    try:
        located: tuple[AbstractFileSystem, str] = url_to_fs(url)
    except ImportError as error:
        raise refusal(-601002, f"{scheme}:// needs a package: {error}", "install it") from None
    except ValueError:
        known = ", ".join(sorted(name for name in fsspec.available_protocols() if len(name) < 8)[:40])
        raise refusal(-401002, f"{scheme}:// is no file system of fsspec", f"use one of {known}") from None
    return located


def read(source: str, largest_url: int) -> bytes:
    """Return a file's bytes, of a URL at most `largest_url`; not for http, which `backends.local.fetched` reads.

    Raises CloudError: -401002 where it cannot be read, 101002 where it is too large.
    """
    largest = largest_url if is_url(source) else _LARGEST_FILE
    try:
        if is_url(source):
            system, path = file_system(source)
            data: bytes = system.cat_file(path, start=0, end=largest + 1)
        else:
            with open(source, "rb") as file:  # noqa: PTH123 - Path raises ValueError for a name with a NUL byte
                data = file.read(largest + 1)
    except CloudError:
        raise
    except Exception as error:  # noqa: BLE001 - fsspec's file systems raise what their clients raise
        raise refusal(-401002, f"the file cannot be read: {why(error)}", "check its name and permissions") from None
    if len(data) > largest:
        problem = f"the file has more than {largest:,} bytes"
        cure = "make it smaller" + (", or raise CLOUDFN_MAX_URL_MIB" if is_url(source) else "")
        limit = Limit(largest, "bytes", "CLOUDFN_MAX_URL_MIB" if is_url(source) else "")
        raise picture_error(101002, "invalid image data", problem, cure, limit=limit)
    return data


def opened(source: str) -> BinaryIO:
    """Open a file to be read line by line; not for http. Raises what the file system raises, and as `file_system`."""
    if not is_url(source):
        return open(source, "rb")  # noqa: PTH123 - as above
    system, path = file_system(source)
    # Not every file of fsspec knows how to read a line of at most so many bytes.
    return io.BufferedReader(system.open(path, "rb"))


def write(target: str, data: bytes) -> None:
    """Write the whole file or none of it, making its folders: under another name first, then renamed.

    That name is the target's own, so a later run takes over what a killed one left. Object stores have no half files:
    there it is one upload. Raises OSError.
    """
    if is_url(target):
        system, path = file_system(target)
        try:
            system.makedirs(system._parent(path), exist_ok=True)
            system.pipe_file(path, data)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise OSError(errno.EIO, why(error), target) from None
        return
    folder = Path(target).parent
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{hashlib.sha256(os.fsencode(Path(target).name)).hexdigest()[:16]}.part"
    with _alone(part):
        try:
            part.write_bytes(data)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Keep other runs from a file until it is renamed or removed; not on Windows, which has no such lock."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    while True:
        with part.open("ab") as file:
            with suppress(OSError):  # a network's file system may know no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, part):  # whoever held the lock before may have renamed it
                yield
                return


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Return whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def join(folder: str, name: str) -> str:
    """Return the place of `name`, which may have slashes in it, below a folder or URL."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder) / name)


def is_empty(folder: str) -> bool:
    """Return whether there is nothing at this folder or URL; raises CloudError and OSError."""
    if not is_url(folder):
        try:
            with os.scandir(folder) as entries:
                return next(entries, None) is None
        except FileNotFoundError:
            return True
    system, path = file_system(folder)
    try:
        return not system.find(path, maxdepth=1)
    except FileNotFoundError:
        return True
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise OSError(errno.EIO, why(error), folder) from None


def listed(url: str) -> Iterator[tuple[str, str]]:
    """List a URL that may be a file, a folder or a glob: (the file's own URL, its place below the folder or "").

    A name that exists as it stands is no glob. A folder's listing is held as a whole, one folder at a time. Raises
    OSError and CloudError.
    """
    system, path = file_system(url)
    try:
        if any(sign in path for sign in "*?[") and not system.exists(path):
            for name, facts in system.glob(path, detail=True).items():
                if facts["type"] == "file":
                    yield system.unstrip_protocol(name), ""
        elif system.isdir(path):
            for folder, folders, names in system.walk(path):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in sorted(names):
                    if name and not name.startswith("."):
                        full = f"{folder.rstrip('/')}/{name}"
                        place = PurePosixPath(full.removeprefix(path.rstrip("/") + "/"))
                        yield system.unstrip_protocol(full), str(place)
        else:
            yield url, ""
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise OSError(errno.EIO, why(error), url) from None


def why(error: Exception) -> str:
    """Return the reason for an exception of a file system, short and on one line."""
    said: Any = error.strerror if isinstance(error, OSError) and error.strerror else error
    if isinstance(error, FileNotFoundError):
        said = os.strerror(errno.ENOENT)
    return " ".join(str(said).split())[:200] or type(error).__name__
