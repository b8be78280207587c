"""How much each part of a picture matters: cheap features, weighted by a logistic model.

All maps are float32 arrays of shape (CELLS, CELLS), rows first, whatever the picture's aspect ratio: cell (i, j)
covers the share i/CELLS .. (i + 1)/CELLS of the height and likewise of the width. On so small a square a Gaussian blur
is two matrix products.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, cached_property
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cloudfn.crop.faces import Floats, face_map, find_faces
from cloudfn.crop.values import Size

Map = npt.NDArray[np.float32]

CELLS = 64
FINE = 2 * CELLS  # edges are measured at twice the resolution
_STRIP = 6  # cells of the picture's border that are taken as background
_TOP = 0.7  # strength of the top weighting; tests/benchmarks/README.md has the curve between objects and heads
_FACE = 12  # saliency in the middle of a face, in means of the map
_WIDE = 6  # cells; sigma of the wide blur of a feature
_FAINT = 0.5  # standard deviation in Lab units: a picture that varies less is flat, from twice as much on it is not
_BINS = 8  # of the colour histogram, an axis


@cache
def _gaussian(sigma: float, side: int) -> Map:
    """Matrix (side, side) that blurs along an axis; rows sum to 1, so the border is not darkened."""
    at = np.arange(side)
    kernel = np.exp(-0.5 * ((at[:, None] - at) / sigma) ** 2)
    kernel[kernel < 1e-9] = 0  # denormal numbers would make the products ten times as slow
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), dtype=np.float32)


# OpenBLAS gives a matrix product to several threads from this many multiplications on. For ours, which take
# microseconds, waking them costs more than it saves, above all where every core has a worker of its own.
_ONE_THREAD = 64**3


def _down(kernel: Map, maps: Map) -> Map:
    """kernel @ maps, a few columns at a time."""
    block = max(1, _ONE_THREAD // kernel.size)
    return np.concatenate([kernel @ maps[..., at : at + block] for at in range(0, maps.shape[-1], block)], axis=-1)


def blur(maps: Map, sigma: float) -> Map:
    """Gaussian blur of the last two axes, which are equally long; `sigma` in cells."""
    kernel = _gaussian(sigma, maps.shape[-1])
    return _down(kernel, _down(kernel, maps).swapaxes(-1, -2)).swapaxes(-1, -2)


def _pooled(fine: Map) -> Map:
    """Means of 2x2 blocks of the last two axes."""
    top, bottom = fine[..., ::2, :], fine[..., 1::2, :]  # four strided sums are ten times as fast as a reshaped mean
    return np.asarray((top[..., ::2] + top[..., 1::2] + bottom[..., ::2] + bottom[..., 1::2]) * np.float32(0.25))


# sRGB to XYZ, IEC 61966-2-1, divided by the white point D65.
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS > 0.04045, ((_LEVELS + 0.055) / 1.055) ** 2.4, _LEVELS / 12.92).astype(np.float32)
_XYZ = np.array(
    [[0.433953, 0.376219, 0.189828], [0.212673, 0.715152, 0.072175], [0.017758, 0.109477, 0.872766]], dtype=np.float32
)


def lab(rgb: npt.NDArray[np.uint8]) -> Map:
    """CIELAB (CIE 15, 8.2.1) of uint8 sRGB: (rows, columns, 3) gives (3, rows, columns).

    Without the linear toe of the formula: everything darker than L = 8 counts as 8.
    """
    linear = _LINEAR.take(rgb).reshape(-1, 3).T
    x, y, z = np.cbrt(np.maximum(_XYZ @ linear, np.float32(0.008856)))
    planes = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
    return np.asarray(planes.reshape(3, *rgb.shape[:2]))


class Layers:
    """What the features are computed from, each made once, when it is first asked for."""

    def __init__(self, rgb: npt.NDArray[np.uint8]) -> None:
        """`rgb`: uint8, shape (FINE, FINE, 3)."""
        self.fine = lab(rgb)
        self.grey = np.asarray(Image.fromarray(rgb).convert("L"))
        self.rgb = _pooled(np.moveaxis(rgb, 2, 0).astype(np.float32))
        self.lab = _pooled(self.fine)
        self._blurred: dict[float, Map] = {}

    @cached_property
    def skin(self) -> Map:
        """Likelihood (0..1) of skin: a Gaussian in the CbCr plane.

        After Hsu et al., "Face detection in color images", PAMI 2002.
        """
        red, green, blue = self.rgb
        cb = 128 - 0.169 * red - 0.331 * green + 0.5 * blue
        cr = 128 + 0.5 * red - 0.419 * green - 0.081 * blue
        return np.asarray(np.exp(-0.5 * (((cb - 108) / 12) ** 2 + ((cr - 150) / 10) ** 2)))

    def blurred(self, sigma: float) -> Map:
        if sigma not in self._blurred:
            self._blurred[sigma] = blur(self.lab, sigma)
        return self._blurred[sigma]

    @cached_property
    def gradients(self) -> Map:
        """Central differences of Lab along x and y, on fine cells: shape (2, 3, FINE, FINE), 0 at the border."""
        steps = np.zeros((2, *self.fine.shape), dtype=np.float32)
        steps[0, :, :, 1:-1] = self.fine[:, :, 2:] - self.fine[:, :, :-2]
        steps[1, :, 1:-1, :] = self.fine[:, 2:, :] - self.fine[:, :-2, :]
        return steps

    @cached_property
    def strips(self) -> Map:
        """Mahalanobis distance of each cell's colour from those of the top, bottom, left and right strip.

        Shape (4, CELLS, CELLS): the background prior of Zhang et al., "Minimum Barrier Salient Object Detection at
        80 FPS", ICCV 2015.
        """
        planes = self.lab
        strips = (planes[:, :_STRIP], planes[:, -_STRIP:], planes[:, :, :_STRIP], planes[:, :, -_STRIP:])
        return np.stack([_mahalanobis(self.blurred(1), strip.reshape(3, -1)) for strip in strips])

    @cached_property
    def bins(self) -> npt.NDArray[np.intp]:
        """Index (0 .. _BINS**3 - 1) of each cell's colour in a Lab histogram."""
        low, high = np.array([[0, -40, -40], [100, 40, 40]], dtype=np.float32)[:, :, None, None]
        scaled = np.clip((self.lab - low) / (high - low) * _BINS, 0, _BINS - 1).astype(np.intp)
        return np.asarray((scaled[0] * _BINS + scaled[1]) * _BINS + scaled[2])

    def histogram(self, weights: Map | None = None) -> Map:
        """Weighted count of cells for each colour, shape (_BINS**3,), smoothed over neighbouring colours."""
        counts = np.bincount(
            self.bins.ravel(), weights=None if weights is None else weights.ravel(), minlength=_BINS**3
        ).astype(np.float32)
        cube = counts.reshape(_BINS, _BINS, _BINS)
        kernel = _gaussian(0.7, _BINS)
        cube = blur(cube, 0.7)
        return np.asarray((kernel @ cube.reshape(_BINS, -1)).ravel())


