"""Tencent SCF: direct, Function URL, API gateway (until 30 June 2025), timer.

Sources: cloud.tencent.com/document/product/583: 96099 (Function URL), 31927 (event messages), 9708 (timer), 11637
(limits), 40324 (context).
"""

from __future__ import annotations

import json
from typing import Any

from cloudfn.platforms.base import Host, Reply, Request, get, has, lambda_reply, method_of, query_of, request_of


class Gateway:
    """The API gateway; `queryString` holds the whole query, `queryStringParameters` what was configured of it."""

    name = "SCF API gateway"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        named = get(event, "requestContext", "serviceId") is not None or has(event, "headerParameters")
        return named and has(event, "httpMethod", "path")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        query = query_of(event.get("queryString"), event.get("queryStringParameters"))
        return request_of(event, method_of(event), str(event["path"]), query)

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


class FunctionUrl:
    """A Function URL, today's HTTP form: it has neither requestContext nor isBase64Encoded."""

    name = "SCF Function URL"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return has(event, "httpMethod", "path", "headers", "queryString") and "requestContext" not in event

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        return request_of(event, method_of(event), str(event["path"]), query_of(event.get("queryString")))

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


class Timer:
    """A timer; the function's data is the JSON object in its Message, or the event itself where that is none."""

    name = "SCF timer"
    http = False
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return get(event, "Type") == "Timer" and has(event, "TriggerName")

    def read(self, event: Any, context: Any) -> Any:  # noqa: ARG002
        try:
            data = json.loads(event.get("Message") or "")
        except (TypeError, ValueError, RecursionError):
            data = None
        return data if isinstance(data, dict) else event

    def write(self, reply: Reply, event: Any, context: Any) -> Any:
        raise NotImplementedError("a timer gets no HTTP answer")


def seconds_left(context: Any) -> float | None:
    """The function's time limit, which SCF's context tells; the function has just begun."""
    limit = get(context, "time_limit_in_ms")
    return limit / 1000 if isinstance(limit, (int, float)) and not isinstance(limit, bool) else None


HOST = Host(
    name="scf",
    title="Tencent SCF",
    entry="index.py",
    handler="main_handler",
    python="3.10",
    glibc=17,
    seconds=3,
    max_seconds=900,
    request_bytes=6 * 1024 * 1024,
    response_bytes=6 * 1024 * 1024,
    zip_bytes=50 * 1024 * 1024,  # through the console and the API; more goes through object storage
    unzipped_bytes=500 * 1024 * 1024,
    environment={"TENCENTCLOUD_RUNENV": "SCF", "SCF_FUNCTIONNAME": "function"},
    arrive=lambda event: event,
    context=lambda left: {
        "time_limit_in_ms": int(left() * 1000),
        "memory_limit_in_mb": 128,
        "request_id": "00000000-0000-0000-0000-000000000000",
        "function_name": "function",
        "function_version": "$LATEST",
        "namespace": "default",
        "environment": "{}",
    },
)
