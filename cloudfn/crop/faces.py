"""Face detection by BlazeFace.

Bazarevsky et al., "BlazeFace: sub-millisecond neural face detection on mobile GPUs", 2019.

The network is MediaPipe's, for faces from about a tenth of the picture's long side. It sees the picture in its true
shape, in the middle of a square.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from cloudfn.crop.convolution import Map, bands, dense, depthwise, network, pointwise, relu, sigmoid
from cloudfn.crop.values import Size

Floats = npt.NDArray[np.float64]

_SIDE = 128  # pixels, of the square
_SCORE = 0.7  # least probability of a face; tests/benchmarks/README.md has others
_SAME = 0.3  # intersection over union from which on two boxes show one face
_STRIDES = (1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
_FINE = 10  # the last block before the finer of the two maps in which faces are sought
_BOX = 16  # numbers of each box: centre and size in pixels, then six points of the face


def find_faces(rgb: npt.NDArray[np.uint8], size: Size) -> Floats:
    """Return the faces, the surest first, (n, 4): left, top, right, bottom in shares of the picture's sides.

    A box reaches from the brows to the chin. `rgb` is the picture squeezed into a square, (side, side, 3), `size` its
    real shape.
    """
    width, height = (max(1, round(_SIDE * side / max(size))) for side in size)
    left, top = (_SIDE - width) // 2, (_SIDE - height) // 2
    square = np.zeros((_SIDE, _SIDE, 3), dtype=np.uint8)
    image = Image.fromarray(rgb).resize((width, height), Image.Resampling.HAMMING)
    square[top : top + height, left : left + width] = np.asarray(image)
    found_scores, found_boxes = _detect(square)
    sure = (found_scores > _SCORE) & (found_boxes[:, :2] < found_boxes[:, 2:]).all(axis=1)
    scores, boxes = found_scores[sure], found_boxes[sure].astype(np.float64)
    faces = []
    while len(scores):
        same = _overlap(boxes[scores.argmax()], boxes) >= _SAME
        faces.append(np.average(boxes[same], axis=0, weights=scores[same]))
        scores, boxes = scores[~same], boxes[~same]
    places = (np.array(faces).reshape(-1, 4) - (left, top, left, top)) / (width, height, width, height)
    places = np.clip(places, 0, 1)
    return np.asarray(places[(places[:, :2] < places[:, 2:]).all(axis=1)])


def _detect(square: npt.NDArray[np.uint8]) -> tuple[Map, Map]:
    """Return probabilities (n,) and boxes (n, 4), in pixels of the square, of all candidate places for a face."""
    layers = network("faces")
    maps = np.moveaxis(square, 2, 0)[:, None] * np.float32(2 / 255) - np.float32(1)
    maps = relu(dense(maps, layers["stem.kernel"], layers["stem.bias"], 2))
    levels = []
    for number, stride in enumerate(_STRIDES):
        matrices = bands("faces", f"{number}.filter", maps.shape[-1], stride)
        filtered = depthwise(maps, matrices, layers[f"{number}.filter.bias"], stride)
        before = maps if stride == 1 else _largest(maps)
        maps = pointwise(filtered, layers[f"{number}.project.kernel"], layers[f"{number}.project.bias"])
        maps[: len(before)] += before  # a block that has more channels than the one before it gets zeros
        relu(maps)
        if number in (_FINE, len(_STRIDES) - 1):
            levels.append(maps)
    (fine_scores, fine_boxes), (coarse_scores, coarse_boxes) = map(_places, levels, ("fine", "coarse"))
    return np.concatenate([fine_scores, coarse_scores]), np.concatenate([fine_boxes, coarse_boxes])


def _places(maps: Map, name: str) -> tuple[Map, Map]:
    """Return the boxes of each cell of a level, relative to the middle of the cell."""
    layers = network("faces")
    side = maps.shape[-1]
    logits = pointwise(maps, layers[f"{name}.score.kernel"], layers[f"{name}.score.bias"])
    numbers = pointwise(maps, layers[f"{name}.box.kernel"], layers[f"{name}.box.bias"])
    x, y, width, height = numbers.reshape(-1, _BOX, side, side)[:, :4].swapaxes(0, 1)
    middle = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(_SIDE / side)
    x, y = x + middle, y + middle[:, None]
    boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=-1)
    return sigmoid(logits).ravel(), boxes.reshape(-1, 4)


def _largest(maps: Map) -> Map:
    """Return the largest value of each 2x2 cells."""
    top, bottom = maps[..., ::2, :], maps[..., 1::2, :]
    return np.asarray(
        np.maximum(np.maximum(top[..., ::2], top[..., 1::2]), np.maximum(bottom[..., ::2], bottom[..., 1::2]))
    )


def _overlap(box: Floats, boxes: Floats) -> Floats:
    """Return the intersection over union of a box with each of the others."""
    inner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = np.clip(inner, 0, None).prod(axis=1)
    return np.asarray(common / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - common))
