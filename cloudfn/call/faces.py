"""The types of cloud calls, for editors and type checkers: parameters, results, and the attributes of `openapi`.

Nothing of this is imported when a call is made. A row of `apis.APIS` that has no type here works all the same; its
result is a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypedDict, overload


class CropBox(TypedDict):
    """A box in pixels of the picture as displayed, origin top left; right and bottom are *inside* the box."""

    cropLeft: int
    cropTop: int
    cropRight: int
    cropBottom: int


class ImageSize(TypedDict):
    """Width and height of the picture as displayed, in pixels."""

    w: int
    h: int


class CropResult(TypedDict):
    """The result of `openapi.img.aiCrop`: a box for each aspect ratio, in order; errCode is 0."""

    results: list[CropBox]
    imgSize: ImageSize
    errMsg: str
    errCode: int


class _NamedPart(TypedDict, total=False):
    fileName: str


class Part(_NamedPart):
    """A picture: its media type, and its content as bytes, base64 text, or what a Buffer becomes in JSON."""

    contentType: str
    value: Any


Picture: TypeAlias = Part | bytes | bytearray | memoryview | Path
AspectRatio: TypeAlias = str | float
AspectRatios: TypeAlias = AspectRatio | Sequence[AspectRatio] | None


class CropParameters(TypedDict, total=False):
    """Exactly one of `imgUrl` and `img`; `ratios` are width / height, at most five, none for an automatic crop."""

    imgUrl: str
    img: Picture
    ratios: AspectRatios


class AiCrop(Protocol):
    """`openapi.img.aiCrop`: finds the best crop of a picture for each aspect ratio. Raises `CloudError`."""

    @overload
    def __call__(self, parameters: CropParameters, /) -> CropResult: ...
    @overload
    def __call__(self, *, imgUrl: str, ratios: AspectRatios = None) -> CropResult: ...
    @overload
    def __call__(self, *, img: Picture, ratios: AspectRatios = None) -> CropResult: ...


class Img(Protocol):
    """`openapi.img`: pictures."""

    @property
    def aiCrop(self) -> AiCrop:
        """Find the best crop of a picture for each aspect ratio."""

    def __getattr__(self, name: str) -> Any: ...
