"""The values that travel through a batch: one picture of the input, the task for each, and its outcome."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from cloudfn.errors import CloudError
from cloudfn.settings import Settings


@dataclass(frozen=True)
class Item:
    """One picture of the input.

    `source` is its path or URL, as it stands in the results; `ratios` are aspect ratios as text, "" for automatic.
    `name` is what its cut pictures are called, without ending: first its place below the folder that listed it ("" for
    a picture that was named by itself), later a name that no other picture has. `data` are the bytes of a picture that
    came through standard input, `error` says why there is none, as for a broken line of a manifest.
    """

    source: str
    ratios: str = ""
    name: str = ""
    data: bytes | None = field(default=None, repr=False)
    error: CloudError | None = None

    @property
    def key(self) -> bytes:
        """Return 16 bytes that identify this picture with these ratios."""
        return key(self.source, self.ratios)


def key(source: str, ratios: str) -> bytes:
    """Return 16 bytes that identify a picture with its ratios."""
    return hashlib.sha256(f"{ratios}\0{source}".encode("utf-8", "surrogatepass")).digest()[:16]


@dataclass(frozen=True)
class Cut:
    """The settings for cut pictures: the folder or URL, the size, the format and the quality.

    `size`, `format` and `quality` are those of `cloudfn.cut`. `keep` are files, by device and inode, that no cut
    picture may replace: those of the input, where all of them are known.
    """

    folder: str
    size: tuple[int | None, int | None] | None = None
    format: str | None = None
    quality: int | None = None
    keep: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Task:
    """The task for every picture, wherever the worker is: it holds no secret that the backend does not need."""

    settings: Settings
    cut: Cut | None = None
    thumbnails: bool = False


@dataclass(frozen=True)
class Done:
    """The outcome for one picture: its line for the results, or `halt`, for which the whole batch has to stop.

    `error` is the failure that its line reports.
    `thumbnail` is a small WebP picture for the contact sheet, where one is wanted and there are boxes.
    """

    item: Item
    line: dict[str, Any] | None = None
    halt: CloudError | None = None
    error: CloudError | None = None
    thumbnail: bytes | None = field(default=None, repr=False)
