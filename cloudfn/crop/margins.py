"""The free crop, without a ratio: how much of each side of the picture a person would crop away.

Each margin is a linear function of where the saliency lies, clipped to [0, _MOST] of the side: a picture whose
saliency reaches everywhere keeps its whole frame. Left and right share their weights, so a mirrored picture has the
mirrored box. The weights are set so that the box overlaps (intersection over union) with those that people drew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloudfn.crop.values import Box, Size

Floats = npt.NDArray[np.float64]

SIDES = ("side", "side", "top", "bottom")  # the weights of the margins at left, right, top, bottom
_MOST = 0.45
_LEAST = 0.02  # a smaller margin is not worth a cut


def features(saliency: Floats, size: Size) -> Floats:
    """Return the inputs of the margins, shape (4, 7), a row each for left, right, top, bottom.

    The saliency in each quarter of the axis, counted from that side, relative to an even one (4 values); how peaked
    the map is, and the aspect ratio (both logarithmic); 1.
    """
    density = saliency / saliency.mean()
    columns, rows = (density.mean(axis=axis).reshape(4, -1).mean(axis=1) - 1 for axis in (0, 1))
    shared = [np.log((density**2).mean()), np.log(size.width / size.height), 1.0]
    return np.array([[*quarters, *shared] for quarters in (columns, columns[::-1], rows, rows[::-1])])


def free_box(saliency: Floats, size: Size, weights: dict[str, list[float]], kept: Sequence[Box] = ()) -> Box:
    """Return the box, at least one pixel, without the margins, widened to hold `kept`."""
    margins = [
        float(np.clip(row @ np.array(weights[side]), 0, _MOST))
        for row, side in zip(features(saliency, size), SIDES, strict=True)
    ]
    left, right, top, bottom = (margin if margin >= _LEAST else 0.0 for margin in margins)
    x, y = round(left * size.width), round(top * size.height)
    within = Box(
        x, y, max(x + 1, size.width - round(right * size.width)), max(y + 1, size.height - round(bottom * size.height))
    )
    lefts, tops, rights, bottoms = zip(within, *kept, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


def covered(box: Box, size: Size, cells: int) -> Floats:
    """Return the share (0..1) of each of cells x cells cells that a box covers."""

    def along(start: int, stop: int, length: int) -> Floats:
        edges = np.linspace(0, length, cells + 1)
        parts = np.minimum(stop, edges[1:]) - np.maximum(start, edges[:-1])
        return np.asarray(np.clip(parts, 0, None) / (length / cells))

    return np.outer(along(box.top, box.bottom, size.height), along(box.left, box.right, size.width))


def share(saliency: Floats, box: Box, size: Size) -> float:
    """Return the share (0..1) of the saliency inside a box; it is taken as even within each cell."""
    return float((covered(box, size, len(saliency)) * saliency).sum() / saliency.sum())
