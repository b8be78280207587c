"""Events that are neither HTTP nor a cloud call: what they are, the files they speak of, the messages they bring.

The shapes are those of the vendors' documentation, written down by hand and shortened; stored samples are named.
"""

from __future__ import annotations

import base64
import json
import logging
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import CloudError, handler, platforms
from cloudfn.platforms.events import StoredObject
from tests.support import events
from tests.support.events import Sent, call, sample


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def s3(key: str, **more: Any) -> dict[str, Any]:
    stored = {"bucket": {"name": "shop"}, "object": {"key": key, "size": 1024}}
    return {"eventSource": "aws:s3", "awsRegion": "eu-west-1", "eventName": "ObjectCreated:Put", "s3": stored, **more}


S3 = {"Records": [s3("a/%E5%9B%BE+1.jpg"), s3("b.png")]}
ON_BUS = {
    "version": "0",
    "id": "1",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "region": "eu-west-1",
    "detail": {"bucket": {"name": "shop"}, "object": {"key": "a+b %41.jpg", "size": 5}},
}
COS_NAME = {"region": "gz", "name": "shop", "appid": "125"}
COS = {
    "Records": [
        {
            "cos": {
                "cosObject": {"key": "/125/shop/a/%E5%9B%BE+1.jpg", "size": 9, "url": "http://shop-125.example/x"},
                "cosBucket": COS_NAME,
            },
            "event": {"eventName": "cos:ObjectCreated:Put", "eventSource": "qcs::cos"},
        }
    ]
}
OBS = {
    "Records": [
        {
            "eventSource": "OBS",
            "eventRegion": "cn-north-4",
            "eventName": "ObjectCreated:Post",
            "obs": {"bucket": {"name": "shop"}, "object": {"key": "a%2Bb+c.jpg", "size": 7}},
        }
    ]
}
GCS = {
    "specversion": "1.0",
    "id": "1",
    "source": "//storage.googleapis.com/projects/_/buckets/shop",
    "type": "google.cloud.storage.object.v1.finalized",
    "data": {"bucket": "shop", "name": "a b.jpg", "size": "12", "location": "EU"},
}
OSS_ON_BUS = {
    "specversion": "1.0",
    "id": "1",
    "source": "acs.oss",
    "type": "oss:ObjectCreated:PutObject",
    "data": {
        "region": "cn-hangzhou",
        "eventSource": "acs:oss",
        "eventName": "ObjectCreated:PutObject",
        "oss": {"bucket": {"name": "shop"}, "object": {"key": "a/%E5%9B%BE+1.jpg", "size": 3}},
    },
}


# A notification of Cloud Storage by way of Pub/Sub, as a subscription pushes it and as Eventarc hands it over.
PUB_SUB = {
    "message": {
        "data": b64('{"bucket": "shop", "name": "a b+1.jpg", "size": "12", "location": "EU"}'),
        "attributes": {"eventType": "OBJECT_FINALIZE", "bucketId": "shop"},
        "messageId": "1",
    },
    "subscription": "projects/p/subscriptions/s",
}
EVENTARC = {"specversion": "1.0", "id": "1", "source": "//pubsub", "type": "google.cloud.pubsub", "data": PUB_SUB}


def put(key: str, size: int | None, region: str, url: str = "", event: str = "ObjectCreated:Put") -> StoredObject:
    return StoredObject("shop", key, size, region, url, event)


