"""Removal of secrets from texts that may echo them, such as a server's answer, in time linear in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from cloudfn.secret import Secret

_TELLING = 8  # characters; anything shorter may stand in a text by chance
_NAMED = re.compile(
    r"""((?:\b|_)(?:access_token|secret|img_url)["']?\s*[=:]\s*["']?)[^\s"'&<>]+""",
    re.IGNORECASE,
)
_HEXADECIMAL = re.compile(r"%[0-9A-F]{2}")


def redacted(text: str, secrets: Iterable[Secret]) -> str:
    """Return `text` without the secrets, in the forms in which a page or a log may echo them.

    Besides, the values of `access_token`, `secret` and the like are taken out wherever they are named, so that a
    token too short to be looked for everywhere, or one that is only just being issued, does not stay either.
    """
    for secret in secrets:
        if len(secret) >= _TELLING:
            for form in set(_forms(secret.reveal())):
                text = text.replace(form, "***")
    return _NAMED.sub(r"\1***", text)


def _forms(secret: str) -> Iterator[str]:
    from html import escape

    yield secret
    yield escape(secret)
    yield json.dumps(secret)[1:-1]
    for quoted in (quote(secret, safe="", errors="replace"), quote(secret, errors="replace")):
        yield quoted
        yield _HEXADECIMAL.sub(lambda match: match[0].lower(), quoted)
