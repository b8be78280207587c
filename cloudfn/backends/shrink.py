"""Smaller copies of pictures that WeChat would refuse for their size; the boxes come back scaled.

WeChat takes less than 2 MB; whether that is 2,000,000 or 2,097,152 bytes is unknown, so the smaller one counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloudfn import crop
from cloudfn.backends.wrappers import Wrapper
from cloudfn.boxes import corners, half_open
from cloudfn.call.values import Backend, Call, Media, Trace
from cloudfn.errors import CloudError, failure, named
from cloudfn.settings import Settings

_TOO_LARGE = 2 * 1024 * 1024  # bytes from which on WeChat refuses a picture
_SMALL = 2_000_000
_LONGER_SIDES = (2048, 1448, 1024, 512)  # pixels, tried in order; the first nearly always suffices
_QUALITY = 90


class Shrunk(Wrapper):
    """A backend that shrinks pictures of 2 MiB and more for the one inside; needs the engine's packages for those."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        super().__init__(backend)
        self._limits: dict[str, Any] = {
            "max_megapixels": settings.max_megapixels,
            "max_jpeg_megapixels": settings.max_jpeg_megapixels,
        }

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        """Return the answer for `call`, in pixels of its own picture; raise what the backend and `crop.cut` raise."""
        part = call.params.get("img")
        if not isinstance(part, Media) or len(part.value) < _TOO_LARGE:
            return self._backend(call, trace)
        try:
            size = crop.size_of(part.value, **self._limits)
            small = self._smaller(part.value, size)
        except CloudError as error:
            raise named(error, call.api) from error
        sent = replace(call, params={**call.params, "img": Media("image/jpeg", small, "img.jpg")})
        answer = self._backend(sent, trace)
        try:
            return self._scaled_back(answer, size, call)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            words = "wechat server internal error, the boxes of the answer cannot be read"
            raise failure(call.api, -601001, words) from None

    def begin(self, api: str) -> None:
        self._backend.begin(api)

    def _smaller(self, picture: bytes | bytearray | memoryview, size: crop.Size) -> bytes:
        whole = crop.Box(0, 0, *size)
        for side in _LONGER_SIDES:
            scaled = (min(side, size.width), None) if size.width >= size.height else (None, min(side, size.height))
            (small,) = crop.cut(picture, [whole], size=scaled, format="jpeg", quality=_QUALITY, **self._limits)
            if len(small) < _SMALL:
                break
        return small

    def _scaled_back(self, answer: dict[str, Any], size: crop.Size, call: Call) -> dict[str, Any]:
        """Return the small picture's boxes as boxes of the picture itself: inside it, and of the call's own ratios."""
        inner = answer.get("img_size")
        boxes = answer.get("results")
        if not isinstance(inner, dict) or not isinstance(boxes, list):
            return answer
        ratios = call.params["ratios"].values if "ratios" in call.params else ()
        across, down = size.width / inner["w"], size.height / inner["h"]
        scaled = []
        for number, box in enumerate(map(half_open, boxes)):
            middle = (box.left + box.right) / 2 * across, (box.top + box.bottom) / 2 * down
            wanted = crop.Size(round((box.right - box.left) * across), round((box.bottom - box.top) * down))
            window = crop.largest(size, ratios[number]) if number < len(ratios) else wanted
            scaled.append(corners(_around(middle, window, size)))
        return {**answer, "results": scaled, "img_size": {"w": size.width, "h": size.height}}


def _around(middle: tuple[float, float], window: crop.Size, size: crop.Size) -> crop.Box:
    """Return the window, inside the picture, with its middle as near to `middle` as that allows."""
    width, height = (max(1, min(side, most)) for side, most in zip(window, size, strict=True))
    left = min(max(0, round(middle[0] - width / 2)), size.width - width)
    top = min(max(0, round(middle[1] - height / 2)), size.height - height)
    return crop.Box(left, top, left + width, top + height)
