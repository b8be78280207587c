"""Cloud functions for every platform: the ready-made `main`, and `function`, which wraps a user's own.

Both return one plain function, which any platform may call: with an event and a context (SCF, CloudBase, Lambda, FC,
Huawei), with a WSGI environment and start_response (CloudRun and any WSGI host), with a flask.Request or a CloudEvent
(Google), or with an HttpRequest (Azure).

| who sent the event | an error |
|---|---|
| HTTP | is an answer: errCode and errMsg, with the status that fits |
| a direct invocation | is returned as errCode and errMsg, or raised with `raise_errors` |
| a storage, a queue, a timer, a CloudEvent | is raised, and logged as ERROR: retries and dead letters work |
| a sender that wants an answer of its own (authorizer, WebSocket, edge, agent) | is raised likewise |
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast, overload

from cloudfn import invocation, platforms, settings
from cloudfn.call.apis import Api
from cloudfn.call.params import misspelt, read_event
from cloudfn.call.values import Call
from cloudfn.cloud import Cloud, get_wx_context
from cloudfn.errors import CloudError, refusal
from cloudfn.invocation import Invocation
from cloudfn.platforms import answers, cloudevents, events, told, wsgi
from cloudfn.platforms.base import EventForm, Form, Headers, HttpForm, Reply, Request
from cloudfn.platforms.events import StoredObject
from cloudfn.platforms.parameters import parameters
from cloudfn.secret import Secret

_log = logging.getLogger("cloudfn")

_MARK = "__cloudfn_function__"


class Handler(Protocol):
    """A function as platforms call it: with an event and a context object (with WSGI: environ and start_response)."""

    def __call__(self, event: Any, context: Any = None) -> Any: ...


@dataclass(frozen=True)
class Context:
    """The second argument of a function that `function` wraps, beside its event.

    `form` is the name of the event's form, `request` the HTTP request (None for all others), `caller` what
    getWXContext gives, `request_id` the platform's id of this request ("" where it has none); `event` and `platform`
    are what the platform itself handed over.
    """

    form: str
    request: Request | None = None
    caller: Mapping[str, str | int] = field(default_factory=dict)
    event: Any = field(default=None, repr=False)
    platform: Any = field(default=None, repr=False)
    request_id: str = ""
    _brought: Any = field(default=None, repr=False)  # the value to search for files and messages

    @property
    def objects(self) -> tuple[StoredObject, ...]:
        """Return the stored files that the event names, each with bucket, key (decoded), size, region, url and event.

        They come from S3, COS, OSS, OBS and Google Cloud Storage, also by way of a queue or an event bus; () for all
        other events.
        """
        return events.objects(self._brought)

    @property
    def messages(self) -> tuple[Any, ...]:
        """Return the bodies of the messages in the event, in order; () for all other events.

        Of queues (SQS, SNS, CMQ, CKafka, ...) it is the text, of EventBridge the `detail`, of CloudEvents the `data`,
        of a timer what its owner wrote (SCF `Message`, FC `payload`, Huawei `user_event`).
        """
        return events.messages(self._brought)


@dataclass(frozen=True)
class _Job:
    """The work done for an event.

    `own` marks a user's own function, which gets events as they came; `methods` are the HTTP methods that it takes.
    """

    run: Callable[[Any, Context], Any]
    own: bool
    raise_errors: bool
    methods: tuple[str, ...]


def make_main(*, raise_errors: bool = False, **settings: Any) -> Handler:
    """Make a handler that makes the cloud call img.aiCrop for an event, on an instance of its own.

    The event's imgUrl, img and ratios are taken; of an HTTP request those of its JSON or multipart body, its picture,
    and its query; of a CloudEvent those of its data, of a timer those of its message. A key that looks like one of them
    misspelt is -401002 with the right name; any other key is ignored. A direct invocation returns the result, or
    exactly errCode and errMsg; with `raise_errors` it raises `CloudError` instead. An HTTP trigger always gets an HTTP
    answer. Events of storages and queues hold no call: they are refused, and the error is raised. `settings` are those
    of `Cloud`; the others are read when an event comes.
    """
    cloud = Cloud(**settings)

    def run(event: Any, context: Context) -> Any:
        request = context.request
        if request and request.method in ("GET", "HEAD") and not request.query and not request.body:
            return _READY
        return cloud.call("img.aiCrop", partial(_read, event=event))

    job = _Job(run, own=False, raise_errors=raise_errors, methods=("GET", "HEAD", "OPTIONS", "POST"))

    def main(event: Any, context: Any = None) -> Any:
        """Make the cloud call img.aiCrop for an event of any platform, and answer as it wants: see `make_main`."""
        return _answer(job, event, context)

    setattr(main, _MARK, True)
    return main


@overload
def function(given: Callable[[Any, Any], Any] | Handler, /) -> Handler: ...
@overload
def function(*, raise_errors: bool = False) -> Callable[[Callable[[Any, Any], Any]], Handler]: ...
def function(given: Callable[[Any, Any], Any] | None = None, /, *, raise_errors: bool = False) -> Any:
    """Wrap a function to run on every platform: `@cloud.function`, or `@cloud.function(raise_errors=True)`.

    It may be `async def`. It is called with the neutral event and a `Context`. The neutral event of an HTTP request is
    what a direct invocation would bring, its query and body (a body that holds no parameters is in
    `context.request.body`); every other event comes as the platform handed it over, with its files in
    `context.objects` and its messages in `context.messages`. A CloudEvent is its structured form's mapping, however it
    came, with decoded `data`.

    It may return JSON; for an HTTP trigger also text, bytes (a picture), or {"statusCode": ..., "headers": ...,
    "body": ...}. Every exception becomes a `CloudError`, with -504002 unless it is one already. A direct invocation
    returns its errCode and errMsg, or with `raise_errors` raises it; an HTTP trigger gets the status that fits; for an
    event that nobody waits for (storage, queue, timer, CloudEvent) it is raised, so that the platform knows.
    {"errCode": ..., "errMsg": ...} that the function itself returns counts the same.

    Raises TypeError for what cannot be called.
    """

    def wrap(callee: Callable[[Any, Any], Any]) -> Handler:
        if not callable(callee):
            raise TypeError(f"@cloud.function stands above a function (event, context), not a {type(callee).__name__}")
        if is_wrapped(callee):
            return cast(Handler, callee)
        methods = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
        job = _Job(callee, own=True, raise_errors=raise_errors, methods=methods)

        @functools.wraps(callee)
        def wrapped(event: Any, context: Any = None) -> Any:
            return _answer(job, event, context)

        setattr(wrapped, _MARK, True)
        return wrapped

    return wrap if given is None else wrap(given)


def is_wrapped(candidate: object) -> bool:
    """Return whether `candidate` was made by `function` or `make_main`, so that any platform may call it."""
    return getattr(candidate, _MARK, False) is True


def load(path: Path, name: str) -> Callable[[Any, Any], Any]:
    """Return the function `name` in the file `path`.

    Raises AttributeError where the file has no such function, and whatever `load_file` raises.
    """
    loaded = getattr(load_file(path), name, None)
    if not callable(loaded):
        raise AttributeError(f"{path} has no function {name}")
    return loaded  # type: ignore[no-any-return]


def load_file(path: Path) -> ModuleType:
    """Run the Python file `path`, whose folder is made the function's, as on a platform, and return its module.

    Raises whatever the file's own code raises.
    """
    folder = path.resolve().parent
    sys.path.insert(0, str(folder))
    settings.use_code_folder(folder)
    # The platform may have loaded its entry under this very name already.
    module_name = path.stem if path.stem not in sys.modules else f"function_{path.stem}"
    loader = importlib.machinery.SourceFileLoader(module_name, str(path))
    spec = importlib.util.spec_from_loader(module_name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    loader.exec_module(module)
    return module


def _normalised(error: Exception) -> CloudError:
    """Return the error as a `CloudError`; the text of any other exception goes no further."""
    if isinstance(error, CloudError):
        return error
    _log.error("the function raised %s", type(error).__name__, exc_info=error)
    fault = CloudError(-504002, f"functions execute fail: {type(error).__name__}", retryable=False)
    fault.__cause__ = error
    return fault


def _answer(job: _Job, event: Any, context: Any) -> Any:
    if isinstance(event, Mapping) and "asgi" in event:
        raise TypeError(
            "this is a WSGI application, and an ASGI server calls it: run it with gunicorn or waitress, or with "
            "uvicorn --interface wsgi"
        )
    form = platforms.recognise(event, context)
    if isinstance(form, HttpForm):
        return _written(form, _http_reply(job, form))
    try:
        known = _invocation(form)
        with invocation.running(known):
            data = form.data() if job.own else form.parameters()
            brought = None if form.caller else form.data()
            about = Context(form.name, None, get_wx_context(), event, context, known.request_id, brought)
            result = _finished(job.run(data, about))
            if not form.caller and (code := answers.failed(result)):
                raise CloudError(code, str(result["errMsg"]))
            return answers.of_direct(result)
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
        return _failed(job, form, error)


def _failed(job: _Job, form: EventForm, error: Exception) -> Any:
    """Return a direct invocation's errCode and errMsg; raise where nobody would read them."""
    fault = _normalised(error)
    if form.caller and not job.raise_errors:
        return fault.to_dict()
    if not form.caller and fault is error:  # any other exception is logged already
        cure = "" if fault.facts.in_words else f"; {fault.hint}"
        _log.error("an event (%s) failed: %s (errCode %d)%s", form.name, fault.errMsg, fault.errCode, cure)
    raise fault from fault.__cause__


