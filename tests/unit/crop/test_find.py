"""`find`: a picture's bytes in, boxes out."""

import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloudfn.crop import Box, Found, find
from cloudfn.errors import CloudError

RATIOS = (1.0, 2.35, 16 / 9, 3 / 4, 9 / 16)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def subject(width: int, height: int, x: float, y: float) -> Image.Image:
    """A red disc at (x, y), in shares of the sides, on textured grey."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.random.default_rng(0).integers(110, 130, (height, width, 1), dtype=np.uint8).repeat(3, axis=2)
    pixels[np.hypot(columns - x * width, rows - y * height) < 0.15 * min(width, height)] = (210, 40, 30)
    return Image.fromarray(pixels)


def test_one_box_a_ratio_in_order_each_the_largest() -> None:
    found = find(encoded(subject(966, 728, 0.3, 0.6)), [2.35, 1, 1e-9, 1e9])
    assert found.size == (966, 728)
    sizes = [(box.right - box.left, box.bottom - box.top) for box in found.boxes]
    assert sizes == [(966, 411), (728, 728), (1, 728), (966, 1)]
    assert len(found.scores) == 4
    assert all(0 < score <= 1 for score in found.scores)


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1), (2, 3), (63, 65), (640, 480)])
def test_a_flat_picture_gives_centred_windows(size: tuple[int, int]) -> None:
    for box in find(encoded(Image.new("RGB", size, (200, 90, 30))), RATIOS).boxes:
        for first, last, length in ((box.left, box.right, size[0]), (box.top, box.bottom, size[1])):
            assert 0 <= length - last - first <= 1


@pytest.mark.parametrize(("x", "y"), [(0.15, 0.5), (0.5, 0.5), (0.85, 0.5)])
@pytest.mark.parametrize("size", [(900, 300), (300, 900)])
def test_the_window_holds_an_obvious_subject(size: tuple[int, int], x: float, y: float) -> None:
    x, y = (x, y) if size[0] > size[1] else (y, x)
    (box,) = find(encoded(subject(*size, x, y)), [1]).boxes
    assert box.left + 40 <= x * size[0] <= box.right - 40
    assert box.top + 40 <= y * size[1] <= box.bottom - 40


def test_with_no_ratio_the_engine_frames_the_subject() -> None:
    found = find(encoded(subject(900, 600, 0.3, 0.4)))
    (box,) = found.boxes
    assert box.left <= 0.3 * 900 - 90
    assert box.right >= 0.3 * 900 + 90
    assert 0.3 < (box.right - box.left) * (box.bottom - box.top) / (900 * 600) < 0.95
    assert 0.5 < found.scores[0] <= 1


def test_photographs_keep_what_they_show(photo: Callable[[str], Path]) -> None:
    cat = find(photo("chelsea.jpg").read_bytes(), [1]).boxes[0]
    assert cat.left <= 150  # her eyes are at columns 170 and 280 of 451
    assert cat.right >= 300


def test_the_same_crop_for_every_orientation_of_the_same_displayed_picture(photo: Callable[[str], Path]) -> None:
    upright = Image.open(photo("coffee.jpg"))
    expected = find(encoded(upright), RATIOS)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, stored in turns.items():
        tag = Image.Exif()
        tag[0x0112] = orientation
        found = find(encoded(upright.transpose(stored), exif=tag), RATIOS)
        assert found.size == expected.size
        assert np.abs(np.array(found.boxes) - np.array(expected.boxes)).max() <= 2


def test_the_same_crop_when_the_picture_is_halved(photo: Callable[[str], Path]) -> None:
    shifts = []
    for name in ("chelsea.jpg", "coffee.jpg", "camera.jpg", "raccoon-966x728.jpg", "raccoon-wide.jpg"):
        image = Image.open(photo(name))
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        shift = np.array(find(encoded(image), RATIOS).boxes) - 2 * np.array(find(encoded(half), RATIOS).boxes)
        shifts.append(np.abs(shift).max(axis=1) / max(image.size))
    assert np.mean(shifts) <= 0.01


def test_each_ratio_is_answered_as_if_it_were_alone(photo: Callable[[str], Path]) -> None:
    data = photo("coffee.jpg").read_bytes()
    assert find(data, RATIOS).boxes == tuple(find(data, [ratio]).boxes[0] for ratio in RATIOS)


def test_the_same_answer_in_every_thread_and_process(photo: Callable[[str], Path]) -> None:
    path = photo("coffee.jpg")
    data = path.read_bytes()
    expected = find(data, RATIOS)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: find(data, RATIOS), range(32))) == {expected}
    code = (
        "import json, pathlib, sys; from cloudfn.crop import find; "
        "print(json.dumps(find(pathlib.Path(sys.argv[1]).read_bytes(), json.loads(sys.argv[2])).boxes))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(path), json.dumps(RATIOS)], check=True, capture_output=True, text=True
    )
    assert tuple(Box(*box) for box in json.loads(answer.stdout)) == expected.boxes


@pytest.mark.parametrize("ratio", [0, -1, math.nan, math.inf])
def test_a_ratio_that_is_not_finite_and_positive_is_an_error_of_the_caller(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratios are a list of finite numbers above 0"):
        find(encoded(subject(30, 20, 0.5, 0.5)), [1, ratio])


@pytest.mark.parametrize("ratios", ["1,2.35", ["16:9"], 1, None])
def test_ratios_in_another_form_are_an_error_of_the_caller(ratios: Any) -> None:
    with pytest.raises(ValueError, match=r"such as \[1, 16 / 9\]"):
        find(encoded(subject(30, 20, 0.5, 0.5)), ratios)


@pytest.mark.parametrize("picture", ["a.jpg", Path("a.jpg"), 5, None])
def test_a_picture_that_is_not_bytes_is_an_error_of_the_caller(picture: Any) -> None:
    with pytest.raises(TypeError, match="give its bytes"):
        find(picture, [1])


def test_limits_are_parameters() -> None:
    data = encoded(subject(300, 200, 0.5, 0.5))
    with pytest.raises(CloudError, match="invalid image data") as caught:
        find(data, [1], max_megapixels=0.05)
    assert caught.value.errCode == 101002
    assert isinstance(find(data, [1], max_megapixels=0.06), Found)


def test_what_cannot_be_decoded_in_the_time_is_refused_before() -> None:
    data = encoded(Image.new("L", (3000, 2000)))
    with pytest.raises(CloudError, match=r"the picture needs 0.12 s more, 0.0\d* s are left") as caught:
        find(data, [1], seconds=0.05)
    assert caught.value.errCode == -604102
    with pytest.raises(CloudError) as caught:
        find(encoded(subject(30, 20, 0.5, 0.5)), [1], seconds=-1)
    assert caught.value.errCode == -604102
    assert find(data, [1], seconds=1000).size == (3000, 2000)


def test_importing_the_engine_imports_neither_pillow_nor_numpy() -> None:
    code = "import sys, cloudfn.crop; sys.exit(bool({'PIL', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("missing", ["PIL", "numpy"])
def test_a_missing_library_gives_the_cure(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from cloudfn.crop import find; from cloudfn.errors import CloudError\n"
        "try: find(b'x', [1])\n"
        "except CloudError as error: print(error.errCode, error.errMsg, error.hint)"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.startswith("-601002 ")
    assert 'pip install "cloudfn-aicrop[local]"' in said
