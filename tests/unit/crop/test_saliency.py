"""The features and the saliency map."""

import numpy as np
import numpy.typing as npt
import pytest

from cloudfn.crop import convolution, people, saliency


def picture(colour: tuple[int, int, int] = (120, 120, 120)) -> npt.NDArray[np.uint8]:
    return np.full((saliency.FINE, saliency.FINE, 3), colour, dtype=np.uint8)


def patch(rows: slice, columns: slice) -> npt.NDArray[np.uint8]:
    """A red patch, in cells, on grey with a little texture."""
    image = picture() + np.random.default_rng(0).integers(0, 8, (saliency.FINE, saliency.FINE, 1), dtype=np.uint8)
    image[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop] = (210, 40, 30)
    return image


def saliency_of(image: npt.NDArray[np.uint8]) -> convolution.Map:
    return saliency.saliency_map(saliency.Layers(image), saliency.weights())


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (8, 0, 0)),
        ((255, 0, 0), (53.2, 80.1, 67.2)),
        ((0, 128, 0), (46.2, -51.7, 49.9)),
        ((119, 119, 119), (50, 0, 0)),
    ],
)
def test_lab_agrees_with_published_values(rgb: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    assert saliency.lab(picture(rgb))[:, 0, 0] == pytest.approx(expected, abs=0.2)


def test_blur_keeps_a_flat_map_and_spreads_a_point_evenly() -> None:
    assert saliency.blur(np.ones((64, 64), dtype=np.float32), 8) == pytest.approx(np.ones((64, 64)), abs=1e-5)
    point = np.zeros((64, 64), dtype=np.float32)
    point[32, 32] = 1
    spread = saliency.blur(point, 2)
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    assert spread[32, 36] == pytest.approx(spread[36, 32]) == pytest.approx(spread[28, 32])
    assert spread[32, 34] / spread[32, 32] == pytest.approx(np.exp(-0.5), rel=1e-3)


@pytest.mark.parametrize("name", saliency.FEATURES)
def test_every_feature_is_a_finite_map_also_of_a_flat_picture(name: str) -> None:
    for image in (picture((0, 0, 0)), picture((255, 255, 255)), patch(slice(10, 20), slice(10, 20))):
        feature = saliency.feature_map(name, saliency.Layers(image))
        assert feature.shape == (saliency.CELLS, saliency.CELLS)
        assert np.isfinite(feature).all()


@pytest.mark.parametrize(
    "name",
    ["contrast fine", "contrast", "nearest border", "borders", "saturation", "redness"],
)
def test_a_coloured_patch_stands_out_in_a_feature(name: str) -> None:
    feature = saliency.feature_map(name, saliency.Layers(patch(slice(20, 30), slice(35, 50))))
    assert feature[20:30, 35:50].mean() > 2 * np.abs(np.median(feature))


def test_skin_is_skin() -> None:
    assert saliency.skin(saliency.Layers(picture((224, 172, 140)))).mean() > 0.5
    assert saliency.skin(saliency.Layers(picture((60, 120, 220)))).mean() < 0.05


def test_the_model_names_just_the_features_that_there_are() -> None:
    model = saliency.weights()
    assert [len(level) for level in model.people] == list(people.LEVELS.values())
    assert set(model.features) == set(saliency.FEATURES)
    assert set(model.places) == set(saliency.PLACES)


@pytest.mark.parametrize("row", [8, 27, 46])
@pytest.mark.parametrize("column", [8, 27, 46])
def test_the_map_is_highest_on_the_subject_wherever_it_is(row: int, column: int) -> None:
    found = saliency_of(patch(slice(row, row + 10), slice(column, column + 10)))
    inside = found[row : row + 10, column : column + 10].mean()
    assert inside > 4 * (found.sum() - inside * 100) / (found.size - 100)


def test_the_map_of_a_mirrored_picture_is_the_mirrored_map() -> None:
    image = patch(slice(12, 30), slice(40, 52))
    assert saliency_of(image[:, ::-1])[:, ::-1] == pytest.approx(saliency_of(image), rel=1e-2, abs=1e-3)


def test_the_map_of_a_flat_picture_is_flat_and_of_a_faint_one_nearly() -> None:
    flat = saliency_of(picture())
    assert flat.max() == pytest.approx(flat.min())
    faint = picture()
    faint[::2] += 1
    assert saliency_of(faint).std() / saliency_of(faint).mean() < 0.5


def test_top_weighting_lowers_each_row_by_what_is_above_it() -> None:
    weighted = saliency.top_weighted(np.ones((4, 2), dtype=np.float32), 0.8)
    assert weighted[:, 0] == pytest.approx([1, 0.8, 0.6, 0.4])
