"""Geometry: the largest window of an aspect ratio, and where to put it on a saliency map.

The largest window spans the whole width or the whole height, so it slides along one axis only, and the saliency in it
is a difference of two values of the map's cumulative profile along that axis: the one-dimensional integral image
(Crow, "Summed-area tables for texture mapping", SIGGRAPH 1984). Every pixel position is tried.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cloudfn.crop.values import Box, Size

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.int_]


def largest(size: Size, ratio: float) -> Size:
    """The largest window with width / height = `ratio` that fits into `size`.

    Its free side is rounded to the nearest pixel and is at least 1.
    """
    width, height = size
    if width / height <= ratio:
        return Size(width, max(1, min(height, round(width / ratio))))
    return Size(max(1, min(width, round(height * ratio))), height)


def cumulative(profile: Floats) -> Floats:
    """Shares of a profile's sum: n values >= 0 give n + 1, from 0 to 1. A profile without mass counts as flat."""
    total = profile.sum()
    shares = profile / total if total > 0 else np.full(len(profile), 1 / len(profile))
    return np.concatenate([[0.0], np.cumsum(shares)])


def inside(cumulated: Floats, start: Pixels, stop: Pixels, length: int) -> Floats:
    """Shares of the profile between `start` and `stop`, pixels on an axis of `length` pixels.

    Saliency is taken as even within each cell of the profile, so the cumulative profile is interpolated linearly.
    """
    edges = np.linspace(0, length, len(cumulated))
    return np.interp(stop, edges, cumulated) - np.interp(start, edges, cumulated)


def slide(cumulated: Floats, window: int, length: int) -> tuple[int, float]:
    """The best start (0 .. length - window) of a window on an axis, and the share of the profile inside it.

    Equal shares go to the start that is nearest to the centred one (the smaller of two).
    """
    starts = np.arange(length - window + 1)
    shares = inside(cumulated, starts, starts + window, length)
    off_centre = np.abs(2 * starts - (length - window))
    ties = shares >= shares.max() - 1e-9  # rounding of the cumulative sum stays far below this
    start = int(starts[ties][np.argmin(off_centre[ties])])
    return start, float(shares[start])


def best(columns: Floats, rows: Floats, size: Size, ratio: float) -> tuple[Box, float]:
    """The largest box of `ratio` that keeps most of the saliency, and the share that it keeps.

    `columns` and `rows` are the cumulative profiles of the map along x and y.
    """
    window = largest(size, ratio)
    if window.width < size.width:
        left, share = slide(columns, window.width, size.width)
        return Box(left, 0, left + window.width, size.height), share
    top, share = slide(rows, window.height, size.height)
    return Box(0, top, size.width, top + window.height), share
