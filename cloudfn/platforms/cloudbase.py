"""Tencent CloudBase functions, which run on SCF: direct (wx.cloud.callFunction) and HTTP access.

Sources: docs.cloudbase.net/en/service/access-cloud-function, docs.cloudbase.net/en/error-code/EXCEED_MAX_PAYLOAD_SIZE.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cloudfn.platforms import scf
from cloudfn.platforms.base import Reply, Request, get, has, lambda_reply, method_of, query_of, request_of


class HttpAccess:
    """The HTTP access service's integrated request."""

    name = "CloudBase HTTP access"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return get(event, "requestContext", "envId") is not None and has(event, "httpMethod", "path")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        query = query_of(event.get("queryStringParameters"))
        return request_of(event, method_of(event), str(event["path"]), query)

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
