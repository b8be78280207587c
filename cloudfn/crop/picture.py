"""From bytes to pixels: checked against limits before decoding, decoded no larger than needed, displayed upright.

Nothing here changes Pillow's module-wide settings, and no format is opened beyond the table of signatures, so a
picture can never reach one of Pillow's exotic parsers. Every failure is `CloudError(101002)`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import math
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFile
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from PIL.TiffImagePlugin import TiffImageFile

from cloudfn import errors, formats
from cloudfn.crop import headers, libtiff
from cloudfn.crop.headers import refusal
from cloudfn.crop.values import Size
from cloudfn.errors import CloudError, Limit

Bytes = bytes | bytearray | memoryview

_LOG = logging.getLogger("cloudfn")

_ABSENT = {
    "AVIF": ("this Pillow cannot read AVIF", "upgrade Pillow, or convert the picture to JPEG"),
    "HEIF": (
        "HEIC pictures need pillow-heif, registered by pillow_heif.register_heif_opener()",
        "install and register it, or convert the picture to JPEG",
    ),
}
for _plugin in ("Png", "Gif", "WebP", "Bmp", "Avif"):
    with contextlib.suppress(ImportError):  # AVIF came with Pillow 11.3
        importlib.import_module(f"PIL.{_plugin}ImagePlugin")

# Stored pixels to displayed ones: Exif 2.32, tag 0x0112. TIFF, AVIF and HEIF are turned by Pillow's own readers.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = (5, 6, 7, 8)

# A progressive JPEG has about ten scans; each costs a pass over the whole picture, however few bytes it holds.
_MAX_SCANS = 60

# Pillow decodes these in Python, at about 10 MB a second.
_MAX_RUN_LENGTH = 8 << 20


# The memory for each pixel of `Limits.megapixels`, the file included: 150 MB for 24 megapixels, so that a
# whole process stays below 200 MB.
_MEMORY = 6.25

# The least time to decode a pixel, on a fast core; of a JPEG in each scan.
_NANOSECONDS = {"PNG": 20, "GIF": 10, "WEBP": 15, "BMP": 3, "TIFF": 5, "AVIF": 25, "HEIF": 25, "JPEG": 1}


class Limits(NamedTuple):
    """The largest pictures that are decoded, in millions of pixels, and the time.monotonic() at which time is over.

    A baseline JPEG is shrunk while it is decoded, so its limit can be higher than that of everything else. Kinds that
    take more memory for a pixel than others have a lower one: `megapixels` of 24 means 24 for PNG, GIF and BMP, about
    23 for progressive JPEG (24 where its colours are subsampled, as usual), 18 for TIFF, 14 for AVIF (9 without
    subsampling, less with more than 8 bits), 9 for WebP (7 with alpha or without loss); 32 MB of file take a third
    of it away from those that are copied.
    """

    megapixels: float = 24
    jpeg_megapixels: float = 100
    until: float = math.inf

    def check_time(self, seconds: float = 0.0) -> None:
        """Raise CloudError -604102 where work of this many seconds would end after `until`."""
        left = self.until - time.monotonic()
        if seconds > left:
            raise errors.refusal(
                -604102,
                f"the picture needs {seconds:.2g} s more, {max(left, 0):.2g} s are left",
                "give the call more time, or a smaller picture",
            )


class _Jpeg(JpegImageFile):
    """A JPEG whose Exif block is not read: Pillow looks for a resolution in it and warns when it is broken."""

    def _read_dpi_from_exif(self) -> None:
        pass


@contextlib.contextmanager
def _pillow(doing: str) -> Iterator[None]:
    """Turn whatever Pillow raises into a refusal."""
    try:
        yield
    except CloudError:
        raise
    except Exception as error:  # on hostile bytes Pillow's parsers raise nearly every type there is
        raise refusal(
            f"the picture cannot be {doing} ({str(error) or type(error).__name__}): it is damaged or incomplete",
            "send the whole file, or save it anew",
        ) from error


def open_image(picture: Bytes, limits: Limits) -> tuple[ImageFile.ImageFile, int]:
    """Read a picture's header: (image, not decoded yet; Exif orientation, 1..8, that is still to be applied).

    Raises CloudError 101002 for bytes that are not a picture, an unknown format, or one that exceeds `limits`; -604102
    where decoding would take too long.
    """
    try:
        memoryview(picture)  # bytes() would take a number too
    except TypeError:
        came = type(picture).__name__
        raise TypeError(f"the picture is a {came}: give its bytes, such as Path('a.jpg').read_bytes()") from None
    data = bytes(picture)
    if not data:
        raise refusal("the picture is empty (0 bytes)", "send the content of an image file")
    kind = formats.recognise(data)
    if kind is None:
        raise refusal(
            f"the {len(data)} bytes are no picture (they start with {data[:8].hex(' ')})",
            "send JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF",
        )
    name = kind.pillow
    if name not in Image.OPEN:
        raise refusal(*_ABSENT[name])
    with _pillow("opened"):
        if name == "JPEG":
            headers.check_segments(data)
        file = {"PNG": headers.png, "GIF": headers.gif, "TIFF": headers.tiff}.get(name, io.BytesIO)(data)
        image = _Jpeg(file) if name == "JPEG" else Image.OPEN[name][0](file, "")
        scans = _scans(image) if isinstance(image, _Jpeg) else 0
        if any(codec == "bmp_rle" for codec, *_ in image.tile) and len(data) > _MAX_RUN_LENGTH:
            raise refusal(
                f"the run-length encoded BMP has {len(data)} bytes, at most {_MAX_RUN_LENGTH} are read",
                "save it as PNG",
            )
    limit = limits.jpeg_megapixels
    if scans != 1:
        with _pillow("opened"):  # a damaged header may hold sampling factors of 0
            pixel, copies = _cost(image, data)
        limit = min(limits.megapixels, (limits.megapixels * _MEMORY - copies * len(data) / 1e6) / pixel)
    # A tile of a TIFF is decoded whole, however small the picture in it.
    tile = [image.tag_v2.get(tag, 0) for tag in headers.TIFF_TILE] if isinstance(image, TiffImageFile) else (0, 0)
    width, height = max(image.size, tile, key=math.prod)
    if width * height > limit * 1e6:
        setting = f"CLOUDFN_MAX_{'JPEG_' if scans == 1 else ''}MEGAPIXELS"
        other = "" if scans == 1 else ", save it as baseline JPEG"
        raise refusal(
            f"the picture has {width}x{height} pixels, {width * height / 1e6:.1f} megapixels; "
            f"the limit for this kind is {max(limit, 0):.3g}",
            f"make it smaller{other}, or raise {setting} ({setting.removeprefix('CLOUDFN_').lower()} in Python)",
            Limit(max(limit, 0), "megapixels", setting),
        )
    limits.check_time(width * height * (_NANOSECONDS[name] * max(1, scans)) / 1e9)
    turn = 1 if name in ("TIFF", "HEIF") else headers.orientation(image.info.get("exif", b""))
    return image, turn


def _cost(image: ImageFile.ImageFile, data: bytes) -> tuple[float, int]:
    """Return the most bytes that decoding takes for each pixel, and the copies of the file, the caller's included."""
    if isinstance(image, _Jpeg):  # the coefficients of all scans, 16 bits each; the pixels are shrunk
        areas = [across * down for _, across, down, _ in image.layer]
        return 2 * sum(areas) / max(areas) + 0.2, 1
    if image.format == "WEBP":  # two canvases, the frame, Pillow's image; what is lossless or has alpha has more
        return (16.5 if image.mode == "RGB" and not headers.is_lossless(data) else 19.5), 3
    if image.format in ("AVIF", "HEIF"):  # planes, the frame, Pillow's image, rows under way
        # AV1 in ISOBMFF, 2.3: the third byte of av1C has flags for more than 8 bits and for each axis' subsampling.
        at = data.find(b"av1C")
        flags = data[at + 6] if 0 <= at < len(data) - 6 else 0x40
        chroma = 2 / ((1 + (flags >> 3 & 1)) * (1 + (flags >> 2 & 1)))
        bands = len(image.getbands())
        return (1 + chroma + (bands == 4)) * (2 if flags & 0x40 else 1) + bands + 6, 2
    if image.format == "TIFF":  # a strip may be the whole picture
        return 8, 2
    return 4, 1 if image.format == "BMP" else 2


