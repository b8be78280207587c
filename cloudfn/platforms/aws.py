"""AWS Lambda's HTTP triggers: REST API, HTTP API and Function URL, Application Load Balancer, VPC Lattice.

Sources: docs.aws.amazon.com/lambda/latest/dg: urls-invocation, services-apigateway, services-alb,
gettingstarted-limits; docs.aws.amazon.com/elasticloadbalancing: lambda-functions; docs.aws.amazon.com/vpc-lattice:
lambda-functions; docs.aws.amazon.com/apigateway: limits.
"""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import unquote, unquote_plus

from cloudfn.platforms.base import (
    Gateway,
    HttpForm,
    Request,
    as_cookies,
    as_multi_value_headers,
    as_one_value,
    body_of,
    get,
    has,
    headers_of,
    query_of,
)

_MIB = 1024 * 1024


def _cased(headers: dict[str, list[str]]) -> dict[str, Any]:
    """Name cookies in spellings that differ in case only, which is all that a load balancer's single values allow."""
    single: dict[str, str] = {}
    for name, values in headers.items():
        if name.lower() != "set-cookie":
            single[name] = ", ".join(values)
            continue
        spellings = ("".join(letters) for letters in product(*((c.upper(), c.lower()) for c in "set-cookie")))
        single |= dict(zip(dict.fromkeys(spellings), values, strict=False))
    return {"headers": single}


def _lists_only(headers: dict[str, list[str]]) -> dict[str, Any]:
    return {"multiValueHeaders": headers}


class Alb(Gateway):
    """An Application Load Balancer; its query is not decoded, and it wants headers back in the form it sent them."""

    name = "AWS ALB"
    request_bytes = _MIB
    response_bytes = _MIB
    status_line = True

    @classmethod
    def matches(cls, event: Any) -> bool:
        return get(event, "requestContext", "elb") is not None and has(event, "httpMethod")

    def read(self) -> Request:
        event = self.event
        mappings = event.get("multiValueQueryStringParameters"), event.get("queryStringParameters")
        headers = headers_of(event.get("headers"), event.get("multiValueHeaders"))
        query = query_of(*mappings, decode=unquote_plus)
        return self.request(str(event["httpMethod"]), str(event.get("path") or "/"), query, headers)

    def several(self, headers: dict[str, list[str]]) -> dict[str, Any]:
        return _lists_only(headers) if "multiValueHeaders" in self.event else _cased(headers)


class HttpApi(Gateway):
    """An HTTP API (payload 2.0) or a Function URL, which have one form."""

    name = "AWS Function URL / HTTP API v2"
    several = staticmethod(as_cookies)

    @classmethod
    def matches(cls, event: Any) -> bool:
        version = get(event, "version")
        return has(get(event, "requestContext", "http"), "method") and (
            version == "2.0" or (version is None and "rawPath" in event)
        )

    def read(self) -> Request:
        event = self.event
        query = query_of(event.get("rawQueryString"), event.get("queryStringParameters"))
        # The payload holds cookies apart, and not among the headers.
        cookies = event.get("cookies")
        joined = {"cookie": "; ".join(map(str, cookies))} if cookies and isinstance(cookies, list) else None
        headers = headers_of(event.get("headers"), joined)
        http = event["requestContext"]["http"]
        return self.request(
            str(http["method"]), unquote(str(event.get("rawPath") or http.get("path") or "/")), query, headers
        )


class Lattice(HttpForm):
    """VPC Lattice, both versions of its event."""

    name = "AWS VPC Lattice"
    several = staticmethod(as_one_value)
    status_line = True

    @classmethod
    def matches(cls, event: Any) -> bool:
        if has(event, "raw_path", "method"):
            return True
        marks = get(event, "requestContext")
        return has(event, "method", "path") and any(
            has(marks, name) for name in ("serviceArn", "targetGroupArn", "serviceNetworkArn")
        )

    def read(self) -> Request:
        event = self.event
        path, _, query_string = str(event.get("path") or event.get("raw_path") or "/").partition("?")
        query = query_of(event.get("queryStringParameters"), event.get("query_string_parameters"), query_string)
        headers = headers_of(event.get("headers"))
        flag = event.get("isBase64Encoded", event.get("is_base64_encoded"))
        body = body_of(event.get("body"), flag, headers.get("content-type", ""))
        return Request(str(event["method"]).upper(), unquote(path) or "/", query, headers, body)


class RestApi(Gateway):
    """A REST API, or an HTTP API that is set to payload 1.0.

    It waits for 29 s, unless that is raised (since June 2024, regional APIs).
    """

    name = "AWS REST API v1"
    seconds = 29.0
    several = staticmethod(as_multi_value_headers)

    @classmethod
    def matches(cls, event: Any) -> bool:
        if not has(event, "httpMethod", "requestContext") or not has(event, "path"):
            return has(event, "resource", "requestContext", "httpMethod")
        marks = ("resource", "multiValueHeaders", "multiValueQueryStringParameters")
        request_context = get(event, "requestContext")
        return any(name in event for name in marks) or any(
            has(request_context, name) for name in ("accountId", "resourceId", "resourcePath", "domainName", "protocol")
        )
