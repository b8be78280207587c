"""A picture with the crop windows drawn into it, each with its aspect ratio."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import ImageDraw, ImageFont

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
