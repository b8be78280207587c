"""Tencent CloudBase's HTTP access; its functions run on SCF.

Source: docs.cloudbase.net/en/service/access-cloud-function.
"""

from __future__ import annotations

from typing import Any

from cloudfn.platforms.base import Gateway, as_lists, get, has


class HttpAccess(Gateway):
    """The HTTP access service's integrated request."""

    name = "CloudBase HTTP access"
    several = staticmethod(as_lists)

    @classmethod
    def matches(cls, event: Any) -> bool:
        return get(event, "requestContext", "envId") is not None and has(event, "httpMethod", "path")
