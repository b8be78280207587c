"""One analysis of a picture, and the boxes that it leads to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from cloudfn.crop import faces, margins, picture, saliency, window
from cloudfn.crop.values import Box, Explanation, Found, Placed, Point, Size

# A face counts as much as a hint of this weight where a window holds it, and as much again with the whole head.
_FACE = 0.5
# How far a head reaches above its face, in heights of the face.
_HAIR = 0.5
# Cells; sigma of the blur under which the peak of the map is the focal point: the middle of a part, not its edge.
_FOCAL = 4


class Analysis:
    """A picture's size, its saliency map, and what of it must not be cut: from these every ratio is answered."""

    def __init__(self, rgb: npt.NDArray[np.uint8], size: Size, focus: Sequence[tuple[float, ...]] = ()) -> None:
        """`rgb`: the picture as displayed, squeezed into (FINE, FINE, 3); `size`: how large it is displayed."""
        self.size = size
        self.map = saliency.saliency_map(saliency.Layers(rgb), saliency.weights()).astype(np.float64)
        self.map /= self.map.sum()
        found = faces.find_faces(rgb, size)
        self.faces = tuple(_outward(face, size) for face in found)
        heads = [_outward(face, size) for face in found - (found[:, 3:] - found[:, 1:2]) * (0, _HAIR, 0, 0)]
        self.focus = tuple(_hints(focus, size))
        for box, weight in self.focus:
            inside = margins.covered(box, size, saliency.CELLS)
            self.map += weight * inside / inside.sum()
        self.kept = (*((part, _FACE) for part in (*self.faces, *heads)), *self.focus)
        self.columns = window.cumulative(self.map.sum(axis=0))
        self.rows = window.cumulative(self.map.sum(axis=1))

    def boxes(self, ratio: float | None) -> list[Placed]:
        """The best box of this aspect ratio, then the runners-up; with None the one of the engine's own ratio."""
        if ratio is not None:
            return window.best(self.columns, self.rows, self.size, ratio, self.kept)
        box = margins.free_box(self.map, self.size, saliency.weights().margins, [box for box, _ in self.kept])
        return [Placed(box, margins.share(self.map, box, self.size))]

    def explain(self, ratios: Sequence[float]) -> Explanation:
        """See `Found.explain`."""
        smooth = saliency.blur(self.map.astype(np.float32), _FOCAL)
        row, column = (float(at + 0.5) / saliency.CELLS for at in np.unravel_index(smooth.argmax(), smooth.shape))
        boxes = [self.boxes(ratio) for ratio in ratios or (None,)]
        return Explanation(
            size=self.size,
            map=self.map,
            boxes=tuple(best for best, *_ in boxes),
            runners_up=tuple(tuple(others) for _, *others in boxes),
            faces=self.faces,
            focus=tuple(box for box, _ in self.focus),
            focal_point=Point(column * self.size.width, row * self.size.height),
            focal_share=Point(column, row),
        )


def _outward(place: npt.NDArray[np.float64], size: Size) -> Box:
    """Shares of the sides to whole pixels, none lost."""
    left, top, right, bottom = (float(share) for share in place)
    return Box(
        max(0, math.floor(left * size.width)),
        max(0, math.floor(top * size.height)),
        min(size.width, math.ceil(right * size.width)),
        min(size.height, math.ceil(bottom * size.height)),
    )


def _hints(focus: Sequence[tuple[float, ...]], size: Size) -> Iterator[tuple[Box, float]]:
    """The caller's boxes, each with its weight; raises ValueError for what is none."""
    for hint in focus:
        if len(hint) not in (4, 5):
            raise ValueError(f"a focus is (left, top, right, bottom) or has a weight besides, not {hint}")
        box, weight = Box(*(int(edge) for edge in hint[:4])), float(hint[4]) if len(hint) == 5 else 1.0
        left, top, right, bottom = box
        if not (0 <= left < right <= size.width and 0 <= top < bottom <= size.height):
            raise ValueError(f"the focus {tuple(box)} is not inside the picture of {size.width}x{size.height} pixels")
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"the weight of a focus is a finite number above 0, not {weight}")
        yield box, weight


def find(
    data: picture.Bytes, ratios: Sequence[float], focus: Sequence[tuple[float, ...]], limits: picture.Limits
) -> Found:
    """See `cloudfn.crop.find`."""
    if not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise ValueError(f"ratios are finite numbers above 0, not {list(ratios)}")
    grid, size = picture.read_grid(data, saliency.FINE, limits)
    limits.check_time()
    analysis = Analysis(grid, size, focus)
    limits.check_time()
    found = [analysis.boxes(ratio)[0] for ratio in ratios or (None,)]
    boxes, scores = zip(*found, strict=True)
    return Found(boxes, analysis.size, scores, partial(analysis.explain, tuple(ratios)))
