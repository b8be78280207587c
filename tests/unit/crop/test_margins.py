"""The box of the engine's own ratio and size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfn.crop import margins, saliency
from cloudfn.crop.values import Box, Size

EVEN = np.ones((64, 64))


def constant(**constants: float) -> dict[str, list[float]]:
    """Margins that depend on nothing."""
    return {side: [0, 0, 0, 0, 0, 0, constants.get(side, 0)] for side in ("side", "top", "bottom")}


def test_features_count_the_quarters_from_each_side() -> None:
    saliency_map = np.ones((64, 64))
    saliency_map[:, :16] = 5  # the left quarter has 5 / 8 of all
    left, right, top, bottom = margins.features(saliency_map, Size(200, 100))
    assert left[:4] == pytest.approx([1.5, -0.5, -0.5, -0.5])
    assert right[:4].tolist() == left[3::-1].tolist()
    assert top[:4] == pytest.approx([0] * 4)
    assert bottom[4:] == pytest.approx([np.log(7 / 4), np.log(2), 1])


def test_margins_are_cut_from_their_sides() -> None:
    assert margins.free_box(EVEN, Size(200, 100), constant(side=0.1, top=0.2)) == Box(20, 20, 180, 100)


def test_no_margin_below_two_percent_or_above_the_most() -> None:
    assert margins.free_box(EVEN, Size(200, 100), constant(side=0.019, top=-3)) == Box(0, 0, 200, 100)
    assert margins.free_box(EVEN, Size(200, 100), constant(bottom=7)) == Box(0, 0, 200, 55)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_the_box_is_inside_the_picture_and_never_empty(width: int, height: int, seed: int) -> None:
    found = np.random.default_rng(seed).random((64, 64)) ** 8 + 1e-9
    box = margins.free_box(found, Size(width, height), saliency.weights().margins)
    assert 0 <= box.left < box.right <= width
    assert 0 <= box.top < box.bottom <= height


def test_a_concentrated_subject_is_framed_closer_than_an_even_scene() -> None:
    subject = np.full((64, 64), 0.02)
    subject[20:44, 20:44] = 1
    weights = saliency.weights().margins

    def area(found: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> int:
        box = margins.free_box(found, Size(900, 600), weights)
        return (box.right - box.left) * (box.bottom - box.top)

    assert area(subject) < 0.9 * area(EVEN)


def test_share_counts_parts_of_cells() -> None:
    half = np.zeros((64, 64))
    half[:, :32] = 1
    assert margins.share(half, Box(0, 0, 100, 100), Size(100, 100)) == pytest.approx(1)
    assert margins.share(half, Box(0, 0, 25, 100), Size(100, 100)) == pytest.approx(0.5)
    assert margins.share(half, Box(49, 0, 51, 50), Size(100, 100)) == pytest.approx(0.01)
