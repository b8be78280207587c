"""Makes HTTP events of every form: a vendor's sample, filled with a request, and what a client would see of a reply."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

FOLDER = Path(__file__).parent
BOUNDARY = "----WebKitFormBoundaryx5Pq"


class Sent(NamedTuple):
    """A client's request."""

    body: bytes = b""
    content_type: str = ""
    query: Mapping[str, str] = {}
    method: str = "POST"
    headers: Mapping[str, str] = {}


class Seen(NamedTuple):
    """What the client gets back."""

    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def sample(name: str) -> dict[str, Any]:
    """A stored event."""
    event: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_bytes())
    return event


def multipart(picture: bytes, content_type: str = "image/jpeg", **fields: str) -> tuple[bytes, str]:
    """A browser's form with a file `img`: body and content type."""
    parts = [f'name="img"; filename="a b.jpg"\r\nContent-Type: {content_type}\r\n\r\n'.encode() + picture]
    parts += [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    start = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(start + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()
    return body, f"multipart/form-data; boundary={BOUNDARY}"


def _is_text(sent: Sent) -> bool:
    return not sent.body or sent.content_type.startswith("text/") or "json" in sent.content_type


def _headers(sent: Sent) -> dict[str, str]:
    return {"Content-Type": sent.content_type, **sent.headers} if sent.body else dict(sent.headers)


def _body(sent: Sent, always: bool = False) -> tuple[str, bool]:
    encoded = always or not _is_text(sent)
    return (base64.b64encode(sent.body).decode() if encoded else sent.body.decode()), encoded


def rest_v1(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    headers = _headers(sent)
    return sample("aws-rest-v1") | {
        "httpMethod": sent.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": dict(sent.query) or None,
        "multiValueQueryStringParameters": {name: [value] for name, value in sent.query.items()} or None,
        "body": body or None,
        "isBase64Encoded": encoded,
    }


def http_v2(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    event = sample("aws-http-v2")
    event["requestContext"]["http"]["method"] = sent.method
    event |= {
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "rawQueryString": urlencode(sent.query),
        "isBase64Encoded": encoded,
        "body": body,
    }
    if not sent.body:
        del event["body"]
    return event


def function_url(sent: Sent) -> dict[str, Any]:
    event = sample("aws-function-url")
    event["requestContext"]["http"]["method"] = sent.method
    return (
        event
        | {k: v for k, v in http_v2(sent).items() if k in ("headers", "rawQueryString", "isBase64Encoded")}
        | {
            "body": _body(sent)[0],
            "queryStringParameters": dict(sent.query),
        }
    )


def alb(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    return sample("aws-alb") | {
        "httpMethod": sent.method,
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "queryStringParameters": {quote(name): quote(value) for name, value in sent.query.items()},
        "body": body,
        "isBase64Encoded": encoded,
    }


def alb_multi(sent: Sent) -> dict[str, Any]:
    event = alb(sent)
    event["multiValueHeaders"] = {name: [value] for name, value in event.pop("headers").items()}
    event["multiValueQueryStringParameters"] = {k: [v] for k, v in event.pop("queryStringParameters").items()}
    return event


def scf_gateway(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    return sample("scf-api-gateway-captured") | {
        "httpMethod": sent.method,
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "queryString": dict(sent.query),
        "body": body,
        "isBase64Encoded": encoded,
    }


def scf_url(sent: Sent) -> dict[str, Any]:
    return sample("scf-function-url") | {
        "httpMethod": sent.method,
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "queryString": dict(sent.query),
        "body": _body(sent)[0],  # no flag: that a binary body comes in base64 is our guess
    }


def cloudbase(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    return sample("cloudbase-http-access") | {
        "httpMethod": sent.method,
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "queryStringParameters": dict(sent.query),
        "body": body,
        "isBase64Encoded": encoded,
    }


def fc_trigger(sent: Sent) -> bytes:
    body, encoded = _body(sent)
    event = sample("fc-http-trigger")
    event["requestContext"]["http"]["method"] = sent.method
    event |= {
        "headers": {name.title(): value for name, value in _headers(sent).items()},
        "queryParameters": dict(sent.query),
        "body": body,
        "isBase64Encoded": encoded,
    }
    return json.dumps(event).encode()


def fc_gateway(sent: Sent) -> bytes:
    body, encoded = _body(sent)
    event = sample("fc-api-gateway") | {
        "httpMethod": sent.method,
        "headers": _headers(sent),
        "queryParameters": dict(sent.query),
        "body": body,
        "isBase64Encoded": str(encoded).lower(),
    }
    return json.dumps(event).encode()


def huawei(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent, always=True)
    return sample("huawei-apig") | {
        "httpMethod": sent.method,
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "queryStringParameters": dict(sent.query),
        "body": body,
        "isBase64Encoded": encoded,
    }


def scf_captured(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    return sample("scf-hao1032--post") | {
        "httpMethod": sent.method,
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "queryString": dict(sent.query),
        "body": body,
        "isBase64Encoded": encoded,
    }


def clb(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    address = {"X-Uri": "/scf_location" + (f"?{urlencode(sent.query)}" if sent.query else ""), "X-Method": sent.method}
    return sample("scf-docs--clb") | {
        "headers": {**_headers(sent), **address},
        "payload": body,
        "isBase64Encoded": str(encoded).lower(),
    }


def rest_v1_bare(sent: Sent) -> dict[str, Any]:
    """As API Gateway's console and some tools write it: without `resource` and the lists of values."""
    event = rest_v1(sent)
    return {name: value for name, value in event.items() if name != "resource" and not name.startswith("multiValue")}


def lattice_v1(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    return {
        "raw_path": "/lattice" + (f"?{urlencode(sent.query)}" if sent.query else ""),
        "method": sent.method,
        "headers": {name.lower(): value for name, value in _headers(sent).items()},
        "query_string_parameters": dict(sent.query),
        "body": body,
        "is_base64_encoded": encoded,
    }


def lattice_v2(sent: Sent) -> dict[str, Any]:
    body, encoded = _body(sent)
    return {
        "version": "2.0",
        "path": "/lattice",
        "method": sent.method,
        "headers": {name.lower(): [value] for name, value in _headers(sent).items()},
        "queryStringParameters": {name: [value] for name, value in sent.query.items()},
        "body": body,
        "isBase64Encoded": encoded,
        "requestContext": {
            "serviceNetworkArn": "arn:aws:vpc-lattice:us-east-1:123456789012:servicenetwork/sn-0",
            "serviceArn": "arn:aws:vpc-lattice:us-east-1:123456789012:service/svc-0",
            "targetGroupArn": "arn:aws:vpc-lattice:us-east-1:123456789012:targetgroup/tg-0",
            "identity": {"sourceVpcArn": "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-0"},
            "region": "us-east-1",
            "timeEpoch": "1700000000000000",
        },
    }


def azure(sent: Sent) -> Any:
    from azure.functions import HttpRequest

    url = f"https://app.example/api/crop?{urlencode(sent.query)}"
    return HttpRequest(sent.method, url, headers=_headers(sent), params=dict(sent.query), body=sent.body)


def environ(sent: Sent) -> dict[str, Any]:
    return {
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.headers.items()},
        "REQUEST_METHOD": sent.method,
        "PATH_INFO": "/",
        "QUERY_STRING": urlencode(sent.query),
        "CONTENT_TYPE": sent.content_type,
        "CONTENT_LENGTH": str(len(sent.body)) if sent.body else "",
        "wsgi.input": io.BytesIO(sent.body),
    }


FORMS: Mapping[str, Callable[[Sent], Any]] = {
    made.__name__: made
    for made in (
        rest_v1,
        http_v2,
        function_url,
        alb,
        alb_multi,
        scf_gateway,
        scf_url,
        cloudbase,
        fc_trigger,
        fc_gateway,
        huawei,
        scf_captured,
        clb,
        rest_v1_bare,
        lattice_v1,
        lattice_v2,
        azure,
        environ,
    )
}


def call(function: Callable[..., Any], form: str, sent: Sent, context: Any = None) -> Seen:
    """Send a request to a function through one form, and read the reply as that platform would."""
    event = FORMS[form](sent)
    if form != "environ":
        return seen(function(event, context))
    started: list[Any] = []
    body = b"".join(function(event, lambda status, headers: started.extend((status, dict(headers)))))
    assert started[1].get("Content-Length", "0") == str(len(body))
    return Seen(int(started[0].split()[0]), started[1].get("Content-Type", ""), body)


def seen(reply: Any) -> Seen:
    """What a client sees of {statusCode, headers, body, isBase64Encoded}, or of Azure's HttpResponse."""
    if hasattr(reply, "get_body"):
        return Seen(reply.status_code, reply.headers.get("Content-Type"), reply.get_body())
    assert json.loads(json.dumps(reply)) == reply
    headers = {name: value[0] for name, value in reply.get("multiValueHeaders", {}).items()} | reply.get("headers", {})
    body = base64.b64decode(reply["body"]) if reply["isBase64Encoded"] else reply["body"].encode()
    return Seen(reply["statusCode"], headers.get("Content-Type", ""), body)


def query(text: str) -> dict[str, str]:
    """A query as a mapping."""
    return dict(parse_qsl(text))