@pytest.mark.parametrize(
    ("event", "name", "found"),
    [
        (S3, "S3", (put("a/图 1.jpg", 1024, "eu-west-1"), put("b.png", 1024, "eu-west-1"))),
        ({"Records": [{"Sns": {"Message": json.dumps(S3)}}]}, "SNS", (put("a/图 1.jpg", 1024, "eu-west-1"),)),
        (
            {"Records": [{"eventSource": "aws:sqs", "body": json.dumps({"Message": json.dumps(S3)})}]},
            "SQS",
            (put("a/图 1.jpg", 1024, "eu-west-1"),),
        ),
        (ON_BUS, "EventBridge", (put("a+b %41.jpg", 5, "eu-west-1", event="Object Created"),)),
        (COS, "Tencent COS", (put("a/图+1.jpg", 9, "gz", "http://shop-125.example/x", "cos:ObjectCreated:Put"),)),
        (OBS, "Huawei OBS", (put("a+b c.jpg", 7, "cn-north-4", event="ObjectCreated:Post"),)),
        (GCS, "CloudEvent", (put("a b.jpg", 12, "EU", event="google.cloud.storage.object.v1.finalized"),)),
        ([GCS], "batch of CloudEvents", (put("a b.jpg", 12, "EU", event="google.cloud.storage.object.v1.finalized"),)),
        (OSS_ON_BUS, "CloudEvent", (put("a/图+1.jpg", 3, "cn-hangzhou", event="ObjectCreated:PutObject"),)),
        (
            sample("fc-docs--oss"),
            "Alibaba OSS",
            (StoredObject("testbucket", "source/a.png", 122539, "cn-hangzhou", "", "ObjectCreated:PutObject"),),
        ),
        (
            sample("scf-docs--cos"),
            "Tencent COS",
            (
                StoredObject(
                    "testpic",
                    "testfile",
                    1029,
                    "cd",
                    "http://testpic-1253970026.cos.ap-chengdu.myqcloud.com/testfile",
                    "cos:ObjectCreated:*",
                ),
            ),
        ),
        (
            sample("aws-s3"),
            "S3",
            (StoredObject("BUCKET_NAME", "inbound/sample-java-s3.png", 21476, "us-east-2", "", "ObjectCreated:Put"),),
        ),
        (PUB_SUB, "Pub/Sub", (put("a b+1.jpg", 12, "EU", event="OBJECT_FINALIZE"),)),
        (EVENTARC, "CloudEvent", (put("a b+1.jpg", 12, "EU", event="OBJECT_FINALIZE"),)),
        (
            {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": b64(json.dumps(S3))}}]},
            "Kinesis",
            (put("a/图 1.jpg", 1024, "eu-west-1"), put("b.png", 1024, "eu-west-1")),
        ),
        (
            {
                "eventSource": "aws:kafka",
                "records": {"t-0": [{"topic": "t", "value": b64(json.dumps([S3], indent=2))}]},
            },
            "Kafka",
            (put("a/图 1.jpg", 1024, "eu-west-1"), put("b.png", 1024, "eu-west-1")),
        ),
        (
            {"TopicName": "t", "MessageId": "1", "Message": b64(json.dumps({"events": [OSS_ON_BUS["data"]]}))},
            "Alibaba MNS",
            (put("a/图+1.jpg", 3, "cn-hangzhou", event="ObjectCreated:PutObject"),),
        ),
        ({"Records": [s3("gone.jpg") | {"eventName": "ObjectRemoved:Delete"}]}, "S3", None),
    ],
)
def test_the_stored_files(event: Any, name: str, found: tuple[StoredObject, ...] | None) -> None:
    got: list[Any] = []

    @cloud.function
    def keep(event: Any, context: Any) -> None:
        got.extend([event, context.form, context.objects])

    for given in (event, json.dumps(event).encode()):
        got.clear()
        keep(given, None)
        assert got[0] == event  # as it came
        assert got[1] == name
        assert found is None or got[2][: len(found)] == found


@pytest.mark.parametrize(
    ("event", "name", "found"),
    [
        ({"Records": [{"eventSource": "aws:sqs", "body": "one"}, {"body": "two"}]}, "SQS", ("one", "two")),
        ({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "m"}}]}, "SNS", ("m",)),
        ({"Records": [{"kinesis": {"data": b64("图")}}, {"kinesis": {"data": "/w=="}}]}, "Kinesis", ("图", b"\xff")),
        (sample("scf-docs--ckafka"), "CKafka", ("Hello from Ckafka!",)),
        (sample("scf-docs--cmq"), "CMQ", ("Hello from CMQ!",)),
        (
            {"version": "0", "source": "my.app", "detail-type": "order", "detail": {"a": 1}, "region": "x"},
            "EventBridge",
            ({"a": 1},),
        ),
        (
            {"specversion": "1.0", "id": "1", "source": "acs.mns", "type": "t", "data": {"order": 5}},
            "CloudEvent",
            ({"order": 5},),
        ),
        (sample("scf-docs--timer"), "SCF timer", ("user define msg body",)),
        (sample("cloudbase-hono--timer"), "SCF timer", ("",)),
        (sample("fc-docs--timer"), "FC timer", ("awesome-fc",)),
        (
            {
                "version": "v1.0",
                "time": "2018-06-01T08:30:00+08:00",
                "trigger_type": "TIMER",
                "trigger_name": "Timer_001",
                "user_event": "hello",
            },
            "Huawei timer",
            ("hello",),
        ),
        ({"record": [{"event_source": "smn", "smn": {"message": "m", "type": "notification"}}]}, "Huawei SMN", ("m",)),
        (
            {"StreamName": "s", "ShardID": "0", "Message": {"records": [{"partition_key": "1", "data": b64("d")}]}},
            "Huawei DIS",
            ("d",),
        ),
        (
            {"trigger_type": "KAFKA", "records": [{"messages": ["a", "b"], "topic_id": "t"}]},
            "Huawei Kafka",
            ("a", "b"),
        ),
        (
            {"eventSource": "aws:kafka", "records": {"t-0": [{"topic": "t", "value": b64("v")}]}},
            "Kafka",
            ("v",),
        ),
        ({"eventSource": "aws:mq", "messages": [{"messageID": "1", "data": b64("v")}]}, "Amazon MQ", ("v",)),
        (
            {"eventSource": "aws:rmq", "rmqMessagesByQueue": {"q::/": [{"data": b64("v")}]}},
            "Amazon MQ",
            ("v",),
        ),
        (
            {"TopicName": "t", "MessageId": "1", "Message": "hello", "TopicOwner": "1", "PublishTime": 1},
            "Alibaba MNS",
            ("hello",),
        ),
        (
            {"message": {"data": b64("hello"), "messageId": "1"}, "subscription": "projects/p/subscriptions/s"},
            "Pub/Sub",
            ("hello",),
        ),
        (sample("scf-docs--cls"), "Tencent CLS", ()),
        (sample("scf-docs--mps"), "Tencent MPS", ()),
        (S3, "S3", ()),
        ({"specversion": "1.0", "id": "1", "source": "s", "type": "empty"}, "CloudEvent", ()),
    ],
)
def test_the_messages(event: Any, name: str, found: tuple[Any, ...]) -> None:
    got: list[Any] = []

    @cloud.function
    def keep(event: Any, context: Any) -> None:
        got.extend([event, context.form, context.messages])

    keep(event, None)
    assert got == [event, name, found]


