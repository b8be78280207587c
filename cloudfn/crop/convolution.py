"""The layers of a small convolutional network, as matrix products.

Maps are float32 arrays of shape (channels, pictures, side, side). Convolutions are padded with zeros so that the result
has 1/stride of the side ("SAME": where an odd number of zeros is missing, the last row or column has one more).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from cloudfn import forks

Map = npt.NDArray[np.float32]

# OpenBLAS gives a matrix product to several threads from this many multiplications on. For ours, which take
# microseconds, waking them costs more than it saves, above all where every core has a worker of its own; and what each
# thread adds up depends on how many there are.
_ONE_THREAD = 64**3


def product(matrix: Map, columns: Map) -> Map:
    """Return matrix @ columns, computed a few columns at a time."""
    block = max(1, _ONE_THREAD // matrix.size)
    if columns.shape[-1] <= block:
        return matrix @ columns
    out = np.empty((*columns.shape[:-2], len(matrix), columns.shape[-1]), dtype=np.float32)
    for at in range(0, columns.shape[-1], block):
        np.matmul(matrix, columns[..., at : at + block], out=out[..., at : at + block])
    return out


def dense(maps: Map, kernel: Map, bias: Map, stride: int) -> Map:
    """Convolve; `kernel`: (out channels, size, size, in channels), `bias`: (out channels,)."""
    size, side = kernel.shape[1], -(-maps.shape[-1] // stride)
    padded = _padded(maps, size, stride, columns=True)
    reach = (side - 1) * stride + 1
    taps = np.empty((size, size, *maps.shape[:2], side, side), dtype=np.float32)
    for y in range(size):
        for x in range(size):
            taps[y, x] = padded[..., y : y + reach : stride, x : x + reach : stride]
    return pointwise(taps.reshape(-1, *taps.shape[3:]), kernel.reshape(len(kernel), -1), bias)


def pointwise(maps: Map, kernel: Map, bias: Map) -> Map:
    """Convolve with a kernel of one cell, (out channels, in channels)."""
    out = product(kernel, maps.reshape(len(maps), -1))
    out += bias[:, None]
    return out.reshape(len(kernel), *maps.shape[1:])


def depthwise(maps: Map, bands: Map, bias: Map, stride: int) -> Map:
    """Convolve each channel with a kernel of its own, in the form of `banded` matrices.

    A row of the result is a sum of some rows of the map, each times a matrix. That is more multiplications than the
    kernel has, and still several times as fast as adding shifted maps up.
    """
    size, side = len(bands), -(-maps.shape[-1] // stride)
    padded = _padded(maps, size, stride, columns=False)
    reach = (side - 1) * stride + 1
    out: Map = padded[:, :, :reach:stride] @ bands[0]
    for y in range(1, size):
        out += padded[:, :, y : y + reach : stride] @ bands[y]
    out += bias[:, None, None, None]
    return out


def banded(kernel: Map, side: int, stride: int) -> Map:
    """Return the matrices (size, channels, 1, side, side / stride) of a depthwise kernel (size, size, channels)."""
    size = len(kernel)
    before = _missing(side, size, stride) // 2
    at, to = np.arange(side)[:, None], np.arange(-(-side // stride)) * stride - before
    taps = np.stack([(at == to + x) for x in range(size)]).astype(np.float32)
    return np.ascontiguousarray(np.einsum("yxc,xst->ycst", kernel, taps)[:, :, None])


def _missing(side: int, size: int, stride: int) -> int:
    return int(max((-(-side // stride) - 1) * stride + size - side, 0))


def _padded(maps: Map, size: int, stride: int, columns: bool) -> Map:
    side = maps.shape[-1]
    missing = _missing(side, size, stride)
    if not missing:
        return maps
    before = missing // 2
    out = np.zeros((*maps.shape[:2], side + missing, side + (missing if columns else 0)), dtype=np.float32)
    at = before if columns else 0
    out[..., before : before + side, at : at + side] = maps
    return out


def relu(maps: Map) -> Map:
    """Return max(0, x), computed in place."""
    np.maximum(maps, 0, out=maps)
    return maps


def hard_swish(maps: Map) -> Map:
    """Return x min(6, max(0, x + 3)) / 6: Howard et al., "Searching for MobileNetV3", ICCV 2019."""
    gate: Map = np.clip(maps + np.float32(3), 0, 6)
    gate *= maps
    gate *= np.float32(1 / 6)
    return gate


def sigmoid(values: Map) -> Map:
    """Return 1 / (1 + exp(-x)); below -80, where exp(-x) is beyond 32 bits, as at -80."""
    return np.asarray(1 / (1 + np.exp(-np.maximum(values, np.float32(-80)))))


@cache
def network(name: str) -> Mapping[str, Map]:
    """Load the parameters of a network that comes with the package, by name of the layer."""
    with forks.held_off():  # reading it loads modules of Python's own
        path = resources.files("cloudfn.crop").joinpath(f"{name}.npz")
        with path.open("rb") as file, np.load(file) as arrays:
            return {key: arrays[key].astype(np.float32) for key in arrays}


@cache
def bands(name: str, layer: str, side: int, stride: int) -> Map:
    """Return the `banded` matrices of a depthwise layer of a network, for maps of this side."""
    return banded(network(name)[f"{layer}.kernel"], side, stride)
