"""Picture bytes to pixels: formats, modes, orientations, limits, hostile files."""

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloudfn.crop import headers, picture
from cloudfn.crop.picture import Limits
from cloudfn.crop.values import Size
from cloudfn.errors import CloudError

LIMITS = Limits()


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scene(width: int = 240, height: int = 160) -> Image.Image:
    """Dark at the top left, light at the bottom right, a red patch at the right."""
    y, x = np.mgrid[0:height, 0:width]
    grey = (40 + 100 * x / width + 60 * y / height).astype(np.uint8)
    pixels = np.stack([grey, grey, grey], axis=2)
    pixels[height // 4 : height // 2, 2 * width // 3 : 5 * width // 6] = (220, 30, 30)
    return Image.fromarray(pixels)


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, kind, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that says it is so large, with these chunks after its header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in ((b"IHDR", header), *chunks, (b"IEND", b"")))


def read(data: bytes, limits: Limits = LIMITS) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], Size]:
    return picture.read_grid(data, 64, limits)


def refused(data: bytes, limits: Limits = LIMITS) -> str:
    """The hint with which the picture is refused."""
    with pytest.raises(CloudError) as caught:
        read(data, limits)
    assert (caught.value.errCode, caught.value.errMsg) == (101002, "invalid image data")
    return caught.value.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_every_format_gives_the_same_picture(kind: str) -> None:
    if kind == "AVIF" and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    grid, size = read(encoded(scene(), kind))
    expected, _ = read(encoded(scene()))
    assert size == (240, 160)
    assert grid.shape == (64, 64, 3)
    assert np.abs(grid.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_gives_the_same_lightness(mode: str) -> None:
    grey = scene().convert("L")
    source = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    grid, _ = read(encoded(source, "TIFF" if mode in ("CMYK", "I", "F") else "PNG"))
    expected, _ = read(encoded(grey))
    # 1-bit pictures are dithered, so only their local mean agrees.
    difference = grid.astype(float).reshape(8, 8, 8, 8, 3).mean((1, 3)) - expected.reshape(8, 8, 8, 8, 3).mean((1, 3))
    assert np.abs(difference).max() < (20 if mode == "1" else 2)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([[0, 65535]], dtype=np.int32), [0, 255]),
        (np.array([[-1000, 1000]], dtype=np.int32), [0, 255]),
        (np.array([[0, 0.5]], dtype=np.float32), [0, 128]),
        (np.array([[0, 200]], dtype=np.float32), [0, 200]),
        (np.array([[-5, 1e30]], dtype=np.float32), [0, 255]),
        (np.array([[np.nan, 1]], dtype=np.float32), [0, 255]),
    ],
)
def test_deep_pixels_are_scaled_and_not_clipped(values: np.ndarray[Any, Any], shown: list[int]) -> None:
    grid, _ = read(encoded(Image.fromarray(np.repeat(np.repeat(values, 64, 0), 32, 1)), "TIFF"))
    assert grid[32, [0, -1], 0].tolist() == shown


