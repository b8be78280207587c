"""The wire that the real wx-server-sdk speaks: multipart in, a protobuf message out.

Recorded from wx-server-sdk 4.0.2 with @cloudbase/node-sdk 3.17.2 on loopback; no line of it is documented.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cloudfn.call.apis import APIS
from cloudfn.call.naming import to_snake
from cloudfn.net import multipart
from cloudfn.server import protobuf
from cloudfn.server.answers import Refusal
from cloudfn.server.form import PictureRequest
from cloudfn.server.journal import shown

PATH = "/admin"

# The cloud platform's own codes, which travel as JSON beside the protocol, and the SDK's for them.
_PLATFORM = {
    -501001: "INTERNAL_ERROR",  # or any other name that the SDK does not know
    -501002: "SERVER_TIMEOUT",
    -501003: "EXCEED_REQUEST_LIMIT",
    -501007: "INVALID_PARAM",
    -503001: "STORAGE_REQUEST_FAIL",
    -503002: "STORAGE_EXCEED_AUTHORITY",
    -503003: "STORAGE_FILE_NONEXIST",
}
_GATEWAY = range(-604999, -603999)
_NOT_JSON = -601001
_MOST_PAIRS = 64  # parameters of a call; an API has four
_TYPE = "application/json; charset=utf-8"

Tell = Callable[[str], None]


class ApiCall(NamedTuple):
    """A cloud call as the SDK sent it: the API's name, and its pairs; a pair with a file name is a file."""

    api: str
    pairs: Mapping[str, tuple[bytes, bool]]


class Encoded(NamedTuple):
    """An answer in bytes; its HTTP status is 200."""

    content_type: str
    body: bytes


def read(content_type: str, body: bytes) -> ApiCall:
    """Read the cloud call in a request; raises Refusal -501007 where there is none."""
    try:
        parts = {part.name: part for part in multipart.parse(content_type, body)}
        if parts["action"].text != "wx.openApi":
            raise Refusal(-501007, f'the action "{shown(parts["action"].text)}" is not answered here, only wx.openApi')
        return ApiCall(parts["apiName"].text, _pairs(parts["requestData"].data))
    except (KeyError, ValueError) as error:
        cure = "aim wx-server-sdk 4.x here with TCB_CONTEXT_CNFG"
        raise Refusal(-501007, f"this is no request of wx-server-sdk ({shown(str(error))}): {cure}") from None


def _pairs(data: bytes) -> dict[str, tuple[bytes, bool]]:
    """Return the pairs in CommApiData: openapiData = 2, its pairs = 1, and of each key = 1, value = 2, filename = 4."""
    pairs: dict[str, tuple[bytes, bool]] = {}
    for openapi_data in protobuf.decode(data).get(2, ()):
        for pair in protobuf.decode(_bytes(openapi_data)).get(1, ()):
            fields = protobuf.decode(_bytes(pair))
            key = _bytes(fields.get(1, [b""])[0]).decode("utf-8", "replace")
            if len(pairs) == _MOST_PAIRS:
                raise ValueError(f"more than {_MOST_PAIRS} parameters")
            pairs[key] = (_bytes(fields.get(2, [b""])[0]), bool(fields.get(4)))
    return pairs


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value


def picture_request(call: ApiCall, tell: Tell) -> PictureRequest:
    """Read what a cloud call wants, of one of APIS; raises Refusal 41005 where there is neither picture nor URL."""
    values = {key: _json(value) for key, (value, is_file) in call.pairs.items() if not is_file}
    img_url = values.get("img_url")
    img, is_file = call.pairs.get("img", (b"", False))
    fields = APIS[call.api].fields
    for key in call.pairs.keys() - set(map(to_snake, fields)):
        tell(f'there is no parameter "{shown(key)}": they are {", ".join(fields)}')
    if not isinstance(img_url, str) or not img_url:
        img_url = None
    if img_url is None and not is_file:
        # The most frequent complaint: it works in the dev tools, and fails with a Buffer that became JSON.
        as_json = "img came as JSON, not as a file: its value must be a Buffer, Buffer.from(event.img.value)"
        nothing = "neither the picture nor its URL came: give imgUrl, or img with contentType and a Buffer"
        raise Refusal(41005, as_json if img else nothing)
    if img_url is not None and is_file:
        tell("imgUrl and img both came, the URL is used (what WeChat does is not known): send one of them")
    return PictureRequest(img_url, img if img_url is None else None, values.get("ratios"), call.api)


def _json(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value.decode("utf-8", "replace")


def encode(answer: Mapping[str, Any]) -> Encoded:
    """Encode WeChat's JSON, or the code of a failure on the way to it, as the SDK understands it."""
    if "data" in answer:
        return Encoded(_TYPE, json.dumps({"data": answer["data"], "requestId": "0"}).encode())
    code = answer["errcode"]
    if code in _PLATFORM:
        return Encoded(_TYPE, json.dumps({"code": _PLATFORM[code], "message": answer["errmsg"]}).encode())
    data = b"<html>busy</html>" if code == _NOT_JSON else json.dumps(answer).encode()
    gateway = code if code in _GATEWAY else 0
    # CommOpenApiResp: respData = 1, contentType = 2, errorCode = 3, httpCode = 4. A gateway's error has no data.
    message = {3: gateway} if gateway else {1: data, 2: _TYPE, 4: 200}
    return Encoded("application/octet-stream", protobuf.encode(message))  # type: ignore[arg-type]