def _mahalanobis(planes: Map, sample: Map) -> Map:
    """Distance of each cell of (3, rows, columns) from the colours (3, n)."""
    covariance = np.cov(sample) + 20 * np.eye(3)  # the variance of faint noise, so that a flat sample has a distance
    whiten = np.linalg.cholesky(np.linalg.inv(covariance)).T.astype(np.float32)
    centred = planes.reshape(3, -1) - sample.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt(((whiten @ centred) ** 2).sum(axis=0)).reshape(planes.shape[1:]))


# --- Features: Layers -> Map ---------------------------------------------------------------------------------------


def contrast(layers: Layers, near: float, far: float) -> Map:
    """Colour difference between a cell's neighbourhood and its surround (sigmas in cells)."""
    return np.asarray(np.sqrt(((layers.blurred(near) - layers.blurred(far)) ** 2).sum(axis=0)))


def rarity(layers: Layers) -> Map:
    """Minus the logarithm of the share of the picture that has the cell's colour."""
    share = (layers.histogram() + 1) / CELLS**2
    return np.asarray(-np.log(share)[layers.bins], dtype=np.float32)


def off_centre_colour(layers: Layers) -> Map:
    """Distance of the mean position of all cells of this colour from the middle, in sides of the picture."""
    count = layers.histogram() + np.float32(1e-6)
    x = layers.histogram(_X) / count - 0.5
    y = layers.histogram(_Y) / count - 0.5
    return np.asarray(np.hypot(x, y)[layers.bins])


