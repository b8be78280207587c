"""Deliberate faults: a code or a delay with a probability, for one endpoint each; the same seed draws the same ones."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from cloudfn.call.apis import APIS
from cloudfn.call.naming import near

ENDPOINTS = (*(name for name, api in APIS.items() if api.extra), "token", "stable_token", "storage")

_FAULT = re.compile(r"(?P<endpoint>[\w.]+):(?P<code>-?\d{1,7})(?:@(?P<probability>[\d.]+))?(?:\+(?P<latency>[\w.]+))?")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s)")
_LONGEST = 600.0  # seconds


@dataclass(frozen=True)
class Fault:
    """A fault of `endpoint`: with this probability it answers with `code`, `latency` seconds later.

    Code 0 is the usual answer, only later; 400 to 599 are HTTP statuses without a body; others are WeChat's errcodes,
    or, at the SDK's endpoint, also the codes of its gateway.
    """

    endpoint: str
    code: int = 0
    probability: float = 1.0
    latency: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError, which says what is allowed, for wrong values."""
        if self.endpoint not in ENDPOINTS:
            match = near(str(self.endpoint), ENDPOINTS)
            cure = f"did you mean {match}?" if match else f"the endpoints are {', '.join(ENDPOINTS)}"
            raise ValueError(f"there is no endpoint {str(self.endpoint)[:40]!r}; {cure}")
        if type(self.code) is not int:
            raise ValueError("a fault's code is a whole number, such as 45009")
        if not _is_number(self.probability) or not 0 <= self.probability <= 1:
            raise ValueError("a fault's probability is a number from 0 to 1")
        if not _is_number(self.latency) or not 0 <= self.latency <= _LONGEST:
            raise ValueError(f"a fault's latency is a number of seconds from 0 to {_LONGEST:g}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse(text: str) -> Fault:
    """Parse `img.aiCrop:45009`, `img.aiCrop:45009@0.1`, `stable_token:0@0.5+200ms`; raises ValueError with the cure."""
    match = _FAULT.fullmatch(text.strip())
    if not match:
        raise ValueError("expected ENDPOINT:CODE[@PROBABILITY][+LATENCY], such as img.aiCrop:45009@0.1+200ms")
    try:
        probability = float(match["probability"] or 1)
    except ValueError:
        probability = -1.0
    return Fault(match["endpoint"], int(match["code"]), probability, duration(match["latency"] or "0s"))


def duration(text: str) -> float:
    """Return the seconds of `200ms` or `1.5s`; raises ValueError with the cure."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"expected a time such as 200ms or 1.5s, at most {_LONGEST:g}s")
    return seconds


class Faults:
    """The faults in force; thread-safe."""

    def __init__(self, faults: Iterable[Fault], latency: float, seed: int | None) -> None:
        self._lock = threading.Lock()
        self._first = tuple(faults)
        self._latency = latency
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Restore the first faults, and draw from the beginning again."""
        self.put(self._first, self._seed)

    def put(self, faults: Iterable[Fault], seed: int | None = None) -> None:
        """Replace all faults with these."""
        with self._lock:
            self.current = tuple(faults)
            self._random = Random(seed)  # noqa: S311 - which call fails is no secret

    def draw(self, endpoint: str) -> tuple[int, float]:
        """Return the code that this request fails with, 0 for none, and the seconds to wait before the answer."""
        with self._lock:
            latency = self._latency
            for fault in self.current:
                if fault.endpoint == endpoint and self._random.random() < fault.probability:
                    latency += fault.latency
                    if fault.code:
                        return fault.code, latency
            return 0, latency
