"""Records of requests, without their secrets: for the log, the list of the last requests, and tests."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

KEPT = 200
_MOST_MISTAKES = 20  # of one request; one with 100,000 unknown names in it would fill log and memory

_log = logging.getLogger("cloudfn.server")


@dataclass
class Exchange:
    """One request and its answer; no token, no secret, no query of a picture's URL.

    `endpoint` is an API's name, `token`, `stable_token`, or the path of anything else; `code` WeChat's errcode or an
    HTTP status; `through` names the way it came: `http`, as from any client, `sdk`, or the server's own `page`.
    `picture` is the number of the picture's bytes. `mistakes` say what the caller did wrong, each with its cure.
    """

    endpoint: str
    method: str
    path: str
    rid: str
    time: float
    through: str = "http"
    code: int = 0
    status: int = 200
    milliseconds: float = 0.0
    img_url: str = ""
    ratios: str = ""
    picture: int = 0
    mistakes: list[str] = field(default_factory=list)

    def tell(self, mistake: str) -> None:
        """Note a mistake of the caller and its cure; after the first twenty no more are noted."""
        if mistake and len(self.mistakes) < _MOST_MISTAKES:
            self.mistakes.append(mistake)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole record, for JSON."""
        return asdict(self)


class Journal:
    """The last requests, the newest last; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: deque[Exchange] = deque(maxlen=KEPT)

    def add(self, exchange: Exchange) -> None:
        """Add a finished request, and write its line and one for each mistake to the log."""
        with self._lock:
            self._kept.append(exchange)
        facts = exchange.to_dict()
        del facts["mistakes"], facts["time"]
        _log.info(" ".join(f"{name}={value}" for name, value in facts.items() if value != ""), extra={"facts": facts})
        for mistake in exchange.mistakes:
            about = {"rid": exchange.rid, "endpoint": exchange.endpoint, "mistake": mistake}
            _log.warning("%s: %s (rid %s)", exchange.endpoint, mistake, exchange.rid, extra={"facts": about})

    def last(self) -> list[Exchange]:
        """Return a copy of the list."""
        with self._lock:
            return list(self._kept)

    def reset(self) -> None:
        """Forget every request."""
        with self._lock:
            self._kept.clear()


def shown_url(url: str) -> str:
    """Return a picture's URL without user, query and fragment, where secrets are; printable and not too long."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no URL)"
    return ascii(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")[1:-1][:300]


def shown(text: str) -> str:
    """Return a stranger's words fit for a log: printable ASCII on one line, not too long."""
    return ascii(text)[1:-1][:80]


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", None) or {"message": record.getMessage()}
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"time": f"{when}.{int(record.msecs):03d}Z", "level": record.levelname, "logger": record.name, **facts}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def write_log(*, as_json: bool) -> None:
    """Write the package's log to stderr, one line for each record: text or JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("cloudfn")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
