"""Geometry of the crop window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfn.crop import window
from cloudfn.crop.values import Box, Size

SIDES = st.integers(1, 5000)
RATIOS = st.floats(1e-9, 1e9)


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        (Size(966, 728), 1, Size(728, 728)),
        (Size(966, 728), 2.35, Size(966, 411)),
        (Size(966, 728), 1e9, Size(966, 1)),
        (Size(966, 728), 1e-9, Size(1, 728)),
        (Size(1, 1), 16 / 9, Size(1, 1)),
        (Size(1, 10000), 2, Size(1, 1)),
        (Size(100, 100), 1, Size(100, 100)),
    ],
)
def test_the_documented_windows(size: Size, ratio: float, expected: Size) -> None:
    assert window.largest(size, ratio) == expected


@given(SIDES, SIDES, RATIOS)
def test_a_window_spans_a_side_and_its_other_side_is_nearest_to_the_ratio(
    width: int, height: int, ratio: float
) -> None:
    wide, high = window.largest(Size(width, height), ratio)
    assert 1 <= wide <= width
    assert 1 <= high <= height
    if width / height <= ratio:
        assert wide == width
        assert abs(high - max(1.0, width / ratio)) <= 0.5
    else:
        assert high == height
        assert abs(wide - max(1.0, height * ratio)) <= 0.5


def test_cumulative_goes_from_0_to_1_and_a_profile_without_mass_is_flat() -> None:
    assert window.cumulative(np.array([1.0, 3.0])).tolist() == [0, 0.25, 1]
    assert window.cumulative(np.zeros(4)).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_inside_interpolates_within_a_cell() -> None:
    shares = window.inside(window.cumulative(np.array([1.0, 3.0])), np.array([0, 5, 2]), np.array([10, 10, 6]), 10)
    assert shares == pytest.approx([1, 0.75, 0.15 + 0.15])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 60), st.data())
def test_slide_is_the_best_of_all_positions_and_of_those_the_most_central(
    profile: list[int], length: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, length))
    cumulated = window.cumulative(np.array(profile, dtype=float))
    starts = np.arange(length - size + 1)
    shares = [float(share) for share in window.inside(cumulated, starts, starts + size, length)]
    start, _ = window.slide(cumulated, size, length)
    assert shares[start] == pytest.approx(max(shares))
    ties = [at for at, value in enumerate(shares) if value == pytest.approx(max(shares), abs=1e-12)]
    assert start == min(ties, key=lambda at: (abs(2 * at - (length - size)), at))


def test_a_flat_profile_gives_the_centred_window() -> None:
    flat = window.cumulative(np.ones(64))
    assert window.slide(flat, 500, 966)[0] == 233
    assert window.best(flat, flat, Size(966, 728), 1)[0].box == Box(119, 0, 847, 728)
    assert window.best(flat, flat, Size(966, 728), 2.35)[0].box == Box(0, 158, 966, 569)


def test_the_best_box_follows_the_mass_along_its_free_axis() -> None:
    flat = window.cumulative(np.ones(64))
    left, bottom = (window.cumulative(np.eye(64)[at] + 1e-6) for at in (3, 60))
    assert window.best(left, flat, Size(300, 100), 1)[0].box.left <= 3 / 64 * 300
    assert window.best(flat, bottom, Size(100, 300), 1)[0].box.bottom >= 61 / 64 * 300
    assert window.best(flat, flat, Size(100, 100), 1) == [(Box(0, 0, 100, 100), 1)]
