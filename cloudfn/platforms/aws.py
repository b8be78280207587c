"""AWS Lambda: direct, REST v1, HTTP v2 and Function URL, ALB.

Sources: docs.aws.amazon.com/lambda/latest/dg: urls-invocation, services-apigateway, services-alb,
gettingstarted-limits; docs.aws.amazon.com/elasticloadbalancing: lambda-functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_plus

from cloudfn.platforms.base import (
    Host,
    Reply,
    Request,
    get,
    has,
    lambda_reply,
    method_of,
    query_of,
    request_of,
    status_line,
)


class Alb:
    """An Application Load Balancer; its query is not decoded, and it wants headers back in the form it sent them."""

    name = "AWS ALB"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return get(event, "requestContext", "elb") is not None and has(event, "httpMethod")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        headers = event.get("headers") or event.get("multiValueHeaders")
        query = query_of(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))
        decoded = {unquote_plus(name): unquote_plus(value) for name, value in query.items()}
        return request_of(event, method_of(event), str(event.get("path", "/")), decoded, headers)

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        answer = lambda_reply(reply)
        if "multiValueHeaders" in event:
            answer["multiValueHeaders"] = {name: [value] for name, value in answer.pop("headers").items()}
        return answer | {"statusDescription": status_line(reply.status)}


class HttpApi:
    """An HTTP API (payload 2.0) or a Function URL, which have one form."""

    name = "AWS Function URL / HTTP API v2"
    http = True
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return get(event, "version") == "2.0" and has(get(event, "requestContext", "http"), "method")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        query = query_of(event.get("rawQueryString"), event.get("queryStringParameters"))
        path = unquote(str(event.get("rawPath") or "/"))
        method = str(event["requestContext"]["http"]["method"]).upper()
        return request_of(event, method, path, query)

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


class RestApi:
    """A REST API, or an HTTP API that is set to payload 1.0."""

    name = "AWS REST API v1"
    http = True
    seconds = 29.0

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return has(event, "resource", "requestContext", "httpMethod")

    def read(self, event: Any, context: Any) -> Request:  # noqa: ARG002
        headers = event.get("headers") or event.get("multiValueHeaders")
        query = query_of(event.get("multiValueQueryStringParameters"), event.get("queryStringParameters"))
        return request_of(event, method_of(event), str(event.get("path") or "/"), query, headers)

    def write(self, reply: Reply, event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG002
        return lambda_reply(reply)


def seconds_left(context: Any) -> float | None:
    """The seconds that Lambda's context tells."""
    tell = getattr(context, "get_remaining_time_in_millis", None)
    return tell() / 1000 if callable(tell) else None


class _Context:
    """Lambda's context, as far as functions use it."""

    aws_request_id = "00000000-0000-0000-0000-000000000000"
    function_name = "function"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"
    memory_limit_in_mb = "128"

    def __init__(self, left: Callable[[], float]) -> None:
        self._left = left

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int(self._left() * 1000))


HOST = Host(
    name="lambda",
    title="AWS Lambda",
    entry="lambda_function.py",
    handler="lambda_handler",
    python="3.12",  # on Amazon Linux 2023, glibc 2.34
    glibc=34,
    seconds=3,
    max_seconds=900,
    request_bytes=6_291_456,
    response_bytes=6_291_456,
    zip_bytes=50 * 1024 * 1024,
    unzipped_bytes=250 * 1024 * 1024,
    environment={"AWS_LAMBDA_FUNCTION_NAME": "function"},
    arrive=lambda event: event,
    context=_Context,
)
