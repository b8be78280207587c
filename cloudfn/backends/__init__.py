"""Who answers a call: WeChat over HTTPS (`wechat`) or the embedded engine (`local`)."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from cloudfn import invocation, settings
from cloudfn.call.reply import normalise
from cloudfn.call.values import Backend, Call, Trace
from cloudfn.errors import CloudError
from cloudfn.settings import Settings

_log = logging.getLogger("cloudfn")

# WeChat's request id, which it can look a call up by: "rid: 8hex-8hex-8hex" at the end of errmsg.
_RID = re.compile(r"\brid: ?([0-9a-f]+(?:-[0-9a-f]+)*)")


def name_of(chosen: Settings) -> str:
    """The backend that the settings ask for, "wechat" or "local".

    `auto` is WeChat where credentials are there, else the embedded engine. On a serverless platform without
    credentials it is WeChat too, so that the call fails with 41001: a deployed function must not answer from the
    engine by accident.
    """
    if chosen.backend != "auto":
        return chosen.backend
    return "wechat" if chosen.has_credentials or settings.platform() else "local"


def choose(chosen: Settings) -> Backend:
    """A backend for these settings; raises `CloudError` -601002 where they forbid it."""
    if name_of(chosen) == "wechat":
        from cloudfn.backends.wechat import WeChat

        return WeChat(chosen)
    from cloudfn.backends.local import Local

    if chosen.backend == "auto":
        _log.warning("no WeChat credentials are set, so the embedded engine answers; CLOUDFN_BACKEND=local says so")
    return Local(chosen)


def perform(call: Call, backend: Backend, *, convert_case: bool = True) -> dict[str, Any]:
    """Run a checked call and give the SDK's result, or raise `CloudError`, whoever answers.

    Either way one record goes to the log (INFO): api, backend, code, attempts, milliseconds, bytes (of the body or
    the picture), WeChat's rid and the platform's id of the request, each also an attribute of the record.
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
        }
        _log.info(" ".join(f"{name}=%({name})s" for name in facts), facts, extra=facts)
    return result


def log_hint(error: CloudError) -> None:
    """Say the cure once in the log, unless the error's own words say it already."""
    if error.hint and not error.facts.in_words:
        _log.warning("%s (errCode %d): %s", error.errMsg, error.errCode, error.hint)
