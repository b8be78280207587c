"""The page at `/`: its files, and the three addresses that it asks.

A picture is sent again for each answer, and nothing of it is kept. The page is one of this server's own origin, so its
addresses answer no other page and no program: those have WeChat's addresses.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import Request, Response

from cloudfn import boxes, crop
from cloudfn.backends.local import Local
from cloudfn.call import media, reply
from cloudfn.codes import CODES
from cloudfn.errors import CloudError
from cloudfn.net import multipart
from cloudfn.server import admin, intake
from cloudfn.server.answers import Refusal
from cloudfn.server.form import PictureRequest
from cloudfn.server.journal import Exchange, shown
from cloudfn.server.state import State

_FOLDER = Path(__file__).parent
# The suffix of a file -> its type. Anything else in the folder is not served.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}
_HEADERS = {
    # No inline script or style, nothing from elsewhere; blob: is the picture that the user opened in the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_BRIGHTEST = 255  # a cell of the heat map, as a byte
_MOST_TEXT = 1000  # characters of a list of boxes: some forty of them
_MOST_CUT = 5  # boxes of one request, as many as a call has ratios
_MOST_PIXELS = 12_000_000  # of all cut pictures of one request together, where they are scaled
_COPIES = 3  # of each cut picture while the answer is made: its bytes, in base64, in JSON


# --- Files -----------------------------------------------------------------------------------------------------------


def index(state: State, request: Request) -> Response:
    """Answer `/`: the page, with the facts about this server that it needs in its first tag."""
    html = _files()["index.html"].read_text("utf-8")
    facts = {"{max-bytes}": str(state.options.max_bytes), "{strict}": str(state.options.strict).lower()}
    for name, value in facts.items():
        html = html.replace(name, value)
    return _file(request, html.encode(), ".html")


def file(_state: State, request: Request) -> Response:
    """Answer `/page/...`: a script, a style sheet, a sample picture."""
    path = _files().get(request.path.removeprefix("/page/"))
    return _file(request, path.read_bytes(), path.suffix) if path else Response(status=404)


@cache
def _files() -> Mapping[str, Path]:
    return {path.relative_to(_FOLDER).as_posix(): path for path in _FOLDER.rglob("*") if path.suffix in _TYPES}


def _file(request: Request, content: bytes, suffix: str) -> Response:
    if request.method not in ("GET", "HEAD"):
        return Response(status=405, headers={"Allow": "GET, HEAD"})
    response = Response(content, content_type=_TYPES[suffix], headers={**_HEADERS, "Cache-Control": "no-cache"})
    response.add_etag()
    response.make_conditional(request)
    return response


# --- Answers: a Refusal, or WeChat's JSON and whatever else the page shows --------------------------------------------


def find(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    """Find crops as WeChat's address does, and explain them.

    Multipart: `img` is the file, `ratios` and `focus` are text: boxes `left,top,right,bottom` in pixels of the picture
    as displayed, right and bottom inclusive, joined by `;`.
    """
    form = _form(state, request, exchange)
    state.disturb("img.aiCrop")
    focus = _corners("focus", form.text("focus"))
    state.check_quota()
    finder = _Finder(focus)
    engine = Local(state.options.settings, find=finder)
    answer = state.crops.find(PictureRequest(None, form.picture, form.text("ratios")), exchange, engine)
    return answer | {"explain": _explanation(finder.last.explain())}


def cut(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    """Cut boxes out of a picture. Multipart: `img`, `boxes` as `focus` above, `width` in pixels, "" as they are."""
    form = _form(state, request, exchange)
    exchange.picture = len(form.picture)
    wanted = _corners("boxes", form.text("boxes"))
    if len(wanted) > _MOST_CUT:
        raise Refusal(47001, f"boxes: got {len(wanted)}, at most {_MOST_CUT} are cut at a time")
    width = form.text("width")
    if width and not (width.isascii() and width.isdigit() and len(width) < 6):
        raise Refusal(47001, f'width: got "{shown(width)}", expected a whole number of pixels')
    size = (int(width), None) if width else None
    heights = [int(width) * (box.bottom - box.top) // max(1, box.right - box.left) for box in wanted if size]
    if size and size[0] * sum(heights) > _MOST_PIXELS:
        raise Refusal(47001, f"width: {width} makes more than {_MOST_PIXELS:,} pixels: choose a smaller one")
    try:
        pieces = state.crops.cut(form.picture, wanted, size)
    except ValueError as error:
        raise Refusal(47001, str(error)) from None
    with state.budget.account() as account:
        if not account.take(_COPIES * sum(map(len, pieces))):
            raise Refusal(-1)
        return {"errcode": 0, "errmsg": "ok", "files": [_encoded(piece) for piece in pieces]}


def fetch(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    """Fetch the picture behind a URL for the page, which loads nothing from elsewhere. Multipart: `img_url`."""
    form = _form(state, request, exchange)
    picture = state.crops.fetch(PictureRequest(form.text("img_url"), None), exchange)
    return {"errcode": 0, "errmsg": "ok", "files": [_encoded(picture)]}


def encode(answer: Mapping[str, Any], exchange: Exchange) -> Response:
    """Write an answer as the page reads it: WeChat's own JSON, the cloud call's, and the page's extras."""
    own = {name: answer[name] for name in ("explain", "files") if name in answer}
    wechat = {name: value for name, value in answer.items() if name not in own}
    try:
        cloud = reply.normalise("img.aiCrop", wechat)
    except CloudError as error:
        cloud = error.to_dict()
    code = CODES.get(exchange.code)
    facts = {"name": code.name if code else "", "mistakes": exchange.mistakes, "cure": code.cure if code else ""}
    body = json.dumps({"wechat": wechat, "cloud": cloud, "rid": exchange.rid, **facts, **own})
    return Response(body, content_type="application/json", headers={**_HEADERS, "Cache-Control": "no-store"})