def _scans(image: _Jpeg) -> int:
    """Return in how many passes a JPEG is decoded; with more than one it is kept in memory whole."""
    assert image.fp is not None
    # Pillow has read up to the end of the first scan's header: marker, length, number of components, two bytes each.
    image.fp.seek(-8 - 2 * image.layers, io.SEEK_CUR)
    header = struct.pack(">HHB", 0xFFDA, 6 + 2 * image.layers, image.layers)
    if image.fp.read(len(header)) == header and "progressive" not in image.info:
        return 1
    scans = max(2, 1 + image.fp.read().count(b"\xff\xda"))  # progressive with one scan is kept in memory too
    if scans > _MAX_SCANS:
        raise refusal(f"the JPEG has {scans} scans, at most {_MAX_SCANS} are read", "save it as baseline JPEG")
    return scans


def displayed(image: Image.Image, turn: int) -> Image.Image:
    """Return the image turned from Exif orientation `turn` to how it is displayed."""
    return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def open_upright(picture: Bytes, limits: Limits) -> tuple[Image.Image, dict[str, Any]]:
    """Return the whole picture as displayed, decoded, and Pillow's options to save parts of it in the same format.

    Raises CloudError 101002.
    """
    image, turn = open_image(picture, limits)
    options: dict[str, Any] = {"format": image.format}
    if "icc_profile" in image.info:
        options |= {"icc_profile": image.info["icc_profile"]}
    with _pillow("decoded"):
        if isinstance(image, _Jpeg):
            options |= {"qtables": image.quantization, "subsampling": get_sampling(image)}
        elif image.format == "WEBP":
            options |= {"lossless": headers.is_lossless(bytes(picture)), "quality": 90}
        elif image.format in ("AVIF", "HEIF"):
            options |= {"quality": 90}
        _load(image)
        return displayed(image, turn), options


