"""The inputs of a batch, listed lazily: files, folders, globs, manifests, standard input, URLs.

However much there is, one batch of names of one folder is held at a time. An unreadable source is an item with
an error, and the rest goes on.
"""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeAlias

from cloudfn import formats
from cloudfn.batch import store
from cloudfn.batch.values import Item
from cloudfn.errors import CloudError, refusal, setup_error

# A path or URL, or a picture with ratios of its own: {"input": ..., "ratios": ...}.
Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Item"

ENDINGS = ("jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp", "tif", "tiff", "avif", "heic", "heif")
_FIELDS = ("input", "path", "url", "imgUrl")  # that may hold a manifest's path or URL; the first one present counts
_AT_ONCE = 10_000  # names of a folder that are sorted together: a larger folder comes in several sorted parts
_LONGEST_LINE = 65_536  # bytes; no path or URL comes near it
_LARGEST_STDIN = 512 << 20  # bytes of a picture


@dataclass(frozen=True)
class Filter:
    """A filter for the files of folders and globs: shell patterns for the name or the path below the folder.

    Without `include` the usual endings of pictures count in folders; names that begin with a dot never do.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, place: str, *, listed: bool = True) -> bool:
        """Return whether a file is taken; one that matched a glob, not `listed` by a folder, may have any ending."""
        name = place.rpartition("/")[2]

        def matches(patterns: Sequence[str]) -> bool:
            return any(fnmatch(name, pattern) or fnmatch(place, pattern) for pattern in patterns)

        if self.include:
            return matches(self.include) and not matches(self.exclude)
        return (not listed or name.lower().endswith(_DOTTED)) and not matches(self.exclude)


_DOTTED = tuple(f".{ending}" for ending in ENDINGS)


def expand(sources: Iterable[Source], ratios: str, only: Filter, stdin: BinaryIO | None = None) -> Iterator[Item]:
    """List the pictures that `sources` stand for, each with `ratios` where it has none of its own.

    Raises CloudError for a URL that cannot be listed and a manifest that cannot be opened; a single picture that cannot
    be read fails later and by itself.
    """
    for source in sources:
        if isinstance(source, Item):
            yield source
            continue
        if isinstance(source, Mapping):
            yield _entry(source, ratios, str(source)[:200])
            continue
        text = os.fspath(source)
        if text == "-":
            items = _stdin(stdin)
        else:
            read = _MANIFESTS.get(Path(text).suffix.lower())
            items = _manifest(text, read) if read and not os.path.isdir(text) else _pictures(text, only)  # noqa: PTH112
        for item in items:
            yield item if item.ratios or item.error else replace(item, ratios=ratios)


def _pictures(source: str, only: Filter) -> Iterator[Item]:
    """Yield one picture, or all that a folder or a glob holds; a name that exists as it stands is no glob."""
    if store.is_http(source):
        yield Item(source)
    elif store.is_url(source):
        yield from _remote(source, only)
    elif os.path.isdir(source):  # noqa: PTH112 - Path raises for a name with a NUL byte
        yield from _folder(source, only)
    elif glob.has_magic(source) and not os.path.lexists(source):
        matched = False
        for name in glob.iglob(source, recursive=True):  # noqa: PTH207 - it keeps names as they were written
            matched = True
            if os.path.isfile(name) and only.takes(name.replace(os.sep, "/"), listed=False):  # noqa: PTH113
                yield Item(name)
        if not matched:
            yield Item(source, error=_no_match())
    else:
        yield Item(source)


def _no_match() -> CloudError:
    return refusal(-401002, "the pattern matches no file", "check it")


def _folder(top: str, only: Filter) -> Iterator[Item]:
    folders = [top]
    while folders:
        folder = folders.pop()
        inner = []
        try:
            with os.scandir(folder) as entries:
                while part := sorted(islice(entries, _AT_ONCE), key=lambda entry: entry.name):
                    for entry in part:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            inner.append(entry.path)
                            continue
                        place = entry.path[len(top) :].lstrip(os.sep).replace(os.sep, "/")
                        if only.takes(place) and _is_picture_file(entry):
                            yield Item(entry.path, name=place.rpartition(".")[0] or place)
        except OSError as error:
            problem = f"the folder cannot be read: {store.why(error)}"
            yield Item(folder, error=refusal(-401002, problem, "check its permissions"))
        folders += reversed(inner)


def _is_picture_file(entry: os.DirEntry[str]) -> bool:
    """Return whether this is a file, or a broken link, which must be reported; never a pipe, which has no end."""
    return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110


def _remote(url: str, only: Filter) -> Iterator[Item]:
    matched = not glob.has_magic(url)
    try:
        for name, place in store.listed(url):
            matched = True
            if not place and name == url:
                yield Item(url)
            elif only.takes(place or name, listed=bool(place)):
                yield Item(name, name=place.rpartition(".")[0] or place)
    except OSError as error:
        raise setup_error(
            f"{store.shown(url)} cannot be listed: {store.why(error)}", "check the name and the credentials"
        ) from None
    if not matched:
        yield Item(url, error=_no_match())


def _stdin(stdin: BinaryIO | None) -> Iterator[Item]:
    """Yield the picture on standard input, or those that it lists: a name or a JSON object on each line."""
    if stdin is None:
        raise setup_error("-: standard input is closed", "pipe a picture or a list of names into the command")
    head = stdin.peek(4096) if hasattr(stdin, "peek") else b""
    if b"\0" in head and formats.recognise(head):  # a list whose first name begins with "BM" is no bitmap
        yield Item("-", name="stdin", data=stdin.read(_LARGEST_STDIN))
    else:
        yield from _lines(stdin, "-")


def _manifest(source: str, read: Callable[[IO[bytes], str], Iterator[Item]]) -> Iterator[Item]:
    """Yield the pictures that a file lists; paths are relative to the working directory, as on the command line."""
    if store.is_http(source):  # the fetch that reaches nothing private is for pictures
        raise setup_error(f"{store.shown(source)} is a list behind http", "download it, and name the file")
    try:
        with store.opened(source) as file:
            yield from read(file, store.shown(source))
    except CloudError:
        raise
    except Exception as error:  # noqa: BLE001 - fsspec's file systems raise what their clients raise
        raise setup_error(
            f"the list {store.shown(source)} cannot be read: {store.why(error)}", "check its name and permissions"
        ) from None


def _lines(file: IO[bytes], name: str) -> Iterator[Item]:
    for number, line in _numbered(file):
        where = f"{name}:{number}"
        if isinstance(line, CloudError):
            yield Item(where, error=line)
        elif line.lstrip().startswith("{"):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Item(where, error=_malformed(f"is no JSON ({error})"))
            else:
                yield _entry(entry, "", where)
        elif "\0" in line:
            yield Item(where, error=_malformed("holds a NUL byte"))
        else:
            yield Item(line)


def _table(file: IO[bytes], name: str) -> Iterator[Item]:
    """Yield the rows of a CSV file, line by line: a quote that is never closed costs its own line and not the rest."""
    header: list[str] = []
    for number, line in _numbered(file):
        where = f"{name}:{number}"
        try:
            row = [] if isinstance(line, CloudError) else next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            yield Item(where, error=_malformed(f"is no CSV ({error})"))
            continue
        if isinstance(line, CloudError):
            yield Item(where, error=line)
        elif not header:
            header = [cell.strip() for cell in row]
            if not any(field in header for field in _FIELDS):
                raise setup_error(
                    f"{name}: the first line names no column {', '.join(_FIELDS)}", "write a line such as: path,ratios"
                )
        else:
            cells = dict(zip(header, row, strict=False))
            yield _entry({column: cell for column, cell in cells.items() if cell.strip()}, "", where)


_MANIFESTS: Mapping[str, Callable[[IO[bytes], str], Iterator[Item]]] = {
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".txt": _lines,
    ".csv": _table,
}


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, str | CloudError]]:
    """Yield the lines that are not empty, numbered from 1; bytes that are not UTF-8 stay, as in file names."""
    number = 0
    while raw := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(raw) > _LONGEST_LINE and not raw.endswith(b"\n"):
            while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, _malformed(f"has more than {_LONGEST_LINE:,} bytes")
            continue
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        line = raw.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
        if line.strip():
            yield number, line


def _entry(entry: object, ratios: str, where: str) -> Item:
    """Return one picture of a manifest: its path or URL, and perhaps ratios of its own."""
    if not isinstance(entry, Mapping):
        return Item(where, error=_malformed("is no JSON object"))
    source = next((entry[field] for field in _FIELDS if entry.get(field)), None)
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str) or "\0" in source:
        return Item(where, error=_malformed(f"has no path or URL in any of {', '.join(_FIELDS)}"))
    own = entry.get("ratios")
    if isinstance(own, (list, tuple)):
        own = ",".join(str(ratio) for ratio in own)
    elif isinstance(own, (int, float)) and not isinstance(own, bool):
        own = str(own)
    if own is not None and not isinstance(own, str):
        return Item(where, error=_malformed("has ratios that are neither text nor a list"))
    return Item(source, (own or ratios).strip())


def _malformed(problem: str) -> CloudError:
    return refusal(-401002, f"the line {problem}", 'write a path, a URL, or {"input": ..., "ratios": ...}')
