"""CloudEvents 1.0: structured, binary, in batches, as the SDK's object.

All of them become the structured form's mapping, {"specversion", "id", "source", "type", ..., "data"}, whose data is
decoded: `data_base64` is bytes under `data`, JSON in text is parsed.

Sources: github.com/cloudevents/spec, cloudevents/formats/json-format.md and bindings/http-protocol-binding.md.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from cloudfn.errors import refusal
from cloudfn.platforms.base import EventForm, Headers, Request, Values, has
from cloudfn.platforms.parameters import parameters

_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"


def is_event(event: Any) -> bool:
    """Return whether a mapping is a structured CloudEvent."""
    return has(event, "specversion", "type", "source")


class Structured(EventForm):
    """A CloudEvent as JSON, which Tencent's and Alibaba's EventBridge hand over."""

    name = "CloudEvent"

    @classmethod
    def matches(cls, event: Any) -> bool:
        return is_event(event)

    def data(self) -> Any:
        return whole(self.event)

    def parameters(self) -> Any:
        return call_of(self.data())


class Batch(EventForm):
    """A list of CloudEvents; Alibaba's EventBridge also sends each as text."""

    name = "batch of CloudEvents"

    @classmethod
    def matches(cls, event: Any) -> bool:
        return isinstance(event, list) and bool(event) and all(is_event(_parsed(item)) for item in event)

    def data(self) -> Any:
        return [whole(_parsed(item)) for item in self.event]

    def parameters(self) -> Any:
        return call_of(self.data())


class SdkObject(EventForm):
    """The SDK's CloudEvent object, which functions-framework hands to functions of the signature "cloudevent"."""

    name = "CloudEvent"

    @classmethod
    def matches(cls, event: Any) -> bool:
        return callable(getattr(event, "get_attributes", None)) and callable(getattr(event, "get_data", None))

    def data(self) -> Any:
        attributes = self.event.get_attributes().items()
        named = {str(name): _as_text(value) for name, value in attributes if value is not None}
        return whole({**named, "data": self.event.get_data()})

    def parameters(self) -> Any:
        return call_of(self.data())


def _as_text(value: Any) -> str:
    """Return an attribute as the structured form has it; the SDK's second version makes a datetime of the time."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def of_request(request: Request) -> Any:
    """Return the CloudEvent, or the list of them, that an HTTP request brings; None where it brings none.

    Raises `CloudError` -401002 for a body that is not what its Content-Type says.
    """
    kind = request.content_type.partition(";")[0].strip().lower()
    if kind in (_STRUCTURED, _BATCH):
        body = _json(request.body)
        events = body if kind == _BATCH else [body]
        if not isinstance(events, list) or not all(map(is_event, events)):
            raise refusal(-401002, f"the body is no {kind}", "send JSON with specversion, id, source and type")
        read = [whole(event) for event in events]
        return read if kind == _BATCH else read[0]
    if not {"ce-specversion", "ce-type", "ce-source"} <= request.headers.keys():
        return None
    attributes = {name[3:]: unquote(value) for name, value in request.headers.items() if name.startswith("ce-")}
    if request.content_type:
        attributes["datacontenttype"] = request.content_type
    return whole({**attributes, "data": request.body}) if request.body else attributes


def whole(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event with its data decoded. Raises `CloudError` -401002 for a data_base64 that is not base64."""
    known = dict(event)
    if "data_base64" in known:
        try:
            known["data"] = base64.b64decode(known.pop("data_base64"), validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise refusal(-401002, "data_base64 of the CloudEvent is not base64", "encode the data in base64") from None
    kind = str(known.get("datacontenttype") or "application/json").partition(";")[0].strip().lower()
    if kind.endswith("json") and isinstance(known.get("data"), (bytes, bytearray)):
        known["data"] = _json(known["data"])
    elif kind.startswith("text/") and isinstance(known.get("data"), (bytes, bytearray)):
        known["data"] = bytes(known["data"]).decode("utf-8", "replace")
    return known


def call_of(event: Any) -> Any:
    """Return the parameters in a CloudEvent's data: a JSON object, or those of a body of its content type.

    Raises `CloudError` -401002 for a batch of several, and for data that holds no parameters.
    """
    if isinstance(event, list):
        if len(event) != 1:
            raise refusal(-401002, f"a batch of {len(event)} CloudEvents is no cloud call", "send one event at a time")
        event = event[0]
    data = _parsed(event.get("data"))
    if isinstance(data, (bytes, bytearray, str)):
        kind = str(event.get("datacontenttype") or "")
        body = data.encode() if isinstance(data, str) else bytes(data)
        return parameters(Request("POST", "/", Values(), Headers([("content-type", kind)] if kind else []), body))
    return {} if data is None else data


def _parsed(value: Any) -> Any:
    """Return the JSON object that a text holds, or the value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise refusal(-401002, "the CloudEvent is not JSON in UTF-8", "send it as its Content-Type says") from None
