"""Pictures as callers hand them over: their bytes in any of the forms that reach a cloud function, and their names."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

from cloudfn import formats
from cloudfn.call import schema

Bytes: TypeAlias = bytes | bytearray | memoryview

# Together with a length that four divides. One class and no groups: it is run over megabytes.
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_FILE_NAME = re.compile(r"[ !#-\[\]-~]{1,255}")  # printable ASCII without " and \, which would need escapes


def sniff(data: Bytes) -> str | None:
    """Return the media type that the first bytes reveal, or None where they are not a picture's."""
    recognised = formats.recognise(data)
    return recognised.media_type if recognised else None


def file_name(field: str, content_type: str, own: str | None = None) -> tuple[str, bool]:
    """Return the name that a part of this media type travels under, and whether the type is known.

    `<field>.<first extension of the type in mime-db 1.52>`, as in wx-server-sdk 4.0.2; `.png` where the type is not
    in that table. A caller's own name is kept when it is plain ASCII: WeChat answers 41005 to any other.
    """
    extension = _extensions().get(content_type)
    if own and _FILE_NAME.fullmatch(own):
        return own, extension is not None
    return f"{field}.{extension or 'png'}", extension is not None


def decode(value: object) -> Bytes:
    """Return the bytes in `value`; bytes-like objects are returned as they are, without a copy.

    Understood are bytes, bytearray, memoryview, a base64 string or data URI, Node's `{"type": "Buffer", "data":
    [...]}`, a JSON-ed Uint8Array `{"0": 137, ...}` and a plain list of numbers 0 to 255. A string is never a path.

    Raises TypeError for any other type, ValueError for wrong content; the text says what came.
    """
    if isinstance(value, memoryview):
        return value.cast("B") if value.c_contiguous else value.tobytes()
    if isinstance(value, (bytes, bytearray)):
        return value
    if isinstance(value, str):
        return _base64(value)
    if isinstance(value, Mapping):
        if value.get("type") == "Buffer" and isinstance(value.get("data"), (list, tuple)):
            return _numbers(value["data"])
        try:
            return _numbers([value[str(index)] for index in range(len(value))])
        except KeyError:
            keys = ", ".join(sorted(map(str, value))[:5])
            raise ValueError(f"an object with {keys or 'no keys'}") from None
    if isinstance(value, (list, tuple)):
        return _numbers(value)
    raise TypeError(f"a {type(value).__name__}")


def _numbers(items: list[object] | tuple[object, ...]) -> bytes:
    if not {type(item) for item in items} <= {int}:
        raise ValueError("a list whose items are not all whole numbers")
    try:
        return bytes(items)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError("a list with numbers outside 0 to 255") from None


def _base64(text: str) -> bytes:
    prefix = _DATA_URI.match(text)
    if prefix:
        text = text[prefix.end() :]
    elif text[:5].lower() == "data:":
        raise ValueError("a data URI that is not base64")
    if not _is_base64(text):
        text = "".join(text.split())  # base64 is often wrapped into lines
        if not _is_base64(text):
            raise ValueError(f"a str of {len(text)} characters that is not base64")
    return binascii.a2b_base64(text)


def _is_base64(text: str) -> bool:
    return len(text) % 4 == 0 and _BASE64.fullmatch(text) is not None


@cache
def _extensions() -> dict[str, str]:
    table: dict[str, str] = json.loads(schema.data("media_types.json"))
    return table