def spectral_residual(layers: Layers) -> Map:
    """Hou & Zhang, "Saliency detection: a spectral residual approach", CVPR 2007, of lightness."""
    spectrum = np.fft.fft2(layers.lab[0])
    magnitude = np.log(np.abs(spectrum) + 1e-3)
    smooth = sum(np.roll(magnitude, (i, j), axis=(0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    residual = np.abs(np.fft.ifft2(np.exp(magnitude - smooth + 1j * np.angle(spectrum)))) ** 2
    return np.sqrt(blur(residual.astype(np.float32), 2))


def colour_edges(layers: Layers) -> Map:
    """Density of colour edges: length of the gradient of (a, b)."""
    return _pooled(np.sqrt((layers.gradients[:, 1:] ** 2).sum(axis=(0, 1))))


FEATURES: dict[str, Callable[[Layers], Map]] = {
    "contrast fine": lambda layers: contrast(layers, 1, 8),
    "contrast": lambda layers: contrast(layers, 2, 8),
    "contrast coarse": lambda layers: contrast(layers, 4, 16),
    "contrast broad": lambda layers: contrast(layers, 4, 32),
    "nearest border": lambda layers: layers.strips.min(axis=0),
    "borders": lambda layers: (layers.strips.sum(axis=0) - layers.strips.max(axis=0)) / 3,  # a subject may touch one
    "edges": lambda layers: _pooled(np.abs(layers.gradients[:, 0]).sum(axis=0)),
    "horizontal edges": lambda layers: _pooled(np.abs(layers.gradients[1, 0])),
    "colour edges": colour_edges,
    "sharpness": lambda layers: _pooled(np.abs(layers.fine[0] - blur(layers.fine[0], 1))),
    "texture": lambda layers: np.sqrt(np.maximum(blur(layers.lab[0] ** 2, 2) - layers.blurred(2)[0] ** 2, 0)),
    "rarity": rarity,
    "off-centre colour": off_centre_colour,
    "saturation": lambda layers: np.hypot(layers.blurred(1)[1], layers.blurred(1)[2]),
    "lightness": lambda layers: layers.blurred(1)[0],
    "redness": lambda layers: layers.blurred(1)[1],
    "yellowness": lambda layers: layers.blurred(1)[2],
    "skin": lambda layers: layers.skin,
    "spectral residual": spectral_residual,
}

# Features whose mean may be 0; they come in Lab units.
_SIGNED = ("lightness", "redness", "yellowness")

_AXIS = ((np.arange(CELLS) + 0.5) / CELLS).astype(np.float32)
_Y, _X = np.meshgrid(_AXIS, _AXIS, indexing="ij")
_FRAME = np.minimum(np.minimum(_X, 1 - _X), np.minimum(_Y, 1 - _Y))

# What a place is worth whatever the picture shows.
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

    A feature has two weights: for its value in a cell, and for its value in the cell's wide neighbourhood.
    """

    bias: float
    features: dict[str, tuple[float, float]]
    places: dict[str, float]
    margins: dict[str, list[float]]


@cache
def weights() -> Weights:
    return Weights(**json.loads(resources.files("cloudfn.crop").joinpath("weights.json").read_text("utf-8")))


def feature_map(name: str, layers: Layers) -> Map:
    """A feature as the model takes it: divided by its mean, so that a faint picture counts as much as a bold one."""
    feature = FEATURES[name](layers)
    return feature * np.float32(0.05) if name in _SIGNED else feature / (feature.mean() + np.float32(1e-3))


def wide(maps: Map) -> Map:
    """What surrounds each cell."""
    return blur(maps, _WIDE)


def face_windows(layers: Layers, size: Size) -> Floats:
    """Where faces are in a picture that is `size` large in truth; see `find_faces`."""
    return find_faces(layers.grey, layers.skin, size)


def saliency_map(layers: Layers, faces: Floats, model: Weights) -> Map:
    """Saliency (> 0) of each cell of a picture in which `faces` were found."""
    local = np.full((CELLS, CELLS), model.bias, dtype=np.float32)
    around = np.zeros_like(local)
    for name, (here, nearby) in model.features.items():
        feature = feature_map(name, layers)
        local += np.float32(here) * feature
        around += np.float32(nearby) * feature
    for name, weight in model.places.items():
        local += np.float32(weight) * PLACES[name]
    saliency = (1 / (1 + np.exp(-local - wide(around)))) ** 2
    saliency += _FACE * saliency.mean() * face_map(faces, CELLS)
    saliency = top_weighted(saliency, _TOP)
    # Where there is nothing to see, nothing is to be preferred, not even the middle or the top.
    evidence = np.clip(layers.lab.std(axis=(1, 2)).max() / _FAINT - 1, 0, 1)
    return np.asarray(saliency * evidence + saliency.mean() * (1 - evidence))


def top_weighted(saliency: Map, strength: float) -> Map:
    """Each row times 1 - strength x share of the saliency above it: where not all fits, heads count more than feet."""
    rows = saliency.sum(axis=1)
    above = (np.cumsum(rows) - rows) / rows.sum()
    return np.asarray(saliency * (1 - np.float32(strength) * above)[:, None])
