"""The embedded crop engine: a picture's bytes in, boxes out. No network, no files, no settings.

    >>> found = find(jpeg, [1, 2.35])
    >>> found.boxes
    (Box(left=112, top=0, right=840, bottom=728), Box(left=0, top=205, right=966, bottom=616))

Pillow and numpy are imported by the first call, not by this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloudfn.crop.values import Box, Found, Size
from cloudfn.errors import CloudError

if TYPE_CHECKING:
    from cloudfn.crop.picture import Limits

__all__ = ["Box", "Found", "Size", "cut", "find"]


def find(
    picture: bytes | bytearray | memoryview,
    ratios: Sequence[float] = (),
    *,
    max_megapixels: float = 24,
    max_jpeg_megapixels: float = 100,
) -> Found:
    """Find the best crop of a picture for each aspect ratio (width / height), in order.

    With a ratio the box is always the largest one of that ratio inside the picture, its free side rounded to the
    nearest pixel and at least 1: only its position is chosen. With no ratios there is one box, whose ratio and size
    the engine chooses. Boxes are half-open pixels of the picture as displayed.

    `max_jpeg_megapixels` limits baseline JPEG, which is shrunk while it is decoded; `max_megapixels` everything else.

    Raises CloudError: 101002 when the bytes are no picture, damaged, incomplete or over a limit, -601002 when Pillow
    or numpy is not installed. ValueError when a ratio is not finite and above 0.
    """
    limits = _limits(max_megapixels, max_jpeg_megapixels)
    from cloudfn.crop import finder

    return finder.find(picture, ratios, limits)


def cut(
    picture: bytes | bytearray | memoryview,
    boxes: Sequence[Box],
    *,
    max_megapixels: float = 24,
    max_jpeg_megapixels: float = 100,
) -> list[bytes]:
    """Cut the boxes (half-open pixels of the picture as displayed) out of a picture, each encoded anew.

    Format and colour profile are kept, the Exif orientation is applied, all other metadata (Exif, GPS, XMP, comments)
    is left out. Pixels are exact where the format is lossless; a lossy one is encoded with the original's tables
    (JPEG) or at quality 90. An animation gives its first frame.

    Raises CloudError as `find` does, and ValueError for a box that is empty or not inside the picture.
    """
    limits = _limits(max_megapixels, max_jpeg_megapixels)
    from cloudfn.crop import cutter

    return cutter.cut(picture, boxes, limits)


def _limits(megapixels: float, jpeg_megapixels: float) -> Limits:
    """The limits as the engine takes them. The first import of the engine's modules: needs Pillow and numpy."""
    try:
        from cloudfn.crop.picture import Limits
    except ImportError as error:
        raise CloudError(
            -601002,
            f'the crop engine needs Pillow and numpy ({error}): pip install "cloudfn-aicrop[local]"',
        ) from error
    return Limits(megapixels, jpeg_megapixels)
