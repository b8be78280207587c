"""The time left and the request's id, as a platform's context object and headers state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudfn.platforms.base import Form, get

_REMAINING = ("get_remaining_time_in_millis", "getRemainingTimeInMilliSeconds")  # Lambda, Huawei
# A context's attribute, key or method: Lambda, SCF and FC, Huawei, Azure.
_IDS = ("aws_request_id", "request_id", "getRequestID", "invocation_id")
# Headers that hold the platform's id of a request, its own names first.
_ID_HEADERS = (
    "x-scf-request-id",
    "x-fc-request-id",
    "x-api-requestid",
    "x-cloudbase-request-id",
    "x-wx-call-id",
    "x-cff-request-id",
    "function-execution-id",
    "x-ms-request-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "traceparent",
    "x-request-id",
)
_LONGEST_ID = 200


def seconds_left(form: Form, *, trigger: float | None = None) -> float | None:
    """Return how long the platform still waits for the function; None where neither context nor trigger says.

    `trigger` is what an HTTP trigger waits where it is not the form's own, as for a REST API whose 29 s were raised.
    """
    limits = [left for left in (_seconds(form.context), trigger or form.seconds) if left is not None]
    return min(limits, default=None)


def _seconds(context: Any) -> float | None:
    """Return the time left by the context; on SCF and FC the function's whole limit, as it has just begun."""
    for name in _REMAINING:
        if callable(tell := getattr(context, name, None)):
            return _number(tell(), 1000)
    timeout = _number(getattr(getattr(context, "function", None), "timeout", None), 1)
    return _number(get(context, "time_limit_in_ms"), 1000) if timeout is None else timeout


def _number(value: Any, per_second: int) -> float | None:
    return value / per_second if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def request_id(form: Form, headers: Mapping[str, str]) -> str:
    """Return the platform's id of the request: its context's, the event's, a header's; "" where there is none."""
    for name in _IDS:
        value = getattr(form.context, name, None) or get(form.context, name)
        if shown := _shown(value() if callable(value) else value):
            return shown
    # An `id` in an event that somebody made is that somebody's own.
    for path in (("requestContext", "requestId"),) if form.caller else (("requestContext", "requestId"), ("id",)):
        if shown := _shown(get(form.event, *path)):
            return shown
    return next((shown for name in _ID_HEADERS if (shown := _shown(headers.get(name)))), "")


def _shown(value: Any) -> str:
    """Return an id as one line of a log, "" where it is not one."""
    text = value if isinstance(value, str) else ""
    return text[:_LONGEST_ID] if text.isprintable() else ""
