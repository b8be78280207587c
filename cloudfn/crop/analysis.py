"""One analysis of a picture, and the boxes that it leads to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from cloudfn.crop import margins, picture, saliency, window
from cloudfn.crop.faces import find_faces
from cloudfn.crop.values import Box, Explanation, Found, Placed, Point, Size

# The aspect ratios whose best boxes agree on the focal point, from a story's to a film's.
_FOCAL = (9 / 16, 3 / 4, 1, 4 / 3, 16 / 9)
# glibc's thresholds rise to the size of a mapped block that is freed (mallopt(3), M_MMAP_THRESHOLD). Without that it
# returns a picture's working memory to the kernel, and takes it again page by page for the next one: a tenth of a call.
np.empty(8 * 1024 * 1024, np.uint8)
_PART = 4  # cells; sigma of the blur under which the map's peak is the middle of a part, not its edge


class Analysis:
    """A picture's size, its saliency map, and the parts that must not be cut: enough to answer every ratio."""

    def __init__(self, rgb: npt.NDArray[np.uint8], size: Size, focus: Sequence[tuple[float, ...]] = ()) -> None:
        """Analyse `rgb`, the picture as displayed, squeezed into (FINE, FINE, 3); `size` is its displayed size."""
        self.size = size
        self._rgb = rgb
        self.map = saliency.saliency_map(saliency.Layers(rgb), saliency.weights()).astype(np.float64)
        self.map /= self.map.sum()
        self.focus = tuple(_hints(focus, size))
        for box, weight in self.focus:
            inside = margins.covered(box, size, saliency.CELLS)
            self.map += weight * inside / inside.sum()
        self.columns = window.cumulative(self.map.sum(axis=0))
        self.rows = window.cumulative(self.map.sum(axis=1))

    def boxes(self, ratio: float | None) -> list[Placed]:
        """Return the best box of this aspect ratio, then the runners-up; with None, that of the engine's own ratio."""
        if ratio is not None:
            return window.best(self.columns, self.rows, self.size, ratio, self.focus)
        box = margins.free_box(self.map, self.size, saliency.weights().margins, [box for box, _ in self.focus])
        return [Placed(box, margins.share(self.map, box, self.size))]

    def explain(self, ratios: Sequence[float]) -> Explanation:
        """See `Found.explain`."""
        faces = tuple(_outward(face, self.size) for face in find_faces(self._rgb, self.size))
        share = self.focal_share(faces)
        boxes = [self.boxes(ratio) for ratio in ratios or (None,)]
        return Explanation(
            size=self.size,
            map=self.map,
            boxes=tuple(best for best, *_ in boxes),
            runners_up=tuple(tuple(others) for _, *others in boxes),
            faces=faces,
            focus=tuple(box for box, _ in self.focus),
            focal_point=Point(share.x * self.size.width, share.y * self.size.height),
            focal_share=share,
        )

    def focal_share(self, faces: Sequence[Box]) -> Point:
        """Return the one point that stands for the best boxes of all usual ratios, in shares of the sides."""
        if faces:
            left, top, right, bottom = faces[0]
            x, y = (left + right) / 2, (top + bottom) / 2
        else:
            smooth = saliency.blur(self.map.astype(np.float32), _PART)
            peaks = np.argwhere(smooth >= smooth.max() * 0.999) + 0.5  # a plain picture has them everywhere
            row, column = min(peaks, key=lambda peak: float(((peak - saliency.CELLS / 2) ** 2).sum()))
            x, y = (float(at) / saliency.CELLS * side for at, side in zip((column, row), self.size, strict=True))
        boxes = [self.boxes(ratio)[0].box for ratio in _FOCAL]
        return Point(
            _within([(box.left, box.right) for box in boxes], x) / self.size.width,
            _within([(box.top, box.bottom) for box in boxes], y) / self.size.height,
        )


def _within(spans: Sequence[tuple[int, int]], wanted: float) -> float:
    """Return the place inside all spans that is nearest to the wanted one; the narrow ones win where not all meet."""
    low, high = -math.inf, math.inf
    for start, stop in sorted(spans, key=lambda span: span[1] - span[0]):
        if max(low, start) < min(high, stop):
            low, high = max(low, start), min(high, stop)
    # half a pixel inside: a point on the edge belongs to what is beyond it
    return min(max(wanted, low + 0.5), high - 0.5)


def _outward(place: npt.NDArray[np.float64], size: Size) -> Box:
    """Convert shares of the sides to whole pixels, rounded outwards."""
    left, top, right, bottom = (float(share) for share in place)
    return Box(
        max(0, math.floor(left * size.width)),
        max(0, math.floor(top * size.height)),
        min(size.width, math.ceil(right * size.width)),
        min(size.height, math.ceil(bottom * size.height)),
    )


def _hints(focus: Sequence[tuple[float, ...]], size: Size) -> Iterator[tuple[Box, float]]:
    """Yield the caller's boxes, each with its weight; raises ValueError for anything else."""
    for hint in focus if isinstance(focus, Iterable) else [focus]:
        try:
            *edges, weight = map(float, hint if len(hint) == 5 else (*hint, 1))
            box = Box(*map(int, edges))
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"focus is a list of (left, top, right, bottom), each perhaps with a weight besides, not of {hint!r}"
            ) from None
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
    try:
        right = all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)
    except (TypeError, OverflowError):
        right = False
    if not right:
        raise ValueError(f"ratios are a list of finite numbers above 0, such as [1, 16 / 9], not {ratios!r}")
    grid, size = picture.read_grid(data, saliency.FINE, limits)
    limits.check_time()
    analysis = Analysis(grid, size, focus)
    limits.check_time()
    placed = [analysis.boxes(ratio)[0] for ratio in ratios or (None,)]
    boxes, scores = zip(*placed, strict=True)
    return Found(boxes, analysis.size, scores, partial(analysis.explain, tuple(ratios)))
