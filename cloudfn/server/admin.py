"""The admin surface `/_cloudfn/`: the last requests, faults, quota, reset. For this machine's own user, nobody else.

A web page that the user visits must not reach it either, so beside the peer's address the Host header (a name that an
attacker points at 127.0.0.1), Origin and Sec-Fetch-Site are checked, and no proxy may stand in between.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Request, Response
from werkzeug.datastructures import Headers

from cloudfn.server import intake
from cloudfn.server.answers import Refusal
from cloudfn.server.faults import Fault
from cloudfn.server.state import State

PREFIX = "/_cloudfn/"

_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")


def forbidden(peer: str, headers: Headers) -> str:
    """Why this caller may not use the surface, "" where it may."""
    if not _is_loopback(peer):
        return "it answers this machine only: call it from there"
    proxied = next((name for name in _PROXY_HEADERS if headers.get(name)), "")
    if proxied:
        return f"it answers no proxy ({proxied}): call the server itself"
    if not _is_local(f"//{headers.get('Host', '')}"):
        return "the Host header is not this machine's: call it as 127.0.0.1 or localhost"
    origin = headers.get("Origin")
    if (origin is not None and not _is_local(origin)) or headers.get("Sec-Fetch-Site", "none") == "cross-site":
        return "a page of another site asked: call it with curl or from a page of this machine"
    return ""


def _is_local(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _requests(state: State) -> dict[str, Any]:
    return {"requests": [exchange.to_dict() for exchange in state.journal.last()]}


def _summary(state: State) -> dict[str, Any]:
    return {
        "strict": state.options.strict,
        "tokens": state.tokens.living,
        "quota": {"limit": state.quota.limit, "used": state.quota.used},
        "faults": [vars(fault) for fault in state.faults.current],
        "requests": len(state.journal.last()),
    }


def _set_faults(state: State, fields: Mapping[str, Any]) -> None:
    """Body: {"faults": [{"endpoint", "code", "probability", "latency"}, ...], "seed": 1}."""
    listed = fields.get("faults")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ValueError('expected {"faults": [{"endpoint": "img.aiCrop", "code": 45009, "probability": 0.1}]}')
    try:
        faults = [Fault(**item) for item in listed]
    except TypeError:
        raise ValueError("a fault has endpoint, code, probability (0 to 1) and latency (seconds)") from None
    seed = fields.get("seed")
    if seed is not None and type(seed) is not int:
        raise ValueError("seed is a whole number")
    state.faults.put(faults, seed)


def _set_quota(state: State, fields: Mapping[str, Any]) -> None:
    """Body: {"limit": 100}, or null for no limit; counting starts anew."""
    limit = fields.get("limit")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ValueError("limit is a whole number, or null for no limit")
    state.quota.set(limit)


# The path behind the prefix -> what answers a GET.
READS: Mapping[str, Callable[[State], dict[str, Any]]] = {"requests": _requests, "state": _summary}
# The path behind the prefix -> what a POST changes; the answer is the state afterwards. Each raises ValueError, with
# the cure, for a wrong body.
CHANGES: Mapping[str, Callable[[State, Mapping[str, Any]], None]] = {
    "reset": lambda state, _fields: state.reset(),
    "faults": _set_faults,
    "quota": _set_quota,
    "tokens/expire": lambda state, _fields: state.tokens.expire(),
}


def view(state: State, request: Request) -> Response:
    """Answer a request to the surface, or tell why there is no answer."""
    path = request.path.removeprefix(PREFIX)
    reason = forbidden(request.remote_addr or "", request.headers)
    if reason:
        return _json({"error": reason}, 403)
    if state.options.workers > 1:
        return _json({"error": "each worker knows its own requests only: start the server with --workers 1"}, 409)
    if request.method == "GET" and path in READS:
        return _json(READS[path](state))
    if request.method == "POST" and path in CHANGES:
        return _change(state, request, CHANGES[path])
    known = [f"GET {PREFIX}{name}" for name in READS] + [f"POST {PREFIX}{name}" for name in CHANGES]
    return _json({"error": "there is " + ", ".join(known)}, 404)


def _change(state: State, request: Request, change: Callable[[State, Mapping[str, Any]], None]) -> Response:
    try:
        body = intake.body(request, state.options)
        fields = json.loads(body) if body else {}
        if not isinstance(fields, dict):
            raise ValueError("the body is a JSON object")
        change(state, fields)
    except (ValueError, RecursionError, Refusal) as error:
        return _json({"error": str(error)}, 400)
    return _json(_summary(state))


def _json(answer: Any, status: int = 200) -> Response:
    return Response(json.dumps(answer), status=status, content_type="application/json")
