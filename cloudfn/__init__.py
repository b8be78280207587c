"""WeChat's cloud calls for Python cloud functions, as wx-server-sdk makes them.

    import cloudfn as cloud
    cloud.init(env=cloud.DYNAMIC_CURRENT_ENV)
    cloud.openapi.img.aiCrop({"imgUrl": "https://example.com/a.jpg", "ratios": "1,2.35"})

Public names are resolved when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudfn.asynchronous import Aio
    from cloudfn.cloud import (
        DYNAMIC_CURRENT_ENV,
        Cloud,
        createNewInstance,
        cut,
        deleteFile,
        downloadFile,
        get_wx_context,
        getTempFileURL,
        getWXContext,
        init,
        openapi,
        uploadFile,
        warm_up,
    )
    from cloudfn.errors import CloudError
    from cloudfn.handler import function
    from cloudfn.net.fetch import fetch

    aio: Aio
    __version__: str

__all__ = [
    "DYNAMIC_CURRENT_ENV",
    "Cloud",
    "CloudError",
    "aio",
    "createNewInstance",
    "cut",
    "deleteFile",
    "downloadFile",
    "fetch",
    "function",
    "getTempFileURL",
    "getWXContext",
    "get_wx_context",
    "init",
    "openapi",
    "uploadFile",
    "warm_up",
]

# Where the public names live that are not the cloud-call face's.
_ROOMS = {
    "CloudError": "cloudfn.errors",
    "fetch": "cloudfn.net.fetch",
    "function": "cloudfn.handler",
}

# A library says nothing unless the application asks for it.
logging.getLogger("cloudfn").addHandler(logging.NullHandler())


# Submodules that are used without being imported: `cloudfn.crop.find(...)`.
_SUBMODULES = ("batch", "crop", "handler", "testing")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("cloudfn-aicrop")
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module(f"cloudfn.{name}")
    from cloudfn.call.absent import ABSENT

    if name not in __all__ and name not in ABSENT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=_module())
    from importlib import import_module

    return getattr(import_module(_ROOMS.get(name, "cloudfn.cloud")), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _module() -> Any:
    import sys

    return sys.modules[__name__]
