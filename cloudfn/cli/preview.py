"""A picture with the crop windows drawn into it, each with its aspect ratio."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from cloudfn import crop
from cloudfn.crop.picture import Limits, open_upright

# File name's ending -> Pillow's format.
EXTENSIONS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

# Longest side of a preview in pixels: enough to judge a crop on a screen.
_SIDE = 1600
# Told apart on any photograph and by colour-blind readers: Okabe & Ito, "Color Universal Design", 2008.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442")


def draw(
    picture: bytes,
    boxes: Sequence[tuple[int, int, int, int]],
    labels: Sequence[str],
    extension: str,
    limits: Limits,
) -> bytes:
    """The picture as displayed, at most 1600 pixels a side, with `boxes` (half-open, pixels) outlined and labelled."""
    image = open_upright(picture, limits)[0].convert("RGB")
    scale = min(1.0, _SIDE / max(image.size))
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    pen = ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 200))
    font = ImageFont.load_default(size=max(12, round(max(image.size) / 28)))
    for number, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        left, top, right, bottom = (round(edge * scale) for edge in box)
        # Boxes that share an edge stay visible: each is drawn a line's width further inside.
        inset = min(number * line, (right - left) // 3, (bottom - top) // 3)
        frame = (left + inset, top + inset, max(left + inset, right - 1 - inset), max(top + inset, bottom - 1 - inset))
        pen.rectangle(frame, outline=colour, width=line)
        _tag(pen, frame, label, colour, font, line)
    file = io.BytesIO()
    image.save(file, EXTENSIONS[extension])
    return file.getvalue()


def explain(
    picture: bytes, explanation: crop.Explanation, labels: Sequence[str], extension: str, limits: Limits
) -> bytes:
    """The picture under its saliency as a heat map, with what led to the boxes.

    Each box has its ratio and score, its runners-up are thin lines of its colour, faces and hints are white, and a
    cross marks the focal point, in pixels and in shares 0..1 of the sides.
    """
    image = open_upright(picture, limits)[0].convert("RGB")
    scale = min(1.0, _SIDE / max(image.size))
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    heat = Image.fromarray((255 * np.sqrt(explanation.map / explanation.map.max())).astype(np.uint8))
    heat = heat.resize(image.size, Image.Resampling.BICUBIC)
    # Dark and grey where there is little to see, the picture's own light in red and yellow where there is much.
    grey = image.convert("L").point([level // 2 for level in range(256)]).convert("RGB")
    hot = ImageOps.colorize(heat, "#200040", "#FFFF80", "#E03010")
    image = Image.blend(grey, hot, 0.55)
    pen = ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 200))
    font = ImageFont.load_default(size=max(12, round(max(image.size) / 36)))

    def frame(box: crop.Box, inset: int) -> tuple[int, int, int, int]:
        left, top, right, bottom = (round(edge * scale) for edge in box)
        inset = min(inset, (right - left) // 3, (bottom - top) // 3)
        return left + inset, top + inset, max(left + inset, right - 1 - inset), max(top + inset, bottom - 1 - inset)

    for box in (*explanation.faces, *explanation.focus):
        pen.rectangle(frame(box, 0), outline="white", width=line)
    for number, (best, others) in enumerate(zip(explanation.boxes, explanation.runners_up, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        for rank, other in enumerate(others, 2):
            around = frame(other.box, (number + rank) * line)
            pen.rectangle(around, outline=colour, width=1)
            pen.text((around[2] - line, around[3] - line), f"{rank}: {other.score:.2f}", colour, font, anchor="rd")
        around = frame(best.box, number * line)
        pen.rectangle(around, outline=colour, width=line)
        _tag(pen, around, f"{labels[number]}: {best.score:.2f}", colour, font, line)
    x, y = (value * scale for value in explanation.focal_point)
    pen.line((x - 5 * line, y, x + 5 * line, y), "white", line)
    pen.line((x, y - 5 * line, x, y + 5 * line), "white", line)
    said = "{:.0f}, {:.0f} px\n{:.2f}, {:.2f}".format(*explanation.focal_point, *explanation.focal_share)
    to_the_left = x > image.width / 2
    at = (x + (-6 if to_the_left else 6) * line, y + line)
    pen.multiline_text(
        at, said, "white", font, anchor="ra" if to_the_left else "la", stroke_width=2, stroke_fill="black"
    )
    file = io.BytesIO()
    image.save(file, EXTENSIONS[extension])
    return file.getvalue()


def _tag(
    pen: ImageDraw.ImageDraw,
    frame: tuple[int, int, int, int],
    label: str,
    colour: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    line: int,
) -> None:
    left, top = frame[0] + line, frame[1] + line
    width, height = pen.textbbox((0, 0), label, font=font)[2:]
    pen.rectangle((left, top, left + width + 2 * line, top + height + 2 * line), fill=colour)
    pen.text((left + line, top + line), label, fill="black", font=font)
