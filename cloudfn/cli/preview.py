"""A picture with the crop windows drawn into it, and one that shows why they are where they are."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from cloudfn import crop
from cloudfn.crop.picture import Limits, open_upright

# File name's ending -> Pillow's format.
EXTENSIONS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

# Longest side of a preview in pixels: enough to judge a crop on a screen, and to write into.
_MOST, _LEAST = 1600, 320
# Distinct on any photograph and to colour-blind readers: Okabe & Ito, "Color Universal Design", 2008.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442")
_DIMMED = 0.45  # brightness of the parts that every box cuts away

_Corners = tuple[int, int, int, int]


def draw(
    picture: bytes,
    boxes: Sequence[tuple[int, int, int, int]],
    labels: Sequence[str],
    extension: str,
    limits: Limits,
) -> bytes:
    """Return the picture as displayed, with `boxes` (half-open, pixels) and their labels.

    Its longest side is scaled to 320..1600 pixels. The parts that a box cuts away are dimmed, more so where several
    boxes cut them away. Labels that find no free place in the picture stand below it.
    """
    canvas = _Canvas.of(picture, limits)
    kept = np.zeros((canvas.image.height, canvas.image.width))
    for box in boxes:
        left, top, right, bottom = canvas.corners(box)
        kept[top : bottom + 1, left : right + 1] += 1 / len(boxes)
    light = Image.fromarray(np.round(255 * (_DIMMED + (1 - _DIMMED) * kept)).astype(np.uint8))
    canvas.image.paste(ImageChops.multiply(canvas.image, light.convert("RGB")))
    canvas.outline([canvas.corners(box) for box in boxes])
    outside = []
    for number, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        if not canvas.tag(canvas.corners(box), label, colour):
            outside.append((colour, label))
    return canvas.encoded(canvas.above(outside) if outside else canvas.image, extension)


def explain(
    picture: bytes, explanation: crop.Explanation, labels: Sequence[str], extension: str, limits: Limits
) -> bytes:
    """Return the picture with its saliency glowing in it, the reasons for the boxes, and a legend below.

    Each box has its colour, each runner-up a thin dashed line of it and its rank; faces and the caller's boxes are
    white, and a cross marks the focal point. A label that finds no free place in the picture is in the legend alone.
    """
    canvas = _Canvas.of(picture, limits)
    share = np.sqrt(explanation.map / explanation.map.max())
    heat = Image.fromarray((130 * share).astype(np.uint8)).resize(canvas.image.size, Image.Resampling.BICUBIC)
    grey = Image.blend(canvas.image.convert("L").convert("RGB"), canvas.image, 0.4)
    canvas.image.paste(Image.blend(grey, Image.new("RGB", grey.size), 0.35))
    canvas.image.paste(Image.new("RGB", grey.size, "#FF5A1E"), mask=heat)
    for place in (*explanation.faces, *explanation.focus):
        canvas.pen.rectangle(canvas.corners(place), outline="white", width=canvas.line)
    for number, others in enumerate(explanation.runners_up):
        for other in others:
            canvas.dashed(canvas.corners(other.box), _COLOURS[number % len(_COLOURS)], 0, 2, max(1, canvas.line // 2))
    canvas.outline([canvas.corners(best.box) for best in explanation.boxes])
    x, y = (value * canvas.scale for value in explanation.focal_point)
    reach = 5 * canvas.line
    for colour, width in (("black", canvas.line + 2), ("white", canvas.line)):
        canvas.pen.line((x - reach, y, x + reach, y), colour, width)
        canvas.pen.line((x, y - reach, x, y + reach), colour, width)
    canvas.tags.append((round(x) - reach, round(y) - reach, round(x) + reach, round(y) + reach))
    legend: list[tuple[str, str]] = []
    for number, (best, others) in enumerate(zip(explanation.boxes, explanation.runners_up, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        canvas.tag(canvas.corners(best.box), labels[number], colour)
        legend.append((colour, f"{labels[number]}: keeps {best.score:.2f} of what the map shows"))
        for rank, other in enumerate(others, 2):
            canvas.tag(canvas.corners(other.box), f"{labels[number]} #{rank}", colour, small=True)
            lost = ", but would cut a box that must count" if other.score > best.score else ""
            legend.append((colour, f"   #{rank}: {other.score:.2f}{lost}"))
    point = "{:.0f}, {:.0f} pixels; {:.2f}, {:.2f} of the sides".format(
        *explanation.focal_point, *explanation.focal_share
    )
    legend.append(("white", f"cross: focal point, {point}"))
    if explanation.faces:
        legend.append(("white", f"white: {len(explanation.faces)} face(s)"))
    if explanation.focus:
        legend.append(("white", f"white: {len(explanation.focus)} box(es) that must count"))
    legend.append(("#FF5A1E", "glow: the map, what the engine thinks matters"))
    return canvas.encoded(canvas.above(legend), extension)


class _Canvas(NamedTuple):
    """A picture to draw into, scaled to fit a screen."""

    image: Image.Image
    pen: ImageDraw.ImageDraw
    scale: float
    line: int  # pixels
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont
    tags: list[_Corners]  # taken by labels and the focal point's cross

    @classmethod
    def of(cls, picture: bytes, limits: Limits) -> _Canvas:
        image = open_upright(picture, limits)[0].convert("RGB")
        scale = max(min(1.0, _MOST / max(image.size)), _LEAST / max(image.size))
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        letters = max(12, round(min(max(image.size) / 36, min(image.size) / 8)))
        font = ImageFont.load_default(size=letters)
        return cls(image, ImageDraw.Draw(image), scale, max(2, round(letters / 7)), font, [])

    def corners(self, box: tuple[int, int, int, int]) -> _Corners:
        """Return a half-open box of the picture as its first and last column and row on the canvas."""
        left, top, right, bottom = (round(edge * self.scale) for edge in box)
        return left, top, max(left, right - 1), max(top, bottom - 1)

    def outline(self, frames: Sequence[_Corners]) -> None:
        """Draw frames just inside their edges; on an edge that several share, their colours take turns."""
        for number, frame in enumerate(frames):
            self.pen.rectangle(frame, outline=_COLOURS[number % len(_COLOURS)], width=self.line)
        for number, frame in enumerate(frames):
            self.dashed(frame, _COLOURS[number % len(_COLOURS)], number, len(frames), self.line)

    def dashed(self, frame: _Corners, colour: str, turn: int, turns: int, width: int) -> None:
        """Draw every `turns`-th dash of a frame, beginning with number `turn`."""
        left, top, right, bottom = frame
        dash = 6 * self.line
        for at in range(left - left % dash, right + 1, dash):
            if at // dash % turns == turn:
                first, last = max(left, at), min(right, at + dash - 1)
                self.pen.rectangle((first, top, last, min(bottom, top + width - 1)), colour)
                self.pen.rectangle((first, max(top, bottom - width + 1), last, bottom), colour)
        for at in range(top - top % dash, bottom + 1, dash):
            if at // dash % turns == turn:
                first, last = max(top, at), min(bottom, at + dash - 1)
                self.pen.rectangle((left, first, min(right, left + width - 1), last), colour)
                self.pen.rectangle((max(left, right - width + 1), first, right, last), colour)

    def tag(self, frame: _Corners, label: str, colour: str, small: bool = False) -> bool:
        """Write a label into a frame, at its top left or at the next place where it hides no other label.

        A frame that is narrower or lower than its label has it beginning at its top left, as far as the picture has
        room. Returns whether there was a place inside the picture; where there is none, nothing is drawn.
        """
        width, height = (round(side) for side in self.pen.textbbox((0, 0), label, font=self.font)[2:])
        wide, high = width + 2 * self.line, height + 2 * self.line
        left, top, right, bottom = frame
        last_x = min(max(left, right - wide), self.image.width - 1 - wide)
        last_y = min(max(top, bottom - high), self.image.height - 1 - high)
        places = (
            (x, y)
            for y in range(max(0, min(top, last_y)), last_y + 1, high + 1)
            for x in range(max(0, min(left, last_x)), last_x + 1, wide + 1)
        )
        place = next((place for place in places if self._free(place, wide, high)), None)
        if place is None:
            return False
        x, y = place
        self.tags.append((x, y, x + wide, y + high))
        if small:
            self.pen.rectangle((x, y, x + wide, y + high), fill="black", outline=colour)
        else:
            self.pen.rectangle((x, y, x + wide, y + high), fill=colour)
        self.pen.text((x + self.line, y + self.line), label, fill=colour if small else "black", font=self.font)
        return True

    def _free(self, place: tuple[int, int], wide: int, high: int) -> bool:
        x, y = place
        return all(
            x + wide < left or right < x or y + high < top or bottom < y for left, top, right, bottom in self.tags
        )

    def above(self, legend: Sequence[tuple[str, str]]) -> Image.Image:
        """Return the picture with the legend below it: a line of text for each colour."""
        boxes = [self.pen.textbbox((0, 0), text, font=self.font) for _, text in legend]
        high = round(max(box[3] for box in boxes)) + 2 * self.line
        wide = round(max(box[2] for box in boxes)) + high + 3 * self.line
        whole = Image.new("RGB", (max(self.image.width, wide), self.image.height + high * len(legend)), "#202020")
        whole.paste(self.image)
        pen = ImageDraw.Draw(whole)
        for number, (colour, text) in enumerate(legend):
            y = self.image.height + number * high
            pen.rectangle((self.line, y + self.line, high - self.line, y + high - self.line), fill=colour)
            pen.text((high + self.line, y + self.line), text, fill="white", font=self.font)
        return whole

    @staticmethod
    def encoded(image: Image.Image, extension: str) -> bytes:
        file = io.BytesIO()
        image.save(file, EXTENSIONS[extension])
        return file.getvalue()
