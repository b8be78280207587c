"""Geometry: the largest window of an aspect ratio, and where to put it on a saliency map.

The largest window spans the whole width or the whole height, so it slides along one axis only, and the saliency in it
is a difference of two values of the map's cumulative profile along that axis: the one-dimensional integral image
(Crow, "Summed-area tables for texture mapping", SIGGRAPH 1984). Every pixel position is tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloudfn.crop.values import Box, Placed, Size

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.int_]


def largest(size: Size, ratio: float) -> Size:
    """Return the largest window with width / height = `ratio` that fits into `size`.

    Its free side is rounded to the nearest pixel and is at least 1.
    """
    width, height = size
    if width / height <= ratio:
        return Size(width, max(1, min(height, round(width / ratio))))
    return Size(max(1, min(width, round(height * ratio))), height)


def cumulative(profile: Floats) -> Floats:
    """Return cumulative shares of a profile's sum: n values >= 0 become n + 1, from 0 to 1; without mass, as flat."""
    total = profile.sum()
    shares = profile / total if total > 0 else np.full(len(profile), 1 / len(profile))
    return np.concatenate([[0.0], np.cumsum(shares)])


def inside(cumulated: Floats, start: Pixels, stop: Pixels, length: int) -> Floats:
    """Return the shares of the profile between `start` and `stop`, pixels on an axis of `length` pixels.

    Saliency is taken as even within each cell of the profile, so the cumulative profile is interpolated linearly.
    """
    edges = np.linspace(0, length, len(cumulated))
    return np.interp(stop, edges, cumulated) - np.interp(start, edges, cumulated)


def slide(
    cumulated: Floats, window: int, length: int, kept: Sequence[tuple[int, int, float]] = ()
) -> tuple[int, Floats]:
    """Return the best start (0 .. length - window) of a window on an axis, and the profile's share for every start.

    The best one keeps the largest sum of weights of `kept` (start, stop, weight) whole, and of these the largest share.
    Equal shares go to the start that is nearest to the centred one (the smaller of two).
    """
    starts = np.arange(length - window + 1)
    shares = inside(cumulated, starts, starts + window, length)
    whole = np.zeros(len(starts))
    for first, stop, weight in kept:
        whole += weight * ((starts <= first) & (stop <= starts + window))
    allowed = whole >= whole.max() - 1e-9  # rounding of sums stays far below this
    ties = allowed & (shares >= shares[allowed].max() - 1e-9)
    off_centre = np.abs(2 * starts - (length - window))
    return int(starts[ties][np.argmin(off_centre[ties])]), shares


def best(
    columns: Floats, rows: Floats, size: Size, ratio: float, kept: Sequence[tuple[Box, float]] = ()
) -> list[Placed]:
    """Return the largest box of `ratio` that keeps most of the saliency, then the runners-up: at most two.

    `kept` are parts of the picture, each with a weight, that are not cut while another position keeps them whole. A
    runner-up is the best of the windows that share at most half of themselves with each of those before it. `columns`
    and `rows` are the cumulative profiles of the map along x and y.
    """
    window = largest(size, ratio)
    axis, cumulated = (0, columns) if window.width < size.width else (1, rows)
    spans = [(box[axis], box[axis + 2], weight) for box, weight in kept]
    start, shares = slide(cumulated, window[axis], size[axis], spans)
    starts, left = [start], shares.copy()
    while len(starts) < 3:
        left[max(0, starts[-1] - window[axis] // 2) : starts[-1] + window[axis] // 2 + 1] = -1
        if left.max() < 0:
            break
        starts.append(int(left.argmax()))
    return [
        Placed(
            Box(at, 0, at + window.width, size.height) if axis == 0 else Box(0, at, size.width, at + window.height),
            float(shares[at]),
        )
        for at in starts
    ]
