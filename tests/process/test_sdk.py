"""The real wx-server-sdk, unmodified from npm, beside the same function on cloudfn."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.server import protobuf
from cloudfn.testing import Fault, Server
from tests.conftest import TESTS
from tests.support import npm
from tests.support.recording import RecordingServer, http

NODE = TESTS / "support" / "node"
PHOTO = TESTS / "photos" / "raccoon-966x728.jpg"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK, installed by npm."""
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(NODE / "package.json", folder)
    return npm.install(folder)


@pytest.fixture
def node(modules: Path) -> Any:
    """Runs the function on Node with an event."""

    def run(server: Server, **event: Any) -> Any:
        # Nothing else of this process' environment: the variables are enough.
        environment = {"PATH": os.environ["PATH"], **server.variables, "NODE_PATH": str(modules)}
        command = ["node", str(NODE / "index.js"), json.dumps(event)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def python(server: Server, **event: Any) -> Any:
    """The same function on cloudfn."""
    options = {"ratios": event["ratios"]} if "ratios" in event else {}
    if event.get("imgUrl"):
        options["imgUrl"] = event["imgUrl"]
    if event.get("file"):
        options["img"] = {"contentType": "image/jpeg", "value": Path(event["file"]).read_bytes()}
    with server.environment():
        instance = cloud.Cloud()
        try:
            return getattr(instance.openapi.img, event.get("api", "aiCrop"))(options)
        except CloudError as error:
            return error.to_dict()
        finally:
            instance.close()


def same(answer: Any) -> Any:
    """An answer without what differs from call to call."""
    return json.loads(re.sub(r"rid: [0-9a-f-]{26}", "rid: *", json.dumps(answer)))


@pytest.mark.parametrize("ratios", ["1,2.35", [1, 2.35], "16:9", None])
def test_success(ratios: Any, node: Any, permitted: Path) -> None:
    with Server() as server:
        event = {"file": str(PHOTO), "ratios": ratios}
        answer = node(server, **event)
        assert answer == python(server, **event)
        assert list(answer) == ["results", "imgSize", "errMsg", "errCode"]
        assert answer["imgSize"] == {"w": 966, "h": 728}
        seen = server.requests[0]
        assert (seen.through, seen.picture, seen.mistakes) == ("sdk", PHOTO.stat().st_size, [])


def test_a_url(node: Any, permitted: Path, server: RecordingServer) -> None:
    server.answers = [http(PHOTO.read_bytes(), content_type="image/jpeg")]
    with Server(allow_hosts=["127.0.0.1"]) as here:
        event = {"imgUrl": f"{server.url}/a.jpg?x=1", "ratios": "1"}
        answer = node(here, **event)
        assert answer["errCode"] == 0
        assert answer == python(here, **event)


def test_refusals_of_the_api(node: Any, permitted: Path) -> None:
    with Server() as server:
        for event in ({"imgUrl": "http://10.0.0.1/a.jpg"}, {"file": str(NODE / "index.js")}):
            answer = node(server, **event)
            assert answer["errCode"] in (101000, 101002)
            assert same(answer) == same(python(server, **event))


def test_a_buffer_that_became_json_is_what_users_complain_about(node: Any) -> None:
    with Server() as server:
        assert node(server, json=True)["errCode"] == 41005
        assert "Buffer.from(event.img.value)" in server.requests[-1].mistakes[0]


def test_permission(node: Any, permitted: Path) -> None:
    config = permitted / "config.json"
    event = {"file": str(PHOTO)}
    with Server(config=str(config)) as server:
        assert node(server, **event)["errCode"] == 0
        config.write_text('{"permissions": {"openapi": ["img.scanQRCode"]}}')
        answer = node(server, **event)
        assert answer == {"errCode": -604101, "errMsg": "system error: error code: -604101"}
        assert answer == python(server, **event)
        assert "permissions.openapi does not list it" in server.requests[-1].mistakes[0]


def test_an_unknown_api(node: Any, permitted: Path) -> None:
    with Server() as server:
        answer = node(server, file=str(PHOTO), api="aiCorp")
        assert answer == {"errCode": -604100, "errMsg": "system error: error code: -604100"}
        assert answer == python(server, file=str(PHOTO), api="aiCorp")
        assert "did you mean img.aiCrop" in server.requests[0].mistakes[0]


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (45009, 45009, "openapi.img.aiCrop:fail reach max api daily quota limit rid: *"),
        (-1, -1, "openapi.img.aiCrop:fail system error rid: *"),
    ],
)
def test_a_fault_of_the_api_is_the_same_on_both(fault: int, code: int, text: str, node: Any, permitted: Path) -> None:
    with Server(faults=[Fault("img.aiCrop", fault)]) as server:
        answer = same(node(server, file=str(PHOTO)))
        assert answer == {"errCode": code, "errMsg": text}
        assert answer == same(python(server, file=str(PHOTO)))


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (-604101, -604101, "system error: error code: -604101"),
        (-604103, -604103, "system error: error code: -604103"),
        (-501002, -501002, "resource server timeout"),
        (-501003, -501003, "exceed request limit"),
        (-501007, -501007, "invalid parameters"),
        (-601001, -601001, "response body is invalid json"),
        (502, -501001, "502 Bad Gateway"),
    ],
)
def test_a_fault_on_the_way_to_the_api(fault: int, code: int, text: str, node: Any) -> None:
    with Server(faults=[Fault("img.aiCrop", fault)]) as server:
        answer = node(server, file=str(PHOTO))
        assert answer["errCode"] == code
        assert text in answer["errMsg"]


