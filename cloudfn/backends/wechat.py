"""WeChat's HTTPS call: one POST a cloud call, in the one form that WeChat is known to understand.

The address carries the token and `img_url`; the body is multipart and holds `ratios` as text and `img` as a file, with
a Content-Length (a chunked upload gets HTTP 412), an unquoted boundary and ASCII file names (anything else gets 41005).
Source of these facts: WeChat's documentation of img.aiCrop, and users' reports.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from cloudfn.backends import tokens
from cloudfn.call.apis import APIS
from cloudfn.call.naming import to_snake
from cloudfn.call.reply import errcode, parse
from cloudfn.call.values import Call, Media, Ratios, Trace
from cloudfn.codes import CODES
from cloudfn.errors import CloudError, Limit, failure, refusal, setting_error
from cloudfn.net.deadline import Deadline
from cloudfn.net.transport import Request, Transport, TransportError
from cloudfn.settings import SIDE_CAR, Settings

_log = logging.getLogger("cloudfn")

_MAX_PICTURE = 2 * 1024 * 1024  # WeChat says "less than 2M"; which of the two it means is unknown
_WARN_PICTURE = 2_000_000
_MAX_ATTEMPTS = 3
_BACK_OFF = 0.2  # seconds before the first repetition, doubled each time, give or take half
_BUSY = -1
_SHOWN = 300  # characters of a network error's cause

_TELLING = 8  # characters; anything shorter may stand in a text by chance
_NAMED = re.compile(
    r"""((?:\b|_)(?:access_token|secret|img_url)["']?\s*[=:]\s*["']?)[^\s"'&<>]+""",
    re.IGNORECASE,
)


class _Outcome(NamedTuple):
    """One attempt: an answer or an error, and whether and when WeChat may be asked again."""

    answer: dict[str, Any]
    error: CloudError | None
    again: bool
    wait: float


class WeChat:
    """The backend that calls WeChat; thread-safe, its connections are used again."""

    name = "wechat"

    def __init__(
        self,
        settings: Settings,
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Raises `CloudError` -601002 where CLOUDFN_API_BASE is an address that no token may be sent to."""
        self._settings = settings
        self._base = _checked_base(settings)
        self._sleep = sleep
        self._jitter = jitter
        self._transport = Transport(proxy=settings.proxy, ca_bundle=settings.ca_bundle)
        self._tokens = tokens.source(settings, self._ask_for_token)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        """WeChat's JSON for `call`, before CLOUDFN_TIMEOUT is over.

        A token that WeChat refuses is renewed once. Repeated is only what WeChat cannot have run: without a
        connection, on a kept connection that closed before any answer, and errcode -1.

        Raises `CloudError`: 41001 without credentials, 101002 for a picture of 2 MiB and more (both before any
        network), -604102 when the time is over, -601003 without a connection, -601001 for an answer that is no JSON.
        """
        deadline = Deadline(min(self._settings.timeout, call.seconds or math.inf))
        _check_sizes(call)
        given = tokens.Token("cloudbase_access_token", call.token) if call.token else None
        source = tokens.Fixed(given) if given else self._tokens
        token = self._token(source, call.api, deadline)
        api = APIS[call.api]
        body, content_type = _multipart(call, api.text + api.media)
        trace.bytes = len(body)
        query = {to_snake(name): call.params[name] for name in api.query if name in call.params}
        request = Request("POST", self._base + api.path, query, body, content_type)
        answer = self._exchange(call.api, _with_token(request, token), deadline, trace)
        if token and errcode(call.api, answer) in tokens.REFUSED and source.renew(token):
            token = self._token(source, call.api, deadline)
            answer = self._exchange(call.api, _with_token(request, token), deadline, trace)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _token(self, source: tokens.TokenSource, api: str, deadline: Deadline) -> tokens.Token | None:
        try:
            return source.get(api, deadline)
        except TimeoutError:
            raise failure(api, -604102, _too_late(deadline)) from None

    def _exchange(self, api: str, request: Request, deadline: Deadline, trace: Trace) -> dict[str, Any]:
        """The answer to a request that is repeated, within the deadline, as long as WeChat cannot have run it.

        `trace` counts the attempts of the whole call: a token that was renewed gets one more, whatever came before.
        """
        redact = partial(redacted, secrets=_secrets(request, self._settings))
        for number in range(max(1, _MAX_ATTEMPTS - trace.attempts)):
            trace.attempts += 1
            outcome = self._attempt(api, request, deadline, redact)
            pause = max(outcome.wait, _BACK_OFF * 2**number * (0.5 + self._jitter()))
            if not outcome.again or trace.attempts >= _MAX_ATTEMPTS or not _fits(pause, deadline):
                break
            self._sleep(pause)
        if outcome.error:
            raise outcome.error
        return outcome.answer

    def _attempt(self, api: str, request: Request, deadline: Deadline, redact: Callable[[str], str]) -> _Outcome:
        try:
            reply = self._transport.send(request, deadline)
        except TransportError as error:
            text = _too_late(deadline) if error.code == -604102 else redact(error.text)[:_SHOWN]
            problem = failure(api, error.code, text, retryable=error.retryable)
            # What the other side wrote may stand in the cause, and so may a secret that it echoes.
            problem.__cause__ = error.__cause__ if redact(str(error.__cause__)) == str(error.__cause__) else None
            return _Outcome({}, problem, error.unsent, 0)
        try:
            answer = parse(api, reply.body, status=reply.status, content_type=reply.content_type, redact=redact)
            code = errcode(api, answer)
        except CloudError as error:
            return _Outcome({}, CloudError(error.errCode, redact(error.errMsg), api=api), again=False, wait=0)
        if code:
            errmsg = answer.get("errmsg")
            answer["errmsg"] = redact(errmsg if isinstance(errmsg, str) else f"(no errmsg: {json.dumps(errmsg)})")
        return _Outcome(answer, None, code == _BUSY, reply.retry_after or 0)

    def _ask_for_token(self, api: str, deadline: Deadline) -> dict[str, Any]:
        """WeChat's JSON with a new access token; its own code and words where it refuses, with the cure in the hint."""
        fields = {
            "grant_type": "client_credential",
            "appid": self._settings.appid,
            "secret": self._settings.appsecret,
        }
        if self._settings.token_api == "token":
            request = Request("GET", f"{self._base}/cgi-bin/token", fields)
        else:
            # Never force_refresh: it would make the token void that other processes hold.
            body = json.dumps(fields).encode()
            request = Request("POST", f"{self._base}/cgi-bin/stable_token", {}, body, "application/json")
        answer = self._exchange(api, request, deadline, Trace())
        code = errcode(api, answer)
        if code:
            raise failure(api, code, answer["errmsg"], cure=_token_cure(code, answer["errmsg"]))
        if not isinstance(answer.get("access_token"), str) or not answer["access_token"]:
            raise failure(api, -601001, "wechat server internal error, the answer for a token holds none")
        return answer


def _fits(pause: float, deadline: Deadline) -> bool:
    try:
        return pause < deadline.remaining()
    except TimeoutError:
        return False


def _with_token(request: Request, token: tokens.Token | None) -> Request:
    return replace(request, query={token.parameter: token.value, **request.query}) if token else request


def _token_cure(code: int, errmsg: str) -> str | None:
    """The cure for a token that WeChat does not issue; None leaves it to the code table."""
    address = re.search(r"invalid ip ([0-9a-fA-F.:]+)", errmsg) if code == 40164 else None
    if address:
        return f"add {address[1]} to the IP whitelist of the appid in the WeChat console; it takes 5 to 10 minutes"
    if code == 40001:
        return CODES[40125].cure  # at the token's address this code is about the secret
    return None


def _too_late(deadline: Deadline) -> str:
    return f"no answer within {deadline.seconds:.3g} seconds"


def _secrets(request: Request, settings: Settings) -> list[str]:
    """What of a request must not be shown should an answer echo it: the token, the app secret, a signed URL."""
    public = ("grant_type", "appid")
    given = [
        value for name, value in request.query.items() if name not in public and (name != "img_url" or "?" in value)
    ]
    return [*given, settings.appsecret]


def redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, in the forms in which a page or a log may echo them.

    Besides, the values of `access_token`, `secret` and the like are taken out wherever they are named, so that a
    token too short to be looked for everywhere, or one that is only just being issued, does not stay either.
    """
    for secret in secrets:
        if len(secret) >= _TELLING:
            for form in {secret, quote(secret, safe=""), quote(secret), escape(secret)}:
                text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
    return _NAMED.sub(r"\1***", text)


def _checked_base(settings: Settings) -> str:
    """CLOUDFN_API_BASE without its last slash, where it is safe to send a token there."""
    base = settings.api_base
    try:
        parts = urlsplit(base)
        host, _port = parts.hostname or "", parts.port
        host.encode("idna")  # no empty label, none of more than 63 characters
    except ValueError:
        parts, host = urlsplit(""), ""
    host = host if base.isascii() and base.isprintable() and not set(base) & set(' "<>\\^`{|}%') else ""
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)) or settings.uses_side_car
    if host and bare and safe:
        return base.rstrip("/")
    allowed = f"https://host, http:// to this machine only, or {SIDE_CAR} inside CloudRun"
    shown = f"{parts.scheme}://{host}" if host else "no such address"
    raise setting_error("CLOUDFN_API_BASE", shown, allowed)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_sizes(call: Call) -> None:
    for name, part in call.params.items():
        if isinstance(part, Media) and len(part.value) >= _MAX_PICTURE:
            cure = "make the picture smaller, or choose the embedded engine with CLOUDFN_BACKEND=local"
            problem = f"invalid image data: {name} has {len(part.value):,} bytes, WeChat takes less than 2 MB"
            raise refusal(101002, problem, cure, api=call.api, limit=Limit(_MAX_PICTURE, "bytes"))
        if isinstance(part, Media) and len(part.value) >= _WARN_PICTURE:
            _log.warning(
                "openapi.%s: %s has %d bytes; WeChat takes less than 2 MB, which may mean 2,000,000 bytes",
                call.api,
                name,
                len(part.value),
            )


def _multipart(call: Call, names: tuple[str, ...]) -> tuple[bytes, str | None]:
    """The body and its content type; no body at all where the call has no such parameters."""
    fields = []
    for name in names:
        if name in call.params:
            value = call.params[name]
            if isinstance(value, Media):
                field = RequestField(to_snake(name), value.value, filename=value.file_name)  # type: ignore[arg-type]
                field.make_multipart(content_type=value.content_type)
            else:
                field = RequestField(to_snake(name), value.text if isinstance(value, Ratios) else str(value))
                field.make_multipart()
            fields.append(field)
    return encode_multipart_formdata(fields) if fields else (b"", None)
