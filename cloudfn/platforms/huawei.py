"""Huawei FunctionGraph behind its API gateway (APIG), which encodes every body in base64.

Source: support.huaweicloud.com/devg-functiongraph/functiongraph_02_0420.html
"""

from __future__ import annotations

from typing import Any

from cloudfn.platforms.base import Gateway, as_one_value, get, has


class Apig(Gateway):
    """APIG's event."""

    name = "Huawei APIG"
    several = staticmethod(as_one_value)

    @classmethod
    def matches(cls, event: Any) -> bool:
        return get(event, "requestContext", "apiId") is not None and has(event, "httpMethod", "isBase64Encoded")