def _written(form: HttpForm, reply: Reply) -> Any:
    """Return the reply in the form's own shape; one that the form cannot carry becomes an error's answer."""
    try:
        return form.write(reply)
    except CloudError as error:
        return form.write(answers.of_error(error))


def _invocation(form: Form, headers: Mapping[str, str] | None = None) -> Invocation:
    """Return what the platform tells of this invocation; its time counts from now on."""
    trigger = settings.one("trigger_seconds") if form.seconds else None
    seconds = told.seconds_left(form, trigger=trigger)
    return Invocation(left=invocation.countdown(seconds), request_id=told.request_id(form, headers or {}))


def _http_reply(job: _Job, form: HttpForm) -> Reply:
    """Return an HTTP trigger's answer, errors included: a bare exception would be a 5xx without explanation."""
    request: Request | None = None
    origins: tuple[str, ...] = ()
    try:
        request = form.read()
        origins = settings.one("cors") if "origin" in request.headers else ()
        reply = _reply_to(job, form, request, _invocation(form, request.headers))
    except Exception as error:  # noqa: BLE001 - whatever a user's function raises
        reply = answers.of_error(_normalised(error))
    return answers.with_cors(reply, request, origins) if request else reply


def _reply_to(job: _Job, form: HttpForm, request: Request, known: Invocation) -> Reply:
    if request.method == "OPTIONS":
        return answers.of_options(job.methods)
    if request.headers.get("user-agent", "").startswith("ELB-HealthChecker/"):
        return answers.of_result(_READY)
    request, known = _from_wechat(request, known)
    with invocation.running(known):
        brought = cloudevents.of_request(request)
        if brought is None:
            data = parameters(request, strict=not job.own)
        else:
            data = brought if job.own else cloudevents.call_of(brought)
        about = Context(form.name, request, get_wx_context(), form.event, form.context, known.request_id, brought)
        return answers.of_result(_finished(job.run(data, about)))


