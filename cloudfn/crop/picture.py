"""Picture bytes to pixels: checked against limits before decoding, decoded no larger than needed, displayed upright.

Nothing here changes Pillow's module-wide settings, and no format is opened beyond the table of signatures, so a
picture can never reach one of Pillow's exotic parsers. Every failure is `CloudError(101002)`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageFile
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from cloudfn.crop.values import Size
from cloudfn.errors import CloudError

Bytes = bytes | bytearray | memoryview

# Signature, its offset, Pillow's name of the format.
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    *((4, b"ftyp" + brand, "HEIF") for brand in (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")),
)
_ABSENT = {
    "AVIF": "this Pillow cannot read AVIF: upgrade Pillow, or convert the picture to JPEG",
    "HEIF": "HEIC pictures need pillow-heif, registered by pillow_heif.register_heif_opener(): "
    "install and register it, or convert the picture to JPEG",
}
for _plugin in ("Png", "Gif", "WebP", "Bmp", "Tiff", "Avif"):
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


class Limits(NamedTuple):
    """The largest pictures that are decoded, in millions of pixels.

    A baseline JPEG is shrunk while it is decoded, so its limit can be higher than that of everything else.
    """

    megapixels: float = 24
    jpeg_megapixels: float = 100


class _Jpeg(JpegImageFile):
    """A JPEG whose Exif block is left alone: Pillow looks for a resolution in it and warns when it is broken."""

    def _read_dpi_from_exif(self) -> None:
        pass


def refusal(what: str) -> CloudError:
    """The error of a picture that cannot be used; `what` says what is wrong with it, and the cure."""
    return CloudError(101002, "invalid image data", hint=what)


@contextlib.contextmanager
def _pillow(doing: str) -> Iterator[None]:
    """Turns whatever Pillow raises into a refusal."""
    try:
        yield
    except CloudError:
        raise
    except Exception as error:  # on hostile bytes Pillow's parsers raise nearly every type there is
        raise refusal(
            f"the picture cannot be {doing} ({str(error) or type(error).__name__}): it is damaged or incomplete, "
            "send the whole file or save it anew"
        ) from error


def open_image(picture: Bytes, limits: Limits) -> tuple[ImageFile.ImageFile, int]:
    """Read a picture's header: (image, not decoded yet; Exif orientation, 1..8, that is still to be applied).

    Raises CloudError 101002 for what is no picture, is in no known format, or exceeds `limits`.
    """
    data = bytes(picture)
    if not data:
        raise refusal("the picture is empty (0 bytes): send the content of an image file")
    name = next((name for at, magic, name in _SIGNATURES if data.startswith(magic, at)), None)
    if name is None:
        raise refusal(
            f"the {len(data)} bytes are no picture (they start with {data[:8].hex(' ')}): "
            "send JPEG, PNG, GIF, WebP, BMP, TIFF or AVIF"
        )
    if name == "PNG" and b"IEND\xaeB`\x82" not in data:  # Pillow is content when all rows are there
        raise refusal(f"the PNG stops after {len(data)} bytes without its end: send the whole file")
    if name not in Image.OPEN:
        raise refusal(_ABSENT[name])
    with _pillow("opened"):
        file = io.BytesIO(data)
        image = _Jpeg(file) if name == "JPEG" else Image.OPEN[name][0](file, "")
        shrinks = isinstance(image, _Jpeg) and _single_scan(image)
        if any(codec == "bmp_rle" for codec, *_ in image.tile) and len(data) > _MAX_RUN_LENGTH:
            raise refusal(
                f"the run-length encoded BMP has {len(data)} bytes, at most {_MAX_RUN_LENGTH} are read: save it as PNG"
            )
    limit = limits.jpeg_megapixels if shrinks else limits.megapixels
    width, height = image.size
    if width * height > limit * 1e6:
        raise refusal(
            f"the picture has {width}x{height} pixels, {width * height / 1e6:.1f} megapixels; "
            f"the limit for this kind is {limit:g}: make it smaller"
        )
    turn = 1 if name in ("TIFF", "HEIF") else orientation(image.info.get("exif", b""))
    return image, turn


def _single_scan(image: _Jpeg) -> bool:
    """Is this JPEG decoded in one pass? One that is not is kept in memory whole, and passed over scan by scan."""
    assert image.fp is not None
    # Pillow has read up to the end of the first scan's header: marker, length, number of components, two bytes each.
    image.fp.seek(-8 - 2 * image.layers, io.SEEK_CUR)
    header = struct.pack(">HHB", 0xFFDA, 6 + 2 * image.layers, image.layers)
    if image.fp.read(len(header)) == header and "progressive" not in image.info:
        return True
    scans = 1 + image.fp.read().count(b"\xff\xda")
    if scans > _MAX_SCANS:
        raise refusal(f"the JPEG has {scans} scans, at most {_MAX_SCANS} are read: save it as baseline JPEG")
    return False


def orientation(exif: bytes) -> int:
    """The orientation (1..8) of an Exif block; 1 where the block is missing, broken or has none.

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


