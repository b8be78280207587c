"""Events that are neither HTTP nor a cloud call: storages, queues, timers, and those that want an answer of their own.

One table names them and tells where their messages lie; `objects` finds the stored files that any event speaks of. A
path is a row of keys; EACH stands for every item of a list, or every value of a mapping.

Sources: docs.aws.amazon.com/lambda/latest/dg ("Lambda event source"), docs.aws.amazon.com/AmazonS3/latest/userguide
("Event message structure": a key is encoded as a form's values are) and eventbridge; cloud.tencent.com/document/
product/583: 9707 (COS), 11517 (CMQ), 17530 (CKafka), 9708 (timer), 38845 (CLS); help.aliyun.com/zh/functioncompute:
OSS, timer, MNS triggers; support.huaweicloud.com/devg-functiongraph/functiongraph_02_0102 (all of Huawei's);
cloud.google.com/eventarc (storage, Pub/Sub).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus, urlsplit

from cloudfn.errors import refusal
from cloudfn.platforms.base import EventForm, get, has

EACH = "*"
_Path = tuple[str, ...]


class _Row(NamedTuple):
    """One kind of event: the paths that must all lead somewhere, and those of its messages; at the paths in
    `encoded` each is bytes in base64."""

    name: str
    paths: tuple[_Path, ...]
    messages: _Path = ()
    encoded: bool = False


# Events that want an answer of their own form. They come before HTTP, whose keys some of them share.
_ANSWERED = (
    _Row("Lambda@Edge (CloudFront)", (("Records", EACH, "cf"),)),
    _Row("API Gateway authorizer", (("type",), ("methodArn",))),
    _Row("API Gateway authorizer", (("type",), ("routeArn",))),
    _Row("AppSync authorizer", (("authorizationToken",), ("requestContext",))),
    _Row("API Gateway WebSocket", (("requestContext", "connectionId"),)),
    _Row("SCF WebSocket", (("websocket", "action"),)),
    _Row("Bedrock agent", (("messageVersion",), ("agent",))),
    _Row("Lex bot", (("bot",), ("sessionState",))),
    _Row("Lex bot", (("bot",), ("currentIntent",))),
    _Row("Alexa skill", (("session",), ("request", "type"), ("version",))),
    _Row("Amazon Connect", (("Name",), ("Details", "ContactData"))),
    _Row("Cognito trigger", (("triggerSource",), ("userPoolId",))),
    _Row("AppSync resolver", (("info", "fieldName"), ("arguments",))),
    _Row("CloudFormation custom resource", (("RequestType",), ("ResponseURL",), ("StackId",))),
    _Row("S3 Object Lambda", (("getObjectContext",), ("userRequest",))),
    _Row("S3 Batch Operations", (("invocationSchemaVersion",), ("tasks", EACH, "s3Key"))),
    _Row(
        "Firehose transformation", (("deliveryStreamArn",), ("records", EACH, "data")), ("records", EACH, "data"), True
    ),
    _Row("CodePipeline job", (("CodePipeline.job",),)),
    _Row("Config rule", (("invokingEvent",), ("resultToken",))),
)

# Events whose answer nobody waits for.
_UNATTENDED = (
    _Row("S3", (("Records", EACH, "s3"),)),
    _Row("S3", (("Records", EACH, "detail", "s3"),)),
    _Row("S3 test event", (("Service",), ("Event",), ("Bucket",))),
    _Row("Tencent COS", (("Records", EACH, "cos"),)),
    _Row("Huawei OBS", (("Records", EACH, "obs"),)),
    _Row("Alibaba OSS", (("events", EACH, "oss"),)),
    _Row("SQS", (("Records", EACH, "body"),), ("Records", EACH, "body")),
    _Row("SNS", (("Records", EACH, "Sns"),), ("Records", EACH, "Sns", "Message")),
    _Row("Kinesis", (("Records", EACH, "kinesis"),), ("Records", EACH, "kinesis", "data"), True),
    _Row("DynamoDB stream", (("Records", EACH, "dynamodb"),)),
    _Row("SES", (("Records", EACH, "ses"),)),
    _Row("CMQ", (("Records", EACH, "CMQ"),), ("Records", EACH, "CMQ", "msgBody")),
    _Row("CKafka", (("Records", EACH, "Ckafka"),), ("Records", EACH, "Ckafka", "msgBody")),
    _Row("EventBridge", (("detail-type",), ("detail",)), ("detail",)),
    _Row("Kafka", (("eventSource",), ("records", EACH, EACH, "topic")), ("records", EACH, EACH, "value"), True),
    _Row("Amazon MQ", (("eventSource",), ("messages", EACH, "data")), ("messages", EACH, "data"), True),
    _Row("Amazon MQ", (("rmqMessagesByQueue",),), ("rmqMessagesByQueue", EACH, EACH, "data"), True),
    _Row("CloudWatch Logs", (("awslogs", "data"),)),
    _Row("SCF timer", (("Type",), ("TriggerName",), ("Time",)), ("Message",)),
    _Row("Tencent CLS", (("clslogs",),)),
    _Row("Tencent MPS", (("EventType",), ("WorkflowTaskEvent",))),
    _Row("Tencent MPS", (("EventType",), ("EditMediaTaskEvent",))),
    _Row("FC timer", (("triggerTime",), ("triggerName",)), ("payload",)),
    _Row("Alibaba MNS", (("TopicName",), ("MessageId",), ("Message",)), ("Message",)),
    _Row("Huawei timer", (("trigger_type",), ("trigger_name",)), ("user_event",)),
    _Row("Huawei SMN", (("record", EACH, "smn"),), ("record", EACH, "smn", "message")),
    _Row("Huawei DIS", (("StreamName",), ("Message", "records")), ("Message", "records", EACH, "data"), True),
    _Row("Huawei Kafka", (("trigger_type",), ("records", EACH, "messages")), ("records", EACH, "messages", EACH)),
    _Row("Huawei LTS", (("lts", "data"),), ("lts", "data"), True),
    _Row("Huawei CTS", (("cts",),)),
    _Row("Pub/Sub", (("subscription",), ("message", "messageId")), ("message", "data"), True),
    _Row("Azure Event Grid", ((EACH, "eventType"), (EACH, "subject"), (EACH, "topic")), (EACH, "data")),
)


class _Tabled(EventForm):
    """An event that one of the table's rows names."""

    rows: tuple[_Row, ...]
    cure: str

    def __init__(self, event: Any, context: Any = None) -> None:
        super().__init__(event, context)
        row = _row_of(event, self.rows)
        if row is None:
            source = next(_values(event, ("Records", EACH, "eventSource")), "records")
        self.name = row.name if row else f"records of {str(source)[:40]}"

    @classmethod
    def matches(cls, event: Any) -> bool:
        return _row_of(event, cls.rows) is not None

    def parameters(self) -> Any:
        raise refusal(-401002, f"an event of {self.name} is no cloud call", self.cure)


