"""The Flask application: an address, who answers there, and how the answer travels."""

from __future__ import annotations

import hmac
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from cloudfn import permissions
from cloudfn.call.apis import APIS
from cloudfn.call.naming import near
from cloudfn.errors import CloudError
from cloudfn.server import admin, form, sdk
from cloudfn.server.answers import Refusal, failed, is_status, rid
from cloudfn.server.crops import Crops, too_large
from cloudfn.server.faults import Faults
from cloudfn.server.issuer import Tokens
from cloudfn.server.journal import Exchange, Journal, shown
from cloudfn.server.metrics import CONTENT_TYPE, Metrics
from cloudfn.server.options import Options

_log = logging.getLogger("cloudfn.server")

# What the front puts into the environment: the body, held against the limit, and, of a request that it did not let
# through, the Refusal.
BODY = "cloudfn.platforms.parameters"
REFUSED = "cloudfn.refused"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
_BESIDE_THE_PICTURE = 64 * 1024  # bytes of a body that are not the picture
_DAY = 86400


class Quota:
    """The crops of today; the day ends at midnight in China."""

    def __init__(self, limit: int | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._first = limit
        self.set(limit)

    def set(self, limit: int | None) -> None:
        """Another limit, None for no limit, and none of it used."""
        with self._lock:
            self.limit, self.used, self._day = limit, 0, self._today()

    def reset(self) -> None:
        """The limit of the start."""
        self.set(self._first)

    def take(self) -> bool:
        """Use one up; False when there is none left."""
        with self._lock:
            if self._day != self._today():
                self.used, self._day = 0, self._today()
            if self.limit is not None and self.used >= self.limit:
                return False
            self.used += 1
            return True

    def _today(self) -> int:
        return int((self._clock() + 8 * 3600) // _DAY)


class Server:
    """What one worker knows and does, whatever carries its HTTP."""

    def __init__(
        self, options: Options, *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.options = options
        self.clock = clock
        self.sleep = sleep
        self.tokens = Tokens(clock)
        self.faults = Faults(options.faults, options.latency, options.seed)
        self.quota = Quota(options.quota, clock)
        self.journal = Journal()
        self.metrics = Metrics()
        self.crops = Crops(options, self.metrics)
        self.ready: Callable[[], bool] = lambda: True

    @property
    def body_limit(self) -> int:
        """The bytes of a body that are read."""
        return self.options.max_bytes + _BESIDE_THE_PICTURE

    def reset(self) -> None:
        """As after the start: no tokens, no requests, the first faults and quota."""
        for part in (self.tokens, self.faults, self.quota, self.journal):
            part.reset()

    def disturb(self, endpoint: str) -> None:
        """Wait and fail as the faults say; raises Refusal."""
        code, latency = self.faults.draw(endpoint)
        if latency:
            self.sleep(latency)
        if code:
            raise Refusal(code)

    def check_token(self, query: Mapping[str, str]) -> None:
        """Raises Refusal 41001 without a token, 40014 for one that is none, and, where strict, 40001 and 42001."""
        token = query.get("access_token") or query.get("cloudbase_access_token") or ""
        if not token:
            raise Refusal(41001, "no access_token in the query: send it there, never in the body or a header")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Refusal(40014, "the access token has characters that no token has: send it whole and unchanged")
        if not self.options.strict:
            return
        code = self.tokens.problem(query.get("access_token", ""))
        if code:
            raise Refusal(code, _TOKEN_CURES[code])


_TOKEN_CURES = {
    40001: "the token was never issued here, or a newer one replaced it: get one from /cgi-bin/stable_token",
    42001: "the token's life is over: get a new one, five minutes before expires_in ends",
}


# Who answers: each takes the server, the request and its record, and gives WeChat's JSON or raises Refusal.


def _crop(server: Server, asked: Request, exchange: Exchange) -> dict[str, Any]:
    if "chunked" in asked.headers.get("Transfer-Encoding", "").lower():
        raise Refusal(412, "the body came chunked, which WeChat refuses: send it with a Content-Length")
    _check_post(asked)
    server.disturb("img.aiCrop")
    form.check_query(asked.args, exchange.tell)
    server.check_token(asked.args)
    wanted = form.read(asked.args, asked.headers.get("Content-Type", ""), _body(asked, server), exchange.tell)
    _check_quota(server)
    return server.crops.find(wanted, exchange)


def _cloud_call(server: Server, asked: Request, exchange: Exchange) -> dict[str, Any]:
    exchange.through = "sdk"
    call = sdk.read(asked.headers.get("Content-Type", ""), _body(asked, server))
    if call.api not in APIS:
        match = near(call.api, APIS)
        cure = f"did you mean {match}?" if match else f"the APIs are {', '.join(APIS)}"
        raise Refusal(-604100, f'there is no API "{shown(call.api)}"; {cure}')
    exchange.endpoint = call.api
    if server.options.config:
        try:
            permissions.check(call.api, server.options.config)
        except CloudError as error:
            raise Refusal(error.errCode, error.hint) from None
    server.disturb(call.api)
    wanted = sdk.asked(call, exchange.tell)
    _check_quota(server)
    return server.crops.find(wanted, exchange)


def _token(server: Server, asked: Request, _exchange: Exchange) -> dict[str, Any]:
    server.disturb("token")
    appid = _check_credentials(server, asked.args)
    token, life = server.tokens.issue(appid)
    return {"access_token": token, "expires_in": life}


def _stable_token(server: Server, asked: Request, _exchange: Exchange) -> dict[str, Any]:
    _check_post(asked)
    server.disturb("stable_token")
    try:
        given = json.loads(_body(asked, server))
        if not isinstance(given, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError):
        raise Refusal(47001, "the body is no JSON object: send grant_type, appid and secret as JSON") from None
    appid = _check_credentials(server, given)
    token, life = server.tokens.stable(appid, force=given.get("force_refresh") is True)
    return {"access_token": token, "expires_in": life}


def _check_post(asked: Request) -> None:
    if asked.method != "POST":
        raise Refusal(43002, f"the method is {shown(asked.method)}: send POST")


def _check_quota(server: Server) -> None:
    if not server.quota.take():
        raise Refusal(45009, "the quota that this server was given is used up: POST /_cloudfn/reset, or raise --quota")


def _check_credentials(server: Server, given: Mapping[str, Any]) -> str:
    """The appid; raises Refusal in WeChat's order: the appid, then the secret, then the grant type."""
    appid, secret = given.get("appid"), given.get("secret")
    known = server.options.settings
    if not isinstance(appid, str) or not appid:
        raise Refusal(41002, "appid is missing: send it with grant_type and secret")
    if not isinstance(secret, str) or not secret:
        raise Refusal(41004, "secret is missing: send it with grant_type and appid")
    if server.options.strict and appid != known.appid:
        raise Refusal(40013, "this is not the appid that the server was given: set WX_APPID alike for both")
    if given.get("grant_type") != "client_credential":
        raise Refusal(40002, "grant_type is wrong: send client_credential")
    if server.options.strict and not hmac.compare_digest(secret.encode(), known.appsecret.encode()):
        raise Refusal(40125, "this is not the secret that the server was given: set WX_APPSECRET alike for both")
    return appid


def _body(asked: Request, server: Server) -> bytes:
    if BODY in asked.environ:
        body: bytes = asked.environ[BODY]  # as it came: Werkzeug would copy it twice
        return body
    try:
        return asked.get_data(cache=False, parse_form_data=False)
    except RequestEntityTooLarge:
        raise over_limit(server.options) from None


def over_limit(options: Options) -> Refusal:
    """The failed of a body that is too large to be read."""
    return too_large(f"at least {options.max_bytes + 1}", options)


# How an answer travels.


def _as_wechat(answer: Mapping[str, Any]) -> Response:
    return Response(json.dumps(answer), content_type="application/json; charset=utf-8")


def _as_cloudbase(answer: Mapping[str, Any]) -> Response:
    reply = sdk.encode(answer)
    return Response(reply.body, status=reply.status, content_type=reply.content_type)


class Endpoint(NamedTuple):
    """One address: the name that faults, log and metrics have for it, who answers, and how the answer travels."""

    name: str
    answer: Callable[[Server, Request, Exchange], dict[str, Any]]
    travel: Callable[[Mapping[str, Any]], Response]


ENDPOINTS: Mapping[str, Endpoint] = {
    APIS["img.aiCrop"].path: Endpoint("img.aiCrop", _crop, _as_wechat),
    "/cgi-bin/token": Endpoint("token", _token, _as_wechat),
    "/cgi-bin/stable_token": Endpoint("stable_token", _stable_token, _as_wechat),
    sdk.PATH: Endpoint("sdk", _cloud_call, _as_cloudbase),
}


def answered(server: Server, endpoint: Endpoint) -> Response:
    """The answer to the current request, counted and written to the log."""
    start = time.perf_counter()
    exchange = Exchange(endpoint.name, request.method, request.path, rid(server.clock()), server.clock())
    try:
        if REFUSED in request.environ:
            raise request.environ[REFUSED]
        answer = endpoint.answer(server, request, exchange)
    except Refusal as no:
        exchange.tell(no.mistake)
        answer = failed(no.code, exchange.rid)
    except HTTPException as error:  # such as a body that broke off
        answer = failed(error.code or 500, exchange.rid)
    except Exception:  # noqa: BLE001 - a bug of ours is WeChat's "system error", never a page with a traceback
        _log.exception("%s failed (rid %s)", endpoint.name, exchange.rid)
        answer = failed(-1, exchange.rid)
    exchange.code = answer.get("errcode", 0)
    response = Response(status=exchange.code) if is_status(exchange.code) else endpoint.travel(answer)
    exchange.status = response.status_code
    exchange.milliseconds = round((time.perf_counter() - start) * 1000, 1)
    server.metrics.count(exchange)
    server.journal.add(exchange)
    return response


def create_app(server: Server) -> Flask:
    """The application of a server."""
    app = Flask("cloudfn.server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = server.body_limit

    for path, endpoint in ENDPOINTS.items():

        def view(endpoint: Endpoint = endpoint) -> Response:
            return answered(server, endpoint)

        _add(app, path, view)
    _add(app, "/healthz", lambda: _as_wechat({"status": "ok"}))
    _add(app, "/readyz", lambda: _readiness(server))
    _add(app, "/metrics", lambda: Response(server.metrics.text(), content_type=CONTENT_TYPE))
    _add(app, f"{admin.PREFIX}<path:what>", lambda what: _admin(server, what))
    app.register_error_handler(404, lambda _error: _not_found())
    return app


def _add(app: Flask, path: str, view: Callable[..., Response]) -> None:
    app.add_url_rule(path, path, view, methods=_METHODS, provide_automatic_options=False)


def _readiness(server: Server) -> Response:
    ready = server.ready()
    response = _as_wechat({"status": "ready" if ready else "busy"})
    response.status_code = 200 if ready else 503
    return response


def _admin(server: Server, what: str) -> Response:
    """An answer of the admin surface, or the reason why there is none."""
    reason, status = admin.forbidden(request.remote_addr or "", request.headers), 403
    route = admin.ROUTES.get((request.method, what))
    if not reason and server.options.workers > 1:
        reason, status = "each worker knows its own requests only: start the server with --workers 1", 409
    elif not reason and route is None:
        reason, status = "there is " + ", ".join(f"{method} {admin.PREFIX}{path}" for method, path in admin.ROUTES), 404
    if reason or route is None:
        return Response(json.dumps({"error": reason}), status=status, content_type="application/json")
    try:
        body = _body(request, server)
        given = json.loads(body) if body else {}
        if not isinstance(given, dict):
            raise ValueError("the body is a JSON object")
        return Response(json.dumps(route(server, given)), content_type="application/json")
    except (ValueError, RecursionError, Refusal) as error:
        return Response(json.dumps({"error": str(error)}), status=400, content_type="application/json")


def _not_found() -> Response:
    match = near(request.path, ENDPOINTS)
    known = f"did you mean {match}?" if match else f"the addresses are {', '.join(ENDPOINTS)}"
    _log.warning("there is no address %s; %s", shown(request.path)[:40], known)
    return Response(status=404)
