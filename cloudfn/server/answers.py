"""WeChat's words: the text of each code as it was seen or documented, and realistic request ids."""

from __future__ import annotations

import secrets
from typing import Any

from cloudfn.codes import CODES

# Documented by WeChat or seen by users, without the "hint" and "rid" that follow.
TEXTS = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, "
    "more details at https://mmbizurl.cn/s/JtxxFh33r",
    40002: "invalid grant_type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40125: "invalid appsecret",
    40164: "invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist",
    41001: "access_token missing",
    41002: "appid missing",
    41004: "appsecret missing",
    40097: "invalid args",
    40101: "missing parameter",
    41005: "media data missing",
    42001: "access_token expired",
    43002: "require POST method",
    43003: "require https",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit mustslower retry next minute",
    47001: "data format error",
    48001: "api unauthorized",
    50002: "user limited",
    61007: "api is unauthorized to component",
    85088: "cloud base is not enabled",
    101000: "invalid image url",
    101001: "certificate not found",
    101002: "invalid image data",
    101003: "not enough market quota",
}


class Refusal(Exception):  # noqa: N818 - WeChat's no, which is an answer
    """A refusal to answer a request with a crop or a token.

    `code` is WeChat's errcode or, from 400 to 599, an HTTP status without a body. `mistake` says what the caller did
    wrong and the cure, for the log; "" where the caller did nothing wrong, or it was noted before. `words`
    replace WeChat's where the caller shows them.
    """

    def __init__(self, code: int, mistake: str = "", *, words: str = "") -> None:
        super().__init__(code)
        self.words = words
        self.code = code
        self.mistake = mistake


def is_status(code: int) -> bool:
    """Return whether a code is an HTTP status and none of WeChat's."""
    return 400 <= code <= 599


def rid(now: float) -> str:
    """Return a request id: Unix time and two random numbers, 8 hexadecimal digits each, as in every known sample."""
    return f"{int(now):08x}-{secrets.token_hex(4)}-{secrets.token_hex(4)}"


def failed(code: int, request_id: str, words: str = "") -> dict[str, Any]:
    """Return WeChat's JSON for a code with its text as it was seen; without one, with the code's name."""
    text = (
        words or TEXTS.get(code) or (CODES[code].text or CODES[code].name.lower() if code in CODES else "system error")
    )
    return {"errcode": code, "errmsg": f"{text} rid: {request_id}"}
