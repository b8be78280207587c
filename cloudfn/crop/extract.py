"""Boxes to pictures: each box is cut out, scaled and encoded anew."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from cloudfn.crop.picture import Bytes, Limits, open_upright
from cloudfn.crop.values import Box, Size

# All the metadata of its file that a cut picture keeps besides the colour profile.
_KEPT = ("transparency", "gamma")
_QUALITY = 90
# Format -> the modes that it stores as they are, of those that pictures in other formats have.
_MODES = {"jpeg": ("L", "RGB"), "png": ("L", "RGB", "RGBA", "LA", "1", "I;16"), "webp": ("RGB", "RGBA")}
_LOSSY = ("jpeg", "webp", "avif", "heif")


def extract(
    data: Bytes,
    boxes: Sequence[Box],
    of: Size | None,
    size: tuple[int | None, int | None] | None,
    kind: str | None,
    quality: int | None,
    limits: Limits,
) -> list[bytes]:
    """See `cloudfn.crop.cut`; `kind` is its `format`."""
    check(size, kind, quality)
    if not all(isinstance(box, (tuple, list)) and len(box) == 4 for box in boxes):
        raise ValueError(f"boxes are (left, top, right, bottom) each, not {str(boxes)[:60]}")
    image, options = open_upright(data, limits)
    if of is not None and image.size != of:
        raise ValueError(
            f"the boxes are for a picture of {of[0]}x{of[1]} pixels, this one has {image.width}x{image.height}"
        )
    for box in boxes:
        left, top, right, bottom = box
        if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
            raise ValueError(f"{box} is not inside the picture of {image.width}x{image.height} pixels")
    kind = (kind or options["format"]).lower()
    if kind != options["format"].lower():
        options = {"format": kind.upper(), "quality": _QUALITY, "icc_profile": options.get("icc_profile")}
        image = _in_mode_of(image, kind, options)
    if quality is not None and kind in _LOSSY:
        # The original's tables stand for its own quality.
        options = {name: value for name, value in options.items() if name not in ("qtables", "lossless")}
        options["quality"] = quality
    return [_encoded(_scaled(image.crop(box), size), options) for box in boxes]


def check(size: tuple[int | None, int | None] | None, kind: str | None, quality: int | None) -> None:
    """Raise ValueError for a size, a format or a quality that no picture can have."""
    if kind is not None and kind not in _MODES:
        raise ValueError(f"a format is one of {', '.join(_MODES)}, not {kind!r}")
    if quality is not None and not _is_whole(quality, 100):
        raise ValueError(f"a quality is a whole number from 1 to 100, not {quality!r}")
    if size is not None and not _is_size(size):
        raise ValueError(f"a size is (width, height) of 1 to 65535 pixels, one of them None to follow, not {size!r}")


def _is_whole(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_size(size: object) -> bool:
    if not isinstance(size, (tuple, list)) or len(size) != 2 or list(size) == [None, None]:
        return False
    return all(side is None or _is_whole(side, 65535) for side in size)


def _in_mode_of(image: Image.Image, kind: str, options: dict[str, Any]) -> Image.Image:
    """Return the image in a mode that the format stores, over white where the format has no transparency."""
    if image.mode in _MODES[kind] and "transparency" not in image.info:
        return image
    clear = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    if image.mode == "CMYK":
        options["icc_profile"] = None  # it describes inks
    if image.mode.startswith("I;16"):
        image = image.convert("I").point(lambda value: value * (255 / 65535))
        return image.convert("L")
    if not clear:
        return image.convert("L" if image.mode in ("1", "L") else "RGB")
    image = image.convert("RGBA")
    if "RGBA" in _MODES[kind]:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _scaled(piece: Image.Image, size: tuple[int | None, int | None] | None) -> Image.Image:
    if size is None:
        return piece
    width = size[0] or max(1, round(piece.width * (size[1] or 1) / piece.height))
    height = size[1] or max(1, round(piece.height * width / piece.width))
    # Palette indices and 1-bit pixels cannot be averaged.
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
