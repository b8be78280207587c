"""Cloud functions for every platform: the ready-made `main`, and `function`, which makes one of a user's own.

What both give is one plain function, whatever calls it: with an event and a context (SCF, CloudBase, Lambda, FC), with
a WSGI environment and start_response (CloudRun and any WSGI host), or with a flask.Request (Google).
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast, overload

from cloudfn import invocation, platforms, settings
from cloudfn.call.params import read_event
from cloudfn.cloud import Cloud
from cloudfn.errors import CloudError
from cloudfn.invocation import Invocation
from cloudfn.platforms import wsgi
from cloudfn.platforms.base import Form, Reply, Request, json_reply
from cloudfn.platforms.parameters import parameters
from cloudfn.secret import Secret

_log = logging.getLogger("cloudfn")

_MARK = "__cloudfn_function__"


class Handler(Protocol):
    """What a platform calls: an event, and its own context object (with WSGI: environ, and start_response)."""

    def __call__(self, event: Any, context: Any = None) -> Any: ...


@dataclass(frozen=True)
class Context:
    """What a function that `function` wraps gets beside its event.

    `form` is the name of the event's form, `request` the HTTP request (None for a direct invocation), `caller` what
    getWXContext gives; `event` and `platform` are what the platform itself handed over.
    """

    form: str
    request: Request | None = None
    caller: Mapping[str, str | int] = field(default_factory=dict)
    event: Any = field(default=None, repr=False)
    platform: Any = field(default=None, repr=False)


# What the wrapped code is called with: the neutral event, and its context.
_Run = Callable[[Any, Context], Any]


def make_main(*, raise_errors: bool = False, **settings: Any) -> Handler:
    """A handler that makes the cloud call img.aiCrop for an event, on an instance of its own.

    The event's imgUrl, img and ratios are taken; of an HTTP request those of its JSON or multipart body, its picture,
    and its query. A key that looks like one of them misspelt is -401002 with the right name; any other key is
    ignored. A direct invocation returns the result, or exactly errCode and errMsg; with `raise_errors` it raises
    `CloudError` instead. An HTTP trigger always gets an HTTP answer. `settings` are those of `Cloud`; the others are
    read when an event comes.
    """
    cloud = Cloud(**settings)

    def run(event: Any, context: Context) -> Any:
        request = context.request
        if request and request.method in ("GET", "HEAD") and not request.query and not request.body:
            return _READY
        return cloud.call("img.aiCrop", partial(read_event, event=event))

    def main(event: Any, context: Any = None) -> Any:
        return _answer(run, event, context, raise_errors, strict=True)

    setattr(main, _MARK, True)
    return main


@overload
def function(given: Callable[[Any, Any], Any] | Handler, /) -> Handler: ...
@overload
def function(*, raise_errors: bool = False) -> Callable[[Callable[[Any, Any], Any]], Handler]: ...
def function(given: Callable[[Any, Any], Any] | None = None, /, *, raise_errors: bool = False) -> Any:
    """Make a function of one's own run on every platform: `@cloud.function`, or `@cloud.function(raise_errors=True)`.

    It is called with the neutral event, that is with what a direct invocation would bring (of an HTTP request the
    query and the body; a body that holds no parameters is in `context.request.body`), and with a `Context`.
    It may return JSON; for an HTTP trigger also text, bytes (a picture), or {"statusCode": ..., "headers": ...,
    "body": ...}. Every exception becomes a `CloudError`, -504002 if it is none: a
    direct invocation returns its errCode and errMsg, or with `raise_errors` raises it; an HTTP trigger gets the status
    that fits. {"errCode": ..., "errMsg": ...} that the function returns itself gets that status too.
    """

    def wrap(given: Callable[[Any, Any], Any]) -> Handler:
        if is_wrapped(given):
            return cast(Handler, given)

        @functools.wraps(given)
        def wrapped(event: Any, context: Any = None) -> Any:
            return _answer(given, event, context, raise_errors, strict=False)

        setattr(wrapped, _MARK, True)
        return wrapped

    return wrap if given is None else wrap(given)


def is_wrapped(given: object) -> bool:
    """Whether `given` was made by `function` or `make_main`, so that any platform may call it."""
    return getattr(given, _MARK, False) is True


def load(path: Path, name: str) -> Callable[[Any, Any], Any]:
    """The function `name` in the file `path`, whose folder is made the function's, as on a platform.

    Raises ImportError for a file that is no Python, AttributeError where it has no such function, and whatever the
    file's own code raises.
    """
    folder = path.resolve().parent
    sys.path.insert(0, str(folder))
    settings.use_code_folder(folder)
    # The platform may have loaded its entry under this very name already.
    module_name = path.stem if path.stem not in sys.modules else f"function_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise AttributeError(f"{path} has no function {name}")
    return found  # type: ignore[no-any-return]


def _normalised(error: Exception) -> CloudError:
    """The error as what a cloud call ends with; of a foreign exception no word goes out, they may hold anything."""
    if isinstance(error, CloudError):
        return error
    _log.error("the function raised %s", type(error).__name__, exc_info=error)
    fault = CloudError(-504002, f"functions execute fail: {type(error).__name__}", retryable=False)
    fault.__cause__ = error
    return fault


def _answer(run: _Run, event: Any, context: Any, raise_errors: bool, *, strict: bool) -> Any:
    form, event = platforms.recognise(event, context)
    left = invocation.countdown(platforms.seconds_left(form, context))
    if form.http:
        return form.write(_http_reply(run, form, event, context, Invocation(left=left), strict), event, context)
    try:
        with invocation.running(Invocation(left=left)):
            return run(form.read(event, context), Context(form.name, None, {}, event, context))
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
        fault = _normalised(error)
        if raise_errors:
            raise fault from fault.__cause__
        return fault.to_dict()


def _http_reply(run: _Run, form: Form, event: Any, context: Any, known: Invocation, strict: bool) -> Reply:
    """An HTTP trigger always gets an answer: a bare exception would be a 5xx without a word."""
    try:
        request = form.read(event, context)
        if request.headers.get("user-agent", "").startswith("ELB-HealthChecker/"):
            return json_reply(_READY)
        request, known = _from_wechat(request, known)
        with invocation.running(known):
            told = Context(form.name, request, known.caller or {}, event, context)
            return _reply_of(run(parameters(request, strict=strict), told))
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
        fault = _normalised(error)
        return json_reply(fault.to_dict(), fault.http_status)


def _from_wechat(request: Request, known: Invocation) -> tuple[Request, Invocation]:
    """The request without its tokens, and, where CloudRun's headers can be trusted, what they tell."""
    headers = {name: value for name, value in request.headers.items() if name not in wsgi.TOKEN_HEADERS}
    caller: dict[str, str | int] = {}
    if settings.environment().get("CBR_ENV_ID"):
        caller = wsgi.caller(request.headers)
        token = Secret(request.headers.get(wsgi.TOKEN_HEADERS[0], "")) if caller else None
        known = replace(known, caller=caller, token=token)
    return replace(request, headers=headers), known


