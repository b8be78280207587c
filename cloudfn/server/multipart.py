"""A multipart body as its parts, with bytes that are nobody's text.

Werkzeug's own decoder does the parsing. Its `request.form` would decode the SDK's binary fields as UTF-8, and hides
whether a part had a file name, which WeChat insists on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

_MAX_PARTS = 32  # the SDK sends ten


class Part(NamedTuple):
    """One part; `filename` is None where it has none."""

    name: str
    filename: str | None
    headers: Headers
    data: bytes

    @property
    def text(self) -> str:
        """The content of a text part."""
        return self.data.decode("utf-8", "replace")


def is_multipart(content_type: str) -> bool:
    """Whether a body of this type has parts."""
    return content_type.lower().startswith("multipart/form-data")


def parse(content_type: str, body: bytes) -> list[Part]:
    """The parts of a body; raises ValueError for a body that is broken, cut off, or has too many parts."""
    from werkzeug.exceptions import RequestEntityTooLarge
    from werkzeug.http import parse_options_header
    from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData, Preamble

    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise ValueError("its Content-Type names no boundary")
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), max_parts=_MAX_PARTS)
    decoder.receive_data(body)
    decoder.receive_data(None)
    parts: list[tuple[Field | File, bytearray]] = []
    try:
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, (Field, File)):
                parts.append((event, bytearray()))
            elif isinstance(event, Data):
                parts[-1][1].extend(event.data)
            elif not isinstance(event, (Preamble, NeedData)):
                raise TypeError(event)
    except RequestEntityTooLarge:
        raise ValueError(f"it has more than {_MAX_PARTS} parts") from None
    return [
        Part(head.name or "", head.filename if isinstance(head, File) else None, head.headers, bytes(data))
        for head, data in parts
    ]
