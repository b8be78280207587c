"""A function as a platform would run it: its event, its context, its limits, on this machine."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from cloudfn import handler, platforms, settings
from cloudfn.errors import CloudError, refusal, setup_error
from cloudfn.hosts import Host
from cloudfn.platforms.base import Headers, HttpForm, Reply, Request, Values, as_lists, gateway_answer, is_text

_ID = "00000000-0000-0000-0000-000000000000"


def run_on(host: Host, make: Callable[[], Callable[[Any, Any], Any]], event: Any, seconds: float) -> Any:
    """Return what the platform would hand back for `event`, the JSON of one of its events.

    Where functions get HTTP requests only, an event of any HTTP form is replayed as a request, and any other is the
    JSON that is posted to "/". `make` returns the function; its time counts from its first line on.

    Raises `CloudError`: 45001 for an event that is too large, -504003 when the time is over, -604001 for an answer that
    is too large; the text names the platform and the limit. An error that the function raises is raised.
    """
    form = platforms.recognise(event)
    where = f"{host.title} ({form.name})"
    request = _request(form) if host.delivers in ("wsgi", "flask", "azure") else None
    sent = len(_json(event)) if request is None else len(request.body)
    text = request is not None and is_text(request.content_type)
    limits = (host.request_bytes, form.request_bytes, host.text_bytes if text else None)
    _hold(sent, limits, 45001, f"{where} takes events of", "this one has")
    os.environ.update({name: value for name, value in host.environment.items() if not os.environ.get(name)})
    function = handler.function(make())
    limit = min(seconds, (settings.one("trigger_seconds") if form.seconds else None) or form.seconds or seconds)
    end = time.monotonic() + limit
    argument, context = _arrival(host, event, request, lambda: end - time.monotonic())
    answer = _in_time(lambda: function(argument, context), limit, where)
    shown, got = _shown(answer, context)
    limits = (host.response_bytes, form.response_bytes, None)
    _hold(got, limits, -604001, f"{where} takes answers of", "this one has")
    return shown


def size(number: int) -> str:
    """Return bytes as people write them: in the largest binary unit that divides them, else one by one."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if number and number % unit == 0:
            return f"{number // unit} {name}"
    return f"{number:,} bytes"


def _hold(number: int, limits: tuple[int | None, ...], code: int, takes: str, has: str) -> None:
    most = min((limit for limit in limits if limit is not None), default=None)
    if most is not None and number > most:
        raise CloudError(code, f"{takes} {size(most)}, {has} {number:,} bytes")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _in_time(work: Callable[[], Any], seconds: float, where: str) -> Any:
    """Return the result of `work`; a platform does not wait for what takes longer."""
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


# --- What a function is called with -----------------------------------------------------------------------------------


def _lambda(left: Callable[[], float]) -> Any:
    return SimpleNamespace(
        aws_request_id=_ID,
        function_name="function",
        function_version="$LATEST",
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:function",
        memory_limit_in_mb="128",
        get_remaining_time_in_millis=lambda: max(0, int(left() * 1000)),
    )


def _scf(left: Callable[[], float]) -> Any:
    return {
        "time_limit_in_ms": int(left() * 1000),
        "memory_limit_in_mb": 128,
        "request_id": _ID,
        "function_name": "function",
        "function_version": "$LATEST",
        "namespace": "default",
        "environment": "{}",
    }


def _fc(left: Callable[[], float]) -> Any:
    return SimpleNamespace(request_id=_ID, function=SimpleNamespace(name="function", timeout=left()))


def _huawei(left: Callable[[], float]) -> Any:
    return SimpleNamespace(
        getRequestID=lambda: _ID,
        getRemainingTimeInMilliSeconds=lambda: max(0, int(left() * 1000)),
        getFunctionName=lambda: "function",
        getUserData=lambda name, default=None: os.environ.get(name, default),
    )


# The context objects of the platforms that hand one over, as far as functions use them.
_CONTEXTS: Mapping[str, Callable[[Callable[[], float]], Any]] = {
    "lambda": _lambda,
    "scf": _scf,
    "cloudbase": _scf,
    "fc": _fc,
    "huawei": _huawei,
}


def _arrival(host: Host, event: Any, request: Request | None, left: Callable[[], float]) -> tuple[Any, Any]:
    """Return what the function is called with: the event as the platform hands it over, and the context."""
    if request is None:
        return _json(event) if host.delivers == "bytes" else event, _CONTEXTS[host.name](left)
    if host.delivers == "wsgi":
        return _environ(request), _StartResponse()
    try:
        if host.delivers == "flask":
            from flask import Request as FlaskRequest

            return FlaskRequest(_environ(request)), None
        from azure.functions import HttpRequest
    except ImportError:
        package = {"flask": "functions-framework", "azure": "azure-functions"}[host.delivers]
        raise setup_error(f"functions of {host.title} get its own request object", f"pip install {package}") from None
    url = f"https://localhost{request.path}?{urlencode(request.query.pairs)}"
    return HttpRequest(request.method, url, headers=dict(request.headers), body=request.body), None


def _request(form: Any) -> Request:
    """Return the HTTP request that brings an event where there is nothing else."""
    if isinstance(form, HttpForm):
        return form.read()
    return Request("POST", "/", Values(), Headers([("content-type", "application/json")]), _json(form.event))


def _environ(request: Request) -> dict[str, Any]:
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    return {
        **headers,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": urlencode(request.query.pairs),
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


# --- What comes back --------------------------------------------------------------------------------------------------


class _StartResponse:
    """The `start_response` of a WSGI server; keeps the status and headers that it would send."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = int(status.split()[0]), headers


def _shown(answer: Any, context: Any) -> tuple[Any, int]:
    """Return an answer as JSON, an HTTP answer in the form that Lambda would be given, and the bytes that travel."""
    if isinstance(context, _StartResponse):
        reply = Reply(context.status, b"".join(answer), tuple(context.headers))
    elif isinstance(answer, tuple):  # Flask's: body, status, lists of values by name
        body, status, headers = answer
        reply = Reply(status, body, tuple((name, value) for name, values in headers.items() for value in values))
    elif hasattr(answer, "get_body"):  # Azure's
        reply = Reply(answer.status_code, answer.get_body(), tuple(answer.headers.items()))
    else:
        return answer, len(_json(answer))
    return gateway_answer(reply, as_lists), len(reply.body)
