"""What a network that tells people from the rest sees in a picture.

The first half of MediaPipe's selfie segmentation network: a small MobileNetV3 (Howard et al., "Searching for
MobileNetV3", ICCV 2019). Its maps, of which the second half makes a mask of people, tell more than that mask: where the
subject is, whatever it is, and where heads are. What each of them is worth is in `weights.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cloudfn.crop.convolution import (
    Map,
    bands,
    dense,
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
    """Expand, filter, squeeze, project; the input is added where it has the shape of the output."""

    stride: int
    activation: Callable[[Map], Map]
    squeezes: bool


_BLOCKS = (
    _Block(2, relu, True),
    _Block(2, relu, False),
    _Block(1, relu, False),
    _Block(2, hard_swish, True),
    *[_Block(1, hard_swish, True)] * 4,
)


def levels(rgb: npt.NDArray[np.uint8]) -> tuple[Map, ...]:
    """The maps of LEVELS for a picture that is squeezed into (side, side, 3), `side` a multiple of 16.

    Shapes: (24, side / 8, side / 8), then twice (32, side / 16, side / 16). They are means of what is seen in the
    picture and in its mirror image, so that a mirrored picture has mirrored maps.
    """
    seen = []
    layers = network("people")
    plain = np.moveaxis(rgb, 2, 0) * np.float32(1 / 255)
    maps = np.stack([plain, plain[..., ::-1]], axis=1)
    maps = hard_swish(dense(maps, layers["stem.kernel"], layers["stem.bias"], 2))
    for number, (stride, activation, squeezes) in enumerate(_BLOCKS):
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


def _gate(number: int, maps: Map) -> Map:
    """Weights of the channels: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018."""
    means = maps.mean(axis=(2, 3))
    squeeze, excite = _pair(number, "squeeze"), _pair(number, "excite")
    hidden = relu(product(squeeze[0], means) + squeeze[1][:, None])
    return sigmoid(product(excite[0], hidden) + excite[1][:, None])[..., None, None]


def _pair(number: int, layer: str) -> tuple[Map, Map]:
    layers = network("people")
    return layers[f"{number}.{layer}.kernel"], layers[f"{number}.{layer}.bias"]