class _Form(NamedTuple):
    """The parts of the page's request."""

    parts: Mapping[str, multipart.Part]

    @property
    def picture(self) -> bytes:
        return self.parts["img"].data if "img" in self.parts else b""

    def text(self, name: str) -> str:
        return self.parts[name].text if name in self.parts else ""


def _form(state: State, request: Request, exchange: Exchange) -> _Form:
    """Read the request; raises Refusal 403 for another page or a program, 43002, 47001."""
    exchange.through = "page"
    _check_origin(state, request)
    if request.method != "POST":
        raise Refusal(43002, f"the method is {shown(request.method)}: send POST")
    body = intake.body(request, state.options)
    try:
        parts = multipart.parse(request.headers.get("Content-Type", ""), body)
    except ValueError as error:
        raise Refusal(47001, f"the multipart body cannot be read ({shown(str(error))})") from None
    return _Form({part.name: part for part in parts})


def _check_origin(state: State, request: Request) -> None:
    """Raise Refusal 403 unless this server's own page asks; a strict server's, only on this machine.

    Browsers send Origin with every POST, and no page can set it.
    """
    try:
        asking = urlsplit(request.headers.get("Origin", "")).netloc
    except ValueError:
        asking = ""
    if not asking or asking != request.headers.get("Host"):
        cure = "programs call /cv/img/aicrop, and a proxy must pass the Host header on"
        raise Refusal(403, f"this address answers the server's own page only: {cure}")
    if state.options.strict:
        # A strict server requires tokens, and the page has none.
        reason = admin.forbidden(request.remote_addr or "", request.headers)
        if reason:
            raise Refusal(403, f"the page of a server with --strict: {reason}")


def _corners(name: str, text: str) -> list[crop.Box]:
    """Parse boxes with inclusive corners; raises Refusal 47001."""
    if len(text) > _MOST_TEXT:
        raise Refusal(47001, f"{name}: got {len(text)} characters, at most {_MOST_TEXT} are read: send fewer boxes")
    try:
        edges = [[int(edge) for edge in box.split(",")] for box in text.split(";") if box.strip()]
        return [crop.Box(left, top, right + 1, bottom + 1) for left, top, right, bottom in edges]
    except ValueError:
        raise Refusal(47001, f'{name}: got "{shown(text)}", expected left,top,right,bottom in whole pixels') from None


class _Finder:
    """The engine with boxes of focus, for which the cloud call has no place; keeps its last result."""

    def __init__(self, focus: Sequence[crop.Box]) -> None:
        self._focus = focus
        self.last: crop.Found

    def __call__(self, picture: bytes, ratios: Sequence[float], **limits: float) -> crop.Found:
        try:
            self.last = crop.find(picture, ratios, focus=self._focus, **limits)
        except ValueError as error:
            raise Refusal(47001, str(error)) from None
        return self.last


def _explanation(why: crop.Explanation) -> dict[str, Any]:
    """Return an explanation as JSON: corners inclusive as WeChat's, the map as base64 of 64 rows of 64 bytes.

    The map's values are square roots, as people see them, of which the largest is 255.
    """
    levels = (_BRIGHTEST * (why.map / why.map.max()) ** 0.5).astype("uint8")
    return {
        "map": base64.b64encode(levels.tobytes()).decode(),
        "scores": [round(placed.score, 4) for placed in why.boxes],
        "runners_up": [
            [boxes.corners(placed.box) | {"score": round(placed.score, 4)} for placed in others]
            for others in why.runners_up
        ],
        "faces": [boxes.corners(box) for box in why.faces],
        "focus": [boxes.corners(box) for box in why.focus],
        "focal_point": why.focal_point._asdict(),
        "focal_share": why.focal_share._asdict(),
    }


def _encoded(picture: bytes) -> dict[str, str]:
    return {"type": media.sniff(picture) or "", "data": base64.b64encode(picture).decode()}
