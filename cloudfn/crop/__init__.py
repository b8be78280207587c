"""The embedded crop engine: a picture's bytes in, boxes out. No network, no files, no settings.

    >>> found = find(jpeg, [1, 2.35])
    >>> found.boxes
    (Box(left=112, top=0, right=840, bottom=728), Box(left=0, top=205, right=966, bottom=616))

Pillow and numpy are imported by the first call, not by this package.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloudfn.crop.values import Box, Explanation, Found, Placed, Point, Size
from cloudfn.errors import missing_extra, not_loaded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cloudfn.crop.picture import Limits

__all__ = [
    "Box",
    "Explanation",
    "Found",
    "Placed",
    "Point",
    "Size",
    "check_installed",
    "cut",
    "find",
    "grey",
    "largest",
    "size_of",
]


def find(
    picture: bytes | bytearray | memoryview,
    ratios: Sequence[float] = (),
    *,
    focus: Sequence[tuple[float, ...]] = (),
    max_megapixels: float = 24,
    max_jpeg_megapixels: float = 100,
    seconds: float | None = None,
) -> Found:
    """Find the best crop of a picture for each aspect ratio (width / height), in order.

    With a ratio the box is always the largest one of that ratio inside the picture, its free side rounded to the
    nearest pixel and at least 1: only its position is chosen. With no ratios there is one box, whose ratio and size
    the engine chooses. Boxes are half-open pixels of the picture as displayed.

    `focus` are boxes that must count: (left, top, right, bottom) or (left, top, right, bottom, weight), half-open
    pixels of the picture as displayed, weight 1 if there is none. They are never cut while another
    position of the window keeps them whole; where not all fit, the largest sum of weights does. A focus of weight 1
    also counts as much as all that the picture shows by itself. With no ratios, the box holds them all.

    `max_jpeg_megapixels` limits baseline JPEG, which is shrunk while it is decoded; `max_megapixels` everything else.
    Formats that take more memory for a pixel have a lower limit (see `cloudfn.crop.picture.Limits`): with these two
    as they are, no file of at most 32 MB takes a process above 200 MB.

    `seconds` is how long it may take: a picture whose header shows that it would take longer is refused at once,
    and the clock is checked after each step.

    Raises CloudError: 101002 when the bytes are no picture, damaged, incomplete or over a limit, -604102 when the time
    is not enough, -601002 when Pillow or numpy is not installed. ValueError when a ratio is not finite and above 0, or
    a focus is not inside the picture; TypeError when the picture is not bytes.
    """
    limits = _limits(max_megapixels, max_jpeg_megapixels, seconds)
    from cloudfn.crop import analysis

    return analysis.find(picture, ratios, focus, limits)


def cut(
    picture: bytes | bytearray | memoryview,
    boxes: Sequence[Box],
    *,
    of: Size | None = None,
    size: tuple[int | None, int | None] | None = None,
    format: str | None = None,  # noqa: A002 - the word that Pillow and users have for it
    quality: int | None = None,
    max_megapixels: float = 24,
    max_jpeg_megapixels: float = 100,
) -> list[bytes]:
    """Cut the boxes (half-open pixels of the picture as displayed) out of a picture, each encoded anew.

    Format and colour profile are kept, the Exif orientation is applied, all other metadata (Exif, GPS, XMP, comments)
    is left out. Pixels are exact where the format is lossless; a lossy one is encoded with the original's tables
    (JPEG) or at quality 90. An animation gives its first frame. `size` is the (width, height) that each is scaled to;
    where one of them is None, it follows from the other. `format` is "jpeg", "png" or "webp" for another format than
    the original's (transparent parts of a JPEG become white), `quality` 1 to 100 that of a lossy one. `of` is the size
    of the picture that the boxes refer to. The picture is decoded whole: 4 bytes a pixel.

    Raises CloudError as `find` does, and ValueError for a box that is empty or not inside the picture, for a picture
    that is not `of` the size that the boxes are for, or an unknown size, format or quality.
    """
    limits = _limits(max_megapixels, max_jpeg_megapixels)
    from cloudfn.crop import extract

    return extract.extract(picture, boxes, of, size, format, quality, limits)


def grey(
    picture: bytes | bytearray | memoryview,
    *,
    max_megapixels: float = 24,
    max_jpeg_megapixels: float = 100,
    seconds: float | None = None,
) -> tuple[npt.NDArray[np.uint8], Size]:
    """Return the picture as displayed, in grey, uint8 of shape (height, width), and its size; raises as `find` does."""
    limits = _limits(max_megapixels, max_jpeg_megapixels, seconds)
    import numpy as np

    from cloudfn.crop.picture import open_upright

    image, _ = open_upright(picture, limits)
    return np.asarray(image.convert("L")), Size(*image.size)


def size_of(
    picture: bytes | bytearray | memoryview, *, max_megapixels: float = 24, max_jpeg_megapixels: float = 100
) -> Size:
    """Return the size of a picture as displayed, read from its header. Raises CloudError as `find` does."""
    limits = _limits(max_megapixels, max_jpeg_megapixels)
    from cloudfn.crop.picture import displayed_size

    return displayed_size(picture, limits)


def largest(size: Size, ratio: float) -> Size:
    """Return the largest window with width / height = `ratio` that fits into `size`; its free side is at least 1."""
    check_installed()
    from cloudfn.crop import window

    return window.largest(size, ratio)


def check_installed() -> None:
    """Raise CloudError -601002 where Pillow or numpy is not installed, or cannot be loaded."""
    try:
        from cloudfn.crop import analysis  # noqa: F401 - the first import of the engine's modules
    except ModuleNotFoundError as error:
        raise missing_extra("the crop engine", f"Pillow and numpy ({error})", "local") from error
    except ImportError as error:
        raise not_loaded("the crop engine", error) from error


def _limits(megapixels: float, jpeg_megapixels: float, seconds: float | None = None) -> Limits:
    until = math.inf if seconds is None else time.monotonic() + seconds
    check_installed()
    from cloudfn.crop.picture import Limits

    return Limits(megapixels, jpeg_megapixels, until)
