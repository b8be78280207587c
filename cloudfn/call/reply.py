"""WeChat's answer: read out of an HTTP body, and made into the SDK's result or a `CloudError`, in this one place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cloudfn.call.naming import rename, to_camel
from cloudfn.errors import failure

# Characters shown of a body that is not JSON: enough to recognise a proxy's page.
_SHOWN = 500


def parse(
    api: str,
    body: bytes | memoryview,
    *,
    status: int = 200,
    content_type: str = "application/json",
    redact: Callable[[str], str] = str,
) -> dict[str, Any]:
    """Parse WeChat's JSON object out of an HTTP answer; raise -601001 where there is none.

    The body decides and not its declared type: WeChat is known to send JSON as text/plain. An answer whose status is
    not 200 counts only when it carries a failing errcode. The SDK's own words are kept where the SDK has any, that is
    for a broken application/json with status 200; otherwise status and type stand before the body. `redact` takes
    secrets out of the text that is shown: an error page may echo the address that was called.
    """
    reply, problem = _object(body)
    if not problem and (status == 200 or errcode(api, reply)):
        return reply
    said = (
        ""
        if status == 200 and "application/json" in content_type
        else f" (HTTP {status}, {redact(content_type) or 'no type'})"
    )
    text = redact(str(body, "utf-8", "replace"))[:_SHOWN] or ("" if said == "" else "(empty)")
    raise failure(
        api, -601001, f"wechat server internal error{said}, response body {problem or 'names no failure'}: {text}"
    )


def _object(body: bytes | memoryview) -> tuple[dict[str, Any], str]:
    """Return the JSON object that a body holds, or what is wrong with it."""
    try:
        # As in the SDK, an invalid byte of UTF-8 does not hide the code beside it.
        reply = json.loads(str(body, "utf-8-sig", "replace"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return {}, "is invalid json"
    return (reply, "") if isinstance(reply, dict) else ({}, "is no JSON object")


def normalise(api: str, reply: Mapping[str, Any], *, convert_case: bool = True) -> dict[str, Any]:
    """Return the SDK's result for WeChat's JSON; raise `CloudError` where its errcode says that the call failed.

    errcode 0, missing, null and "" are success; a code that comes as text counts as a number ("0" is success).
    """
    code = errcode(api, reply)
    if code:
        errmsg = reply.get("errmsg")
        raise failure(api, code, errmsg if isinstance(errmsg, str) else f"(no errmsg: {json.dumps(errmsg)})")
    result = {key: value for key, value in reply.items() if key not in ("errcode", "errmsg")}
    if convert_case:
        try:
            result = rename(result, to_camel)
        except RecursionError:
            raise failure(api, -601001, "wechat server internal error, response body is nested too deep") from None
    return result | {"errMsg": f"openapi.{api}:ok", "errCode": 0}


def errcode(api: str, reply: Mapping[str, Any]) -> int:
    """Return the answer's errcode as a number, 0 for success; raise -601001 where it is not one."""
    code = reply.get("errcode")
    if code is None or code == "":
        return 0
    if isinstance(code, int) and not isinstance(code, bool):
        return code
    if isinstance(code, float) and code.is_integer():
        return int(code)
    if isinstance(code, str) and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", code):
        return int(code)
    raise failure(api, -601001, f"wechat server internal error, errcode is no number: {json.dumps(code)[:_SHOWN]}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
