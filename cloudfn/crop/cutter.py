"""Boxes to pictures: what `cloudfn.crop.cut` does."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from cloudfn.crop.picture import Bytes, Limits, open_upright
from cloudfn.crop.values import Box

# All that a cut picture keeps of what its file said besides pixels and colour profile.
_KEPT = ("transparency", "gamma")


def cut(data: Bytes, boxes: Sequence[Box], limits: Limits) -> list[bytes]:
    """See `cloudfn.crop.cut`."""
    image, options = open_upright(data, limits)
    for box in boxes:
        left, top, right, bottom = box
        if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
            raise ValueError(f"{box} is not inside the picture of {image.width}x{image.height} pixels")
    return [_encoded(image.crop(box), options) for box in boxes]


def _encoded(piece: Image.Image, options: dict[str, Any]) -> bytes:
    piece.info = {key: value for key, value in piece.info.items() if key in _KEPT}
    file = io.BytesIO()
    piece.save(file, **options)
    return file.getvalue()
