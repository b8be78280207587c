"""Pictures of every format, damaged at random: the engine answers with boxes or with a CloudError, never otherwise."""

import contextlib
import io
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloudfn.crop import find
from cloudfn.errors import CloudError

RATIOS = (1.0, 2.35)
HEAD = 600  # bytes at the beginning that are hit more often: most of what a parser believes stands there


def seeds() -> Iterator[bytes]:
    """One small picture for each way in which the formats store pixels."""
    Image.init()
    rows, columns = np.mgrid[0:64, 0:96]
    pixels = np.stack([rows * 3 % 256, columns * 2, (rows * columns) % 256], axis=2).astype(np.uint8)
    picture = Image.fromarray(pixels)
    tag = Image.Exif()
    tag[0x0112] = 6
    stored: list[tuple[str, str, dict[str, Any]]] = [
        ("JPEG", "RGB", {"exif": tag}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        *(("PNG", mode, {}) for mode in ("RGB", "RGBA", "P", "1", "I;16")),
        ("GIF", "P", {"save_all": True, "append_images": [picture.rotate(180).convert("P")]}),
        ("WEBP", "RGB", {"exif": tag}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
        *(("TIFF", "RGB", {"compression": kind}) for kind in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        *(("TIFF", "1", {"compression": kind}) for kind in ("group3", "group4")),
        ("TIFF", "F", {}),
        ("AVIF", "RGB", {}),
    ]
    for kind, mode, options in stored:
        if kind not in Image.SAVE:  # this Pillow has no AVIF
            continue
        image = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
        file = io.BytesIO()
        image.save(file, kind, **options)
        yield file.getvalue()


def mutated(data: bytes, chance: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(min(len(broken), chance.choice((HEAD, len(broken)))))
        length = chance.choice((1, 1, 2, 4, 32))
        match chance.randrange(6):
            case 0:
                broken[at] ^= 1 << chance.randrange(8)
            case 1:
                broken[at : at + length] = chance.randbytes(length)
            case 2:
                broken[at : at + length] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
            case 3 if len(broken) > 2 * length:
                del broken[at : at + length]
            case 4:
                broken[at:at] = broken[at : at + length] * chance.choice((1, 2, 500))
            case _ if chance.random() < 0.3:
                del broken[max(16, at) :]
    return bytes(broken)


def survive(count: int, seed: int) -> int:
    """Look at so many damaged pictures; how many of them had boxes."""
    originals, chance, answered = list(seeds()), random.Random(seed), 0
    for number in range(count):
        data = mutated(originals[number % len(originals)], chance)
        with contextlib.suppress(CloudError):
            found = find(data, RATIOS)
            answered += 1
            for left, top, right, bottom in found.boxes:
                assert 0 <= left < right <= found.size.width
                assert 0 <= top < bottom <= found.size.height
    return answered


def test_a_damaged_picture_has_boxes_or_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    whole = [len(find(data, RATIOS).boxes) for data in seeds()]
    assert len(whole) >= 20
    assert set(whole) == {2}
    assert 100 < survive(500, 1) < 450
    assert capfd.readouterr().err == ""


@pytest.mark.nightly
def test_twenty_thousand_damaged_pictures_have_boxes_or_are_refused() -> None:
    assert survive(20_000, 2) > 5_000
