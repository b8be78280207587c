"""The results: one line of JSON a picture, in a file that is valid whenever the program stops.

Lines are appended whole. Where a program was killed inside one, the next run takes the torn end away; a picture that
was done again has its old line until the run ends, and of two lines the later one counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cloudfn.batch import store
from cloudfn.batch.values import Item, key
from cloudfn.errors import setup_error

if TYPE_CHECKING:
    from typing_extensions import Self

_LONGEST_NAME = 180  # bytes of a cut picture's name, so that a ratio, an ending and a copy's number fit into 255
_BEGINNING = b'{"input": '  # of every line, and so of a torn one
_UNSAFE = dict.fromkeys(map(ord, '<>:"|?*\\'), "_") | dict.fromkeys(range(32), "_")


def as_text(line: dict[str, Any]) -> str:
    """Return a result as one line of JSON; what UTF-8 cannot encode, as in broken file names, is escaped."""
    text = json.dumps(line, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(line)
    return text


class Register:
    """The pictures seen and the names taken, in a private database on disk: memory stays flat.

    Raises CloudError -601002 where the temporary folder has no room for it.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._do("PRAGMA journal_mode = OFF")
        self._do("PRAGMA synchronous = OFF")
        self._do("CREATE TABLE seen (key BLOB PRIMARY KEY, at INTEGER, failed INTEGER) WITHOUT ROWID")
        self._do("CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID")
        self._do("BEGIN")

    def _do(self, command: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(command, values)
        except sqlite3.OperationalError as error:
            problem = f"the temporary folder cannot hold the list of the pictures seen ({error})"
            raise setup_error(
                problem, "make room there, or name another with TMPDIR, then go on with --resume"
            ) from None

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def note(self, key: bytes, at: int, *, failed: bool) -> bool:
        """Note that a picture's line starts at this byte; return whether it had none before."""
        if self._do("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (key, at, failed)).rowcount:
            return True
        row = self._do("SELECT at FROM seen WHERE key = ?", (key,)).fetchone()
        self._do("UPDATE seen SET at = ?, failed = ? WHERE key = ?", (at, failed, key))
        return bool(row[0] < 0)

    def claim(self, key: bytes, *, failed_too: bool) -> bool:
        """Return whether a picture is to be done now: it is new, or it failed and is to be done again."""
        cursor = self._do("INSERT OR IGNORE INTO seen VALUES (?, -1, 0)", (key,))
        if cursor.rowcount == 0 and failed_too:
            cursor = self._do("UPDATE seen SET failed = 0 WHERE key = ? AND failed = 1", (key,))
        return cursor.rowcount == 1

    def counts(self, key: bytes, at: int) -> bool:
        """Return whether the line at this byte is the one that counts for its picture."""
        row = self._do("SELECT at FROM seen WHERE key = ?", (key,)).fetchone()
        return row is None or row[0] == at

    def take_name(self, name: str) -> bool:
        """Take a name; return whether it was free. Case makes no difference, as it makes none on many disks."""
        cursor = self._do(
            "INSERT OR IGNORE INTO names VALUES (?)", (name.casefold().encode("utf-8", "backslashreplace").decode(),)
        )
        return cursor.rowcount == 1

    def named(self, item: Item) -> Item:
        """Return the item with a name for its cut pictures that is unique and valid on every disk."""
        steps = (item.name or store.stem(item.source)).translate(_UNSAFE).split("/")
        wanted = "/".join(_short(step) for step in steps if step not in ("", ".", "..")) or "picture"
        number, name = 1, wanted
        while not self.take_name(name):
            number += 1
            name = f"{wanted}-{number}"
        return replace(item, name=name)


def _short(step: str) -> str:
    raw = os.fsencode(step)
    if len(raw) <= _LONGEST_NAME:
        return step
    return raw[: _LONGEST_NAME - 9].decode("utf-8", "ignore") + "-" + key(step, "").hex()[:8]


class Results:
    """The file of results; `path` None keeps nothing and only tells pictures apart."""

    def __init__(self, path: Path | None, *, resume: bool = False, retry_failed: bool = False) -> None:
        """Open the file, and read its lines where the run resumes it.

        Raises CloudError -601002: it has lines already and the run does not resume it, it is not a file of results,
        another run writes it, it is no regular file, or it cannot be written.
        """
        self.register = Register()
        self.done = 0  # pictures with a line that counts
        self._path = path
        self._failed_too = retry_failed
        self._stale = 0  # lines that another one has replaced
        self._file: int | None = None
        if path is None:
            return
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            status = os.fstat(self._file)
            if not stat.S_ISREG(status.st_mode):  # reading it, to resume it, might never end
                raise setup_error(f"{path} is no regular file", "name one; without --out lines go to standard output")
            _lock(self._file, path)
            self._end = status.st_size
            if self._end and not (resume or retry_failed):
                raise setup_error(f"{path} holds results already", "go on with --resume, or name another --out")
            self._load()
        except OSError as error:
            self.close()
            raise setup_error(
                f"{path}: {error.strerror}", "name a file that can be written in a folder that is there"
            ) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._stale and self._file is not None:
                self._compact()
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and give back the lock."""
        self.register.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def lines(self) -> Iterator[dict[str, Any]]:
        """Read the lines that count, one by one."""
        for at, line, _ in self._read():
            if self.register.counts(_key(line), at):
                yield line

    def calls_on(self, day: Callable[[object], bool]) -> int:
        """Return how many calls to WeChat were made on a day, as `Pace` counts days."""
        return sum(line.get("backend") == "wechat" and day(line.get("time")) for line in self.lines())

    def wants(self, item: Item) -> bool:
        """Return whether a picture is still to be done; a second call for the same picture returns False."""
        return self.register.claim(item.key, failed_too=self._failed_too)

    def append(self, line: dict[str, Any]) -> None:
        """Append a whole line; where the disk is full the file ends as before, and CloudError -601002 says so."""
        if self._file is None:
            return
        data = as_text(line).encode() + b"\n"
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            problem = f"{self._path}: cannot be written ({error.strerror})"
            raise setup_error(problem, "make room, then go on with --resume") from None
        new = self.register.note(_key(line), self._end, failed=bool(line["errCode"]))
        self._stale += not new
        self.done += new
        self._end += len(data)

    def _load(self) -> None:
        end = 0
        for at, line, end in self._read():  # noqa: B007 - the end of the last whole line
            new = self.register.note(_key(line), at, failed=bool(line["errCode"]))
            self.done += new
            self._stale += not new
            if "name" in line:
                self.register.take_name(line["name"])
        assert self._file is not None
        if end < self._end:
            os.ftruncate(self._file, end)
            self._end = end
        os.lseek(self._file, 0, os.SEEK_END)

    def _read(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Yield every whole line: its first byte, its content, its end. A torn one can only be the last."""
        if self._path is None:
            return
        with self._path.open("rb") as file:
            at = 0
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n") and _BEGINNING.startswith(raw[: len(_BEGINNING)]):
                    return
                try:
                    line = json.loads(raw)
                    good = isinstance(line["input"], str) and isinstance(line["errCode"], int)
                except (ValueError, TypeError, KeyError, RecursionError):
                    good = False
                if not good:
                    raise setup_error(
                        f"{self._path}, line {number} is no result of a batch", "name the file that a batch has written"
                    )
                yield at, line, at + len(raw)
                at += len(raw)

    def _compact(self) -> None:
        """Write the lines that count into a new file, then put it in the old one's place."""
        assert self._path is not None
        part = self._path.with_name(f".{self._path.name[-100:]}.part")  # this run's alone, as the file is
        try:
            with part.open("wb") as file, self._path.open("rb") as old:
                at = 0
                for raw in old:
                    line = json.loads(raw)
                    if self.register.counts(_key(line), at):
                        file.write(raw)
                    at += len(raw)
            part.chmod(self._path.stat().st_mode)
            part.replace(self._path)
        except OSError:  # both lines stay, and the later one counts
            part.unlink(missing_ok=True)


def _key(line: dict[str, Any]) -> bytes:
    return key(line["input"], line.get("ratios", ""))


def _lock(file: int, path: Path) -> None:
    """Hold the file for this run alone, as long as it is open; not on Windows, which has no such lock."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise setup_error(f"another run is writing {path}", "wait for it, or name another --out") from None
