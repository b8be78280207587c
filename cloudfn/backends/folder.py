"""Cloud storage in a folder of this machine: for functions that run offline, and for the server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cloudfn.call.storage import Wanted, link, outcome, path_of
from cloudfn.call.values import Call
from cloudfn.codes import CODES
from cloudfn.errors import failure

_TEMPORARY = ".cloudfn-upload-"
_LONGEST_NAME = 255  # bytes, on nearly every file system
_LONGEST = 850  # bytes of a path in the object storage behind the cloud
NO_FILE, FAILED = -503003, -503001
# Names of devices on Windows, whatever stands behind a dot.
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))})


class Folder:
    """The files of a folder, each under the path of its fileID; thread-safe, and safe for several processes.

    Every environment and bucket of a fileID leads to this folder, and no fileID leads out of it: neither with `..`,
    nor over a symbolic link, nor by a name that Windows reads in its own way.
    """

    def __init__(self, root: str | Path, env: str = "") -> None:
        """`env` is the environment that new fileIDs name."""
        self._root = Path(root).resolve()
        self._env = env or "local"

    def file_id(self, path: str) -> str:
        """Return the fileID of a path."""
        return f"cloud://{self._env}.{self._env}-files/{path}"

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file; None where there is none, or the path leads out of the folder."""
        file = self._inside(path)
        try:
            return file.read_bytes() if file and file.is_file() else None
        except OSError:
            return None

    def has(self, path: str) -> bool:
        """Return whether there is such a file."""
        file = self._inside(path)
        return bool(file and file.is_file())

    def write(self, path: str, content: bytes) -> bool:
        """Store a file, whole or not at all; return False if its path leads out of the folder or is not writable."""
        target = self._inside(path)
        if target is None:
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
        except OSError:  # a file stands where a folder would have to be
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(name).replace(target)
        except OSError:
            Path(name).unlink(missing_ok=True)
            return False
        return True

    def remove(self, path: str) -> bool:
        """Delete a file; return False where there is none."""
        file = self._inside(path)
        try:
            if file and file.is_file():
                file.unlink()
                return True
        except OSError:
            return False
        return False

    def links(self, call: Call, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return fileIDs as links, which `imgUrl` understands: no web server stands in front of a folder."""
        files = [(item, self.has(path_of(item.file_id) or "")) for item in wanted]
        return [link(item.file_id, 0 if there else NO_FILE, item.file_id, item.max_age) for item, there in files]

    def delete(self, call: Call, file_ids: Sequence[str]) -> list[dict[str, Any]]:  # noqa: ARG002
        """Delete files."""
        return [outcome(name, 0 if self.remove(path_of(name) or "") else NO_FILE) for name in file_ids]

    def download(self, call: Call, file_id: str) -> bytes:
        """Return the bytes of a file; raise `CloudError` -503003 where there is none."""
        content = self.read(path_of(file_id) or "")
        if content is None:
            raise failure(call.api, NO_FILE, CODES[NO_FILE].text)
        return content

    def resolve(self, call: Call, file_id: str) -> bytes:
        """Return the picture itself; raise `CloudError` -503003 where there is none."""
        return self.download(call, file_id)

    def upload(self, call: Call, path: str, content: bytes) -> str:
        """Store a file; raise `CloudError` -503001 for a path that this folder cannot hold."""
        path = path.lstrip("/")
        if not self.write(path, content):
            cure = 'give a cloudPath such as "cut/a.jpg": names joined by /, none of them . or .. or a folder\'s'
            raise failure(call.api, FAILED, CODES[FAILED].text, cure=cure)
        return self.file_id(path)

    def close(self) -> None:
        """Do nothing: a folder has no connections."""

    def _inside(self, path: str) -> Path | None:
        """Return where the file of a path lies; None for a path that leads, or may lead, elsewhere."""
        names = path.split("/")
        odd = any(name in ("", ".", "..") or name.startswith(_TEMPORARY) or name[-1] in ". " for name in names)
        if odd or not path.isprintable() or set(path) & set('\\:*?"<>|%#'):
            return None
        try:
            if (
                len(path.encode()) > _LONGEST
                or max(len(name.encode()) for name in names) > _LONGEST_NAME
                or any(name.partition(".")[0].strip().upper() in _DEVICES for name in names)
            ):
                return None
            place = self._root.joinpath(*PurePosixPath(path).parts)
            return place if place.resolve().is_relative_to(self._root) else None
        except (OSError, ValueError, RuntimeError):  # a name too long, a lone surrogate, a circle of links
            return None
