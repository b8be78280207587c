"""What is no HTTP event: the function's own data, and the events that carry none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudfn.errors import refusal
from cloudfn.platforms.base import Reply, get


class Records:
    """Events of object storages, queues and the CloudFront edge: no picture and no ratios are in them."""

    name = "storage or edge event"
    http = False
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return _origin(event) is not None

    def read(self, event: Any, context: Any) -> Any:  # noqa: ARG002
        raise refusal(
            -401002,
            f"an event of {_origin(event)} is no cloud call",
            "let a function of your own take the file's address out of the event and call "
            "cloud.openapi.img.aiCrop with it",
        )

    def write(self, reply: Reply, event: Any, context: Any) -> Any:
        raise NotImplementedError("a record gets no HTTP answer")


# A record's own key -> where it comes from, for records that do not say it in eventSource.
_KEYS = {"cf": "CloudFront (Lambda@Edge)", "cos": "Tencent COS", "s3": "S3", "Sns": "SNS", "CMQ": "CMQ"}


def _origin(event: Any) -> str | None:
    """Where the event's records come from; None where it has none. AWS and Tencent say Records, FC's OSS events."""
    for name in ("Records", "events"):
        records = get(event, name)
        record = records[0] if isinstance(records, list) and records else None
        if isinstance(record, Mapping):
            known = next((origin for key, origin in _KEYS.items() if key in record), None)
            source = record.get("eventSource") or record.get("EventSource")
            if known or source:
                return known or str(source)[:40]
            if name == "Records":
                return "records"
    return None


class Direct:
    """The last row: whatever it is, it is the function's own."""

    name = "direct"
    http = False
    seconds = None

    def matches(self, event: Any, context: Any) -> bool:  # noqa: ARG002
        return True

    def read(self, event: Any, context: Any) -> Any:  # noqa: ARG002
        return event

    def write(self, reply: Reply, event: Any, context: Any) -> Any:
        raise NotImplementedError("a direct invocation gets no HTTP answer")
