"""Alibaba Function Compute 3: events in bytes, HTTP trigger, API gateway.

Sources: help.aliyun.com/zh/functioncompute/fc-3-0/user-guide/http-trigger-invoking-function,
help.aliyun.com/document_detail/85208.html.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from cloudfn.platforms.base import Gateway, Request, as_one_value, get, has, headers_of, query_of


def decoded(event: Any) -> Any:
    """Return the JSON of an event in bytes or text, as FC hands it over, or the event itself where it holds none."""
    if not isinstance(event, (bytes, bytearray, str)):
        return event
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return event


class HttpTrigger(Gateway):
    """The HTTP trigger; rawPath is still percent-encoded."""

    name = "FC HTTP trigger"
    several = staticmethod(as_one_value)

    @classmethod
    def matches(cls, event: Any) -> bool:
        return get(event, "version") == "v1" and has(get(event, "requestContext", "http"), "method")

    def read(self) -> Request:
        event, http = self.event, self.event["requestContext"]["http"]
        path = str(http.get("path") or unquote(str(event.get("rawPath") or "/")))
        query, headers = query_of(event.get("queryParameters")), headers_of(event.get("headers"))
        return self.request(str(http["method"]), path, query, headers)


class ApiGateway(Gateway):
    """Alibaba's API gateway; its documentation shows isBase64Encoded as text."""

    name = "FC API gateway"
    several = staticmethod(as_one_value)

    @classmethod
    def matches(cls, event: Any) -> bool:
        return has(event, "httpMethod", "path", "queryParameters") and "requestContext" not in event
