"""From box to picture: what a cloud call's result cuts out of the picture that was asked about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudfn import crop, media

_CORNERS = (
    ("cropLeft", "crop_left"),
    ("cropTop", "crop_top"),
    ("cropRight", "crop_right"),
    ("cropBottom", "crop_bottom"),
)


def cut(
    picture: object,
    result: Mapping[str, Any],
    *,
    size: tuple[int | None, int | None] | None = None,
    max_megapixels: float = 24,
    max_jpeg_megapixels: float = 100,
) -> list[bytes]:
    """The cut pictures, one for each box of `result`, in order, each as an encoded file's bytes.

    `picture` is the very file that was asked about: a `pathlib.Path`, bytes, or anything else that `img.value` may be.
    `result` is what `img.aiCrop` returned, whoever answered, or WeChat's own JSON: names in camelCase or snake_case,
    right and bottom corners inclusive, in pixels of the picture as displayed.

    The Exif orientation is applied, format and colour profile are kept, all other metadata (where the picture was
    taken above all) is dropped. Pixels are exact where the format is lossless. `size` is the (width, height) that each
    is scaled to; where one of them is None, it follows from the other.

    Raises ValueError where the result has no boxes, is that of a picture of another size, or has a box outside it;
    TypeError for what is no picture; CloudError 101002 for a picture that cannot be read, -601002 where the engine's
    packages are not installed. OSError where a path cannot be read.
    """
    data = picture.read_bytes() if isinstance(picture, Path) else media.decode(picture)
    boxes = result.get("results")
    if not isinstance(boxes, (list, tuple)) or not boxes:
        raise ValueError("the result has no boxes: give what img.aiCrop returned")
    return crop.cut(
        data,
        [_box(box) for box in boxes],
        of=_size(result),
        size=size,
        max_megapixels=max_megapixels,
        max_jpeg_megapixels=max_jpeg_megapixels,
    )


def _box(named: Mapping[str, Any]) -> crop.Box:
    """Half-open, of inclusive corners."""
    left, top, right, bottom = (_number(named, camel, snake) for camel, snake in _CORNERS)
    return crop.Box(left, top, right + 1, bottom + 1)


def _size(result: Mapping[str, Any]) -> crop.Size | None:
    size = result.get("imgSize", result.get("img_size"))
    return None if size is None else crop.Size(_number(size, "w"), _number(size, "h"))


def _number(named: Mapping[str, Any], *names: str) -> int:
    value = next((named[name] for name in names if name in named), None)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError(f"the result's {names[0]} is no whole number: {value!r}")
    return int(value)
