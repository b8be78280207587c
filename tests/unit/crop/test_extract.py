"""`cut`: boxes to pictures."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from cloudfn.crop import Box, cut
from cloudfn.errors import CloudError

BOX = Box(30, 10, 90, 70)


def noise(mode: str = "RGB") -> Image.Image:
    """100 x 80 random pixels, smooth enough for lossy formats."""
    small = Image.fromarray(np.random.default_rng(3).integers(0, 256, (8, 10, 3), dtype=np.uint8))
    return small.resize((100, 80)).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
        *(("TIFF", mode, {}) for mode in ("RGB", "CMYK", "F", "I;16")),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
def test_lossless_pieces_are_exact_in_format_mode_and_pixels(kind: str, mode: str, options: dict[str, Any]) -> None:
    data = encoded(noise(mode), kind, **options)
    pieces = [opened(piece) for piece in cut(data, [BOX, Box(0, 0, 100, 80), Box(99, 79, 100, 80)])]
    whole = opened(data)
    for piece, box in zip(pieces, [BOX, (0, 0, 100, 80), (99, 79, 100, 80)], strict=True):
        assert (piece.format, piece.mode) == (kind, whole.mode)
        expected, actual = (image.convert("RGBA") if mode == "P" else image for image in (whole.crop(box), piece))
        assert np.array_equal(np.asarray(actual), np.asarray(expected))


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("WEBP", "RGB")])
def test_lossy_pieces_are_close(kind: str, mode: str) -> None:
    data = encoded(noise(mode), kind, quality=90)
    (piece,) = map(opened, cut(data, [BOX]))
    assert (piece.format, piece.mode, piece.size) == (kind, mode, (60, 60))
    expected = np.asarray(opened(data).crop(BOX)).astype(int)
    assert np.abs(np.asarray(piece) - expected).mean() < 5


def test_a_jpeg_keeps_its_quality() -> None:
    for quality, subsampling in ((95, 0), (60, 2)):
        data = encoded(noise(), "JPEG", quality=quality, subsampling=subsampling)
        (piece,) = map(opened, cut(data, [BOX]))
        original = opened(data)
        assert isinstance(piece, JpegImageFile)
        assert isinstance(original, JpegImageFile)
        assert piece.quantization == original.quantization
        assert piece.layer == original.layer


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_orientation_is_applied_and_not_repeated(orientation: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = orientation
    tag.get_ifd(0x8825)[1] = "N"  # GPSLatitudeRef
    data = encoded(noise(), "PNG", exif=tag)
    displayed = ImageOps.exif_transpose(opened(data))
    assert displayed is not None
    (piece,) = map(opened, cut(data, [Box(5, 10, 55, 75)]))
    assert np.array_equal(np.asarray(piece), np.asarray(displayed.crop((5, 10, 55, 75))))
    assert not piece.getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_colour_profile_is_kept_and_all_other_metadata_dropped(kind: str) -> None:
    tag = Image.Exif()
    tag[0x010F] = "a camera's maker"
    tag.get_ifd(0x8825)[1] = "N"
    options = {"comment": "a secret"} if kind == "JPEG" else {}
    data = encoded(noise(), kind, exif=tag.tobytes(), icc_profile=b"a profile of colours", **options)
    (piece,) = cut(data, [BOX])
    assert opened(piece).info["icc_profile"] == b"a profile of colours"
    for secret in (b"a camera's maker", b"a secret", b"Exif", b"eXIf"):
        assert secret not in piece
    assert 0x8825 not in opened(piece).getexif()


def test_transparency_is_kept() -> None:
    image = noise("P")
    data = encoded(image, "PNG", transparency=int(image.getpixel((40, 40))))  # type: ignore[arg-type]
    (piece,) = map(opened, cut(data, [BOX]))
    alpha = np.asarray(piece.convert("RGBA"))[..., 3]
    expected = np.asarray(opened(data).convert("RGBA"))[10:70, 30:90, 3]
    assert alpha.min() == 0
    assert np.array_equal(alpha, expected)


@pytest.mark.parametrize("box", [Box(0, 0, 101, 10), Box(-1, 0, 10, 10), Box(5, 5, 5, 9), Box(9, 9, 5, 20)])
def test_a_box_outside_the_picture_or_empty_is_an_error_of_the_caller(box: Box) -> None:
    with pytest.raises(ValueError, match="is not inside the picture of 100x80 pixels"):
        cut(encoded(noise(), "PNG"), [BOX, box])


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(CloudError) as caught:
        cut(b"nothing", [BOX])
    assert caught.value.errCode == 101002


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_another_format(kind: str, mode: str) -> None:
    stored = "TIFF" if mode in ("CMYK", "I;16") else "PNG"
    (piece,) = cut(encoded(Image.new(mode, (30, 20)), stored), [Box(5, 5, 25, 15)], format=kind)
    with Image.open(io.BytesIO(piece)) as image:
        image.load()
        assert (image.format, image.size) == (kind.upper(), (20, 10))


def test_what_is_clear_becomes_white_where_a_format_has_no_transparency() -> None:
    (piece,) = cut(encoded(Image.new("RGBA", (30, 20), (9, 9, 9, 0)), "PNG"), [Box(5, 5, 25, 15)], format="jpeg")
    with Image.open(io.BytesIO(piece)) as image:
        assert image.getpixel((3, 3)) == (255, 255, 255)


def test_a_quality_of_ones_own(photo: Callable[[str], Path]) -> None:
    data = photo("chelsea.jpg").read_bytes()
    low, own, high = (len(cut(data, [Box(0, 0, 300, 300)], quality=q)[0]) for q in (20, None, 98))
    assert low < own < high
    for wrong in ({"quality": 0}, {"quality": 101}, {"format": "tiff"}):
        with pytest.raises(ValueError, match=r"a (quality|format) is"):
            cut(data, [Box(0, 0, 300, 300)], **wrong)


def test_deep_pixels_are_scaled_for_a_shallow_format() -> None:
    (piece,) = cut(encoded(Image.new("I;16", (30, 20), 32768), "PNG"), [Box(5, 5, 25, 15)], format="jpeg")
    assert abs(opened(piece).getpixel((3, 3)) - 127) <= 1  # type: ignore[operator]