def _load(image: ImageFile.ImageFile) -> None:
    """Decode the image; all complaints of libtiff become one line of the log."""
    image.load()
    if isinstance(image, TiffImageFile) and libtiff.complained():
        _LOG.warning("the TIFF is damaged in places: they are looked at as libtiff has left them")


def displayed_size(picture: Bytes, limits: Limits) -> Size:
    """Return the size of the picture as displayed. Raises CloudError 101002."""
    image, turn = open_image(picture, limits)
    return Size(*(image.size[::-1] if turn in _SWAPS_SIDES else image.size))


def read_grid(picture: Bytes, side: int, limits: Limits) -> tuple[npt.NDArray[np.uint8], Size]:
    """Squeeze the picture as displayed into `side` x `side` cells: (uint8 RGB of shape (side, side, 3), its size).

    Cell (row, column) covers the share row/side .. (row + 1)/side of the height, and likewise of the width.
    Transparent parts are shown over white. Raises CloudError 101002.
    """
    image, turn = open_image(picture, limits)
    size = Size(*(image.size[::-1] if turn in _SWAPS_SIDES else image.size))
    with _pillow("decoded"):
        # Shrink on load (the JPEG's own 1/2, 1/4, 1/8), then by whole factors, then to the cells: never below `side`.
        drafted = image.draft(None, (side, side))
        _load(image)
        size = size if drafted else Size(*(image.size[::-1] if turn in _SWAPS_SIDES else image.size))
        box = drafted[1] if drafted else (0, 0, *image.size)
        across, down = (max(1, length // (2 * side)) for length in image.size)
        small = _reduced(image, across, down)
        cells = _rgb(small, image.mode).resize(
            (side, side), Image.Resampling.HAMMING, box=(0, 0, box[2] / across, box[3] / down)
        )
        return np.asarray(displayed(cells, turn)), size


def _reduced(image: Image.Image, across: int, down: int) -> Image.Image:
    """Return the image in a mode that can be averaged, over white, with each across x down pixels made one.

    Strip by strip: a copy of 24 megapixels with alpha would take another 96 MB.
    """
    if image.mode in _PLAIN and "transparency" not in image.info:
        return image.reduce((across, down)) if (across, down) != (1, 1) else image
    rows = down * max(1, _STRIP // (image.width * down))
    strips = []
    for top in range(0, image.height, rows):
        strip = _opaque(image.crop((0, top, image.width, min(top + rows, image.height))))
        strips.append(strip.reduce((across, down)))
    small = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    top = 0
    for strip in strips:
        small.paste(strip, (0, top))
        top += strip.height
    return small


_PLAIN = ("L", "RGB", "CMYK", "I", "F")
_STRIP = 1 << 20  # pixels


def _opaque(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be averaged, transparent parts painted white."""
    if image.mode == "PA" or "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("RGBA", "LA"):
        white = (255,) * len(image.getbands())
        image.paste(white, mask=ImageChops.invert(image.getchannel("A")))
        return image
    if image.mode.startswith("I;16"):
        return image.convert("I")
    return image if image.mode in _PLAIN else image.convert("RGB")


# White in a picture whose pixels are not 8 bit: the first of these that no pixel exceeds.
_WHITES = {"I;16": (65535,), "I": (255, 65535), "F": (1, 255, 65535)}


def _rgb(image: Image.Image, stored: str) -> Image.Image:
    """Return an image that was stored in mode `stored` as 8-bit RGB.

    Deep pixels are scaled, not clipped; where they are below 0 or above every known white, darkest to brightest.
    """
    if image.mode not in ("I", "F"):
        return image.convert("RGB")
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        whites = _WHITES[stored[:4]]
        low, high = 0, next((white for white in whites if high <= white), high)
    return Image.fromarray(np.round((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)).convert("RGB")
