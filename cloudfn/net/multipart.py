"""A multipart/form-data body (RFC 7578) as its parts: values in, values out.

Lines end with CRLF, as every client sends them. A delimiter is a whole line: where the boundary is only the beginning
of one, that line is content. The body is searched with `bytes.find` and nothing of it is copied but the parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

_MAX_PARTS = 32  # wx-server-sdk sends ten
_MAX_HEAD = 8192  # bytes of one part's headers
_BOUNDARY = re.compile(rb"[ -~]{0,69}[!-~]")  # RFC 2046, leniently: printable ASCII, 1 to 70, no space at its end
_LINE_END = re.compile(rb"--|[ \t]*\r\n")  # behind a boundary: the end of all parts, or of the line
_FOLD = re.compile(r"\r\n[ \t]+")
# A quoted value without its second quote goes on to the end, so that a hostile header is read once, not once a quote.
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)(?:"|\\?\Z)|([^;]*))', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')


class Part(NamedTuple):
    """One part; `filename` is None where it has none. The names of `headers` are in lower case."""

    name: str
    filename: str | None
    headers: Mapping[str, str]
    data: bytes

    @property
    def text(self) -> str:
        """Return the content of a text part, with invalid UTF-8 replaced."""
        return self.data.decode("utf-8", "replace")


def boundary(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names; b"" where it names none, or an invalid one."""
    named = _parameters(content_type).get("boundary", "").encode("ascii", "replace")
    return named if _BOUNDARY.fullmatch(named) else b""


def parse(content_type: str, body: bytes) -> list[Part]:
    """Return the parts of a body; raise ValueError if it is broken, cut off, or has too many parts."""
    named = boundary(content_type)
    if not named:
        raise ValueError("its Content-Type names no boundary")
    parts: list[Part] = []
    start = -1
    for end, behind, is_last in _delimiters(body, b"\r\n--" + named):
        if start >= 0:
            parts.append(_part(body, start, end))
        if is_last:
            return parts
        if len(parts) == _MAX_PARTS:
            raise ValueError(f"the body has more than {_MAX_PARTS} parts")
        start = behind
    raise ValueError("the multipart body has no end: it is cut off, or its boundary is another one")


def _delimiters(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where each delimiter begins and where the content after it does, and whether it ends the last part."""
    at = -2 if body.startswith(delimiter[2:]) else body.find(delimiter)  # nothing need precede the first one
    while at != -1:
        behind = at + len(delimiter)
        line_end = _LINE_END.match(body, behind)
        if line_end:
            yield at, line_end.end(), line_end[0] == b"--"
        at = body.find(delimiter, behind)


def _part(body: bytes, start: int, end: int) -> Part:
    """Return the part between two delimiters. One without content may end with its headers and an empty line."""
    gap = body.find(b"\r\n\r\n", start - 2, min(start + _MAX_HEAD, end) + 2)
    if gap < start:
        raise ValueError("a part of the multipart body has no headers")
    headers = {}
    for line in _FOLD.sub(" ", body[start:gap].decode("utf-8", "replace")).split("\r\n"):
        header, _, value = line.partition(":")
        headers[header.strip().lower()] = value.strip()
    parameters = _parameters(headers.get("content-disposition", ""))
    # %22 is how browsers write a quote.
    named = {name: value.replace("%22", '"') for name, value in parameters.items()}
    if not named.get("name"):
        raise ValueError("a part of the multipart body has no name")
    return Part(named["name"], named.get("filename"), headers, body[gap + 4 : end])


def _parameters(header: str) -> dict[str, str]:
    """Return a header's parameters; RFC 5987's `name*=utf-8''...` counts where there is no plain `name`."""
    parameters = {
        key.lower(): _ESCAPED.sub(r"\1", quoted) or word.strip() for key, quoted, word in _PARAMETER.findall(header)
    }
    for key in [key for key in parameters if key.endswith("*")]:
        charset, encoded = parameters[key].lower().partition("'")[0], parameters[key].split("'", 2)[-1]
        parameters.setdefault(key[:-1], unquote(encoded, "latin-1" if charset == "iso-8859-1" else "utf-8"))
    return parameters
