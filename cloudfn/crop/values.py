"""The values that travel in and out of the engine.

A box is in pixels of the picture *as displayed* (EXIF orientation applied), origin top left, half-open: `left` and
`top` are the first column and row inside it, `right` and `bottom` the first ones outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray


class Size(NamedTuple):
    """Width and height in pixels of the picture as displayed."""

    width: int
    height: int


class Box(NamedTuple):
    """A bounding box, half-open: `right - left` columns by `bottom - top` rows."""

    left: int
    top: int
    right: int
    bottom: int


class Placed(NamedTuple):
    """A box, and the share (0..1) of the picture's saliency inside it."""

    box: Box
    score: float


class Point(NamedTuple):
    """A place in the picture, from its top left corner: x to the right, y down."""

    x: float
    y: float


@dataclass(frozen=True)
class Explanation:
    """The reasons for the place of a crop.

    `map` is the saliency: shape (64, 64), rows first, cell (i, j) covers the share i/64 .. (i + 1)/64 of the height and
    likewise of the width; with no focus it sums to 1, and each focus adds its weight. `boxes` are the
    results, `runners_up` for each of them the best other positions of the same window, at most two. `faces` are
    those that are large enough to be found; they decide on the focal point alone, as heads count in the map by
    themselves. `focus` are the caller's boxes.

    The focal point stands for the crops where only one point can be kept, as in CSS's `object-position`: the middle of
    the surest face, or else of the part that matters most; inside the best box of every ratio from 9:16 to 16:9
    whenever one point can be. It comes in pixels (`focal_point`) and in shares 0..1 of the sides (`focal_share`).
    """

    size: Size
    map: NDArray[float64]
    boxes: tuple[Placed, ...]
    runners_up: tuple[tuple[Placed, ...], ...]
    faces: tuple[Box, ...]
    focus: tuple[Box, ...]
    focal_point: Point
    focal_share: Point


@dataclass(frozen=True)
class Found:
    """The crop: one box for each requested ratio, in order; with none, one box of the engine's choice.

    `size` is that of the whole picture; `scores` holds, box by box, the share (0..1) of the picture's saliency that
    the box keeps. `explain()` returns the reasons for their places: map, scores, runners-up, faces, focal point.
    """

    boxes: tuple[Box, ...]
    size: Size
    scores: tuple[float, ...]
    explain: Callable[[], Explanation] = field(repr=False, compare=False)
