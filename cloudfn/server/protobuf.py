"""The part of protobuf's wire format that the CloudBase messages need: varints and length-delimited fields.

Source: https://protobuf.dev/programming-guides/encoding/. A library for two small messages would be one more package.
"""

from __future__ import annotations

from collections.abc import Mapping

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


def decode(data: bytes | memoryview) -> dict[int, list[int | bytes]]:
    """Return the fields of a message by number, each with its values in order; raises ValueError for other bytes."""
    view = memoryview(data)
    fields: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            fields.setdefault(key >> 3, []).append(value)
            continue
        if kind == _BYTES:
            length, at = _varint(view, at)
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at + length > len(view):
            raise ValueError("a field that is longer than its message")
        fields.setdefault(key >> 3, []).append(bytes(view[at : at + length]))
        at += length
    return fields


def encode(fields: Mapping[int, int | bytes | str]) -> bytes:
    """Encode these fields as a message, in order; a negative number is 64 bits of two's complement, as int32 is."""
    out = bytearray()
    for number, value in fields.items():
        if isinstance(value, int):
            out += _to_varint(number << 3 | _VARINT) + _to_varint(value & (1 << 64) - 1)
        else:
            content = value.encode() if isinstance(value, str) else value
            out += _to_varint(number << 3 | _BYTES) + _to_varint(len(content)) + content
    return bytes(out)


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 64:
        value |= (view[at] & 0x7F) << shift
        at += 1
        if view[at - 1] < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number that does not end")


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