class Answered(_Tabled):
    """An event whose sender wants an answer of its own form: authorizers, WebSockets, the edge, agents."""

    name = "event with an answer of its own"
    rows = _ANSWERED
    cure = "let a function of your own (cloudfn.function) answer it, in the form that the vendor documents"


class Unattended(_Tabled):
    """An event of a storage or a queue: no picture and no ratios are in it, and nobody waits for an answer."""

    name = "storage or queue event"
    rows = _UNATTENDED
    cure = (
        "let a function of your own (cloudfn.function) take the file from context.objects, or the message from "
        "context.messages, and call cloud.openapi.img.aiCrop with it"
    )

    @classmethod
    def matches(cls, event: Any) -> bool:
        records = get(event, "Records")
        return super().matches(event) or bool(isinstance(records, list) and records and isinstance(records[0], Mapping))

    def parameters(self) -> Any:
        if self.name not in _TIMERS:
            return super().parameters()
        message = next(iter(messages(self.event)), None)
        data = _json(message) if isinstance(message, str) else message
        if not isinstance(data, Mapping):
            raise refusal(
                -401002,
                f"the message of the {self.name} holds no cloud call",
                "write a JSON object with imgUrl and ratios into it, or take the event with a function of your own",
            )
        return data


_TIMERS = ("SCF timer", "FC timer", "Huawei timer")
"""Their owner writes the message: a cloud call's parameters may stand in it."""


def _row_of(event: Any, rows: tuple[_Row, ...]) -> _Row | None:
    """Return the first row that fits."""
    if not isinstance(event, (Mapping, list)):
        return None
    keys = (EACH,) if isinstance(event, list) else event
    # A direct event has none of the first keys: paths are followed for the others only.
    candidates = (row for row in rows if row.paths[0][0] in keys)
    return next((row for row in candidates if all(_leads(event, path) for path in row.paths)), None)


def _leads(event: Any, path: _Path) -> bool:
    return next((True for value in _values(event, path) if value is not None), False)


def _values(value: Any, path: _Path) -> Iterator[Any]:
    """Yield the values that a path leads to."""
    if not path:
        yield value
    elif path[0] == EACH:
        items = value if isinstance(value, list) else value.values() if isinstance(value, Mapping) else ()
        for item in items:
            yield from _values(item, path[1:])
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


# --- Messages ---------------------------------------------------------------------------------------------------------


def messages(event: Any) -> tuple[Any, ...]:
    """Return the bodies of the messages that an event brings, in order; () where it brings none.

    Of queues (SQS, SNS, CMQ, CKafka, ...) the text as it came, of EventBridge the `detail`, of CloudEvents the `data`,
    of a timer what its owner wrote. Messages in base64 are decoded: to text, or to bytes where they hold none.
    """
    if isinstance(event, list) and event and all(has(item, "specversion") for item in event):
        return tuple(message for item in event for message in messages(item))
    if has(event, "specversion", "type", "source"):
        data = event.get("data")
        return messages(data) or (() if data is None else (data,))
    row = _row_of(event, (*_UNATTENDED, *_ANSWERED))
    if row is None or not row.messages:
        return ()
    return tuple(_decoded(value) if row.encoded else value for value in _values(event, row.messages))


