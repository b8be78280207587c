"""The one place that converts between WeChat's corners and half-open boxes; and the pictures that boxes cut out.

WeChat's right and bottom corners are the last column and row *inside* the box, everything else in the package is
half-open. Both count pixels of the picture as displayed (EXIF orientation applied), origin top left.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudfn import crop
from cloudfn.call import media

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
    format: str | None = None,  # noqa: A002 - the word that Pillow and users have for it
    quality: int | None = None,
    max_megapixels: float = 24,
    max_jpeg_megapixels: float = 100,
) -> list[bytes]:
    """Cut `picture` into one picture for each box of `result`, in order; return each as an encoded file's bytes.

    `picture` is the same file that was analysed: a `pathlib.Path`, bytes, or anything else that `img.value` may be.
    `result` is what `img.aiCrop` returned, whoever answered, or WeChat's own JSON: names in camelCase or snake_case,
    right and bottom corners inclusive, in pixels of the picture as displayed.

    The Exif orientation is applied, format and colour profile are kept, all other metadata (where the picture was
    taken above all) is dropped. Pixels are exact where the format is lossless. `size` is the (width, height) that each
    is scaled to; where one of them is None, it follows from the other. `format` ("jpeg", "png", "webp") is another
    format than the original's, `quality` 1 to 100 that of a lossy one.

    Raises ValueError where the result has no boxes, is that of a picture of another size, or has a box outside it, for
    a wrong `size`, `format` or `quality`, and for text that is no picture; TypeError for anything else but a picture,
    and for a `result` that is no mapping; CloudError 101002 for a picture that cannot be read, -601002 where the
    engine's packages are not installed; OSError where a path cannot be read.
    """
    boxes = boxes_of(result)
    return crop.cut(
        _data(picture),
        boxes,
        of=_size(result),
        size=size,
        format=format,
        quality=quality,
        max_megapixels=max_megapixels,
        max_jpeg_megapixels=max_jpeg_megapixels,
    )


def boxes_of(result: Mapping[str, Any]) -> list[crop.Box]:
    """Return the boxes of a result, half-open; raise TypeError or ValueError, which say what is wrong, for another."""
    if not isinstance(result, Mapping):
        raise TypeError(f"the result is a {type(result).__name__}: give what img.aiCrop returned")
    boxes = result.get("results")
    if not isinstance(boxes, (list, tuple)) or not boxes:
        raise ValueError("the result has no boxes: give what img.aiCrop returned")
    return [half_open(box) for box in boxes]


def _data(picture: object) -> media.Bytes:
    if isinstance(picture, Path):
        return picture.read_bytes()
    try:
        return media.decode(picture)
    except (TypeError, ValueError) as error:
        came = f"the picture is {error}"
    cure = "give its bytes, a pathlib.Path (a string is never a path), or what img.aiCrop got"
    raise (ValueError if isinstance(picture, (str, Mapping, list, tuple)) else TypeError)(f"{came}: {cure}")


def half_open(corners: Mapping[str, Any]) -> crop.Box:
    """Return WeChat's corners, in camelCase or snake_case, as a half-open box; raise ValueError for non-integers."""
    if not isinstance(corners, Mapping):
        raise ValueError(f"a box of the result is a {type(corners).__name__}: give what img.aiCrop returned")
    left, top, right, bottom = (_number(corners, camel, snake) for camel, snake in _CORNERS)
    return crop.Box(left, top, right + 1, bottom + 1)


def corners(box: crop.Box) -> dict[str, int]:
    """Return a half-open box as WeChat's own JSON names its corners, right and bottom inclusive."""
    inclusive = (box.left, box.top, box.right - 1, box.bottom - 1)
    return {snake: edge for (_, snake), edge in zip(_CORNERS, inclusive, strict=True)}


def _size(result: Mapping[str, Any]) -> crop.Size | None:
    size = result.get("imgSize", result.get("img_size"))
    return None if size is None else crop.Size(_number(size, "w"), _number(size, "h"))


def _number(named: Mapping[str, Any], *names: str) -> int:
    value = next((named[name] for name in names if name in named), None)
    if type(value) is not int and not (isinstance(value, float) and value.is_integer()):
        raise ValueError(f"the result's {names[0]} is no whole number: {value!r}")
    return int(value)
