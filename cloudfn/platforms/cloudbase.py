"""Tencent CloudBase functions, which run on SCF: direct (wx.cloud.callFunction) and HTTP access.

Sources: docs.cloudbase.net/en/service/access-cloud-function, docs.cloudbase.net/en/error-code/EXCEED_MAX_PAYLOAD_SIZE.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloudfn.platforms import scf
from cloudfn.platforms.base import Reply, Request, body_of, get, has, lambda_reply, lower, method_of, query_of


class HttpAccess:
    """The HTTP access service's integrated request."""

    name = "CloudBase HTTP access"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return get(event, "requestContext", "envId") is not None and has(event, "httpMethod", "path")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        headers = lower(event.get("headers"))
        body = body_of(event, headers.get("content-type", ""))
        return Request(
            method_of(event), str(event["path"]), query_of(event.get("queryStringParameters")), headers, body
        )

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


HOST = replace(
    scf.HOST,
    name="cloudbase",
    title="Tencent CloudBase",
    handler="main",
    max_seconds=300,
    # A body that is text may have 100 KB only; which of the two an event counts as is not documented.
    request_bytes=6 * 1024 * 1024,
    response_bytes=1024 * 1024,  # -604001: "cloudfunction result size exceed limit (1MB)"
    environment={**scf.HOST.environment, "TCB_ENV": "local"},
)
