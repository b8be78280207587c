"""WeChat's HTTPS call: one POST a cloud call, in the one form that WeChat is known to understand.

The address carries the token and `img_url`; the body is multipart and holds `ratios` as text and `img` as a file, with
a Content-Length (a chunked upload gets HTTP 412), an unquoted boundary and ASCII file names (anything else gets 41005).
Source of these facts: WeChat's documentation of img.aiCrop, and users' reports.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from cloudfn.apis import APIS
from cloudfn.backends import tokens
from cloudfn.backends.http import Request, Transport, TransportError
from cloudfn.call import Call, Media, Ratios, Trace, errcode, failure, parse
from cloudfn.deadline import Deadline
from cloudfn.errors import CODES, CloudError
from cloudfn.naming import to_snake
from cloudfn.settings import SIDE_CAR, Settings

_log = logging.getLogger("cloudfn")

_MAX_PICTURE = 2 * 1024 * 1024  # WeChat says "less than 2M"; which of the two it means is unknown
_WARN_PICTURE = 2_000_000
_MAX_ATTEMPTS = 3
_BACK_OFF = 0.2  # seconds before the first repetition, doubled each time, give or take half
_BUSY = -1


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
        deadline = Deadline(self._settings.timeout)
        _check_sizes(call)
        token = self._tokens.get(call.api, deadline)
        api = APIS[call.api]
        body, content_type = _multipart(call, api.text + api.media)
        trace.bytes = len(body)
        query = {to_snake(name): call.params[name] for name in api.query if name in call.params}
        request = Request("POST", self._base + api.path, query, body, content_type)
        answer = self._exchange(call.api, _with_token(request, token), deadline, trace, token)
        if token and errcode(call.api, answer) in tokens.REFUSED and self._tokens.renew(token):
            token = self._tokens.get(call.api, deadline)
            answer = self._exchange(call.api, _with_token(request, token), deadline, trace, token)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _exchange(
        self, api: str, request: Request, deadline: Deadline, trace: Trace, token: tokens.Token | None = None
    ) -> dict[str, Any]:
        """The answer to a request that is repeated, within the deadline, as long as WeChat cannot have run it."""
        secrets = [secret for secret in (token.value if token else "", self._settings.appsecret) if secret]
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            trace.attempts += 1
            outcome = self._attempt(api, request, deadline, secrets)
            pause = max(outcome.wait, _BACK_OFF * 2 ** (attempt - 1) * (0.5 + self._jitter()))
            if not outcome.again or attempt == _MAX_ATTEMPTS or not _fits(pause, deadline):
                break
            self._sleep(pause)
        if outcome.error:
            raise outcome.error
        return outcome.answer

    def _attempt(self, api: str, request: Request, deadline: Deadline, secrets: Iterable[str]) -> _Outcome:
        def redact(text: str) -> str:
            return _redacted(text, secrets)

        try:
            reply = self._transport.send(request, deadline)
        except TransportError as error:
            text = f"no answer within {self._settings.timeout:g} seconds" if error.code == -604102 else error.text
            problem = failure(api, error.code, redact(text))
            problem.__cause__ = error.__cause__
            return _Outcome({}, problem, error.unsent, 0)
        answer = parse(api, reply.body, status=reply.status, content_type=reply.content_type, redact=redact)
        if isinstance(answer.get("errmsg"), str):
            answer["errmsg"] = redact(answer["errmsg"])
        return _Outcome(answer, None, errcode(api, answer) == _BUSY, reply.retry_after or 0)

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
            errmsg = str(answer.get("errmsg"))
            raise failure(api, code, errmsg, hint=_token_cure(code, errmsg))
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


def _redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, should an answer echo them. Real ones are long: a short one is a test's word."""
    for secret in secrets:
        if len(secret) >= 8:
            text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
    return text


def _checked_base(settings: Settings) -> str:
    """CLOUDFN_API_BASE without its last slash, where it is safe to send a token there."""
    base = settings.api_base
    try:
        parts = urlsplit(base)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    bare = not (parts.username or parts.password or parts.query or parts.fragment)
    safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)) or settings.uses_side_car
    if host and bare and safe:
        return base.rstrip("/")
    allowed = f"https://host, http:// to this machine only, or {SIDE_CAR} inside CloudRun"
    shown = f"{parts.scheme}://{host}" if host else "no such address"
    raise CloudError(-601002, f"CLOUDFN_API_BASE: got {shown}, expected {allowed}", hint=allowed)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_sizes(call: Call) -> None:
    for name, part in call.params.items():
        if isinstance(part, Media) and len(part.value) >= _MAX_PICTURE:
            cure = "make the picture smaller, or choose the embedded engine with CLOUDFN_BACKEND=local"
            text = f"invalid image data: {name} has {len(part.value):,} bytes, WeChat takes less than 2 MB; {cure}"
            raise failure(call.api, 101002, text, hint=cure)
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