def _decoded(value: Any) -> Any:
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return value
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- Stored files -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredObject:
    """A file in a storage, as an event names it.

    `key` is decoded: it is the name that a client library takes. `size` is in bytes, None where the event tells none,
    as for a deleted file. `bucket` and `region` are the event's own words (Tencent's bucket is without the APPID, and
    its region may be a short one, such as "cd"); `url` is the file's address where the event has one, else "". `event`
    is what happened to it, such as "ObjectCreated:Put".
    """

    bucket: str
    key: str
    size: int | None = None
    region: str = ""
    url: str = ""
    event: str = ""


_DEEPEST = 12


def objects(event: Any) -> tuple[StoredObject, ...]:
    """Return the stored files that an event speaks of: S3, COS, OSS, OBS, Google Cloud Storage.

    They may lie anywhere: in the records themselves, in EventBridge's `detail`, in a CloudEvent's `data`, in
    the message of a queue that the storage writes to, which may be in base64.
    """
    return tuple(_objects(event, {}, 0))


def _objects(value: Any, around: Mapping[str, Any], depth: int) -> Iterator[StoredObject]:
    """Yield the files in a value; `around` holds the text that surrounds it, such as the region and the event."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _objects(item, around, depth + 1)
    elif isinstance(value, str):
        # Of a text in base64 that begins with { or [, the first character is one of these.
        text = _decoded(value) if value[:1] in ("e", "W") else value
        if isinstance(text, str) and text.lstrip()[:1] in ("{", "["):
            yield from _objects(_json(text), around, depth + 1)
    elif isinstance(value, Mapping):
        stored = _s3(value, around) or _cos(value, around) or _google(value, around)
        if stored:
            yield stored
            return
        # COS puts the event's name beside the file, Pub/Sub beside the message.
        nearby = {**around, **_texts(value), **_texts(value.get("event")), **_texts(value.get("attributes"))}
        for item in value.values():
            yield from _objects(item, nearby, depth + 1)


def _texts(value: Any) -> dict[str, str]:
    return {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, Mapping) else {}


def _s3(value: Mapping[str, Any], around: Mapping[str, Any]) -> StoredObject | None:
    """Read {"bucket": {"name"}, "object": {"key", "size"}}: S3, OSS and OBS, in notifications and on event buses."""
    bucket, key = get(value, "bucket", "name"), get(value, "object", "key")
    if not isinstance(bucket, str) or not isinstance(key, str):
        return None
    # S3 and OBS encode a key as a form's values are, but not on EventBridge; OSS as a part of an address.
    if "detail-type" not in around:
        key = unquote(key) if around.get("eventSource") == "acs:oss" else unquote_plus(key)
    return StoredObject(
        bucket, key, _whole(get(value, "object", "size")), _first(around, _REGIONS), "", _first(around, _EVENTS)
    )


def _cos(value: Mapping[str, Any], around: Mapping[str, Any]) -> StoredObject | None:
    """Read {"cosBucket": {"name", "appid", "region"}, "cosObject": {"key": "/appid/bucket/key", "size", "url"}}."""
    bucket, entry = get(value, "cosBucket"), get(value, "cosObject")
    name, key = get(bucket, "name"), get(entry, "key")
    if not isinstance(name, str) or not isinstance(key, str):
        return None
    key = unquote(key.removeprefix(f"/{get(bucket, 'appid')}/{name}/"))
    region = get(bucket, "region") or get(bucket, "cosRegion") or _first(around, _REGIONS)
    url = str(get(entry, "url") or "")
    return StoredObject(name, key, _whole(get(entry, "size")), str(region or ""), url, _first(around, _EVENTS))


def _google(value: Mapping[str, Any], around: Mapping[str, Any]) -> StoredObject | None:
    """Read {"bucket": "...", "name": "...", "size": "123"}: Google's storage; {"url", "blobType"}: Azure's."""
    event = _first(around, _EVENTS)
    if has(value, "bucket", "name") and all(isinstance(value[name], str) for name in ("bucket", "name")):
        region = str(value.get("location") or "")
        return StoredObject(value["bucket"], value["name"], _whole(value.get("size")), region, "", event)
    if has(value, "url", "blobType") and isinstance(value["url"], str):
        container, _, name = unquote(urlsplit(value["url"]).path).lstrip("/").partition("/")
        return StoredObject(container, name, _whole(value.get("contentLength")), "", value["url"], event)
    return None


_REGIONS = ("awsRegion", "region", "eventRegion", "Region")
_EVENTS = ("eventName", "detail-type", "eventType", "type")


def _first(around: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(around[name]) for name in names if around.get(name)), "")


def _whole(size: Any) -> int | None:
    """Return a size, which Google writes as text."""
    if isinstance(size, str) and re.fullmatch(r"[0-9]{1,18}", size):
        return int(size)
    return size if isinstance(size, int) and not isinstance(size, bool) else None
