"""The bytes of a picture before a decoder sees them: headers read, checked, and freed of what no picture needs.

Bytes in, bytes out; each function is one format's. What is wrong is `CloudError(101002)`; where a header is cut off,
IndexError or struct.error.
"""

from __future__ import annotations

import io
import re
import struct

from cloudfn.errors import CloudError, Limit, picture_error

# Before its pixels a JPEG has some ten segments, a few hundred where Exif, XMP or a profile is large; Pillow's time for
# them grows with the square of their number.
_MAX_SEGMENTS = 400

# Bytes between them that belong to none, fill bytes above all: Pillow reads each with a call of its own.
_MAX_FILL = 10_000

_MARKER = re.compile(rb"\xff+")
_BARE = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))  # markers without a length

# Chunks of a PNG, or blocks of a GIF before its first picture, that are looked at: encoders write some thousands.
_MAX_CHUNKS = 100_000

# Everything in a PNG but its pixels (IDAT) and how to show them goes unread: texts, which expand to 64 MB, animations,
# and repeated chunks.
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"iCCP", b"eXIf", b"IEND")

# The tags of a TIFF that say how its pixels are stored and shown: TIFF 6.0, section 8 and after; 34675 is the profile.
_TIFF_TAGS = frozenset(
    (
        *(256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325),
        *(338, 339, 347, 529, 530, 531, 532, 34675),
    )
)
_TIFF_LISTS = frozenset((258, 273, 279, 320, 324, 325, 338, 339, 347, 529, 530, 532, 34675))  # the others: one value
TIFF_TILE = (322, 323)  # its width and height, whole numbers
_MAX_TAG = 1 << 20  # bytes: the places of 262,144 strips or tiles
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes by type of value


def refusal(problem: str, cure: str, limit: Limit | None = None) -> CloudError:
    """Return the error for a picture that cannot be used, in WeChat's words."""
    return picture_error(101002, "invalid image data", problem, cure, limit=limit)


def check_segments(data: bytes) -> None:
    """Refuse a JPEG with too much before its pixels: ITU-T T.81, B.1.1.2 to 4, markers, most of them with a length."""
    at, filling = 2, 0
    for _ in range(_MAX_SEGMENTS):
        run = _MARKER.search(data, at)
        if run is None or data[run.end() : run.end() + 1] in (b"\xda", b""):
            return
        filling += run.end() - 1 - at
        if filling > _MAX_FILL:
            raise refusal(f"the JPEG has more than {_MAX_FILL} bytes between its segments", "save it anew")
        at = run.end() + 1
        if data[run.end()] not in _BARE:
            at += int.from_bytes(data[at : at + 2], "big")
    raise refusal(f"the JPEG has more than {_MAX_SEGMENTS} segments of metadata", "save it without them")


def png(data: bytes) -> io.BytesIO:
    """Return a PNG with nothing but its picture: W3C PNG, 5.3, chunks of length, name, body and checksum.

    Raises CloudError 101002 where its end is missing: Pillow is content when all rows are there.
    """
    whole = memoryview(data)
    at, kept, missing = 8, [whole[:8]], {*_PNG_CHUNKS}
    for _ in range(_MAX_CHUNKS):
        head = data[at : at + 8]
        stop = at + 12 + int.from_bytes(head[:4], "big")
        if len(head) < 8 or stop > len(data):
            raise refusal(f"the PNG stops after {len(data)} bytes without its end", "send the whole file")
        if head[4:] == b"IDAT" or head[4:] in missing:
            kept.append(whole[at:stop])
            missing.discard(head[4:])
        if head[4:] == b"IEND":
            return io.BytesIO(b"".join(kept))
        at = stop
    raise refusal(f"the PNG has more than {_MAX_CHUNKS} chunks", "save it anew")


def gif(data: bytes) -> io.BytesIO:
    """Return a GIF without what precedes its first picture, mostly comments: GIF89a, 18 to 26, blocks of 255 bytes."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    screen, control, blocks = data[:at], b"", 0
    while data[at] == 0x21:  # an extension
        start, at = at, at + 2
        while data[at]:
            at += 1 + data[at]
            blocks += 1
        at += 1
        blocks += 1
        if blocks > _MAX_CHUNKS:
            raise refusal(f"the GIF has more than {_MAX_CHUNKS} blocks before its picture", "save it anew")
        if data[start + 1] == 0xF9:  # the graphic control, which says what is transparent
            control = data[start:at]
    return io.BytesIO(screen + control + data[at:])


def tiff(data: bytes) -> io.BytesIO:
    """Return a TIFF whose first directory has nothing but sound tags about its picture, and no other directory.

    TIFF 6.0, section 2: 12-byte entries of tag, type, count and value, or the place of a longer value. Pillow warns,
    for the whole process, about tags that are broken.
    """
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    entries = []
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length, place = struct.unpack_from(order + "HHII", data, at)
        size = _TIFF_SIZES.get(kind, 0) * length
        sound = 0 < size <= 4 or (4 < size <= min(len(data) - place, _MAX_TAG))
        sound = sound and (length == 1 or tag in _TIFF_LISTS) and (kind in (3, 4) or tag not in TIFF_TILE)
        if tag in _TIFF_TAGS and sound:
            entries.append(data[at : at + 12])
    file = io.BytesIO(data)
    file.seek(start)
    file.write(struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4))
    file.seek(0)
    return file


def is_lossless(data: bytes) -> bool:
    """Return whether a WebP's (first) picture is lossless. RFC 9649, 2.3 to 2.7: chunks of name, length and body."""
    at = 12
    while (kind := data[at : at + 4]) not in (b"VP8 ", b"VP8L", b""):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 24 if kind == b"ANMF" else 8 + length + length % 2  # a frame: 16 bytes, then chunks of its own
    return kind == b"VP8L"


def orientation(exif: bytes) -> int:
    """Return the orientation (1..8) of an Exif block; 1 where the block is missing, broken or has none.

    Exif 2.32, 4.5: a TIFF header, then the first directory of 12-byte entries (tag, type, count, value).
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if (tag, kind) == (0x0112, 3):
                return value if 1 <= value <= 8 else 1
    except struct.error:  # a directory that points outside the block
        pass
    return 1