def test_what_is_no_such_event_brings_nothing() -> None:
    @cloud.function
    def counts(event: Any, context: Any) -> Any:
        return [len(context.objects), len(context.messages)]

    # Whoever calls directly or over HTTP may write anything: neither files nor messages are read out of it.
    assert counts({"a": S3}) == [0, 0]
    assert call(counts, "http_v2", Sent(json.dumps(S3).encode(), "application/json")).json == [0, 0]


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"type": "TOKEN", "authorizationToken": "t", "methodArn": "arn:aws:execute-api:1/x/GET/"}, "authorizer"),
        (
            {
                "type": "REQUEST",
                "methodArn": "arn",
                "resource": "/r",
                "path": "/r",
                "httpMethod": "GET",
                "headers": {},
                "queryStringParameters": {},
                "requestContext": {"accountId": "1", "apiId": "2"},
            },
            "authorizer",
        ),
        (
            {
                "version": "2.0",
                "type": "REQUEST",
                "routeArn": "arn",
                "rawPath": "/",
                "rawQueryString": "",
                "headers": {},
                "requestContext": {"http": {"method": "GET", "path": "/"}},
            },
            "authorizer",
        ),
        (
            {
                "headers": {},
                "multiValueHeaders": {},
                "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "c", "apiId": "a"},
                "isBase64Encoded": False,
            },
            "WebSocket",
        ),
        (
            {
                "requestContext": {"websocketEnable": True},
                "websocket": {"action": "connecting", "id": "x"},
            },
            "WebSocket",
        ),
        (sample("aws-cloudfront"), "Lambda@Edge"),
        (
            {
                "messageVersion": "1.0",
                "agent": {"name": "a", "id": "1", "alias": "b", "version": "1"},
                "sessionId": "s",
                "actionGroup": "g",
                "apiPath": "/p",
                "httpMethod": "POST",
                "parameters": [],
            },
            "Bedrock agent",
        ),
        (
            {"messageVersion": "1.0", "agent": {"name": "a"}, "function": "f", "actionGroup": "g", "parameters": []},
            "Bedrock agent",
        ),
    ],
)
def test_what_wants_an_answer_of_its_own(event: Any, name: str, permitted: Any) -> None:
    with pytest.raises(CloudError, match=f"an event of .*{name}.* is no cloud call") as raised:
        handler.main(event)
    assert raised.value.errCode == -401002

    @cloud.function
    def answers(event: Any, context: Any) -> Any:
        return {"isAuthorized": True, "form": context.form}

    answer = answers(event)
    assert answer["isAuthorized"] is True
    assert name in answer["form"]


