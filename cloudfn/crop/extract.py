"""Boxes to pictures: each box is cut out, scaled and encoded anew."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from cloudfn.crop.picture import Bytes, Limits, open_upright
from cloudfn.crop.values import Box, Size

# All that a cut picture keeps of what its file said besides pixels and colour profile.
_KEPT = ("transparency", "gamma")


def extract(
    data: Bytes,
    boxes: Sequence[Box],
    of: Size | None,
    size: tuple[int | None, int | None] | None,
    limits: Limits,
) -> list[bytes]:
    """See `cloudfn.crop.cut`."""
    if size is not None and (size == (None, None) or not all(side is None or 1 <= side <= 65535 for side in size)):
        raise ValueError(f"a size is (width, height) of 1 to 65535 pixels, one of them None to follow, not {size}")
    image, options = open_upright(data, limits)
    if of is not None and image.size != of:
        raise ValueError(
            f"the boxes are for a picture of {of[0]}x{of[1]} pixels, this one has {image.width}x{image.height}"
        )
    for box in boxes:
        left, top, right, bottom = box
        if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
            raise ValueError(f"{box} is not inside the picture of {image.width}x{image.height} pixels")
    return [_encoded(_scaled(image.crop(box), size), options) for box in boxes]


def _scaled(piece: Image.Image, size: tuple[int | None, int | None] | None) -> Image.Image:
    if size is None:
        return piece
    width = size[0] or max(1, round(piece.width * (size[1] or 1) / piece.height))
    height = size[1] or max(1, round(piece.height * width / piece.width))
    # Colours of a palette, and black and white, have no means.
    if piece.mode in ("P", "PA") or "transparency" in piece.info:
        piece = piece.convert("RGBA" if piece.mode == "PA" or "transparency" in piece.info else "RGB")
    elif piece.mode == "1":
        piece = piece.convert("L")
    scaled = piece.resize((width, height), Image.Resampling.LANCZOS)
    scaled.info = piece.info
    return scaled


def _encoded(piece: Image.Image, options: dict[str, Any]) -> bytes:
    piece.info = {key: value for key, value in piece.info.items() if key in _KEPT}
    file = io.BytesIO()
    piece.save(file, **options)
    return file.getvalue()
