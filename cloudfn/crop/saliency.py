"""The saliency of each part of a picture: cheap features and a small network's maps, weighted by a logistic model.

All maps are float32 arrays of shape (CELLS, CELLS), rows first, whatever the picture's aspect ratio: cell (i, j)
covers the share i/CELLS .. (i + 1)/CELLS of the height and likewise of the width. On so small a square a Gaussian blur
is two matrix products.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cloudfn import forks
from cloudfn.crop import people
from cloudfn.crop.convolution import Map, product, sigmoid

CELLS = 64
FINE = 2 * CELLS  # edges are measured at twice the resolution
_STRIP = 6  # cells of the picture's border that are taken as background
TOP = 0.25  # strength of the top weighting; tests/benchmarks/README.md has the curve between objects and heads
WIDE = 6  # cells; sigma of the wide blur of a feature
_FAINT = 0.5  # standard deviation in Lab units: a picture that varies less is flat, from twice as much on it is not


@cache
def gaussian(sigma: float, side: int) -> Map:
    """Return the matrix (side, side) that blurs along an axis; rows sum to 1, so the border is not darkened."""
    at = np.arange(side)
    kernel = np.exp(-0.5 * ((at[:, None] - at) / sigma) ** 2)
    kernel[kernel < 1e-9] = 0  # denormal numbers would make the products ten times as slow
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), dtype=np.float32)


def blur(maps: Map, sigma: float) -> Map:
    """Apply a Gaussian blur along the last two axes, which are equally long; `sigma` in cells."""
    kernel = gaussian(sigma, maps.shape[-1])
    return product(kernel, product(kernel, maps).swapaxes(-1, -2)).swapaxes(-1, -2)


def _pooled(fine: Map) -> Map:
    """Return the means of 2x2 blocks of the last two axes."""
    top, bottom = fine[..., ::2, :], fine[..., 1::2, :]  # four strided sums are ten times as fast as a reshaped mean
    return np.asarray((top[..., ::2] + top[..., 1::2] + bottom[..., ::2] + bottom[..., 1::2]) * np.float32(0.25))


# sRGB to XYZ, IEC 61966-2-1, divided by the white point D65.
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS > 0.04045, ((_LEVELS + 0.055) / 1.055) ** 2.4, _LEVELS / 12.92).astype(np.float32)
_XYZ = np.array(
    [[0.433953, 0.376219, 0.189828], [0.212673, 0.715152, 0.072175], [0.017758, 0.109477, 0.872766]], dtype=np.float32
)
_OPPONENT = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=np.float32)


def lab(rgb: npt.NDArray[np.uint8]) -> Map:
    """Return the CIELAB (CIE 15, 8.2.1) of uint8 sRGB: (rows, columns, 3) becomes (3, rows, columns).

    Without the linear toe of the formula: everything darker than L = 8 counts as 8.
    """
    xyz = _XYZ @ _LINEAR.take(rgb).reshape(-1, 3).T
    planes = _OPPONENT @ np.cbrt(np.maximum(xyz, np.float32(0.008856)))
    planes[0] -= 16
    return np.asarray(planes.reshape(3, *rgb.shape[:2]))


class Layers:
    """The inputs of the features."""

    def __init__(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Compute the layers of `rgb`: uint8, shape (FINE, FINE, 3)."""
        self.pixels = rgb
        self.fine = lab(rgb)
        self.rgb = _pooled(np.moveaxis(rgb, 2, 0).astype(np.float32))
        self.lab = _pooled(self.fine)
        self.blurred = {sigma: blur(self.lab, sigma) for sigma in (1, 2, 4, 8, 16, 32)}
        # Mahalanobis distance of each cell's colour from those of the top, bottom, left and right strip: the
        # background prior of Zhang et al., "Minimum Barrier Salient Object Detection at 80 FPS", ICCV 2015.
        planes = self.lab
        strips = (planes[:, :_STRIP], planes[:, -_STRIP:], planes[:, :, :_STRIP], planes[:, :, -_STRIP:])
        self.strips = _mahalanobis(self.blurred[1], [strip.reshape(3, -1) for strip in strips])


def _mahalanobis(planes: Map, samples: Sequence[Map]) -> Map:
    """Return the distance of each cell (3, rows, columns) from each sample (3, n): (samples, rows, columns)."""
    whitening, middles = [], []
    for sample in samples:
        covariance = np.cov(sample) + 20 * np.eye(
            3
        )  # the variance of faint noise, so that a flat sample has a distance
        whitening.append(np.linalg.cholesky(np.linalg.inv(covariance)).T)
        middles.append(whitening[-1] @ sample.mean(axis=1))
    whitened = np.concatenate(whitening).astype(np.float32) @ planes.reshape(3, -1)
    whitened -= np.concatenate(middles).astype(np.float32)[:, None]
    whitened *= whitened
    return np.asarray(np.sqrt(whitened.reshape(len(samples), 3, -1).sum(axis=1)).reshape(-1, *planes.shape[1:]))


# --- Features: Layers -> Map ---------------------------------------------------------------------------------------


def contrast(layers: Layers, near: int, far: int) -> Map:
    """Return the colour difference between a cell's neighbourhood and its surround (sigmas in cells)."""
    return np.asarray(np.sqrt(((layers.blurred[near] - layers.blurred[far]) ** 2).sum(axis=0)))


def edges(layers: Layers) -> Map:
    """Return the density of edges: central differences of lightness along x and along y."""
    lightness = layers.fine[0]
    steps = np.zeros_like(lightness)
    steps[:, 1:-1] = np.abs(lightness[:, 2:] - lightness[:, :-2])
    steps[1:-1] += np.abs(lightness[2:] - lightness[:-2])
    return _pooled(steps)


