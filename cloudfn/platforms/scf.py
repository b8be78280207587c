"""Tencent SCF's HTTP triggers: Function URL, load balancer (CLB), API gateway (until 30 June 2025).

Sources: cloud.tencent.com/document/product/583: 96099 (Function URL), 31927 (event messages), 45631 (CLB).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from cloudfn.platforms.base import Gateway, Request, as_lists, get, has, headers_of, query_of


class ApiGateway(Gateway):
    """The API gateway; `queryString` holds the whole query, `queryStringParameters` what was configured of it."""

    name = "SCF API gateway"
    several = staticmethod(as_lists)

    @classmethod
    def matches(cls, event: Any) -> bool:
        return has(event, "httpMethod", "path") and get(event, "requestContext", "serviceId") is not None


class FunctionUrl(Gateway):
    """A Function URL, today's HTTP form.

    As documented it has neither requestContext nor isBase64Encoded; as captured it has both, the former with the
    caller's address alone, and the empty leftovers of the API gateway's event.
    """

    name = "SCF Function URL"
    several = staticmethod(as_lists)

    @classmethod
    def matches(cls, event: Any) -> bool:
        context = get(event, "requestContext")
        address_alone = not context or (isinstance(context, Mapping) and context.keys() <= {"sourceIp"})
        return has(event, "httpMethod", "path", "headers", "queryString") and address_alone


class Clb(Gateway):
    """A load balancer (CLB): method and address stand in its headers, the body in `payload`."""

    name = "SCF CLB"
    several = staticmethod(as_lists)

    @classmethod
    def matches(cls, event: Any) -> bool:
        headers = get(event, "headers")
        names = {str(name).lower() for name in headers} if isinstance(headers, dict) else set()
        return {"x-uri", "x-method"} <= names and "httpMethod" not in event

    def read(self) -> Request:
        event, headers = self.event, headers_of(self.event.get("headers"))
        path, _, query_string = headers["x-uri"].partition("?")
        query = query_of(query_string, event.get("queryString"), event.get("queryStringParameters"))
        self.event = {**event, "body": event.get("payload", event.get("body"))}
        return self.request(headers["x-method"], unquote(path) or "/", query, headers)
