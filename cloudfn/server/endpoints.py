"""The addresses and the functions that answer them: two tables, in which a new address is a row.

ENDPOINTS are WeChat's addresses and those like them: an answer is WeChat's JSON, or a Refusal, and each request waits
its turn, is counted and stands in the journal. VIEWS are this server's own, which answer as they like.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Request, Response

from cloudfn import permissions
from cloudfn.call.apis import APIS
from cloudfn.call.naming import near
from cloudfn.errors import CloudError
from cloudfn.server import admin, bucket, form, intake, page, sdk, tcb
from cloudfn.server.answers import Refusal, is_status
from cloudfn.server.journal import Exchange, shown
from cloudfn.server.metrics import CONTENT_TYPE
from cloudfn.server.state import State

_LONGEST_APPID = 64  # characters; WeChat's have 18


def _with_picture(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    api = APIS[exchange.endpoint]
    state.crops.check(api.name)
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Refusal(412, "the body came chunked, which WeChat refuses: send it with a Content-Length")
    _check_post(request)
    state.disturb(api.name)
    form.check_query(api, request.args, exchange.tell)
    form.check_address(request.args, exchange.tell)
    state.check_token(request.args)
    body = intake.body(request, state.options)
    wanted = form.read(api, request.args, request.headers.get("Content-Type", ""), body, exchange.tell)
    state.check_quota()
    return state.crops.find(wanted, exchange)


def _cloud_call(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    exchange.through = "sdk"
    body = intake.body(request, state.options)
    data = tcb.action(state, request, exchange, body)
    if data is not None:
        return data
    call = sdk.read(request.headers.get("Content-Type", ""), body)
    if call.api not in APIS:
        match = near(call.api, APIS)
        cure = f"did you mean {match}?" if match else f"the APIs are {', '.join(APIS)}"
        raise Refusal(-604100, f'there is no API "{shown(call.api)}"; {cure}')
    exchange.endpoint = call.api
    if state.options.config:
        try:
            permissions.check(call.api, state.options.config)
        except CloudError as error:
            raise Refusal(error.errCode, error.hint) from None
    state.crops.check(call.api)
    state.disturb(call.api)
    wanted = sdk.picture_request(call, exchange.tell)
    state.check_quota()
    return state.crops.find(wanted, exchange)


def _token(state: State, request: Request, _exchange: Exchange) -> dict[str, Any]:
    state.disturb("token")
    appid = _check_credentials(state, request.args)
    token, life = state.tokens.issue(appid)
    return {"access_token": token, "expires_in": life}


def _stable_token(state: State, request: Request, _exchange: Exchange) -> dict[str, Any]:
    _check_post(request)
    state.disturb("stable_token")
    try:
        fields = json.loads(intake.body(request, state.options))
        if not isinstance(fields, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError):
        raise Refusal(47001, "the body is no JSON object: send grant_type, appid and secret as JSON") from None
    appid = _check_credentials(state, fields)
    token, life = state.tokens.stable(appid, force=fields.get("force_refresh") is True)
    return {"access_token": token, "expires_in": life}


def _check_post(request: Request) -> None:
    if request.method != "POST":
        raise Refusal(43002, f"the method is {shown(request.method)}: send POST")


def _check_credentials(state: State, fields: Mapping[str, Any]) -> str:
    """Return the appid; raises Refusal in WeChat's order: the appid, then the secret, then the grant type."""
    appid, secret = fields.get("appid"), fields.get("secret")
    known = state.options.settings
    if not isinstance(appid, str) or not appid:
        raise Refusal(41002, "appid is missing: send it with grant_type and secret")
    if len(appid) > _LONGEST_APPID:
        raise Refusal(40013, f"the appid has {len(appid):,} characters: an appid is wx and 16 digits 0-9 a-f")
    if not isinstance(secret, str) or not secret:
        raise Refusal(41004, "secret is missing: send it with grant_type and appid")
    if state.options.strict and appid != known.appid:
        raise Refusal(40013, "this is not the appid that the server was given: set WX_APPID alike for both")
    if fields.get("grant_type") != "client_credential":
        raise Refusal(40002, "grant_type is wrong: send client_credential")
    if state.options.strict and not hmac.compare_digest(
        secret.encode("utf-8", "replace"), known.appsecret.reveal().encode()
    ):
        raise Refusal(40125, "this is not the secret that the server was given: set WX_APPSECRET alike for both")
    return appid


