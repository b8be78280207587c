"""The Flask application: each address of the tables, its answers counted and written to the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from cloudfn.call.naming import near
from cloudfn.server import intake
from cloudfn.server.answers import Refusal, failed, is_status, rid
from cloudfn.server.endpoints import ENDPOINTS, VIEWS, Endpoint
from cloudfn.server.journal import Exchange, shown
from cloudfn.server.state import State

_log = logging.getLogger("cloudfn.server")

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


def create_app(state: State) -> Flask:
    """Make the application of a worker."""
    app = Flask("cloudfn.server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = state.body_limit
    # A redirect would carry the query, token and all, to whatever Host the client named.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False

    for path, endpoint in ENDPOINTS.items():
        _add(app, path, lambda endpoint=endpoint, **_: _answer(state, endpoint))
    for path, view in VIEWS.items():
        _add(app, path, lambda view=view, **_: view(state, request))
    app.register_error_handler(404, lambda _error: _not_found())
    return app


def _add(app: Flask, path: str, view: Callable[..., Response]) -> None:
    app.add_url_rule(path, path, view, methods=_METHODS, provide_automatic_options=False)


def _answer(state: State, endpoint: Endpoint) -> Response:
    """Answer the current request, count it and write it to the log."""
    start = time.perf_counter()
    exchange = Exchange(endpoint.name, request.method, request.path, rid(state.clock()), state.clock())
    answer: Any
    try:
        intake.check(request)
        answer = endpoint.answer(state, request, exchange)
    except Refusal as no:
        exchange.tell(no.mistake)
        answer = failed(no.code, exchange.rid, no.words)
    except HTTPException as error:  # such as a body that was cut off
        answer = failed(error.code or 500, exchange.rid)
    except Exception:  # noqa: BLE001 - a bug of ours is WeChat's "system error", never a page with a traceback
        _log.exception("%s failed (rid %s)", endpoint.name, exchange.rid)
        answer = failed(-1, exchange.rid)
    exchange.code = answer.get("errcode", 0)
    response = Response(status=exchange.code) if is_status(exchange.code) else endpoint.encode(answer, exchange)
    exchange.status = response.status_code
    exchange.milliseconds = round((time.perf_counter() - start) * 1000, 1)
    state.metrics.count(exchange)
    state.journal.add(exchange)
    return response


def _not_found() -> Response:
    match = near(request.path, ENDPOINTS)
    known = f"did you mean {match}?" if match else f"the addresses are {', '.join(ENDPOINTS)}"
    _log.warning("there is no address %s; %s", shown(request.path)[:40], known)
    return Response(status=404)
