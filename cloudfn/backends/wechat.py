"""WeChat's HTTPS call: one POST a cloud call, in the one form that WeChat is known to understand.

The address carries the token and `img_url`; the body is multipart and holds `ratios` as text and `img` as a file, with
a Content-Length (a chunked upload gets HTTP 412), an unquoted boundary and ASCII file names (anything else gets 41005).
Source of these facts: WeChat's documentation of img.aiCrop, and users' reports.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from cloudfn.backends import credentials, tokens
from cloudfn.backends.redaction import redacted
from cloudfn.backends.retry import Retries
from cloudfn.call.apis import APIS
from cloudfn.call.media import Bytes
from cloudfn.call.naming import to_snake
from cloudfn.call.reply import errcode, parse
from cloudfn.call.values import Call, Deadline, Media, Ratios, Trace
from cloudfn.codes import CODES
from cloudfn.errors import CloudError, Limit, failure, refusal, setting_error, too_late
from cloudfn.net.transport import OutgoingRequest, Transport, TransportError
from cloudfn.secret import Secret, unshown_json
from cloudfn.settings import OF_THE_REQUEST, SIDE_CAR, Settings

_log = logging.getLogger("cloudfn")

_MAX_PICTURE = 2 * 1024 * 1024  # WeChat says "less than 2M"; which of the two it means is unknown
_WARN_PICTURE = 2_000_000
_BUSY = -1
_SHOWN = 300  # characters of a network error's cause


class _Outcome(NamedTuple):
    """One attempt: an answer or an error, and whether and when the request may be repeated."""

    answer: dict[str, Any]
    error: CloudError | None
    again: bool
    wait: float


@dataclass
class _Progress:
    """One call under way: its deadline, the number of attempts so far, and the trace that reports them."""

    api: str
    deadline: Deadline
    trace: Trace
    attempts: int = 0


class WeChat:
    """The backend that calls WeChat; thread-safe, its connections are used again."""

    name = "wechat"
    _base = ""  # until it is checked

    def __init__(self, settings: Settings, *, retries: Retries | None = None) -> None:
        """Raises `CloudError` -601002 where CLOUDFN_API_BASE is an address that no token may be sent to."""
        self._settings = settings
        self._base = _checked_base(settings)
        self._retries = retries or Retries()
        self._transport = Transport(self._base, proxy=settings.proxy, ca_bundle=settings.ca_bundle)
        self._tokens = credentials.source(settings, self._ask_for_token)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        """Return WeChat's JSON for `call`, before its deadline.

        A token that WeChat refuses is renewed once. What went out whole is never repeated, but for errcode -1, with
        which WeChat asks for it; what found no connection, or broke off while it was written, is.

        Raises `CloudError`: 41001 without credentials, 101002 for a picture of 2 MiB and more (both before any
        network), -604102 when the time is over, -601003 without a connection, -601001 for an answer that is not JSON.
        """
        progress = _Progress(call.api, call.deadline, trace)
        _check_sizes(call)
        api = APIS[call.api]
        parts = ((name, call.params[name]) for name in api.text + api.media if name in call.params)
        body, content_type = multipart((to_snake(name), part) for name, part in parts)
        trace.bytes = sum(map(len, body))
        query = {to_snake(name): _signed(call.params[name]) for name in api.query if name in call.params}
        request = OutgoingRequest("POST", api.path, query, body, content_type)
        return self._authorised(request, call, progress)

    def post(self, call: Call, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return WeChat's JSON for a POST of JSON to another of its addresses; the rules of `__call__` hold."""
        request = OutgoingRequest("POST", path, {}, (json.dumps(fields).encode(),), "application/json")
        return self._authorised(request, call, _Progress(call.api, call.deadline, Trace()))

    def begin(self, api: str) -> None:
        """Fetch a token, if there is none, while the call's picture is being decoded."""
        if isinstance(self._tokens, tokens.Issued):
            self._tokens.begin(api, self._settings.timeout)

    def warm_up(self, *, network: bool = False) -> None:
        """Load what a call needs; with `network` also fetch a token, and keep the connection. Raises `CloudError`."""
        self._transport.warm_up()
        if network:
            self._token(self._tokens, _Progress("", Deadline(self._settings.timeout), Trace()))

    def close(self) -> None:
        """Close the connections; those of calls that run are closed when they end."""
        self._transport.close()

    def _authorised(self, request: OutgoingRequest, call: Call, progress: _Progress) -> dict[str, Any]:
        """Return the answer to a request with a token; one that WeChat refuses is renewed once."""
        source = self._source(call)
        token = self._token(source, progress)
        answer = self._exchange(_with_token(request, token), progress)
        if token and errcode(call.api, answer) in tokens.REFUSED and source.renew(token):
            token = self._token(source, progress)
            answer = self._exchange(_with_token(request, token), progress)
        return answer

    def _source(self, call: Call) -> tokens.TokenSource:
        if call.token and self._settings.credential(of_the_request=True) == OF_THE_REQUEST:
            return tokens.Fixed(tokens.Token("cloudbase_access_token", call.token))
        return self._tokens

    def _token(self, source: tokens.TokenSource, progress: _Progress) -> tokens.Token | None:
        try:
            token = source.get(progress.api, progress.deadline)
        except TimeoutError:
            raise too_late(progress.api, progress.deadline.seconds) from None
        if token and not _is_text(token.value):
            cure = "set it to the token that WeChat issued, with nothing before or after it"
            raise refusal(41001, "the access token holds characters that none has", cure, api=progress.api)
        return token

    def _exchange(self, request: OutgoingRequest, progress: _Progress) -> dict[str, Any]:
        """Return the answer to a request, repeated as long as that is right, possible and in time.

        The attempts are those of the whole call: a token that was renewed gets one more, whatever came before.
        """
        redact = partial(redacted, secrets=_secrets(request, self._settings))
        while True:
            progress.attempts += 1
            progress.trace.attempts = progress.attempts
            outcome = self._attempt(request, progress, redact)
            if not outcome.again or not self._retries.pause(progress.attempts, outcome.wait, progress.deadline):
                break
        if outcome.error:
            raise outcome.error
        return outcome.answer

    def _attempt(self, request: OutgoingRequest, progress: _Progress, redact: Callable[[str], str]) -> _Outcome:
        api = progress.api
        try:
            reply = self._transport.send(request, progress.deadline)
        except TransportError as error:
            text = redact(error.text)[:_SHOWN]
            if error.code == -601003:
                text += f" (to {urlsplit(self._base).netloc})"
            problem = failure(api, error.code, text, retryable=error.retryable)
            if error.code == -604102:
                problem = too_late(api, progress.deadline.seconds)
            # The cause may quote the other side, and with it a secret that it echoes.
            problem.__cause__ = error.__cause__ if redact(str(error.__cause__)) == str(error.__cause__) else None
            return _Outcome({}, problem, error.unsent, 0)
        try:
            answer = parse(api, reply.body, status=reply.status, content_type=reply.content_type, redact=redact)
            code = errcode(api, answer)
        except CloudError as error:
            # A new error, so that it keeps no variables of the frames that read the answer.
            return _Outcome({}, CloudError(error.errCode, redact(error.errMsg), api=api), again=False, wait=0)
        if code:
            errmsg = answer.get("errmsg")
            shown = redact(errmsg if isinstance(errmsg, str) else f"(no errmsg: {json.dumps(errmsg)})")
            answer = {"errcode": code, "errmsg": shown}
        return _Outcome(answer, None, code == _BUSY, reply.retry_after or 0)

    def _ask_for_token(self, api: str, deadline: Deadline) -> tokens.Issue:
        """Request a new access token; raise a refusal with WeChat's own code and words, the cure in the hint."""
        answer = self._exchange(_token_request(self._settings), _Progress(api, deadline, Trace()))
        code, token = errcode(api, answer), answer.pop("access_token", None)
        token = Secret(token if isinstance(token, str) else "")
        if code:
            raise failure(api, code, answer["errmsg"], cure=_token_cure(code, answer["errmsg"]))
        if not token or not _is_text(token):
            raise failure(api, -601001, "wechat server internal error, the answer for a token holds none")
        return tokens.Issue(token, answer.get("expires_in"))


