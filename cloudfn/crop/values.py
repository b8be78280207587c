"""What travels in and out of the engine.

A box is in pixels of the picture *as displayed* (EXIF orientation applied), origin top left, half-open: `left` and
`top` are the first column and row inside it, `right` and `bottom` the first ones outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


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


@dataclass(frozen=True)
class Found:
    """Where to crop: one box for each ratio that was asked for, in order; with none, one box of the engine's choice.

    `size` is that of the whole picture; `scores` holds, box by box, the share (0..1) of the picture's saliency that
    the box keeps.
    """

    boxes: tuple[Box, ...]
    size: Size
    scores: tuple[float, ...]
