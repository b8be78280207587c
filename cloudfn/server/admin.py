"""The admin surface `/_cloudfn/`: what was asked, faults, quota, reset. For this machine's own user, nobody else.

A web page that the user visits must not reach it either, so beside the peer's address the Host header (a name that an
attacker points at 127.0.0.1), Origin and Sec-Fetch-Site are checked, and no proxy may stand in between.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudfn.server.faults import Fault

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

    from cloudfn.server.app import Server

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


def _requests(server: Server, _given: Mapping[str, Any]) -> Any:
    return {"requests": [exchange.to_dict() for exchange in server.journal.last()]}


def _state(server: Server, _given: Mapping[str, Any]) -> Any:
    return {
        "strict": server.options.strict,
        "tokens": server.tokens.living,
        "quota": {"limit": server.quota.limit, "used": server.quota.used},
        "faults": [vars(fault) for fault in server.faults.current],
        "requests": len(server.journal.last()),
    }


def _reset(server: Server, given: Mapping[str, Any]) -> Any:
    server.reset()
    return _state(server, given)


def _set_faults(server: Server, given: Mapping[str, Any]) -> Any:
    """Body: {"faults": [{"endpoint", "code", "probability", "latency"}, ...], "seed": 1}."""
    listed = given.get("faults")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ValueError('expected {"faults": [{"endpoint": "img.aiCrop", "code": 45009, "probability": 0.1}]}')
    try:
        faults = [Fault(**item) for item in listed]
    except TypeError:
        raise ValueError("a fault has endpoint, code, probability (0 to 1) and latency (seconds)") from None
    seed = given.get("seed")
    if seed is not None and type(seed) is not int:
        raise ValueError("seed is a whole number")
    server.faults.put(faults, seed)
    return _state(server, given)


def _set_quota(server: Server, given: Mapping[str, Any]) -> Any:
    """Body: {"limit": 100}, or null for no limit; counting starts anew."""
    limit = given.get("limit")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ValueError("limit is a whole number, or null for no limit")
    server.quota.set(limit)
    return _state(server, given)


def _expire_tokens(server: Server, given: Mapping[str, Any]) -> Any:
    server.tokens.expire()
    return _state(server, given)


# (method, path behind the prefix) -> what answers. Each raises ValueError, with the cure, for a wrong body.
ROUTES: Mapping[tuple[str, str], Callable[[Server, Mapping[str, Any]], Any]] = {
    ("GET", "requests"): _requests,
    ("GET", "state"): _state,
    ("POST", "reset"): _reset,
    ("POST", "faults"): _set_faults,
    ("POST", "quota"): _set_quota,
    ("POST", "tokens/expire"): _expire_tokens,
}
