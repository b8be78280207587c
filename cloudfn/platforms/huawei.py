"""Huawei FunctionGraph behind its API gateway (APIG), which encodes every body in base64.

Source: support.huaweicloud.com/devg-functiongraph/functiongraph_02_0420.html
"""

from __future__ import annotations

from typing import Any

from cloudfn.platforms.base import Reply, Request, get, has, lambda_reply, method_of, query_of, request_of


class Gateway:
    """APIG's event."""

    name = "Huawei APIG"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        named = get(event, "requestContext", "apiId") is not None and "resource" not in event
        return named and has(event, "httpMethod", "isBase64Encoded")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        query = query_of(event.get("queryStringParameters"))
        return request_of(event, method_of(event), str(event.get("path") or "/"), query)

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


def seconds_left(context: Any) -> float | None:
    """The seconds that FunctionGraph's context tells."""
    tell = getattr(context, "getRemainingTimeInMilliSeconds", None)
    return tell() / 1000 if callable(tell) else None