def test_an_unknown_event_says_what_it_had(permitted: Any) -> None:
    for event in ({"Foo": 1, "Bar": {"imgUrl": "x"}}, {f"key{n}": n for n in range(30)}):
        answer = handler.main(event)
        assert answer["errCode"] == -401002
        assert f"it has the keys '{next(iter(event))}'" in answer["errMsg"]
        assert "expected imgUrl, ratios, img" in answer["errMsg"]
    body = Sent(b'{"Foo": "s3cret"}', "application/json")
    answer = call(handler.main, "http_v2", body).json
    assert "it has the keys 'Foo'" in answer["errMsg"]
    assert "s3cret" not in answer["errMsg"]
    assert "expected `ratios`" in handler.main({"ratioList": 1})["errMsg"]


# ---- who learns of a failure

UNATTENDED = (S3, sample("scf-docs--ckafka"), sample("fc-docs--timer"), ON_BUS, GCS, sample("scf-docs--timer"))


@pytest.mark.parametrize("event", UNATTENDED)
def test_a_failure_that_nobody_waits_for_is_raised(event: Any, caplog: pytest.LogCaptureFixture) -> None:
    @cloud.function
    def refuses(event: Any, context: Any) -> Any:
        raise CloudError(45009, "openapi.img.aiCrop:fail reach max api daily quota limit")

    @cloud.function
    def breaks(event: Any, context: Any) -> Any:
        return 1 / 0

    @cloud.function
    def returns(event: Any, context: Any) -> Any:
        return {"errCode": 45009, "errMsg": "no more"}

    for made, code in ((refuses, 45009), (breaks, -504002), (returns, 45009)):
        caplog.clear()
        with pytest.raises(CloudError) as raised:
            made(event)
        assert raised.value.errCode == code
        assert [record.levelname for record in caplog.records] == ["ERROR"]
    with pytest.raises(CloudError):
        breaks(json.dumps(event).encode())


def test_a_failure_that_somebody_waits_for_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    @cloud.function
    def refuses(event: Any, context: Any) -> Any:
        raise CloudError(45009, "no more")

    caplog.set_level(logging.ERROR)
    assert refuses({"a": 1}) == {"errCode": 45009, "errMsg": "no more"}
    assert call(refuses, "http_v2", Sent(b"{}", "application/json")).status == 429
    assert caplog.records == []


# ---- CloudEvents


ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order", "subject": "图"}


