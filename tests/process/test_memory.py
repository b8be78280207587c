"""What a picture may cost: 200 MB for the whole process and 3 s, for any file of at most 32 MB."""

import io
import os
import platform
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloudfn.crop import find
from cloudfn.errors import CloudError

# The peak is /proc's: getrusage of a child begins with its parent's.
MEASURE = (
    "import pathlib, sys; from cloudfn.crop import find; from cloudfn.errors import CloudError\n"
    "try: said = str(len(find(pathlib.Path(sys.argv[1]).read_bytes(), [1]).boxes))\n"
    "except CloudError as error: said = error.hint\n"
    "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], said)"
)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey(width: int, height: int) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# A picture a little below its kind's limit, so that it is decoded; or one that would cost far more than its pixels.
COSTLY: dict[str, Callable[[], bytes]] = {
    "png rgba": lambda: encoded(grey(6000, 4000).convert("RGBA"), "PNG", compress_level=1),
    "png la": lambda: encoded(grey(6000, 4000).convert("LA"), "PNG", compress_level=1),
    "png palette": lambda: encoded(grey(6000, 4000).convert("P"), "PNG", compress_level=1, transparency=3),
    "webp": lambda: encoded(grey(3840, 2160).convert("RGB"), "WEBP", method=0),
    "webp lossless": lambda: encoded(grey(3000, 2100).convert("RGBA"), "WEBP", lossless=True, method=0),
    "avif": lambda: encoded(grey(4000, 3000).convert("RGB"), "AVIF", speed=10, quality=50),
    "tiff": lambda: encoded(grey(4500, 4000).convert("F"), "TIFF", compression="tiff_deflate", tiffinfo={278: 4000}),
    "jpeg": lambda: encoded(grey(5600, 4000).convert("RGB"), "JPEG", progressive=True, subsampling=0),
    "large jpeg": lambda: encoded(grey(12000, 8000), "JPEG"),
}
PHOTO = Path(__file__).parents[1] / "photos" / "chelsea.jpg"
SPARE = encoded(grey(60, 40), "PNG")
HOSTILE = {
    "png chunks": SPARE[:33] + chunk(b"gAMA", bytes(4)) * 1_000_000 + SPARE[33:],
    "png texts": SPARE[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000))) * 10_000 + SPARE[33:],
    "png parts": SPARE[:33] + chunk(b"IDAT", b"") * 1_000_000 + SPARE[33:],
    "gif comments": encoded(grey(60, 40), "GIF").replace(b"\x2c", b"\x21\xfe\x01a\0" * 3_000_000 + b"\x2c", 1),
    "jpeg segments": b"\xff\xd8" + b"\xff\xe5\0\x02" * 6_000_000 + encoded(grey(60, 40), "JPEG")[2:],
    "tiff places": struct.pack("<4sIHHHII", b"II*\0", 8, 1, 273, 4, 7_000_000, 8) + bytes(28_000_000),
}


def peak(data: bytes, folder: Path) -> tuple[float, str]:
    """Megabytes of a process that looks at this picture, and what it said."""
    path = folder / "picture"
    path.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    kilobytes, _, said = done.stdout.partition(" ")
    return int(kilobytes) / 1000, said.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("name", COSTLY)
def test_a_picture_as_large_as_it_may_be_takes_at_most_200_mb(name: str, tmp_path: Path) -> None:
    Image.init()
    if name == "avif" and "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    megabytes, said = peak(COSTLY[name](), tmp_path)
    assert said == "1", said
    assert megabytes < 200


FAULTS = """
import pathlib, resource, sys
from cloudfn import settings
from cloudfn.batch.values import Item, Task
from cloudfn.batch.work import crop_chunk

task, item = Task(settings.load({"backend": "local"})), Item(sys.argv[1], "1,2.35")
for times in (3, 20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert all(crop_chunk(task, [item])[0].line["errCode"] == 0 for _ in range(times))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator returns memory, and takes it again")
@pytest.mark.parametrize("given", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}], ids=["alone", "in a Dask worker"])
def test_the_memory_for_one_picture_serves_the_next_one(given: dict[str, str]) -> None:
    """A picture took 700 page faults, and 2,400 under what Dask's nannies set."""
    command = [sys.executable, "-c", FAULTS, str(PHOTO)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **given})
    assert float(done.stdout) < 100


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_says_much_besides_its_pixels_takes_at_most_200_mb(name: str, tmp_path: Path) -> None:
    assert peak(HOSTILE[name], tmp_path)[0] < 200


def test_the_limit_of_a_kind_is_said() -> None:
    with pytest.raises(CloudError) as caught:
        find(encoded(grey(4000, 3000).convert("RGB"), "WEBP", method=0), [1])
    assert "12.0 megapixels; the limit for this kind is 9" in caught.value.hint
    assert find(encoded(grey(4000, 3000).convert("RGB"), "WEBP", method=0), [1], max_megapixels=40).size == (4000, 3000)


def test_metadata_that_is_broken_is_not_warned_about() -> None:
    """Python's warnings are the whole process's: turned into errors they would come out as a refusal."""
    tiff = bytearray(encoded(grey(60, 40), "TIFF", software="a name", x_resolution=72.0))
    start = struct.unpack_from("<I", tiff, 4)[0]
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", tiff, start)[0], 12):
        if struct.unpack_from("<H", tiff, at)[0] in (282, 305):
            tiff[at + 8 : at + 12] = b"\xff\xff\xff\x7f"  # a value beyond the end of the file
    animated = SPARE[:33] + chunk(b"acTL", bytes(8)) + chunk(b"acTL", b"") + SPARE[33:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in (bytes(tiff), animated):
            assert find(data, [1]).size == (60, 40)
