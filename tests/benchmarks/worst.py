"""A contact sheet of the pictures on which the engine does worst: `python -m tests.benchmarks.worst DATA SHEET.png`.

DATA is the folder that `set_weights.py` describes. Twelve for objects, nine each for heads and for people's crops, the
worst ratio of each: red is the engine's box, green the best one (of 41), blue what it is about. Needs what
`set_weights.py` needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from cloudfn.crop import window
from cloudfn.crop.analysis import Analysis
from cloudfn.crop.values import Box
from tests.benchmarks import set_weights

COUNTS = {"objects": 12, "people's heads": 9, "crops": 9}
WIDTH, HEIGHT, COLUMNS = 300, 260, 6


class Case(NamedTuple):
    kind: str
    photo: set_weights.Photo
    worth: float  # of what the best box has
    box: Box
    best: Box


def judged(photo: set_weights.Photo, slide: set_weights.Slide, analysis: Analysis) -> Case:
    """The engine's box for one ratio, to the nearest of the positions that are known."""
    ratio = slide.ratio
    box = analysis.boxes(ratio)[0].box
    wide, high = window.largest(photo.size, ratio)
    free = photo.size[slide.axis] - (wide, high)[slide.axis]
    last = set_weights.POSITIONS - 1
    at = round(box[slide.axis] / free * last) if free else 0
    start = round(int(slide.worth.argmax()) / last * free)
    best = Box(start, 0, start + wide, high) if slide.axis == 0 else Box(0, start, wide, start + high)
    return Case(slide.kind, photo, float(slide.worth[at] / max(slide.worth.max(), 1e-9)), box, best)


def drawn(case: Case) -> Image.Image:
    photo = case.photo
    scale = min(WIDTH / photo.size.width, (HEIGHT - 20) / photo.size.height)
    small = (round(photo.size.width * scale), round(photo.size.height * scale))
    image = Image.fromarray(photo.rgb).resize(small)
    if photo.kind != "fcdb":
        mask = Image.fromarray((photo.mask * 110).astype(np.uint8)).resize(small)
        image.paste((40, 80, 255), mask=mask)
    tile = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    marks = [(case.best, "#00C000"), (case.box, "#FF2020")]
    for box, colour in [(photo.drawn, "#2060FF"), *marks] if photo.kind == "fcdb" else marks:
        pen.rectangle([edge * scale for edge in (box.left, box.top, box.right - 1, box.bottom - 1)], None, colour, 3)
    tile.paste(image, (0, 20))
    ImageDraw.Draw(tile).text((4, 4), f"{photo.kind} {photo.name} {case.worth:.2f}", fill="black")
    return tile


def main() -> None:
    photos, slides = set_weights.load(Path(sys.argv[1]))
    analyses = [Analysis(photo.rgb, photo.size) for photo in photos]
    worst: dict[int, Case] = {}
    for slide in (slide for slide in slides if slide.kind in COUNTS):
        case = judged(photos[slide.photo], slide, analyses[slide.photo])
        if slide.photo not in worst or case.worth < worst[slide.photo].worth:
            worst[slide.photo] = case
    chosen = [
        case
        for kind, count in COUNTS.items()
        for case in sorted((c for c in worst.values() if c.kind == kind), key=lambda c: c.worth)[:count]
    ]
    sheet = Image.new("RGB", (WIDTH * COLUMNS, HEIGHT * -(-len(chosen) // COLUMNS)), "white")
    for number, case in enumerate(chosen):
        sheet.paste(drawn(case), (number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT))
    sheet.save(sys.argv[2])


if __name__ == "__main__":
    main()
