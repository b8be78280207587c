"""Google Cloud (Run) functions: functions-framework calls a function with a flask.Request.

Sources: github.com/GoogleCloudPlatform/functions-framework-python; docs.cloud.google.com/functions/quotas.
"""

from __future__ import annotations

from typing import Any

from cloudfn.platforms.base import MAX_BODY, Host, Reply, Request, query_of
from cloudfn.platforms.wsgi import too_large


class FlaskRequest:
    """A flask.Request, known by what is read of it: this package does not need Flask."""

    name = "Google functions-framework"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return hasattr(event, "environ") and callable(getattr(event, "get_data", None))

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        if (event.content_length or 0) > MAX_BODY:
            raise too_large(event.content_length)
        headers = {name.lower(): value for name, value in event.headers.items()}
        query = query_of(event.query_string.decode("utf-8", "replace"))
        return Request(event.method, event.path, query, headers, event.get_data())

    def write(self, reply: Reply, event: Any, context: Any) -> tuple[bytes, int, dict[str, str]]:  # noqa: ARG002
        return reply.body, reply.status, dict(reply.headers)


HOST = Host(
    name="google",
    title="Google Cloud Run functions",
    entry="main.py",
    handler="main",
    python="3.12",  # on Ubuntu 22.04, glibc 2.35
    glibc=35,
    seconds=60,
    max_seconds=3600,
    request_bytes=32 * 1024 * 1024,
    response_bytes=32 * 1024 * 1024,
    zip_bytes=100 * 1024 * 1024,
    unzipped_bytes=None,
    environment={"K_SERVICE": "function"},
)
