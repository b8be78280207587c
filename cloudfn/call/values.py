"""The values that travel through a cloud call, and the protocol of the backend that answers it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cloudfn.secret import Secret


@dataclass(frozen=True)
class Media:
    """A picture on its way: its bytes, its media type, and the file name it travels under (ASCII)."""

    content_type: str
    value: bytes | bytearray | memoryview = field(repr=False)
    file_name: str


@dataclass(frozen=True)
class Ratios:
    """Aspect ratios, width / height: as text for the wire, as numbers for the engine; empty means automatic."""

    text: str
    values: tuple[float, ...]


_SECONDS = 10.0  # that a call may take where nobody says otherwise


class Deadline:
    """The moment `seconds` from now."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """The seconds left; 0 or less when it is over."""
        return self._end - self._clock()

    def remaining(self) -> float:
        """Return the seconds left, more than 0; raise TimeoutError when there are none."""
        left = self.left
        if left <= 0:
            raise TimeoutError("the deadline is over")
        return left

    def earlier(self, seconds: float) -> Deadline:
        """Return the deadline that is `seconds` before this one."""
        return Deadline(self.left - seconds, self._clock)


FILE_ID = "cloud://"
"""How the fileID of a file in cloud storage begins."""


@dataclass(frozen=True)
class Call:
    """A cloud call: the API's name (img.aiCrop) and its checked camelCase parameters.

    `params` values are str, numbers, `Media` or `Ratios`; missing parameters are left out. `deadline` is when its
    answer must be there, whatever is done for it; `token` a cloudbase token that came with the very request that is
    answered.
    """

    api: str
    params: Mapping[str, Any]
    deadline: Deadline = field(default_factory=lambda: Deadline(_SECONDS), repr=False, compare=False)
    token: Secret | None = None

    @property
    def names_file(self) -> bool:
        """Return whether a fileID stands where a URL may."""
        return any(isinstance(value, str) and value.startswith(FILE_ID) for value in self.params.values())


@dataclass
class Trace:
    """A backend's report for the log: attempts, bytes to work on, who answered in its place, and for which code."""

    attempts: int = 0
    bytes: int = 0
    answered_by: str = ""
    because: str = ""


class Backend(Protocol):
    """A function from a call to WeChat's own JSON (errcode, errmsg, results, img_size); thread-safe.

    A backend may wrap another one, such as a cache or a fallback.
    """

    name: str

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        """Answer `call`; raise `CloudError` (made by `failure`) where there is no answer."""

    def begin(self, api: str) -> None:
        """Start what a call of this API needs besides its parameters, and do not wait. Raises nothing."""

    def warm_up(self, *, network: bool = False) -> None:
        """Load what a call needs; only with `network` does anything go out. Raises `CloudError`."""

    def close(self) -> None:
        """Close the connections. No call begins afterwards; those under way end normally."""
