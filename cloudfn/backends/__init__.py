"""The backends that answer a call: WeChat over HTTPS (`wechat`) and the embedded engine (`local`)."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from cloudfn import invocation, settings
from cloudfn.call.reply import normalise
from cloudfn.call.values import Backend, Call, Trace
from cloudfn.errors import CloudError, not_loaded, setup_error
from cloudfn.settings import Settings

_log = logging.getLogger("cloudfn")

# WeChat's request id, which it can look a call up by: "rid: 8hex-8hex-8hex" at the end of errmsg.
_RID = re.compile(r"\brid: ?([0-9a-f]+(?:-[0-9a-f]+)*)")


def name_of(options: Settings) -> str:
    """Return the backend that the settings select, "wechat" or "local".

    `auto` is WeChat where credentials are there, else the embedded engine. On a serverless platform without
    credentials it is WeChat too, so that the call fails with 41001: a deployed function must not answer from the
    engine by accident.
    """
    if options.backend != "auto":
        return options.backend
    return "wechat" if options.has_credentials or settings.platform() else "local"


def choose(options: Settings) -> Backend:
    """Return a backend for these settings; raise `CloudError` -601002 if they are wrong or a package is missing."""
    try:
        return _assembled(options)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("cloudfn."):
            raise
    raise without_engine()


def without_engine() -> CloudError:
    """Make the error -601002 of a bundle for WeChat, which leaves the engine out."""
    return setup_error("this bundle was made without the engine", "make it with: cloudfn package --backend local")


def _assembled(options: Settings) -> Backend:
    backend: Backend
    if name_of(options) == "wechat":
        try:
            from cloudfn.backends.wechat import WeChat
        except ImportError as error:
            raise not_loaded("WeChat's client", error) from error

        backend = WeChat(options)
        if options.quota or options.shrink or options.fallback:
            backend = _guarded(backend, options)
    else:
        from cloudfn.backends.local import Local

        if options.backend == "auto":
            _log.warning("no WeChat credentials are set, so the embedded engine answers; CLOUDFN_BACKEND=local says so")
        backend = Local(options)
    if options.cache > 0:
        from cloudfn.backends import stores, wrappers

        backend = wrappers.Cached(backend, stores.open_store(options.store), options.cache, options.appid)
    return backend


def _guarded(backend: Backend, options: Settings) -> Backend:
    """Wrap WeChat in what spares it calls, from the inside out: the quota, smaller pictures, the engine as fallback."""
    from cloudfn.backends import stores, wrappers

    for quota in options.quota:
        store = stores.open_store(options.store)
        backend = wrappers.Counted(backend, store, wrappers.Quota(*quota), options.appid)
    if options.shrink:
        from cloudfn.backends.shrink import Shrunk

        backend = Shrunk(backend, options)
    if options.fallback:
        from cloudfn.backends.local import Local

        backend = wrappers.Fallback(backend, Local(options))
    return backend


def perform(call: Call, backend: Backend, *, convert_case: bool = True) -> dict[str, Any]:
    """Run a checked call and return the SDK's result, or raise `CloudError`, whichever backend answers.

    Either way one record goes to the log (INFO): api, backend, code, attempts, milliseconds, bytes (of the body or the
    picture), WeChat's rid, the platform's id of the request, and who answered (the backend, `cache`, or `local` in
    WeChat's place, and then because of which code), each also an attribute of the record.
    """
    trace, start, said = Trace(), time.perf_counter(), ("", -1)
    try:
        result = normalise(call.api, backend(call, trace), convert_case=convert_case)
        said = ("", 0)
    except CloudError as error:
        said = (error.errMsg, error.errCode)
        raise
    finally:
        rid = _RID.search(said[0])
        facts = {
            "api": call.api,
            "backend": backend.name,
            "code": said[1],
            "attempts": trace.attempts,
            "milliseconds": round((time.perf_counter() - start) * 1000, 1),
            "bytes": trace.bytes,
            "rid": rid[1] if rid else "",
            "request_id": invocation.current().request_id,
            "answered": trace.answered_by or backend.name,
            "because": trace.because,
        }
        _log.info(" ".join(f"{name}=%({name})s" for name in facts), facts, extra=facts)
    return result


def log_hint(error: CloudError) -> None:
    """Log the cure once, unless the error's own words contain it already."""
    if error.hint and not error.facts.in_words:
        _log.warning("%s (errCode %d): %s", error.errMsg, error.errCode, error.hint)
