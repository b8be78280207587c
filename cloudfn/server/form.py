"""The form of /cv/img/aicrop and its like, read as strictly as WeChat is known to read it.

`img_url` counts in the query only, `ratios` and `img` as multipart parts only, `img` with a file name. Whether WeChat
reads ratios from elsewhere, and which of img_url and img it takes, is documented nowhere: here the ratios are ignored,
and the URL counts; the log says so each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import NamedTuple

from cloudfn.call.apis import Api
from cloudfn.call.naming import near
from cloudfn.net import multipart
from cloudfn.server.answers import Refusal
from cloudfn.server.journal import shown

_MOST_NAMES = 50  # of a query's parameters that are looked at for mistakes
_QUERY = ("access_token", "cloudbase_access_token", "img_url", "from_appid")
_QUOTED_BOUNDARY = re.compile(r"boundary\s*=\s*\"", re.IGNORECASE)
_RFC_2231 = re.compile(r"filename\*", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"\bfilename\s*=", re.IGNORECASE)

Tell = Callable[[str], None]


class PictureRequest(NamedTuple):
    """A request of an API with a picture: a URL or a picture's bytes, and ratios, text or, from the SDK, any JSON."""

    img_url: str | None
    img: bytes | None
    ratios: object = None
    api: str = "img.aiCrop"


def read(api: Api, query: Mapping[str, str], content_type: str, body: bytes, tell: Tell) -> PictureRequest:
    """Read what a request wants of `api`; pass each mistake of the caller to `tell`, with the cure.

    Raises Refusal 41005 where there is neither picture nor URL.
    """
    mistakes: list[str] = []
    img_url = query.get("img_url") or None
    parts = _parts(content_type, body, mistakes.append)
    pictures = [part for part in parts if part.name == "img" and _is_picture(part, mistakes.append)]
    for part in parts:
        _check_part(api, part, mistakes.append)
    for mistake in mistakes:
        tell(mistake)
    ratios = next((part.text for part in parts if part.name == "ratios" and part.filename is None), "")
    if img_url is None and not pictures:
        nothing = "neither the picture nor its URL came: send img_url in the query, or a multipart file img"
        raise Refusal(41005, "" if mistakes else nothing)
    if img_url is not None and pictures:
        tell("img_url and img both came, the URL is used (what WeChat does is not known): send one of them")
    img = None if img_url is not None or not pictures else pictures[0].data
    return PictureRequest(img_url, img, ratios, api.name)


def check_query(api: Api, query: Mapping[str, str], tell: Tell) -> None:
    """Report query parameters that WeChat does not read."""
    for name in islice(query, _MOST_NAMES):
        if name in api.text:
            tell("ratios in the query are ignored: send them as a multipart text part called ratios")
        elif name not in _QUERY:
            match = near(name, _QUERY)
            if match:
                tell(f'there is no query parameter "{shown(name)}": did you mean {match}?')


def check_address(query: Mapping[str, str], tell: Tell) -> None:
    """Report an `&` in img_url that was not encoded: the rest of the URL became separate parameters."""
    if "?" not in query.get("img_url", ""):
        return
    for name in islice(query, _MOST_NAMES):
        if name not in (*_QUERY, "ratios") and not near(name, _QUERY):
            cure = "an & in img_url is written %26, encode the whole URL"
            tell(f'"{shown(name)}" came as a parameter of its own: {cure}')
            return


def _parts(content_type: str, body: bytes, tell: Tell) -> list[multipart.Part]:
    if not content_type.lower().startswith("multipart/form-data"):
        if body.strip() not in (b"", b"{}"):
            kind = shown(content_type.partition(";")[0]) or "of no type"
            tell(f"the body ({kind}) is not read: send multipart/form-data, and img_url in the query")
        return []
    if _QUOTED_BOUNDARY.search(content_type):
        tell("the boundary stands in quotes, which WeChat does not understand: send it without")
        return []
    try:
        return multipart.parse(content_type, body)
    except ValueError as error:
        tell(f"the multipart body cannot be read ({shown(str(error))}): check boundary and Content-Length")
        return []


def _is_picture(part: multipart.Part, tell: Tell) -> bool:
    if not part.filename and not _RFC_2231.search(part.headers["content-disposition"]):
        tell('the part img has no file name: send it as a file, with filename="img.jpg"')
        return False
    if not _PLAIN_NAME.search(part.headers["content-disposition"]):
        tell('the file name comes as filename*=, which WeChat does not understand: send an ASCII name, "img.jpg"')
        return False
    return True


def _check_part(api: Api, part: multipart.Part, tell: Tell) -> None:
    if part.name == "img_url":
        tell("img_url in the body is not read: put it into the query, percent-encoded (in a shell, quote the address)")
    elif part.name in api.text and part.filename is not None:
        tell("ratios came as a file and are ignored: send them as a text part, without a file name")
    elif part.name not in api.media + api.text:
        cure = "call it img" if part.filename is not None else f"those that are read: {', '.join(api.media + api.text)}"
        tell(f'there is no field "{shown(part.name)}": {cure}')
