"""`cloudfn.cut`: a result and its picture become cut pictures."""

import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import cloudfn as cloud
from cloudfn.call.naming import rename, to_snake
from cloudfn.errors import CloudError

RESULT = {
    "results": [
        {"cropLeft": 5, "cropTop": 10, "cropRight": 54, "cropBottom": 74},
        {"cropLeft": 0, "cropTop": 0, "cropRight": 79, "cropBottom": 99},
    ],
    "imgSize": {"w": 80, "h": 100},
    "errMsg": "openapi.img.aiCrop:ok",
    "errCode": 0,
}


def turned(kind: str, **options: Any) -> bytes:
    """Noise of 100 x 80 pixels that is displayed as 80 x 100, with a place, a maker and a profile."""
    tag = Image.Exif()
    tag[0x0112] = 6
    tag[0x010F] = "a camera's maker"
    tag.get_ifd(0x8825)[1] = "N"  # GPSLatitudeRef
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (80, 100, 3), dtype=np.uint8))
    file = io.BytesIO()
    image.save(file, kind, exif=tag.tobytes(), icc_profile=b"a profile of colours", **options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("result", [RESULT, rename(RESULT, to_snake)], ids=["camelCase", "snake_case"])
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_pixels_are_those_between_the_inclusive_corners(
    result: dict[str, Any], kind: str, options: dict[str, Any]
) -> None:
    data = turned(kind, **options)
    shown = ImageOps.exif_transpose(opened(data))
    assert shown is not None
    first, whole = map(opened, cloud.cut(data, result))
    assert (first.size, whole.size, first.format) == ((50, 65), (80, 100), kind)
    assert np.array_equal(np.asarray(first), np.asarray(shown)[10:75, 5:55])
    assert np.array_equal(np.asarray(whole), np.asarray(shown))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_profile_stays_and_where_it_was_taken_goes(kind: str) -> None:
    for piece in cloud.cut(turned(kind), RESULT):
        assert opened(piece).info["icc_profile"] == b"a profile of colours"
        assert b"a camera's maker" not in piece
        assert 0x8825 not in opened(piece).getexif()
        assert opened(piece).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("size", "expected"), [((32, 32), (32, 32)), ((100, None), (100, 130)), ((None, 13), (10, 13)), (None, (50, 65))]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_the_output_size(size: Any, expected: tuple[int, int], kind: str) -> None:
    piece = opened(cloud.cut(turned(kind) if kind != "GIF" else flat_gif(), RESULT, size=size)[0])
    assert (piece.size, piece.format) == (expected, kind)


def flat_gif() -> bytes:
    file = io.BytesIO()
    Image.new("P", (80, 100), 7).save(file, "GIF")
    return file.getvalue()


def test_what_a_cloud_call_returns_is_cut_as_it_is(permitted: Path, photo: Callable[[str], Path]) -> None:
    picture = photo("raccoon-966x728.jpg")
    result = cloud.Cloud(backend="local").openapi.img.aiCrop(img=picture, ratios="1,2.35")
    pieces = cloud.cut(picture, json.loads(json.dumps(result)))
    assert [opened(piece).size for piece in pieces] == [(728, 728), (966, 411)]
    assert pieces == cloud.cut(picture.read_bytes(), result)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"results": []}, "no boxes"),
        ({"results": None}, "no boxes"),
        ({"imgSize": {"w": 100, "h": 80}}, "a picture of 100x80 pixels, this one has 80x100"),
        ({"results": [{"cropLeft": 0, "cropTop": 0, "cropRight": 80, "cropBottom": 9}]}, "not inside the picture"),
        ({"results": [{"cropLeft": 0, "cropTop": 0, "cropRight": 8}]}, "cropBottom is no whole number: None"),
        ({"results": [{"cropLeft": "0", "cropTop": 0, "cropRight": 8, "cropBottom": 9}]}, "cropLeft is no whole"),
        ({"results": [{"cropLeft": math.nan, "cropTop": 0, "cropRight": 8, "cropBottom": 9}]}, "cropLeft is no whole"),
        ({"results": [None]}, "a box of the result is a NoneType: give what img.aiCrop returned"),
    ],
)
def test_a_result_that_is_not_the_pictures_is_an_error_of_the_caller(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cloud.cut(turned("PNG"), RESULT | changes)


@pytest.mark.parametrize(
    "size",
    [(0, 5), (5, -1), (None, None), (70000, 5), (200,), (200, 200, 200), 200, "200x200", ("200", None), (5.5, 5)],
)
def test_a_size_that_is_none_is_an_error_of_the_caller(size: Any) -> None:
    with pytest.raises(ValueError, match="a size is"):
        cloud.cut(turned("PNG"), RESULT, size=size)


@pytest.mark.parametrize(
    ("picture", "result", "kind", "said"),
    [
        ("https://example.com/a.jpg", None, TypeError, "the result is a NoneType: give what img.aiCrop returned"),
        ("cloud://env.bucket/a.jpg", RESULT["results"], TypeError, "the result is a list: give"),
        ("a.jpg", RESULT, ValueError, r"a pathlib.Path \(a string is never a path\)"),
        (None, RESULT, TypeError, "the picture is a NoneType: give its bytes"),
        ({"imgUrl": 5}, RESULT, TypeError, "the picture is a int: give its bytes"),
    ],
)
def test_another_kind_of_argument(picture: Any, result: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        cloud.cut(picture, result)


@pytest.mark.parametrize("quality", [0, "80", math.nan, True])
def test_a_quality_that_is_none(quality: Any) -> None:
    with pytest.raises(ValueError, match="a quality is a whole number from 1 to 100, not"):
        cloud.cut(turned("PNG"), RESULT, quality=quality)


def test_the_limits_are_those_of_the_settings() -> None:
    small = cloud.Cloud(max_megapixels=0.001)
    with pytest.raises(CloudError) as raised:
        small.cut(turned("PNG"), RESULT)
    assert raised.value.hint.endswith("raise CLOUDFN_MAX_MEGAPIXELS (max_megapixels in Python)")
    assert len(small.cut(turned("PNG"), RESULT, max_megapixels=1)) == 2


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(CloudError) as caught:
        cloud.cut(b"nothing", RESULT)
    assert caught.value.errCode == 101002


@pytest.mark.parametrize(
    ("missing", "cure"),
    [
        ("PIL", "cloudfn-aicrop[local]"),
        ("numpy", "cloudfn-aicrop[local]"),
        ("cloudfn.crop", "package --backend local"),
        ("cloudfn.boxes", "package --backend local"),
    ],
)
@pytest.mark.parametrize("picture", ["b'GIF89a'", "'cloud://env.bucket/a.jpg'", "'https://example.com/a.jpg'"])
def test_without_the_engine_the_cure_comes_before_any_network(missing: str, cure: str, picture: str) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import cloudfn as cloud\n"
        "box = {'cropLeft': 0, 'cropTop': 0, 'cropRight': 0, 'cropBottom': 0}\n"
        f"try: cloud.cut({picture}, {{'results': [box]}})\n"
        "except cloud.CloudError as error: print(error.errCode, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("-601002 "), done.stderr
    assert cure in done.stdout
