"""The one table of picture formats: how a file of each begins. Imports nothing, so that every room may use it."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A picture format: its media type, and the name under which Pillow knows it."""

    media_type: str
    pillow: str


_JPEG = Format("image/jpeg", "JPEG")
_PNG = Format("image/png", "PNG")
_GIF = Format("image/gif", "GIF")
_BMP = Format("image/bmp", "BMP")
_WEBP = Format("image/webp", "WEBP")
_TIFF = Format("image/tiff", "TIFF")
_AVIF = Format("image/avif", "AVIF")
_HEIC = Format("image/heic", "HEIF")
_HEIF = Format("image/heif", "HEIF")

# First bytes of a file -> its format; "?" stands for any byte. ISO/IEC 23008-12 for the brands of HEIF.
_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", _JPEG),
    (b"\x89PNG\r\n\x1a\n", _PNG),
    (b"GIF8", _GIF),
    (b"BM", _BMP),
    (b"RIFF????WEBP", _WEBP),
    (b"II*\x00", _TIFF),
    (b"MM\x00*", _TIFF),
    (b"????ftypavif", _AVIF),
    (b"????ftypavis", _AVIF),
    (b"????ftyphei", _HEIC),
    (b"????ftyphev", _HEIC),
    (b"????ftypmif1", _HEIF),
    (b"????ftypmsf1", _HEIF),
)
_ANY = ord("?")
HEAD = max(len(signature) for signature, _ in _SIGNATURES)
"""Bytes from the beginning of a file that tell its format."""


def recognise(data: bytes | bytearray | memoryview) -> Format | None:
    """Return the format that the first bytes reveal, or None where they are not a picture's."""
    head = bytes(data[:HEAD])
    for signature, picture_format in _SIGNATURES:
        if len(head) >= len(signature) and all(s in (_ANY, h) for s, h in zip(signature, head, strict=False)):
            return picture_format
    return None
