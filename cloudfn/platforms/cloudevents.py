"""A structured CloudEvent: its data is the function's.

Source: github.com/cloudevents/spec, cloudevents/formats/json-format.md
"""

from __future__ import annotations

from typing import Any

from cloudfn.platforms.base import Reply, has


class Structured:
    """specversion, type and source tell it; `data` holds the function's data."""

    name = "CloudEvent"
    http = False
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return has(event, "specversion", "type", "source")

    def read(self, event: Any, context: Any) -> Any:  # noqa: ARG002
        return event.get("data") or {}

    def write(self, reply: Reply, event: Any, context: Any) -> Any:
        raise NotImplementedError("a CloudEvent gets no HTTP answer")
