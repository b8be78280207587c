"""Frontal faces, found by OpenCV's cascade of local binary patterns, evaluated for all windows at once.

Zhang et al., "Face detection based on multi-block LBP representation", ICB 2007. A weak classifier compares the sums
of eight blocks with that of the block in their middle; the eight answers are a code, and each code has a vote. The
windows of all pyramid levels lie in one mosaic with one integral image a level, so that a block's corner is the same
offset in every window, and after each stage only the windows that passed are looked at further.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cloudfn.crop.values import Size

Floats = npt.NDArray[np.float64]

_WINDOW = 24  # pixels, of the cascade
_LONG_SIDE = 128  # of the largest pyramid level: faces from 24 / 128 of the picture's long side are found
_SHRINK = 1.1  # from one pyramid level to the next
_STEP = 2  # pixels between windows
_PITCH = _LONG_SIDE + 1  # width of the mosaic of integral images
_SKIN = 0.08  # least mean skin likelihood of a window that is looked at: spares half of them, and false faces
_SUPPORT = 2  # overlapping windows that make a face

# Blocks of the 3 x 3 around the middle one and their bits in the code, in OpenCV's order.
_BITS = {(0, 0): 128, (0, 1): 64, (0, 2): 32, (1, 2): 16, (2, 2): 8, (2, 1): 4, (2, 0): 2, (1, 0): 1}


class Stage(NamedTuple):
    """`corners`: (n, 4, 4, 1) offsets in the mosaic of the block corners of n weak classifiers; `votes`: (n, 256)."""

    threshold: float
    corners: npt.NDArray[np.intp]
    votes: npt.NDArray[np.float32]


@cache
def cascade() -> tuple[Stage, ...]:
    stages = json.loads(resources.files("cloudfn.crop").joinpath("face_cascade.json").read_text("utf-8"))
    return tuple(
        Stage(
            stage["threshold"] - 1e-5,  # OpenCV's tolerance
            np.stack([_corners(*weak["block"]) for weak in stage["weak"]]),
            np.stack([_votes(weak["codes"], *weak["votes"]) for weak in stage["weak"]]),
        )
        for stage in stages
    )


def _corners(x: int, y: int, width: int, height: int) -> npt.NDArray[np.intp]:
    at = np.arange(4)
    return ((y + at * height)[:, None] * _PITCH + x + at * width)[..., None]


def _votes(codes: str, listed: float, other: float) -> npt.NDArray[np.float32]:
    """A vote for each of the 256 codes; bit c % 32 of the c // 32-th of eight 32-bit numbers says which."""
    words = np.array([int(codes[at : at + 8], 16) for at in range(0, 64, 8)])
    code = np.arange(256)
    return np.where(words[code >> 5] >> (code & 31) & 1, listed, other).astype(np.float32)


def _mosaic(grey: npt.NDArray[np.uint8], size: Size) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.intp], Floats]:
    """The integral images of all pyramid levels below each other, flat; and of each window its offset and its place.

    A place is (left, top, right, bottom) in shares of the picture's sides. `grey` is square, whatever `size` is.
    """
    image = Image.fromarray(grey)
    width, height = (side * _LONG_SIDE / max(size) for side in size)
    tables, offsets, places, below = [], [], [], 0
    while min(width, height) >= _WINDOW:
        columns, rows = round(width), round(height)
        level = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR), dtype=np.int32)
        table = np.zeros((rows + 1, _PITCH), dtype=np.int32)
        table[1:, 1 : columns + 1] = level.cumsum(axis=0).cumsum(axis=1)
        y, x = np.mgrid[0 : rows - _WINDOW + 1 : _STEP, 0 : columns - _WINDOW + 1 : _STEP].reshape(2, -1)
        tables.append(table.ravel())
        offsets.append((below + y) * _PITCH + x)
        places.append(np.stack([x, y, x + _WINDOW, y + _WINDOW], axis=1) / (columns, rows, columns, rows))
        below += rows + 1
        width, height = width / _SHRINK, height / _SHRINK
    if not tables:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.intp), np.zeros((0, 4))
    return np.concatenate(tables), np.concatenate(offsets), np.concatenate(places)


def _mean(values: npt.NDArray[np.float32], places: Floats) -> Floats:
    """Mean of a square map inside each place, to the nearest cell."""
    side = len(values)
    table = np.zeros((side + 1, side + 1))
    table[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    left, top, right, bottom = np.rint(places * side).astype(np.intp).T
    total = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    return np.asarray(total / np.maximum((right - left) * (bottom - top), 1))


def find_faces(grey: npt.NDArray[np.uint8], skin: npt.NDArray[np.float32], size: Size) -> Floats:
    """Windows that hold a face, (n, 4): left, top, right, bottom in shares of the picture's sides.

    `grey` (uint8) and `skin` (likelihoods) are the picture squeezed into squares, `size` its real shape. A face gives
    several windows.
    """
    mosaic, offsets, places = _mosaic(grey, size)
    kept = _mean(skin, places) > _SKIN
    offsets, places = offsets[kept], places[kept]
    for stage in cascade():
        score = np.zeros(len(offsets), dtype=np.float32)
        for corners, votes in zip(stage.corners, stage.votes, strict=True):
            table = mosaic[offsets + corners]
            strips = table[1:] - table[:-1]
            blocks = strips[:, 1:] - strips[:, :-1]
            code = sum((blocks[at] >= blocks[1, 1]) * np.int32(bit) for at, bit in _BITS.items())
            score += votes[code]
        passed = score >= stage.threshold
        offsets, places = offsets[passed], places[passed]
    return np.asarray(places[_near(places).sum(axis=1) >= _SUPPORT])


def distinct(windows: Floats) -> Floats:
    """One place a face, (m, 4): the mean of the windows that hold it, faces with the most windows first."""
    near, left = _near(windows), np.ones(len(windows), dtype=bool)
    found = []
    while left.any():
        support = (near & left).sum(axis=1) * left
        same = near[support.argmax()] & left
        found.append(windows[same].mean(axis=0))
        left &= ~same
    return np.array(found).reshape(-1, 4)


def _near(places: Floats) -> npt.NDArray[np.bool_]:
    """(n, n): is the second window nearly where the first is, and nearly as large? Each is near itself."""
    left, top, right, bottom = places.T
    x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    near = np.abs(x[:, None] - x) < 0.35 * width[:, None]
    near &= np.abs(y[:, None] - y) < 0.35 * height[:, None]
    near &= np.abs(np.log(width[:, None] / width)) < 0.4
    return np.asarray(near)


def face_map(faces: Floats, side: int) -> npt.NDArray[np.float32]:
    """Map (side, side): 1 in the middle of each face, falling off with it; 0 where there is none."""
    at = (np.arange(side) + 0.5) / side
    left, top, right, bottom = faces.T[..., None]
    across = np.exp(-0.5 * ((at - (left + right) / 2) / (0.4 * (right - left))) ** 2)
    down = np.exp(-0.5 * ((at - (top + bottom) / 2) / (0.45 * (bottom - top))) ** 2)
    return np.asarray((down[:, :, None] * across[:, None, :]).max(axis=0, initial=0), dtype=np.float32)
