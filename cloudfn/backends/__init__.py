"""Who answers a call: WeChat over HTTPS (`wechat`) or the embedded engine (`local`)."""

from __future__ import annotations

import logging
from typing import Any

from cloudfn import settings
from cloudfn.call import Backend, Call, normalise
from cloudfn.errors import CloudError
from cloudfn.settings import Settings

_log = logging.getLogger("cloudfn")


def choose(chosen: Settings) -> Backend:
    """The backend that the settings ask for.

    `auto` is WeChat where credentials are there, else the embedded engine, which the log says. On a serverless
    platform without credentials it is WeChat too, so that the call fails with 41001: a deployed function must not
    answer from the engine by accident.
    """
    name = chosen.backend
    if name == "auto":
        name = "wechat" if chosen.has_credentials or settings.platform() else "local"
        if name == "local":
            _log.warning("no WeChat credentials are set, so the embedded engine answers; CLOUDFN_BACKEND=local says so")
    if name == "wechat":
        from cloudfn.backends.wechat import WeChat

        return WeChat(chosen)
    from cloudfn.backends.local import Local

    return Local(chosen)


def perform(call: Call, backend: Backend, *, convert_case: bool = True) -> dict[str, Any]:
    """Run a checked call and give the SDK's result, or raise `CloudError`, whoever answers."""
    return normalise(call.api, backend(call), convert_case=convert_case)


def log_hint(error: CloudError) -> None:
    """Say the cure once in the log, unless the error's own words say it already."""
    if error.hint and error.hint not in error.errMsg:
        _log.warning("%s (errCode %d): %s", error.errMsg, error.errCode, error.hint)