def _reply_of(result: Any) -> Reply:
    """The HTTP answer for what a function returned."""
    try:
        if isinstance(result, Mapping) and isinstance(result.get("statusCode"), int):
            return _integrated(result)
        if isinstance(result, (bytes, bytearray, memoryview)):
            from cloudfn.call.media import sniff

            return Reply(200, bytes(result), {"Content-Type": sniff(result) or "application/octet-stream"})
        if isinstance(result, str):
            return Reply(200, result.encode(), {"Content-Type": "text/plain; charset=utf-8"})
        status = 200
        if isinstance(result, Mapping) and result.keys() == {"errCode", "errMsg"}:
            code = result["errCode"]
            status = CloudError(code, "").http_status if isinstance(code, int) and code else 200
        return json_reply(result, status)
    except (TypeError, ValueError, RecursionError) as error:
        raise CloudError(-504002, "functions execute fail: what the function returned is no JSON") from error


def _integrated(result: Mapping[str, Any]) -> Reply:
    """{"statusCode", "headers", "body", "isBase64Encoded"}, which a function may return itself."""
    body, headers = result.get("body", b""), {str(k): str(v) for k, v in (result.get("headers") or {}).items()}
    if isinstance(body, str) and result.get("isBase64Encoded"):
        import base64

        body = base64.b64decode(body)
    if not isinstance(body, (str, bytes, bytearray)):
        body = json_reply(body).body
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json; charset=utf-8"
    return Reply(result["statusCode"], body.encode() if isinstance(body, str) else bytes(body), headers)


# What a probe or a curious browser gets: the function is there.
_READY = {"errCode": 0, "errMsg": "ok"}

main = make_main()
main_handler = main
app = main
"""The same, under the name that WSGI servers look for."""
