"""The admin surface `/_cloudfn/`: the last requests, faults, quota, reset. For this machine's own user, nobody else.

A web page that the user visits must not reach it either, so beside the peer's address the Host header (a name that an
attacker points at 127.0.0.1), Origin and Sec-Fetch-Site are checked, and no proxy may stand in between. A proxy on this
machine that adds no header looks just like the user: so whoever changes anything must know the token.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Request, Response
from werkzeug.datastructures import Headers

from cloudfn.server import intake
from cloudfn.server.answers import Refusal
from cloudfn.server.faults import Fault
from cloudfn.server.loopback import is_local, is_loopback
from cloudfn.server.state import State

PREFIX = "/_cloudfn/"
_OLD_HTTP = ("HTTP/1.0", "HTTP/1")  # the latter in granian's words
# The front's refusals -> their words and status here, where no picture is sent.
_REFUSED = {101002: ("the body is over the limit", 413), -1: ("the server is busy", 503)}

# Headers that proxies, load balancers and content networks add to a request: names, and prefixes of names.
_PROXY_HEADERS = frozenset(
    ("forwarded", "via", "client-ip", "true-client-ip", "proxy-client-ip", "wl-proxy-client-ip", "cdn-loop",
     "cdn-src-ip", "front-end-https", "fastly-client-ip", "fly-client-ip", "do-connecting-ip",
     "ali-cdn-real-ip", "akamai-origin-hop", "surrogate-capability", "x-real-ip", "x-client-ip", "x-remote-ip",
     "x-remote-addr", "x-originating-ip", "x-proxyuser-ip", "x-cluster-client-ip", "x-azure-clientip",
     "x-nf-client-connection-ip", "x-host", "x-scheme", "x-url-scheme", "x-request-start", "x-amzn-trace-id",
     "x-cloud-trace-context", "x-arr-log-id", "x-arr-ssl", "x-rewrite-url", "proxy-connection",
     "x-bluecoat-via", "x-varnish")
)  # fmt: skip
_PROXY_PREFIXES = (
    "x-forwarded",
    "forwarded-",
    "x-original-",
    "x-envoy-",
    "cf-",
    "x-azure-",
    "x-vercel-",
    "x-appengine-",
)


def forbidden(peer: str, headers: Headers) -> str:
    """Return why this caller may not use the surface, "" where it may."""
    if not is_loopback(peer):
        return "it answers this machine only: call it from there"
    proxied = next(
        (name for name, _ in headers if name.lower() in _PROXY_HEADERS or name.lower().startswith(_PROXY_PREFIXES)),
        "",
    )
    if proxied:
        return f"it answers no proxy ({proxied}): call the server itself"
    if not _names_us(f"//{headers.get('Host', '')}"):
        return "the Host header is not this machine's: call it as 127.0.0.1 or localhost"
    origin = headers.get("Origin")
    if (origin is not None and not _names_us(origin)) or headers.get("Sec-Fetch-Site", "none") == "cross-site":
        return "a page of another site asked: call it with curl or from a page of this machine"
    return ""


def _names_us(url: str) -> bool:
    try:
        return is_local(urlsplit(url).hostname or "")
    except ValueError:
        return False


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
    """Set the faults. Body: {"faults": [{"endpoint", "code", "probability", "latency"}, ...], "seed": 1}."""
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
    """Set the quota. Body: {"limit": 100}, or null for no limit; counting starts anew."""
    limit = fields.get("limit")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ValueError("limit is a whole number, or null for no limit")
    state.quota.set(limit)


# The path behind the prefix -> the function that answers a GET.
READS: Mapping[str, Callable[[State], dict[str, Any]]] = {"requests": _requests, "state": _summary}
# The path behind the prefix -> the function that a POST calls; the answer is the state afterwards. Each raises
# ValueError, with the cure, for a wrong body.
CHANGES: Mapping[str, Callable[[State, Mapping[str, Any]], None]] = {
    "reset": lambda state, _fields: state.reset(),
    "faults": _set_faults,
    "quota": _set_quota,
    "tokens/expire": lambda state, _fields: state.tokens.expire(),
}


def view(state: State, request: Request) -> Response:
    """Answer a request to the surface, or explain why there is no answer."""
    path = request.path.removeprefix(PREFIX)
    reason = forbidden(request.remote_addr or "", request.headers)
    if not reason and request.environ["SERVER_PROTOCOL"] in _OLD_HTTP:
        reason = "it answers no HTTP/1.0, which proxies speak: call the server itself"
    if reason:
        return _error(reason, 403)
    if not state.options.admin_token:
        return _error("it is off: start the server with --admin, or on a loopback --host", 404)
    if state.options.workers > 1:
        return _error("each worker knows its own requests only: start the server with --workers 1", 409)
    try:
        body = intake.body(request, state.options)
    except Refusal as no:
        return _error(*_REFUSED.get(no.code, (no.mistake, no.code)))
    if request.method == "GET" and path in READS:
        return _json(READS[path](state))
    if request.method == "POST" and path in CHANGES:
        return _change(state, request, body, CHANGES[path])
    known = [f"GET {PREFIX}{name}" for name in READS] + [f"POST {PREFIX}{name}" for name in CHANGES]
    return _error("there is " + ", ".join(known), 404)


def _change(
    state: State, request: Request, body: bytes, change: Callable[[State, Mapping[str, Any]], None]
) -> Response:
    if not _knows_token(request, state.options.admin_token):
        cure = 'send the header "Authorization: Bearer TOKEN" with the token that was printed at the start'
        return _error(f"a change needs the admin token: {cure}", 401)
    try:
        fields = json.loads(body) if body else {}
        if not isinstance(fields, dict):
            raise ValueError("the body is a JSON object")
        change(state, fields)
    except (ValueError, RecursionError) as error:
        return _error(str(error), 400)
    return _json(_summary(state))


def _knows_token(request: Request, token: str) -> bool:
    kind, _, sent = request.headers.get("Authorization", "").partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())


def _json(answer: Any, status: int = 200) -> Response:
    return Response(json.dumps(answer), status=status, content_type="application/json")


def _error(reason: str, status: int) -> Response:
    response = _json({"error": reason}, status)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