def displayed(image: Image.Image, turn: int) -> Image.Image:
    """The image turned from Exif orientation `turn` to how it is displayed."""
    return image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image


def open_upright(picture: Bytes, limits: Limits) -> tuple[Image.Image, dict[str, Any]]:
    """The whole picture as displayed, decoded, and Pillow's options to save parts of it in the same format.

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
            options |= {"lossless": bytes(memoryview(picture)[12:16]) == b"VP8L", "quality": 90}
        elif image.format in ("AVIF", "HEIF"):
            options |= {"quality": 90}
        image.load()
        return displayed(image, turn), options


def read_grid(picture: Bytes, side: int, limits: Limits) -> tuple[npt.NDArray[np.uint8], Size]:
    """The picture as displayed, squeezed into `side` x `side` cells: (uint8 RGB of shape (side, side, 3), its size).

    Cell (row, column) covers the share row/side .. (row + 1)/side of the height, and likewise of the width.
    Transparent parts are shown over white. Raises CloudError 101002.
    """
    image, turn = open_image(picture, limits)
    size = Size(*(image.size[::-1] if turn in _SWAPS_SIDES else image.size))
    with _pillow("decoded"):
        # Shrink on load (the JPEG's own 1/2, 1/4, 1/8), then by whole factors, then to the cells: never below `side`.
        drafted = image.draft(None, (side, side))
        image.load()
        size = size if drafted else Size(*(image.size[::-1] if turn in _SWAPS_SIDES else image.size))
        box = drafted[1] if drafted else (0, 0, *image.size)
        small = _opaque(image)
        factors = [max(1, length // (2 * side)) for length in small.size]
        if factors != [1, 1]:
            small = small.reduce((factors[0], factors[1]))
        cells = _rgb(small, image.mode).resize(
            (side, side), Image.Resampling.HAMMING, box=(0, 0, box[2] / factors[0], box[3] / factors[1])
        )
        return np.asarray(displayed(cells, turn)), size


def _opaque(image: Image.Image) -> Image.Image:
    """The image in a mode that can be averaged, transparent parts painted white.

    Alpha is painted in place: a copy of 24 megapixels with alpha would take another 96 MB.
    """
    if image.mode == "PA" or "transparency" in image.info:
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in ("RGBA", "LA"):
        white = (255,) * len(image.getbands())
        image.paste(white, mask=ImageChops.invert(image.getchannel("A")))
        return image
    if image.mode.startswith("I;16"):
        return image.convert("I")
    return image if image.mode in ("L", "RGB", "CMYK", "I", "F") else image.convert("RGB")


# What is white in a picture whose pixels are not 8 bit: the first of these that no pixel exceeds.
_WHITES = {"I;16": (65535,), "I": (255, 65535), "F": (1, 255, 65535)}


def _rgb(image: Image.Image, stored: str) -> Image.Image:
    """8-bit RGB of an image that was stored in mode `stored`.

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
