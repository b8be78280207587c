"""A request between the front, which reads its body, and the application, which answers it."""

from __future__ import annotations

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from cloudfn.server.answers import Refusal
from cloudfn.server.options import Options

# Keys of the WSGI environment: the body as it came (Werkzeug would copy it twice), and, of a request that the front did
# not let through, the Refusal.
BODY = "cloudfn.body"
REFUSED = "cloudfn.refused"


def check(request: Request) -> None:
    """Raise the Refusal of a request that the front did not let through."""
    refused: Refusal | None = request.environ.get(REFUSED)
    if refused is not None:
        raise refused


def body(request: Request, options: Options) -> bytes:
    """Return the whole body; raises Refusal 101002 where it is over the limit, and whatever the front refused."""
    check(request)
    if BODY in request.environ:
        held: bytes = request.environ[BODY]
        return held
    try:
        return request.get_data(cache=False, parse_form_data=False)
    except RequestEntityTooLarge:
        raise over_limit(options) from None


def over_limit(options: Options) -> Refusal:
    """Return the refusal of a body that is too large to be read."""
    return too_large(f"at least {options.max_bytes + 1}", options)


def too_large(size: str, options: Options) -> Refusal:
    """Return the refusal of a picture over the limit; `size` is its number of bytes, as far as they were counted."""
    cure = "make it smaller, or raise --max-bytes"
    return Refusal(101002, f"the picture has {size} bytes, {options.max_bytes} are taken: {cure}")
