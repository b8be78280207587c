"""Azure Functions (programming model v2): an HTTP trigger hands over an HttpRequest and wants an HttpResponse back.

Source: learn.microsoft.com/azure/azure-functions/functions-reference-python.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from cloudfn.platforms.base import MAX_BODY, Headers, HttpForm, Reply, Request, query_of, too_large


class HttpRequest(HttpForm):
    """An azure.functions.HttpRequest, recognised by the attributes that are read."""

    name = "Azure Functions"
    seconds = 230.0  # of the load balancer in front, whatever the function's own limit

    @classmethod
    def matches(cls, event: Any) -> bool:
        return callable(getattr(event, "get_body", None)) and hasattr(event, "url") and hasattr(event, "method")

    def read(self) -> Request:
        event, address = self.event, urlsplit(self.event.url)
        body = event.get_body() or b""
        if len(body) > MAX_BODY:
            raise too_large(len(body))
        headers = Headers((name.lower(), value) for name, value in event.headers.items())
        query = query_of(address.query, dict(getattr(event, "params", None) or {}))
        return Request(str(event.method).upper(), unquote(address.path) or "/", query, headers, bytes(body))

    def write(self, reply: Reply) -> Any:
        from azure.functions import HttpResponse  # part of the platform's runtime

        response = HttpResponse(reply.body, status_code=reply.status, mimetype=reply.header("content-type") or None)
        for name, value in reply.headers:
            response.headers.add_header(name, value)
        return response
