"""One analysis of a picture, and the boxes that it leads to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloudfn.crop import frame, picture, saliency, window
from cloudfn.crop.values import Box, Found, Size


class Analysis:
    """A picture's size and the cumulative profiles of its saliency map, from which every ratio is answered."""

    def __init__(self, rgb: npt.NDArray[np.uint8], size: Size) -> None:
        """`rgb`: the picture as displayed, squeezed into (FINE, FINE, 3); `size`: how large it is displayed."""
        self.size = size
        self.map = saliency.saliency_map(rgb, size, saliency.weights()).astype(np.float64)
        self.columns = window.cumulative(self.map.sum(axis=0))
        self.rows = window.cumulative(self.map.sum(axis=1))

    def box(self, ratio: float) -> tuple[Box, float]:
        """The largest box of this aspect ratio that keeps most of the saliency, and the share that it keeps."""
        return window.best(self.columns, self.rows, self.size, ratio)

    def free_box(self) -> tuple[Box, float]:
        """The box of the engine's own ratio and size, and the share of the saliency that it keeps."""
        box = frame.free_box(self.map, self.size, saliency.weights().margins)
        return box, frame.share(self.map, box, self.size)


def find(data: picture.Bytes, ratios: Sequence[float], limits: picture.Limits) -> Found:
    """See `cloudfn.crop.find`."""
    if not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise ValueError(f"ratios are finite numbers above 0, not {list(ratios)}")
    analysis = Analysis(*picture.read_grid(data, saliency.FINE, limits))
    found = [analysis.box(ratio) for ratio in ratios] or [analysis.free_box()]
    boxes, scores = zip(*found, strict=True)
    return Found(boxes, analysis.size, scores)
