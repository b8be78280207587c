"""The contact sheet: an HTML page of small pictures with their boxes drawn over them.

The small pictures lie in a folder beside the page, are loaded as they come into view, and take some 3 KB each; the page
itself some 500 bytes for each picture. Pictures out of view cost the browser no layout.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cloudfn.batch import store
from cloudfn.batch.values import key
from cloudfn.batch.work import THUMBNAIL, labels
from cloudfn.boxes import half_open
from cloudfn.errors import setup_error

_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>cloudfn batch</title>
<style>
body{margin:16px;background:#f4f4f2;color:#222;font:12px/1.35 system-ui,sans-serif}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(176px,1fr));gap:12px}
figure{margin:0;padding:8px;background:#fff;border-radius:4px;content-visibility:auto;contain-intrinsic-size:auto 216px}
figure>a{position:relative;display:block;margin:auto}
img{display:block;width:100%;height:100%;background:#ddd}
b{position:absolute;box-sizing:border-box;border:2px solid;font:700 10px/1 system-ui;text-shadow:0 0 2px #000}
b:nth-of-type(1){border-color:#e69f00;color:#ffc44d}b:nth-of-type(2){border-color:#56b4e9;color:#9bd6f7}
b:nth-of-type(3){border-color:#009e73;color:#4be0b5}b:nth-of-type(4){border-color:#cc79a7;color:#f5b3d5}
b:nth-of-type(5){border-color:#f0e442;color:#f0e442}
figcaption{margin-top:6px;overflow-wrap:anywhere;max-height:2.7em;overflow:hidden}
.bad{border-left:4px solid #d55e00}.bad figcaption{max-height:none}
</style>
<main>
"""


class Sheet:
    """A page that is written picture by picture and appears under its name when it is closed."""

    def __init__(self, path: Path) -> None:
        """Open the page; raise CloudError -601002 where page or folder cannot be written."""
        self._path = path
        self._folder = path.with_name(f"{path.stem}_files")
        self._part = path.with_name(f".{path.name}.part")
        try:
            self._folder.mkdir(exist_ok=True)
            self._file = self._part.open("w", encoding="utf-8")
        except OSError as error:
            raise _unwritable(error, path) from None
        self._file.write(_HEAD)

    def add(self, line: dict[str, Any], thumbnail: bytes | None = None) -> None:
        """Add a picture by its line; one without a `thumbnail` shows that of an earlier run, if there is one."""
        name = f"{key(line['input'], line.get('ratios', '')).hex()}.webp"
        place = self._folder / name[:2]
        try:
            if thumbnail is not None:
                place.mkdir(exist_ok=True)
                (place / name).write_bytes(thumbnail)
            self._file.write(_figure(line, f"{quote(self._folder.name)}/{name[:2]}/{name}", self._path.parent))
        except OSError as error:
            raise _unwritable(error, self._path) from None

    def close(self) -> None:
        """Finish the page."""
        try:
            self._file.write("</main>\n</html>\n")
            self._file.close()
            self._part.replace(self._path)
        except OSError as error:
            raise _unwritable(error, self._path) from None

    def leave(self) -> None:
        """Remove the unfinished page."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def _figure(line: dict[str, Any], thumbnail: str, folder: Path) -> str:
    name = store.shown(line["input"]).encode("utf-8", "replace").decode()
    short = escape(name.rpartition("/")[2] or name)
    if line["errCode"]:
        said = escape(str(line.get("hint") or line["errMsg"]).encode("utf-8", "replace").decode())
        return f'<figure class="bad"><figcaption title="{said}">{short}<br>{said}</figcaption></figure>\n'
    width, height = line["imgSize"]["w"], line["imgSize"]["h"]
    across = THUMBNAIL * width / max(width, height)
    boxes = "".join(
        f'<b style="{_inset(half_open(box), width, height)}">{escape(label)}</b>'
        for label, box in zip(labels(line.get("ratios", ""), len(line["results"])), line["results"], strict=False)
    )
    return (
        f'<figure><a href="{escape(_href(line["input"], folder))}" '
        f'style="width:{across:.0f}px;aspect-ratio:{width}/{height}">'
        f'<img loading="lazy" decoding="async" src="{thumbnail}" alt="">{boxes}</a>'
        f'<figcaption title="{escape(name)}">{short} {width}x{height}</figcaption></figure>\n'
    )


def _inset(box: tuple[int, int, int, int], width: int, height: int) -> str:
    left, top, right, bottom = box
    edges = (top / height, 1 - right / width, 1 - bottom / height, left / width)
    return "inset:" + " ".join(f"{max(0, 100 * edge):.3g}%" for edge in edges)


def _href(source: str, folder: Path) -> str:
    """Return a link to the picture: relative for a file, without possible secrets for a URL; "#" otherwise."""
    if store.is_http(source):
        return store.shown(source)
    if store.is_url(source):
        return "#"
    try:
        return quote(os.path.relpath(source, folder).encode("utf-8", "surrogateescape"))
    except ValueError:  # another drive
        return "#"


def _unwritable(error: OSError, path: Path) -> Exception:
    return setup_error(
        f"{error.filename or path}: cannot be written ({error.strerror})", "name a file in a folder that is there"
    )
