"""The maps of a network that separates people from the background.

The first half of MediaPipe's selfie segmentation network: a small MobileNetV3 (Howard et al., "Searching for
MobileNetV3", ICCV 2019). Its maps, of which the second half makes a mask of people, tell more than that mask: where the
subject is, whatever it is, and where heads are. The weight of each of them is in `weights.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cloudfn.crop.convolution import (
    Map,
    bands,
    depthwise,
    hard_swish,
    network,
    pointwise,
    product,
    relu,
    sigmoid,
)

# The blocks whose maps are used, and the number of their channels.
LEVELS = {2: 24, 5: 32, 7: 32}


class _Block(NamedTuple):
    """A block of layers: expand, filter, squeeze, project; adds the input where it has the shape of the output."""

    stride: int
    activation: Callable[[Map], Map]
    squeezes: bool


BLOCKS = (
    _Block(2, relu, True),
    _Block(2, relu, False),
    _Block(1, relu, False),
    _Block(2, hard_swish, True),
    *[_Block(1, hard_swish, True)] * 4,
)


def levels(rgb: npt.NDArray[np.uint8]) -> tuple[Map, ...]:
    """Return the maps of LEVELS for a picture squeezed into (side, side, 3), `side` a multiple of 16.

    Shapes: (24, side / 8, side / 8), then twice (32, side / 16, side / 16). They are means of what is seen in the
    picture and in its mirror image, so that a mirrored picture has mirrored maps.
    """
    seen = []
    layers = network("people")
    maps = hard_swish(stem(rgb, layers["stem.kernel"], layers["stem.bias"]))
    for number, (stride, activation, squeezes) in enumerate(BLOCKS):
        before = maps
        maps = activation(pointwise(maps, *_pair(number, "expand")))
        matrices = bands("people", f"{number}.filter", maps.shape[-1], stride)
        maps = activation(depthwise(maps, matrices, layers[f"{number}.filter.bias"], stride))
        if squeezes:
            maps *= _gate(number, maps)
        maps = pointwise(maps, *_pair(number, "project"))
        if stride == 1:
            maps += before
        if number in LEVELS:
            seen.append((maps[:, 0] + maps[:, 1, :, ::-1]) * np.float32(0.5))
    return tuple(seen)


def stem(rgb: npt.NDArray[np.uint8], kernel: Map, bias: Map) -> Map:
    """Convolve a picture and its mirror image with a kernel (channels, 3, 3, 3) at every other cell.

    Returns (channels, 2, side / 2, side / 2). The mirror image is never made: a kernel on it sees the same cells as a
        mirrored kernel on the picture, a column to the left, so four columns are gathered once for both.
    """
    side, half = len(rgb), len(rgb) // 2
    padded = np.zeros((3, side + 1, side + 4), dtype=np.float32)
    np.multiply(np.moveaxis(rgb, 2, 0), np.float32(1 / 255), out=padded[:, :side, 2 : side + 2])
    even, odd = (np.ascontiguousarray(padded[..., first::2]) for first in (0, 1))
    taps = np.empty((3, 4, 3, half, half), dtype=np.float32)
    for row in range(3):
        for column, (columns, at) in enumerate(((odd, 0), (even, 1), (odd, 1), (even, 2))):
            taps[row, column] = columns[:, row : row + side - 1 : 2, at : at + half]
    both = np.zeros((2, len(kernel), 3, 4, 3), dtype=np.float32)
    both[0, :, :, 1:] = kernel
    both[1, :, :, :3] = kernel[:, :, ::-1]
    plain, mirrored = pointwise(taps.reshape(36, half, half), both.reshape(-1, 36), np.tile(bias, 2)).reshape(
        2, len(kernel), half, half
    )
    return np.stack([plain, mirrored[..., ::-1]], axis=1)


def _gate(number: int, maps: Map) -> Map:
    """Return weights for the channels: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018."""
    means = maps.mean(axis=(2, 3))
    squeeze, excite = _pair(number, "squeeze"), _pair(number, "excite")
    hidden = relu(product(squeeze[0], means) + squeeze[1][:, None])
    return sigmoid(product(excite[0], hidden) + excite[1][:, None])[..., None, None]


def _pair(number: int, layer: str) -> tuple[Map, Map]:
    layers = network("people")
    return layers[f"{number}.{layer}.kernel"], layers[f"{number}.{layer}.bias"]
