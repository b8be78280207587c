"""The picture with its windows drawn into it: every label can be read, however little room there is."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageColor, ImageDraw, ImageFont

from cloudfn import crop
from cloudfn.cli import preview
from cloudfn.crop.picture import Limits

LABELS = {"1": 1.0, "2.35": 2.35, "16:9": 16 / 9, "3:4": 3 / 4, "9:16": 9 / 16}
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442")
FONT = ImageFont.load_default(size=12)  # that of pictures with little room


def codes(image: Image.Image) -> npt.NDArray[np.uint32]:
    return np.asarray(image.convert("RGB"), dtype=np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)


def times(whole: npt.NDArray[np.uint32], text: str, ink: str, paper: str) -> int:
    """How often the text stands in the picture, each of its pixels to be seen."""
    left, top, right, bottom = (round(edge) for edge in FONT.getbbox(text))
    written = Image.new("RGB", (right - left, bottom - top), ImageColor.getrgb(paper))
    ImageDraw.Draw(written).text((-left, -top), text, fill=ink, font=FONT)
    wanted = codes(written)
    rows, columns = (length - part + 1 for length, part in zip(whole.shape, wanted.shape, strict=True))
    same = np.ones((max(rows, 0), max(columns, 0)), dtype=bool)
    for (y, x), code in np.ndenumerate(wanted):
        same &= whole[y : y + rows, x : x + columns] == code
    return int(same.sum())


@pytest.mark.parametrize(
    "size", [(40, 30), (30, 40), (400, 90), (1600, 60), (60, 1600), (1600, 20), (20, 1600), (1, 1)]
)
def test_no_label_hides_another(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.new("RGB", size, "#808080").save(file, "PNG")
    found = crop.find(file.getvalue(), list(LABELS.values()))
    labels = list(LABELS)
    drawn = preview.draw(file.getvalue(), found.boxes, labels, ".png", Limits())
    explained = preview.explain(file.getvalue(), found.explain(), labels, ".png", Limits())
    for picture, line in ((drawn, "{}"), (explained, "{}: keeps ")):
        whole = codes(Image.open(io.BytesIO(picture)))
        for label, colour in zip(labels, COLOURS, strict=True):
            assert times(whole, label, "black", colour) or times(whole, line.format(label), "white", "#202020"), label