def skin(layers: Layers) -> Map:
    """Return the likelihood (0..1) of skin: a Gaussian in the CbCr plane.

    After Hsu et al., "Face detection in color images", PAMI 2002.
    """
    red, green, blue = layers.rgb
    cb = 128 - 0.169 * red - 0.331 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.419 * green - 0.081 * blue
    return np.asarray(np.exp(-0.5 * (((cb - 108) / 12) ** 2 + ((cr - 150) / 10) ** 2)))


FEATURES: dict[str, Callable[[Layers], Map]] = {
    "contrast fine": lambda layers: contrast(layers, 1, 8),
    "contrast": lambda layers: contrast(layers, 2, 8),
    "contrast coarse": lambda layers: contrast(layers, 4, 16),
    "contrast broad": lambda layers: contrast(layers, 4, 32),
    "nearest border": lambda layers: layers.strips.min(axis=0),
    "borders": lambda layers: (layers.strips.sum(axis=0) - layers.strips.max(axis=0)) / 3,  # a subject may touch one
    "edges": edges,
    "saturation": lambda layers: np.hypot(layers.blurred[1][1], layers.blurred[1][2]),
    "lightness": lambda layers: layers.blurred[1][0],
    "redness": lambda layers: layers.blurred[1][1],
    "yellowness": lambda layers: layers.blurred[1][2],
    "skin": skin,
}

# Features whose mean may be 0; they come in Lab units.
_SIGNED = ("lightness", "redness", "yellowness")

_AXIS = ((np.arange(CELLS) + 0.5) / CELLS).astype(np.float32)
_Y, _X = np.meshgrid(_AXIS, _AXIS, indexing="ij")
_FRAME = np.minimum(np.minimum(_X, 1 - _X), np.minimum(_Y, 1 - _Y))

# The weight of a place, whatever the picture shows.
PLACES: dict[str, Map] = {
    "centre x": np.exp(-0.5 * ((_X - 0.5) / 0.2) ** 2),
    "centre y": np.exp(-0.5 * ((_Y - 0.5) / 0.2) ** 2),
    "side": (_X - 0.5) ** 2,
    "down": _Y,
    "from the frame": _FRAME,
    "near the frame": np.minimum(_FRAME, 0.12),
    "near the top": np.minimum(_Y, 0.12),
    "near the bottom": np.minimum(1 - _Y, 0.12),
}


class Weights(NamedTuple):
    """The model, as data: `weights.json`, set by `tests/benchmarks/set_weights.py`.

    A feature, and each map of the network (`people`, a list for each of its levels), has two weights: for its value in
    a cell, and for its value in the cell's wide neighbourhood.
    """

    bias: float
    people: list[list[tuple[float, float]]]
    features: dict[str, tuple[float, float]]
    places: dict[str, float]
    margins: dict[str, list[float]]


@cache
def weights() -> Weights:
    with forks.held_off():  # reading it loads modules of Python's own
        return Weights(**json.loads(resources.files("cloudfn.crop").joinpath("weights.json").read_text("utf-8")))


def feature_map(name: str, layers: Layers) -> Map:
    """Return a feature divided by its mean, so that a faint picture counts as much as a bold one."""
    feature = FEATURES[name](layers)
    return feature * np.float32(0.05) if name in _SIGNED else feature / (feature.mean() + np.float32(1e-3))


def wide(maps: Map) -> Map:
    """Return the blurred surroundings of each cell."""
    return blur(maps, WIDE)


@cache
def between(cells: int) -> Map:
    """Return the matrix (CELLS, cells) of linear interpolation along an axis, constant beyond the outermost middles."""
    at = np.clip((np.arange(CELLS) + 0.5) * cells / CELLS - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells))), dtype=np.float32)


def enlarged(maps: Map) -> Map:
    """Interpolate coarse maps (..., n, n) to (..., CELLS, CELLS)."""
    matrix = between(maps.shape[-1])
    return product(matrix, product(matrix, maps.swapaxes(-1, -2)).swapaxes(-1, -2))


def saliency_map(layers: Layers, model: Weights) -> Map:
    """Return the saliency (> 0) of each cell."""
    local = np.full((CELLS, CELLS), model.bias, dtype=np.float32)
    around = np.zeros_like(local)
    # The maps of the network are weighted while they are small.
    for pairs, maps in zip(model.people, people.levels(layers.pixels), strict=True):
        here, nearby = np.tensordot(np.array(pairs, dtype=np.float32).T, maps, axes=1)
        local += enlarged(here)
        around += enlarged(nearby)
    for name, (own, wider) in model.features.items():
        feature = feature_map(name, layers)
        local += np.float32(own) * feature
        around += np.float32(wider) * feature
    for name, weight in model.places.items():
        local += np.float32(weight) * PLACES[name]
    saliency = top_weighted(sigmoid(local + wide(around)), TOP)
    # A picture that shows nothing has no preferred place, not even the middle or the top.
    evidence = np.clip(layers.lab.std(axis=(1, 2)).max() / _FAINT - 1, 0, 1)
    return np.asarray(saliency * evidence + saliency.mean() * (1 - evidence))


def top_weighted(saliency: Map, strength: float) -> Map:
    """Return each row times 1 - strength x share of the saliency above it: where not all fits, heads count most."""
    rows = saliency.sum(axis=1)
    above = (np.cumsum(rows) - rows) / rows.sum()
    return np.asarray(saliency * (1 - np.float32(strength) * above)[:, None])