def as_json(answer: Mapping[str, Any], _exchange: Exchange | None = None) -> Response:
    """Return an answer as WeChat's own response."""
    return Response(json.dumps(answer), content_type="application/json; charset=utf-8")


def _as_protobuf(answer: Mapping[str, Any], _exchange: Exchange) -> Response:
    encoded = sdk.encode(answer)
    return Response(encoded.body, content_type=encoded.content_type)


class Endpoint(NamedTuple):
    """One address: its name in faults, log and metrics, the function that answers, and how the answer is written.

    `answer` takes the worker's state, the request and its record, and returns WeChat's JSON or raises Refusal; `encode`
    takes that JSON and the record. `body` tells whether the body of a POST is read; no other method's is.
    """

    name: str
    answer: Callable[[State, Request, Exchange], Mapping[str, Any]]
    encode: Callable[[Mapping[str, Any], Exchange], Response] = as_json
    body: bool = True


ENDPOINTS: Mapping[str, Endpoint] = {
    **{api.path: Endpoint(api.name, _with_picture, body=bool(api.extra)) for api in APIS.values()},
    "/cgi-bin/token": Endpoint("token", _token, body=False),
    "/cgi-bin/stable_token": Endpoint("stable_token", _stable_token),
    "/tcb/uploadfile": Endpoint("storage", tcb.upload),
    "/tcb/batchdownloadfile": Endpoint("storage", tcb.links),
    "/tcb/batchdeletefile": Endpoint("storage", tcb.delete),
    sdk.PATH: Endpoint("sdk", _cloud_call, _as_protobuf),
    "/page/crop": Endpoint("img.aiCrop", page.find, page.encode),
    "/page/cut": Endpoint("page.cut", page.cut, page.encode),
    "/page/fetch": Endpoint("page.fetch", page.fetch, page.encode),
}


def _healthz(_state: State, _request: Request) -> Response:
    return as_json({"status": "ok"})


def _readyz(state: State, _request: Request) -> Response:
    ready = state.ready()
    response = as_json({"status": "ready" if ready else "busy"})
    response.status_code = 200 if ready else 503
    return response


def _metrics(state: State, _request: Request) -> Response:
    if state.metrics.off:
        return Response(f"{state.metrics.off}\n", status=503, content_type="text/plain; charset=utf-8")
    return Response(state.metrics.text(), content_type=CONTENT_TYPE)


def reads_body(method: str, path: str) -> bool:
    """Return whether the answer to a request may depend on its body."""
    if path in ENDPOINTS:
        return method == "POST" and ENDPOINTS[path].body
    return method not in ("GET", "HEAD", "OPTIONS") and path.startswith((bucket.PREFIX, admin.PREFIX))


# Views that the front answers by itself, whatever else is going on: they must neither wait nor read a body.
AT_ONCE = frozenset({"/healthz", "/readyz"})


def _file(state: State, request: Request) -> Response:
    if state.bucket is None:
        return Response(status=404)
    try:
        return state.bucket.view(request, lambda: intake.body(request, state.options))
    except Refusal as no:
        return Response(status=no.code if is_status(no.code) else 413)


VIEWS: Mapping[str, Callable[[State, Request], Response]] = {
    "/": page.index,
    "/page/<path:_>": page.file,
    f"{bucket.PREFIX}<path:_>": _file,
    "/healthz": _healthz,
    "/readyz": _readyz,
    "/metrics": _metrics,
    f"{admin.PREFIX}<path:_>": admin.view,
}
