"""The face cascade."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloudfn.crop import faces
from cloudfn.crop.values import Size

SKIN = np.ones((64, 64), dtype=np.float32)


def squeezed(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image.convert("L").resize((128, 128), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("crop", [(0, 0, 512, 512), (0, 0, 512, 320), (60, 0, 400, 512), (100, 0, 350, 230)])
def test_a_face_is_found_where_it_is_whatever_the_pictures_shape(
    photo: Callable[[str], Path], crop: tuple[int, int, int, int]
) -> None:
    image = Image.open(photo("astronaut.jpg")).crop(crop)
    found = faces.find_faces(squeezed(image), SKIN, Size(*image.size))
    x, y = 225 - crop[0], 115 - crop[1]  # the tip of her nose
    assert len(found)
    for left, top, right, bottom in found * (image.size * 2):
        assert left < x < right
        assert top < y < bottom
        assert 60 < right - left < 160


def test_there_is_no_face_in_a_cup_of_coffee_or_in_a_flat_picture(photo: Callable[[str], Path]) -> None:
    for image in (Image.open(photo("coffee.jpg")), Image.new("L", (300, 200), 128)):
        assert faces.find_faces(squeezed(image), SKIN, Size(*image.size)).shape == (0, 4)


def test_windows_without_skin_are_not_looked_at(photo: Callable[[str], Path]) -> None:
    image = Image.open(photo("astronaut.jpg"))
    assert len(faces.find_faces(squeezed(image), SKIN * 0, Size(*image.size))) == 0


@pytest.mark.parametrize("size", [(1, 10000), (10000, 1), (1000, 20)])
def test_a_picture_too_thin_for_a_face_has_none(size: tuple[int, int]) -> None:
    assert len(faces.find_faces(np.zeros((128, 128), dtype=np.uint8), SKIN, Size(*size))) == 0


def test_the_face_map_is_1_in_the_middle_of_each_face_and_0_without_one() -> None:
    found = faces.face_map(np.array([[0.25, 0.25, 0.5, 0.5], [0.7, 0.6, 0.9, 0.8]]), 64)
    assert found[24, 24] == pytest.approx(1, abs=0.02)
    assert found[44, 51] == pytest.approx(1, abs=0.02)
    assert found[60, 5] < 0.01
    assert not faces.face_map(np.zeros((0, 4)), 64).any()