@cloud.function
def tell(event: Any, context: Any) -> Any:
    """Say what came, with bytes as a list of numbers."""
    data = event["data"] if isinstance(event, dict) else [item["data"] for item in event]
    shown = {key: value for key, value in event.items() if key != "data"} if isinstance(event, dict) else None
    return {"data": list(data) if isinstance(data, bytes) else data, "about": shown, "messages": len(context.messages)}


@pytest.mark.parametrize("form", events.FORMS)
def test_cloud_events_over_http(form: str) -> None:
    structured = json.dumps(ATTRIBUTES | {"data": {"a": 1}}).encode()
    answer = call(tell, form, Sent(structured, "application/cloudevents+json; charset=utf-8")).json
    assert answer == {"data": {"a": 1}, "about": ATTRIBUTES, "messages": 1}
    headers = {f"ce-{name}": value for name, value in ATTRIBUTES.items()} | {"ce-subject": "%E5%9B%BE"}
    answer = call(tell, form, Sent(b'{"a": 1}', "application/json", headers=headers)).json
    assert answer == {
        "data": {"a": 1},
        "about": ATTRIBUTES | {"datacontenttype": "application/json"},
        "messages": 1,
    }
    batch = json.dumps([ATTRIBUTES | {"data": n} for n in range(3)]).encode()
    assert call(tell, form, Sent(batch, "application/cloudevents-batch+json")).json["data"] == [0, 1, 2]
    raw = json.dumps(ATTRIBUTES | {"data_base64": "/w==", "datacontenttype": "image/png"}).encode()
    assert call(tell, form, Sent(raw, "application/cloudevents+json")).json["data"] == [255]
    for wrong in (b"[1]", b"{", json.dumps(ATTRIBUTES | {"data_base64": "?"}).encode()):
        assert call(tell, form, Sent(wrong, "application/cloudevents+json")).status == 400


def test_a_cloud_event_of_the_sdk() -> None:
    from cloudevents.http import CloudEvent

    answer = tell(CloudEvent(dict(ATTRIBUTES), {"a": 1}))
    assert answer["data"] == {"a": 1}
    assert answer["about"].items() >= ATTRIBUTES.items()
    with pytest.raises(CloudError):
        tell(CloudEvent({"source": "s", "type": "t"}, b"\xff"), None)


def test_the_time_in_the_object_of_the_sdks_second_version() -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    event = SimpleNamespace(get_attributes=lambda: ATTRIBUTES | {"time": time, "dataschema": None}, get_data=dict)
    assert tell(event)["about"] == ATTRIBUTES | {"time": "2026-01-02T03:04:05+00:00"}


def test_the_ready_made_handler_takes_a_cloud_events_data(
    permitted: Any, photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFN_BACKEND", "local")
    picture = photo("chelsea.jpg").read_bytes()
    value = base64.b64encode(picture).decode()
    size = {"w": 451, "h": 300}
    image = ATTRIBUTES | {"data_base64": value, "datacontenttype": "image/jpeg"}
    called = ATTRIBUTES | {"data": {"img": {"contentType": "image/jpeg", "value": value}, "ratios": "1"}}
    for event in (image, called, [called], ATTRIBUTES | {"data": json.dumps(called["data"])}):
        assert handler.main(event)["imgSize"] == size
        body = json.dumps(event).encode()
        kind = "application/cloudevents-batch+json" if isinstance(event, list) else "application/cloudevents+json"
        assert call(handler.main, "environ", Sent(body, kind)).json["imgSize"] == size
    headers = {f"ce-{name}": value for name, value in ATTRIBUTES.items() if name != "subject"}
    assert call(handler.main, "environ", Sent(picture, "image/jpeg", headers=headers)).json["imgSize"] == size
    with pytest.raises(CloudError, match="a batch of 2 CloudEvents is no cloud call"):
        handler.main([called, called])


def test_every_form_is_one_row() -> None:
    assert len({form.__name__ + form.__module__ for form in platforms.FORMS}) == len(platforms.FORMS)