def _is_awaited(result: Any) -> bool:
    return inspect.isawaitable(result) and not isinstance(result, Mapping)


def _finished(result: Any) -> Any:
    """Return a function's result; a returned CloudError, common in Node code, as its errCode and errMsg."""
    result = _awaited(result)
    return result.to_dict() if isinstance(result, CloudError) else result


def _awaited(result: Any) -> Any:
    """Run an `async def` function to its end and return its result.

    It runs in a thread of its own: an event loop may run in this one already, and asyncio would put a handler of its
    own for SIGINT in the place of a server's (uWSGI's workers then ignore the signal to end).
    """
    if not _is_awaited(result):
        return result
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    async def wait() -> Any:
        invocation.await_calls()
        awaited = await result
        while _is_awaited(awaited):  # like a promise that an async function returns in Node
            awaited = await awaited
        return awaited

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(copy_context().run, asyncio.run, wait()).result()


def _read(api: Api, *, event: Any, begin: Callable[[], None]) -> Call:
    """Read the call's parameters; the error for an event without any, even misspelt, names the keys that it has."""
    if (
        isinstance(event, Mapping)
        and event
        and not any(name in event for name in api.fields)
        and misspelt(api, event) is None
    ):
        keys = ", ".join(repr(str(key)[:40]) for key in list(event)[:10]) + (", ..." if len(event) > 10 else "")
        raise refusal(
            -401002,
            f"this event is not known: it has the keys {keys}",
            f"expected {', '.join(api.fields)}, or an HTTP event, a timer or a CloudEvent that brings them",
            api=api.name,
        )
    return read_event(api, event=event, begin=begin)


def _from_wechat(request: Request, known: Invocation) -> tuple[Request, Invocation]:
    """Return the request without its tokens, and, where CloudRun's headers can be trusted, what they tell."""
    kept = Headers(pair for pair in request.headers.pairs if pair[0] not in wsgi.TOKEN_HEADERS)
    caller: dict[str, str | int] = {}
    if settings.environment().get("CBR_ENV_ID"):
        caller = wsgi.caller(request.headers)
        token = Secret(request.headers.get(wsgi.TOKEN_HEADERS[0], "")) if caller else None
        known = replace(known, caller=caller, token=token)
    return replace(request, headers=kept), known


# What a probe or a curious browser gets: the function is there.
_READY = {"errCode": 0, "errMsg": "ok"}

main = make_main()
main_handler = main
app = main
"""The same, under the name that WSGI servers look for."""
