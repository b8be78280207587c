"""Why a crop is where it is, heads, the focal point, and hints of the caller."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloudfn.crop import Box, find, window
from cloudfn.crop.values import Size

RATIOS = (1.0, 2.35, 16 / 9, 3 / 4, 9 / 16)


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_explain_says_what_find_found(photo: Callable[[str], Path]) -> None:
    found = find(photo("coffee.jpg").read_bytes(), RATIOS)
    why = found.explain()
    assert why.size == found.size
    assert tuple(placed.box for placed in why.boxes) == found.boxes
    assert tuple(placed.score for placed in why.boxes) == found.scores
    assert why.map.shape == (64, 64)
    assert why.map.min() >= 0
    assert why.map.sum() == pytest.approx(1)
    x, y = why.focal_share
    assert 0 < x < 1
    assert 0 < y < 1
    assert why.focal_point == (x * found.size.width, y * found.size.height)


def test_runners_up_are_other_places_of_the_same_window_and_no_better(photo: Callable[[str], Path]) -> None:
    why = find(photo("raccoon-wide.jpg").read_bytes(), [0.3]).explain()
    (best,), (others,) = why.boxes, why.runners_up
    assert len(others) == 2
    for other in others:
        assert other.box.right - other.box.left == best.box.right - best.box.left
        assert abs(other.box.left - best.box.left) >= (best.box.right - best.box.left) // 2
        assert other.score <= best.score
    assert find(photo("coffee.jpg").read_bytes()).explain().runners_up == ((),)


def test_the_focal_point_is_on_the_subject() -> None:
    rows, columns = np.mgrid[0:300, 0:400]
    pixels = np.random.default_rng(0).integers(110, 130, (300, 400, 1), dtype=np.uint8).repeat(3, axis=2)
    pixels[np.hypot(columns - 300, rows - 90) < 40] = (210, 40, 30)
    x, y = find(encoded(Image.fromarray(pixels)), [1]).explain().focal_point
    assert np.hypot(x - 300, y - 90) < 30


def test_what_was_found_can_be_sent_to_another_process(photo: Callable[[str], Path]) -> None:
    found = find(photo("coffee.jpg").read_bytes(), [1])
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found
    assert copy.explain().boxes == found.explain().boxes


def test_a_face_is_whole_wherever_a_window_can_hold_its_head(photo: Callable[[str], Path]) -> None:
    image = Image.open(photo("astronaut.jpg"))
    cases = 0
    for part in ((0, 0, 512, 512), (0, 0, 512, 320), (60, 0, 400, 512), (100, 0, 350, 230)):
        for ratio in (0.5, 0.75, 1, 1.5, 2.35):
            found = find(encoded(image.crop(part)), [ratio])
            (box,), (face,) = found.boxes, found.explain().faces
            wide, high = face.right - face.left, face.bottom - face.top
            if wide <= box.right - box.left and 1.7 * high <= box.bottom - box.top:  # brows to chin, and the hair
                cases += 1
                assert box.left <= face.left
                assert box.top <= face.top
                assert face.right <= box.right
                assert face.bottom <= box.bottom
    assert cases > 14


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64)])
def test_the_focal_point_of_a_plain_picture_is_its_middle(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.new("RGB", size, (90, 120, 200)).save(file, "PNG")
    share = find(file.getvalue(), [1]).explain().focal_share
    assert (share.x, share.y) == pytest.approx((0.5, 0.5), abs=0.02)


@pytest.mark.parametrize(
    "name", ["astronaut.jpg", "chelsea.jpg", "camera.jpg", "raccoon-966x728.jpg", "rocket-tall.jpg"]
)
def test_the_focal_point_is_inside_the_best_box_of_every_usual_ratio(photo: Callable[[str], Path], name: str) -> None:
    ratios = (9 / 16, 3 / 4, 1, 4 / 3, 16 / 9)
    found = find(photo(name).read_bytes(), ratios)
    x, y = found.explain().focal_point
    common = [max(box[i] for box in found.boxes) < min(box[i + 2] for box in found.boxes) for i in (0, 1)]
    for box in found.boxes:
        assert not common[0] or box.left <= x < box.right
        assert not common[1] or box.top <= y < box.bottom


def test_the_focal_point_of_a_portrait_is_on_the_face(photo: Callable[[str], Path]) -> None:
    why = find(photo("astronaut.jpg").read_bytes(), [1]).explain()
    (face,) = why.faces
    assert face.left < why.focal_point.x < face.right
    assert face.top < why.focal_point.y < face.bottom


def test_a_part_to_keep_is_kept_against_all_saliency_and_the_heavier_of_two_that_do_not_fit() -> None:
    flat, left = window.cumulative(np.ones(64)), window.cumulative(np.eye(64)[2])
    near, far = Box(0, 0, 50, 100), Box(210, 0, 270, 100)
    size = Size(300, 100)
    assert window.best(left, flat, size, 1)[0].box.left < 15
    assert window.best(left, flat, size, 1, [(far, 1)])[0].box == Box(170, 0, 270, 100)
    assert window.best(left, flat, size, 1, [(near, 1), (far, 2)])[0].box.left >= 170
    assert window.best(left, flat, size, 1, [(near, 2), (far, 1)])[0].box.left == 0
    assert window.best(left, flat, size, 1, [(Box(150, 0, 290, 100), 9)])[0].box.left < 15  # no window holds it


@pytest.mark.parametrize("corner", [(0, 0, 60, 60), (390, 0, 450, 60), (0, 240, 60, 300), (380, 230, 451, 300)])
def test_a_focus_is_inside_every_box(photo: Callable[[str], Path], corner: tuple[int, int, int, int]) -> None:
    data = photo("chelsea.jpg").read_bytes()
    for ratios in (RATIOS, ()):
        found = find(data, ratios, focus=[corner])
        for box in found.boxes:
            assert box.left <= corner[0]
            assert box.top <= corner[1]
            assert box.right >= corner[2]
            assert box.bottom >= corner[3]
        assert found.explain().focus == (corner,)


def test_the_heavier_focus_wins_where_not_both_fit(photo: Callable[[str], Path]) -> None:
    data = photo("chelsea.jpg").read_bytes()
    left, right = (0, 100, 80, 200), (370, 100, 450, 200)
    assert find(data, [1], focus=[(*left, 3), right]).boxes[0].left == 0
    assert find(data, [1], focus=[left, (*right, 3)]).boxes[0].right >= 450


@pytest.mark.parametrize(
    "focus", [(0, 0, 452, 10), (-1, 0, 10, 10), (5, 5, 5, 9), (0, 0, 9), (0, 0, 9, 9, 0), (0, 0, 9, 9, float("nan"))]
)
def test_a_focus_that_is_none_is_an_error_of_the_caller(photo: Callable[[str], Path], focus: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="focus"):
        find(photo("chelsea.jpg").read_bytes(), [1], focus=[focus])


@pytest.mark.parametrize("focus", [None, (0, 0, 9, 9), ["0,0,9,9"], [(float("nan"), 0, 9, 9)]])
def test_focus_in_another_form_is_an_error_of_the_caller(photo: Callable[[str], Path], focus: Any) -> None:
    with pytest.raises(ValueError, match=r"focus is a list of \(left, top, right, bottom\)"):
        find(photo("chelsea.jpg").read_bytes(), [1], focus=focus)
