"""Convolutions as matrix products, against their definition."""

import numpy as np
import numpy.typing as npt
import pytest

from cloudfn.crop import convolution, people

Map = npt.NDArray[np.float32]


def numbers(*shape: int) -> Map:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def defined(maps: Map, kernel: Map, bias: Map, stride: int) -> Map:
    """Convolution with a kernel (out, size, size, in), cell by cell, padded as TensorFlow's "SAME"."""
    size, side = kernel.shape[1], -(-maps.shape[-1] // stride)
    before = max((side - 1) * stride + size - maps.shape[-1], 0) // 2
    padded = np.pad(maps, ((0, 0), (0, 0), (before, size), (before, size)))
    out = np.empty((len(kernel), maps.shape[1], side, side), dtype=np.float32)
    for y in range(side):
        for x in range(side):
            part = padded[:, :, y * stride : y * stride + size, x * stride : x * stride + size]
            out[:, :, y, x] = np.einsum("oyxi,inyx->on", kernel, part) + bias[:, None]
    return out


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("size", "side"), [(3, 8), (5, 8), (5, 6), (3, 7)])
def test_dense(size: int, side: int, stride: int) -> None:
    maps, kernel, bias = numbers(3, 2, side, side), numbers(4, size, size, 3), numbers(4)
    found = convolution.dense(maps, kernel, bias, stride)
    assert found == pytest.approx(defined(maps, kernel, bias, stride), abs=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("size", "side"), [(3, 8), (5, 8), (5, 6), (3, 7)])
def test_depthwise(size: int, side: int, stride: int) -> None:
    maps, kernel, bias = numbers(4, 2, side, side), numbers(size, size, 4), numbers(4)
    full = np.zeros((4, size, size, 4), dtype=np.float32)
    for channel in range(4):
        full[channel, :, :, channel] = kernel[:, :, channel]
    found = convolution.depthwise(maps, convolution.banded(kernel, side, stride), bias, stride)
    assert found == pytest.approx(defined(maps, full, bias, stride), abs=1e-4)


def test_pointwise_and_activations() -> None:
    maps, kernel, bias = numbers(5, 2, 6, 6), numbers(7, 5), numbers(7)
    expected = np.einsum("oi,inyx->onyx", kernel, maps) + bias[:, None, None, None]
    assert convolution.pointwise(maps, kernel, bias) == pytest.approx(expected, abs=1e-5)
    values = np.array([-4, -3, 0, 1, 3, 5], dtype=np.float32)
    assert convolution.hard_swish(values) == pytest.approx([0, 0, 0, 4 / 6, 3, 5])
    assert convolution.sigmoid(np.array([-1e4, 0, 1e4], dtype=np.float32)) == pytest.approx([0, 0.5, 1])
    assert convolution.relu(values.copy()) == pytest.approx([0, 0, 0, 1, 3, 5])


@pytest.mark.parametrize("columns", [1, 9, 1000])
def test_a_product_in_pieces_is_the_product(columns: int) -> None:
    matrix, right = numbers(60, 70), numbers(2, 70, columns)
    assert convolution.product(matrix, right) == pytest.approx(matrix @ right, abs=1e-4)


def test_the_networks_come_with_all_their_numbers() -> None:
    assert sum(array.size for array in convolution.network("people").values()) == 90128
    levels = people.levels(np.zeros((128, 128, 3), dtype=np.uint8))
    assert [level.shape for level in levels] == [(24, 16, 16), (32, 8, 8), (32, 8, 8)]


def test_the_stem_sees_the_picture_and_its_mirror_image() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    kernel, bias = numbers(4, 3, 3, 3), numbers(4)
    plain = np.moveaxis(rgb, 2, 0).astype(np.float32) / 255
    expected = defined(np.stack([plain, plain[..., ::-1]], axis=1), kernel, bias, 2)
    assert people.stem(rgb, kernel, bias) == pytest.approx(expected, abs=1e-4)


def test_a_mirrored_picture_has_mirrored_maps() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    for level, mirrored in zip(people.levels(picture), people.levels(picture[:, ::-1]), strict=True):
        assert mirrored[..., ::-1] == pytest.approx(level, abs=1e-3)