def half_transparent(mode: str) -> bytes:
    """Black on the left, transparent near-black on the right."""
    columns = np.repeat(np.repeat(np.array([[0, 1]], np.uint8), 64, axis=1), 128, axis=0)
    if mode == "P":
        image = Image.fromarray(columns, "L").convert("P")
        image.putpalette([0, 0, 0, 9, 9, 9])
        return encoded(image, transparency=1)
    grey = Image.fromarray(columns * 9)
    if mode == "L":
        return encoded(grey, transparency=9)
    if mode == "RGB":
        return encoded(grey.convert("RGB"), transparency=(9, 9, 9))
    grey.putalpha(Image.fromarray(255 - columns * 255))
    return encoded(grey.convert(mode))


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "LA", "RGBA"])
def test_transparent_parts_are_white(mode: str) -> None:
    grid, _ = read(half_transparent(mode))
    assert grid[32, 4].tolist() == [0, 0, 0]
    assert grid[32, -4].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_shown_upright(turn: int, kind: str) -> None:
    back = {6: 8, 8: 6}.get(turn, turn)  # the orientation that undoes this one
    stored = picture.displayed(scene(), back)
    tag = Image.Exif()
    tag[0x0112] = turn
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    grid, size = read(encoded(stored, kind, exif=tag.tobytes(), **options))
    expected, _ = read(encoded(scene(), kind, **options))
    assert size == (240, 160)
    assert np.abs(grid.astype(int) - expected).max() <= (40 if kind == "JPEG" else 2)
    assert np.abs(grid.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order: str) -> None:
    assert [headers.orientation(exif(value, order)) for value in (1, 6, 8)] == [1, 6, 8]


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0nonsense",
        exif(0),
        exif(9),
        exif(6, kind=2),
        exif(6)[:-10],
        exif(6)[:10] + b"\xff\xff\xff\xff" + exif(6)[14:],
    ],
)
def test_a_broken_exif_block_counts_as_upright(block: bytes) -> None:
    assert headers.orientation(block) == 1
    assert read(encoded(scene(), "JPEG", exif=block))[1] == (240, 160)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "lime")]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    grid, _ = read(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert grid[32, 32].tolist() == [255, 0, 0]


def test_a_jpeg_of_more_than_24_megapixels_is_shrunk_while_it_is_decoded() -> None:
    _, size = read(encoded(Image.new("L", (6000, 5000)), "JPEG"))
    assert size == (6000, 5000)


@pytest.mark.parametrize(
    ("data", "limits", "said"),
    [
        (encoded(scene(), "JPEG"), Limits(24, 0.03), "240x160 pixels, 0.0 megapixels; the limit for this kind is 0.03"),
        (encoded(scene(), "JPEG", progressive=True), Limits(0.03, 100), "the limit for this kind is 0.03"),
        (encoded(scene()), Limits(0.03, 100), "the limit for this kind is 0.03"),
        (png(65535, 65535), LIMITS, "65535x65535 pixels, 4294.8 megapixels; the limit for this kind is 24"),
        (encoded(Image.new("1", (5000, 5000))), LIMITS, "25.0 megapixels"),
    ],
)
def test_the_limits_are_read_from_the_header(data: bytes, limits: Limits, said: str) -> None:
    assert said in refused(data, limits)


def test_a_jpeg_with_very_many_scans_is_refused() -> None:
    data = encoded(scene(), "JPEG", progressive=True)
    scan = data.index(b"\xff\xda")
    assert "1010 scans" in refused(
        data[:scan] + data[scan:-2] + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\0" * 1000 + data[-2:]
    )


def tiled(side: int) -> bytes:
    """A TIFF of 8x8 pixels in one tile of `side` x `side`."""
    tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<4sI8sH", b"II*\0", 16, b"", len(tags)) + entries + bytes(4)


def test_a_tile_counts_like_a_picture_of_its_size() -> None:
    assert "46000x46000 pixels, 2116.0 megapixels; the limit for this kind is 18.7" in refused(tiled(46000))
    assert "pixels" not in refused(tiled(4000))  # it is damaged, and not too large


def test_a_profile_that_comes_again_is_left_out() -> None:
    profile = (b"iCCP", b"a\0\0" + zlib.compress(bytes(1_000_000)))
    image, _ = picture.open_image(png(10, 10, *[profile] * 2000, (b"IDAT", b"")), LIMITS)
    assert isinstance(image.fp, io.BytesIO)
    assert image.fp.getvalue().count(b"iCCP") == 1


@pytest.mark.parametrize("filling", [b"\xff", b"\0"])
def test_a_jpeg_with_very_many_bytes_between_its_segments_is_refused(filling: bytes) -> None:
    data = encoded(scene(), "JPEG")
    first, rest = data[:20], data[20:]  # the marker SOI, the segment JFIF
    assert "between its segments" in refused(first + filling * 20_000 + rest)
    assert read(first + filling * 50 + rest)[1] == (240, 160)


def test_a_damaged_fax_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = np.random.default_rng(0).integers(0, 2, (400, 400)).astype(bool)
    data = bytearray(encoded(Image.fromarray(lines), "TIFF", compression="group3"))
    for at in range(500, len(data) - 500, 50):
        data[at] = 0
    assert read(bytes(data))[1] == (400, 400)
    assert read(encoded(scene(), "TIFF"))[1] == (240, 160)
    assert capfd.readouterr().err == ""
    assert [record.message for record in caplog.records] == [
        "the TIFF is damaged in places: they are looked at as libtiff has left them"
    ]


def test_segments_behind_a_marker_without_length_count() -> None:
    data = encoded(scene(), "JPEG")
    assert "segments" in refused(data[:2] + b"\xff\xd0\xf0\0" + b"\xff\xe5\0\x02" * 1000 + data[2:])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_picture_that_stops_early_is_refused(kind: str) -> None:
    if kind == "AVIF" and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    for share in (0.05, 0.5, 0.9):
        assert "send the whole file" in refused(data[: int(len(data) * share)])
    if kind in ("JPEG", "PNG"):
        assert "send the whole file" in refused(data[:-2])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty (0 bytes)"),
        (b"<html>not found</html>", "22 bytes are no picture (they start with 3c 68 74 6d"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no picture"),
        (b"\xff\xd8\xff", "cannot be opened"),
        (b"GIF89a", "cannot be opened"),
        (b"RIFF\x04\0\0\0WEBP", "cannot be"),
        (b"BM" + bytes(60), "cannot be opened"),
        (b"II*\0\xff\xff\xff\xff", "cannot be opened"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "pillow-heif"),
        (png(10, 10), "cannot be"),
        (png(10, 10, (b"IDAT", b"nonsense")), "cannot be"),
        (png(10, 10, (b"zTXt", b"a\0\0" + zlib.compress(bytes(8_000_000)))), "cannot be"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_is_wrong(data: bytes, said: str) -> None:
    assert said in refused(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_damaged_bytes_raise_nothing_else(kind: str) -> None:
    data = bytearray(encoded(scene(60, 40), kind))
    random = np.random.default_rng(1)
    for _ in range(150):
        broken = bytearray(data)
        for at in random.integers(0, min(len(data), 400), 3):
            broken[at] = random.integers(256)
        with contextlib.suppress(CloudError):
            assert min(read(bytes(broken))[1]) >= 1


def test_bytes_like_objects_are_read_and_not_changed() -> None:
    data = encoded(scene())
    expected = read(data)[0].tobytes()
    for other in (bytearray(data), memoryview(data)):
        assert picture.read_grid(other, 64, LIMITS)[0].tobytes() == expected
        assert bytes(other) == data
