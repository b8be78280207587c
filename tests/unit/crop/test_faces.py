"""Faces, and the network that finds them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloudfn.crop import faces
from cloudfn.crop.values import Size


def squeezed(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(image.convert("RGB").resize((128, 128), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("crop", [(0, 0, 512, 512), (0, 0, 512, 320), (60, 0, 400, 512), (100, 0, 350, 230)])
def test_a_face_is_found_where_it_is_whatever_the_pictures_shape(
    photo: Callable[[str], Path], crop: tuple[int, int, int, int]
) -> None:
    image = Image.open(photo("astronaut.jpg")).crop(crop)
    found = faces.find_faces(squeezed(image), Size(*image.size))
    assert len(found) == 1
    left, top, right, bottom = found[0] * (image.size * 2) + (*crop[:2], *crop[:2])
    assert left < 225 < right  # the tip of her nose
    assert top < 115 < bottom
    assert (left, right) == pytest.approx((180, 270), abs=12)  # her cheeks
    assert (top, bottom) == pytest.approx((80, 175), abs=15)  # brows and chin


def test_two_people_have_two_faces(photo: Callable[[str], Path]) -> None:
    face = Image.open(photo("astronaut.jpg")).crop((80, 0, 370, 300))
    pair = Image.new("RGB", (580, 300))
    pair.paste(face, (0, 0))
    pair.paste(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (290, 0))
    found = faces.find_faces(squeezed(pair), Size(*pair.size))
    assert len(found) == 2
    first, second = sorted(found.tolist())
    assert first[2] < 0.5 < second[0]


def test_a_face_at_the_border_stays_inside_the_picture(photo: Callable[[str], Path]) -> None:
    part = Image.open(photo("astronaut.jpg")).crop((200, 30, 420, 260))
    for left, top, right, bottom in faces.find_faces(squeezed(part), Size(*part.size)):
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


def test_there_is_no_face_in_other_pictures(photo: Callable[[str], Path]) -> None:
    for image in (
        Image.open(photo("coffee.jpg")),
        Image.open(photo("rocket-tall.jpg")),
        Image.new("L", (300, 200), 128),
    ):
        assert faces.find_faces(squeezed(image), Size(*image.size)).shape == (0, 4)


@pytest.mark.parametrize("size", [(1, 10000), (10000, 1), (1000, 20)])
def test_a_picture_too_thin_for_a_face_has_none(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert len(faces.find_faces(noise, Size(*size))) == 0
