"""Alibaba Function Compute 3: events in bytes, HTTP trigger, API gateway.

Sources: help.aliyun.com/zh/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function,
help.aliyun.com/document_detail/85208.html, alibabacloud.com/help/doc-detail/2527064.html.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from cloudfn.platforms.base import Host, Reply, Request, get, has, lambda_reply, method_of, query_of, request_of


def decoded(event: Any) -> Any:
    """FC hands events over as bytes: their JSON, or the event as it is where it holds none."""
    if not isinstance(event, (bytes, bytearray, str)):
        return event
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return event


class HttpTrigger:
    """The HTTP trigger; rawPath is still percent-encoded."""

    name = "FC HTTP trigger"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return get(event, "version") == "v1" and has(get(event, "requestContext", "http"), "method")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        http = event["requestContext"]["http"]
        path = str(http.get("path") or unquote(str(event.get("rawPath") or "/")))
        return request_of(event, str(http["method"]).upper(), path, query_of(event.get("queryParameters")))

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


class Gateway:
    """Alibaba's API gateway; its documentation shows isBase64Encoded as text."""

    name = "FC API gateway"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return has(event, "httpMethod", "path", "queryParameters") and "requestContext" not in event

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        return request_of(event, method_of(event), str(event["path"]), query_of(event["queryParameters"]))

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


def seconds_left(context: Any) -> float | None:
    """The function's time limit, which FC's context tells; the function has just begun."""
    limit = getattr(getattr(context, "function", None), "timeout", None)
    return float(limit) if isinstance(limit, (int, float)) and not isinstance(limit, bool) else None


class _Function:
    def __init__(self, timeout: float) -> None:
        self.name = "function"
        self.timeout = timeout


class _Context:
    """FC's context, as far as functions use it."""

    request_id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, left: Callable[[], float]) -> None:
        self.function = _Function(left())


HOST = Host(
    name="fc",
    title="Alibaba FC",
    entry="index.py",
    handler="handler",
    python="3.10",
    glibc=17,
    seconds=3,
    max_seconds=86_400,
    request_bytes=32 * 1024 * 1024,
    response_bytes=32 * 1024 * 1024,
    zip_bytes=None,
    unzipped_bytes=None,
    environment={"FC_FUNCTION_NAME": "function"},
    arrive=lambda event: json.dumps(event, ensure_ascii=False).encode(),
    context=_Context,
)
