"""Google Cloud Run functions: functions-framework calls a function with a flask.Request.

Source: github.com/GoogleCloudPlatform/functions-framework-python.
"""

from __future__ import annotations

from typing import Any

from cloudfn.platforms.base import MAX_BODY, Headers, HttpForm, Reply, Request, query_of, too_large


class FlaskRequest(HttpForm):
    """A flask.Request, recognised by the attributes that are read: this package does not need Flask."""

    name = "Google functions-framework"

    @classmethod
    def matches(cls, event: Any) -> bool:
        return hasattr(event, "environ") and callable(getattr(event, "get_data", None))

    def read(self) -> Request:
        event = self.event
        if (event.content_length or 0) > MAX_BODY:
            raise too_large(event.content_length)
        headers = Headers((name.lower(), value) for name, value in event.headers.items())
        query = query_of(event.query_string.decode("utf-8", "replace"))
        body = event.get_data()
        if len(body) > MAX_BODY:
            raise too_large(len(body))
        return Request(event.method, event.path, query, headers, body)

    def write(self, reply: Reply) -> tuple[bytes, int, dict[str, list[str]]]:
        return reply.body, reply.status, reply.grouped()
