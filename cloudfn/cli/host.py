"""A function as a platform would run it: its event, its context, its limits, on this machine."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from cloudfn import handler, platforms
from cloudfn.errors import CloudError, refusal, setup_error
from cloudfn.platforms.base import Host, Reply, Request, lambda_reply


def run_on(host: Host, make: Callable[[], Callable[[Any, Any], Any]], event: Any, seconds: float) -> Any:
    """What the platform would hand back for `event`, the JSON of one of its events.

    Where functions get HTTP requests only, an event of any HTTP form is replayed as a request, and any other is the
    JSON that is posted to "/". `make` gives the function; its time counts from its first line on.

    Raises `CloudError`: 45001 for an event that is too large, -504003 when the time is over, -604001 for an answer that
    is too large; the text names the platform and the limit.
    """
    sent = len(json.dumps(event, ensure_ascii=False).encode())
    if host.request_bytes is not None and sent > host.request_bytes:
        raise CloudError(45001, f"{host.title} takes events of {host.request_bytes:,} bytes, this one has {sent:,}")
    os.environ.update({name: value for name, value in host.environment.items() if not os.environ.get(name)})
    function = handler.function(make())
    form, _ = platforms.recognise(event)
    limit = min(seconds, form.seconds or seconds)
    end = time.monotonic() + limit
    given, context = _arrival(host, event, lambda: end - time.monotonic())
    answer = _in_time(lambda: function(given, context), limit, f"{host.title} ({form.name})")
    if isinstance(context, _StartResponse):
        answer = context.shown(answer)
    got = len(json.dumps(answer, ensure_ascii=False).encode())
    if host.response_bytes is not None and got > host.response_bytes:
        raise CloudError(-604001, f"{host.title} takes answers of {host.response_bytes:,} bytes, this one has {got:,}")
    return answer


def _in_time(work: Callable[[], Any], seconds: float, where: str) -> Any:
    """What `work` gives; a platform does not wait for what takes longer."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits
            outcome.append((None, error))

    thread = threading.Thread(target=run, name="cloudfn-function", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        cure = "make the function faster, or its limit longer there and with --timeout here"
        raise refusal(-504003, f"{where} stops the function after {seconds:g} s", cure)
    answer, error = outcome[0]
    if error is not None:
        raise error
    return answer


class _StartResponse:
    """What a WSGI server hands over, and what it would send."""

    def __init__(self) -> None:
        self._status = 500
        self._headers: dict[str, str] = {}

    def __call__(self, status: str, headers: list[tuple[str, str]]) -> None:
        self._status, self._headers = int(status.split()[0]), dict(headers)

    def shown(self, answer: Any) -> dict[str, Any]:
        """The answer in the form that Lambda would be given: of a WSGI application's parts, or Flask's tuple."""
        if isinstance(answer, tuple):
            body, status, headers = answer
            return lambda_reply(Reply(status, body, headers))
        return lambda_reply(Reply(self._status, b"".join(answer), self._headers))


def _arrival(host: Host, event: Any, left: Callable[[], float]) -> tuple[Any, Any]:
    if host.arrive:
        return host.arrive(event), host.context(left)
    environ = _environ(event)
    if host.name != "google":
        return environ, _StartResponse()
    try:
        from flask import Request as FlaskRequest
    except ImportError:
        raise setup_error(f"functions of {host.title} get a flask.Request", "pip install functions-framework") from None
    return FlaskRequest(environ), _StartResponse()


def _environ(event: Any) -> dict[str, Any]:
    form, event = platforms.recognise(event)
    if form.http:
        request: Request = form.read(event, None)
    else:
        body = json.dumps(event, ensure_ascii=False).encode()
        request = Request("POST", "/", {}, {"content-type": "application/json"}, body)
    from urllib.parse import urlencode

    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    return {
        **headers,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": urlencode(request.query),
        "CONTENT_TYPE": request.content_type,
        "CONTENT_LENGTH": str(len(request.body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
    }
