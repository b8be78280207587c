"""Cut a photograph to a square avatar: `python avatar.py photo.jpg avatar.png`."""

import sys
from pathlib import Path

import cloudfn as cloud


def avatar(picture: Path, side: int = 256) -> bytes:
    """Return the picture's best square, `side` by `side` pixels, as PNG."""
    result = cloud.Cloud(backend="local").openapi.img.aiCrop(img=picture, ratios="1")
    (square,) = cloud.cut(picture, result, size=(side, side), format="png")
    return square


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(avatar(Path(sys.argv[1])))