def test_latency_is_felt_by_the_sdk(node: Any) -> None:
    with Server(latency=0.5) as server:
        assert node(server, file=str(PHOTO))["errCode"] == 0
        assert server.requests[0].milliseconds >= 500


@pytest.mark.parametrize("version", ["", "-3.0.4", "-2.3.3", "-0.4.3"])
def test_the_function_around_the_crop(version: str, modules: Path, permitted: Path) -> None:
    event = {"picture": b64encode(PHOTO.read_bytes()).decode()}
    with Server(storage=str(permitted / "node")) as server:
        sdk = {"NODE_PATH": str(modules), "SDK": f"wx-server-sdk{version}"}
        if version == "-0.4.3":  # which cannot be aimed by its environment
            sdk["SERVICE_URL"] = f"{server.url}/admin"
        done = subprocess.run(
            ["node", str(NODE / "storage.js")],
            input=json.dumps(event),
            env={"PATH": os.environ["PATH"], **server.variables, **sdk},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
    assert "callFunction" in answer.pop("call")
    assert answer.pop("gone").startswith("downloadFile:fail")
    # 0.4.3 does not say which environment it is in.
    env = "local" if version == "-0.4.3" else "env-1"
    status = 200 if version == "-0.4.3" else -1
    assert answer.pop("statusCode") == status
    with Server(storage=str(permitted / "python")) as server, server.environment():
        assert answer == _around_the_crop(cloud.Cloud(env=env), event)
    (permitted / "local").mkdir()
    cloud_local = cloud.Cloud(backend="local", storage=str(permitted / "local"), env=env)
    assert answer == _around_the_crop(cloud_local, event)
    # Each has stored the one cut picture: Node by sharp, Python by `cut`.
    cuts = [Image.open(only(permitted / kept)) for kept in ("node", "python", "local")]
    assert [cut.size for cut in cuts] == [(728, 728)] * 3
    for cut in cuts[1:]:  # sharp brings a JPEG decoder of its own
        assert max(ImageStat.Stat(ImageChops.difference(cuts[0], cut)).mean) < 1


def only(folder: Path) -> Path:
    """Return the only file in a folder and those in it."""
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    return file


def _around_the_crop(instance: cloud.Cloud, event: dict[str, str]) -> dict[str, Any]:
    """The function in storage.js, in Python."""
    picture = b64decode(event["picture"])
    file_id = instance.uploadFile({"cloudPath": "in/a 图.jpg", "fileContent": picture})["fileID"]
    links = instance.getTempFileURL({"fileList": [file_id, {"fileID": f"{file_id}.none", "maxAge": 60}]})["fileList"]
    content = instance.downloadFile({"fileID": file_id})["fileContent"]
    crop = instance.openapi.img.aiCrop({"imgUrl": links[0]["tempFileURL"], "ratios": "1"})
    (cut,) = instance.cut(content, crop, format="png")
    stored = instance.uploadFile({"cloudPath": "out/a.png", "fileContent": cut})
    back = instance.downloadFile({"fileID": stored["fileID"]})
    deleted = instance.deleteFile({"fileList": [file_id, file_id]})
    with pytest.raises(CloudError, match="storage file not exists"):
        instance.downloadFile({"fileID": file_id})
    hostile = instance.deleteFile({"fileList": ["cloud://env-1.b/../secret.txt"]})
    del links[0]["tempFileURL"]
    return {
        "fileID": file_id,
        "fileList": links,
        "same": sha256(content).hexdigest(),
        "crop": crop,
        "stored": stored["fileID"],
        "back": back["fileContent"] == cut,
        "deleted": deleted,
        "hostile": hostile,
    }


def test_codes_of_a_picture(node: Any, tmp_path: Path, permitted: Path) -> None:
    code = zxingcpp.create_barcode("https://example.com/图", zxingcpp.BarcodeFormat.QRCode)
    file = tmp_path / "code.png"
    Image.fromarray(zxingcpp.write_barcode_to_image(code, scale=4)).save(file)
    (permitted / "config.json").write_text('{"permissions": {"openapi": ["img.scanQRCode"]}}')
    with Server() as server:
        event = {"file": str(file), "api": "scanQRCode"}
        answer = node(server, **event)
        assert [(found["typeName"], found["data"]) for found in answer["codeResults"]] == [
            ("QR_CODE", "https://example.com/图")
        ]
        assert answer["errMsg"] == "openapi.img.scanQRCode:ok"
        assert answer == python(server, **event)
        assert [seen.mistakes for seen in server.requests if seen.mistakes] == []


def test_the_other_sister_apis_are_refused_with_the_reason(node: Any, permitted: Path) -> None:
    with Server() as server:
        answer = node(server, file=str(PHOTO), api="superresolution")
        assert answer == {"errCode": -604100, "errMsg": "system error: error code: -604100"}
        assert "img.superresolution is answered by WeChat alone" in server.requests[0].mistakes[0]


# A call with 65 parameters.
MANY = protobuf.encode({2: b"".join(protobuf.encode({1: protobuf.encode({1: f"a{n}"})}) for n in range(65))})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": {"action": (None, "wx.login")}},
        {"files": {"action": (None, "wx.openApi"), "apiName": (None, "img.aiCrop")}},
        {"files": {"action": (None, "wx.openApi"), "apiName": (None, "x"), "requestData": (None, b"\x12\xff\x01")}},
        {"files": {"action": (None, "wx.openApi"), "apiName": (None, "img.aiCrop"), "requestData": (None, MANY)}},
    ],
)
def test_what_is_no_request_of_the_sdk(body: Any) -> None:
    with Server() as server:
        reply = requests.post(f"{server.url}/admin", timeout=10, **body)
        assert reply.json()["code"] == "INVALID_PARAM"
        assert server.requests[0].mistakes


@given(st.dictionaries(st.integers(1, 100), st.binary(max_size=300) | st.integers(0, 2**64 - 1)))
def test_a_message_is_read_as_it_was_written(fields: dict[int, int | bytes]) -> None:
    assert protobuf.decode(protobuf.encode(fields)) == {number: [value] for number, value in fields.items()}


def test_a_negative_number_takes_ten_bytes() -> None:
    assert protobuf.encode({3: -604101}) == b"\x18\xbb\x90\xdb\xff\xff\xff\xff\xff\xff\x01"


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        protobuf.decode(data)