def _token_request(settings: Settings) -> OutgoingRequest:
    fields: dict[str, str | Secret] = {"grant_type": "client_credential", "appid": settings.appid}
    fields["secret"] = settings.appsecret
    if settings.token_api == "token":
        return OutgoingRequest("GET", "/cgi-bin/token", fields)
    # Never force_refresh: it would invalidate the token that other processes hold.
    return OutgoingRequest("POST", "/cgi-bin/stable_token", {}, [unshown_json(fields)], "application/json")


def _signed(url: str) -> str | Secret:
    """Return a picture's address, as a secret where it may hold a signature."""
    return Secret(url) if "?" in url else url


def _is_text(secret: Secret) -> bool:
    return secret.reveal().isprintable()  # as no lone surrogate is


def _with_token(request: OutgoingRequest, token: tokens.Token | None) -> OutgoingRequest:
    return replace(request, query={token.parameter: token.value, **request.query}) if token else request


def _token_cure(code: int, errmsg: str) -> str | None:
    """Return the cure for a token that WeChat does not issue; None leaves it to the code table."""
    address = re.search(r"invalid ip ([0-9a-fA-F.:]+)", errmsg) if code == 40164 else None
    if address:
        return f"add {address[1]} to the IP whitelist of the appid in the WeChat console; it takes 5 to 10 minutes"
    if code == 40001:
        return CODES[40125].cure  # at the token's address this code is about the secret
    return None


def _secrets(request: OutgoingRequest, settings: Settings) -> list[Secret]:
    """Return the parts of a request to hide where an answer echoes them: the token, the app secret, a signed URL."""
    sent = [value for value in request.query.values() if isinstance(value, Secret)]
    return [*sent, settings.appsecret]


def _checked_base(settings: Settings) -> str:
    """Return CLOUDFN_API_BASE without its last slash, if it is safe to send a token there."""
    base = settings.api_base
    try:
        parts = urlsplit(base)
        host, _port = parts.hostname or "", parts.port
        host.encode("idna")  # no empty label, none of more than 63 characters
    except ValueError:
        parts, host = urlsplit(""), ""
    except LookupError:  # a codec that there is no memory to load is unknown to Python
        raise MemoryError("the codec idna cannot be loaded") from None
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


def multipart(parts: Iterable[tuple[str, str | Ratios | Media | Secret]]) -> tuple[list[Bytes], str | None]:
    """Return the body in pieces, files as they are, and its content type; nothing if there are no parts."""
    boundary = os.urandom(16).hex()
    pieces: list[Bytes] = []
    text = ""  # text that is not part of a piece yet
    for name, value in parts:
        text += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, Media):
            text += f'; filename="{value.file_name}"\r\nContent-Type: {value.content_type}\r\n\r\n'
            pieces += [memoryview(text.encode()), value.value]
            text = "\r\n"
        else:
            shown = value.text if isinstance(value, Ratios) else value
            text += f"\r\n\r\n{shown.reveal() if isinstance(shown, Secret) else shown}\r\n"
    if not text:
        return [], None
    return [*pieces, f"{text}--{boundary}--\r\n".encode()], f"multipart/form-data; boundary={boundary}"
