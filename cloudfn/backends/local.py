"""The embedded engine in WeChat's place: the same JSON; no account, no quota, no network (but for a picture's URL)."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from cloudfn import crop, forks
from cloudfn.backends.barcodes import check_installed, scan
from cloudfn.boxes import corners
from cloudfn.call.media import Bytes
from cloudfn.call.values import Call, Trace
from cloudfn.errors import CloudError, named, refusal
from cloudfn.settings import Settings

Find: TypeAlias = Callable[..., crop.Found]  # called as cloudfn.crop.find(picture, ratios, max_megapixels=..., ...)


_log = logging.getLogger("cloudfn")

_WECHAT_TAKES = 2_000_000  # bytes; whether "2 MB" means these or 2 MiB is unknown

# A PNG of one grey pixel.
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="


class Local:
    """The backend that answers from `cloudfn.crop`; thread-safe."""

    name = "local"

    def __init__(self, settings: Settings, *, find: Find = crop.find) -> None:
        self._settings = settings
        self._find = find

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        """Return WeChat's JSON for `call`: corners in pixels of the picture as displayed, right and bottom inclusive.

        Raises `CloudError`: 101002 for anything but a picture and for one too large, 101000 for a URL that cannot be
        fetched, -601002 where the engine's packages are not installed, -604100 for an API that only WeChat answers.
        """
        self.check(call.api)
        try:
            trace.attempts = 1
            picture = self._picture(call)
            trace.bytes = len(picture)
            limits = {
                "max_megapixels": self._settings.max_megapixels,
                "max_jpeg_megapixels": self._settings.max_jpeg_megapixels,
                "seconds": call.deadline.left,
            }
            return _ANSWERS[call.api].answer(picture, call, self._find, limits)
        except CloudError as error:
            raise named(error, call.api) from error

    def check(self, api: str) -> None:
        """Raise `CloudError` for an API that is not answered: -604100, and -601002 where its packages are missing."""
        if api not in _ANSWERS:
            cure = "use CLOUDFN_BACKEND=wechat for it"
            raise refusal(-604100, "WeChat alone answers this API, the embedded engine does not", cure, api=api)
        try:
            with forks.held_off():
                _ANSWERS[api].check_installed()
        except CloudError as error:
            raise named(error, api) from error

    def begin(self, api: str) -> None:
        """Do nothing: the engine needs no head start."""

    def warm_up(self, *, network: bool = False) -> None:  # noqa: ARG002 - it has none
        """Load the engine and its networks, with the smallest of pictures."""
        self._find(base64.b64decode(_PIXEL), (1.0,))

    def close(self) -> None:
        """Do nothing: the engine has no connections."""

    def _picture(self, call: Call) -> Bytes:
        if "img" not in call.params:
            return fetched(call.params["imgUrl"], self._settings, seconds=call.deadline.left)
        picture: Bytes = call.params["img"].value
        if len(picture) >= _WECHAT_TAKES:
            _log.warning("openapi.%s: the picture has %d bytes; WeChat takes less than 2 MB", call.api, len(picture))
        return picture


def _ai_crop(picture: Bytes, call: Call, find: Find, limits: Mapping[str, float]) -> dict[str, Any]:
    ratios = call.params["ratios"].values if "ratios" in call.params else ()
    result = find(picture, ratios, **limits)
    return {
        "errcode": 0,
        "errmsg": "ok",
        "results": [corners(box) for box in result.boxes],
        "img_size": {"w": result.size.width, "h": result.size.height},
    }


def _scan(picture: Bytes, _call: Call, _find: Find, limits: Mapping[str, float]) -> dict[str, Any]:
    return scan(picture, **limits)


def fetched(
    url: str, settings: Settings, hold: Callable[[int], None] = lambda _count: None, *, seconds: float
) -> bytes:
    """Fetch the picture behind a URL, within the limits of the settings and half of the seconds.

    Raises `CloudError`: 101000, and -601002 before any network where the engine's packages are not installed.
    """
    crop.check_installed()
    from cloudfn.net.fetch import fetch

    # Half of the time is for the picture: the rest is for the engine and the answer.
    return fetch(
        url,
        timeout=seconds / 2,
        max_bytes=int(settings.max_url_mib * 1024 * 1024),
        allow_hosts=settings.allow_hosts,
        ca_bundle=settings.ca_bundle,
        hold=hold,
    )


class _Answer(NamedTuple):
    """How an API is answered, and what raises CloudError -601002 where a package for it is missing."""

    check_installed: Callable[[], None]
    answer: Callable[[Bytes, Call, Find, Mapping[str, float]], dict[str, Any]]


_ANSWERS = {
    "img.aiCrop": _Answer(crop.check_installed, _ai_crop),
    "img.scanQRCode": _Answer(check_installed, _scan),
}
