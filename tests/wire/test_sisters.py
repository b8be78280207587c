"""The calls beside img.aiCrop: rows of one table, and what answers them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
import zxingcpp
from PIL import Image

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.call import apis, schema
from cloudfn.call.apis import APIS, Api
from cloudfn.testing import Fault, Server
from tests.support.recording import RecordingServer, http

PATHS = {
    "img.scanQRCode": "/cv/img/qrcode",
    "img.superresolution": "/cv/img/superresolution",
    "ocr.printedText": "/cv/ocr/comm",
    "ocr.idcard": "/cv/ocr/idcard",
    "ocr.bankcard": "/cv/ocr/bankcard",
    "ocr.driverLicense": "/cv/ocr/drivinglicense",
    "ocr.vehicleLicense": "/cv/ocr/driving",
    "ocr.businessLicense": "/cv/ocr/bizlicense",
}
TYPED = ("ocr.idcard", "ocr.bankcard", "ocr.vehicleLicense")
URL = "https://example.com/a.jpg"


@pytest.fixture
def granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose config.json grants every API."""
    (tmp_path / "config.json").write_text(json.dumps({"permissions": {"openapi": [*APIS, "img.brandNew"]}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def api_of(instance: cloud.Cloud, name: str) -> Any:
    space, _, call = name.partition(".")
    return getattr(getattr(instance.openapi, space), call)


@pytest.mark.parametrize("name", PATHS)
def test_over_https(name: str, granted: Path, server: RecordingServer) -> None:
    server.answers = [http({"errcode": 0, "errmsg": "ok", "valid_date": "x", "items": [{"text": "t"}]})]
    instance = cloud.Cloud(access_token="t", backend="wechat", api_base=server.url)
    more = {"type": "photo"} if name in TYPED else {}
    told = api_of(instance, name)({"imgUrl": URL, **more})
    assert told == {"items": [{"text": "t"}], "validDate": "x", "errMsg": f"openapi.{name}:ok", "errCode": 0}
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", PATHS[name])
    assert dict(request.query) == {"access_token": "t", "img_url": URL, **more}
    api_of(instance, name)(img=b"\xff\xd8\xff")
    (head, content) = server.requests[-1].parts[0]
    assert 'name="img"; filename="img.jpeg"' in head["Content-Disposition"]
    assert content == b"\xff\xd8\xff"


@pytest.mark.parametrize("name", PATHS)
def test_permission(name: str, permitted: Path) -> None:
    with pytest.raises(CloudError) as raised:
        api_of(cloud.Cloud(access_token="t"), name)(imgUrl=URL)
    assert raised.value.errCode == -604101


def test_a_type_that_is_none(granted: Path) -> None:
    with pytest.raises(CloudError, match=r'type: .*expected "photo" or "scan"') as raised:
        cloud.Cloud(access_token="t").openapi.ocr.idcard(imgUrl=URL, type="fax")
    assert raised.value.errCode == -401002


ALONE = [name for name, api in APIS.items() if not api.extra]  # WeChat is


def test_the_table_says_who_answers() -> None:
    assert [name for name in PATHS if name != "img.scanQRCode"] == ALONE


@pytest.mark.parametrize("name", ALONE)
def test_what_the_engine_does_not_answer(name: str, granted: Path) -> None:
    with pytest.raises(CloudError, match="WeChat alone answers") as raised:
        api_of(cloud.Cloud(backend="local"), name)(img=b"\xff\xd8\xff")
    assert raised.value.errCode == -604100


@pytest.mark.parametrize("path", [PATHS[name] for name in ALONE])
def test_the_server_says_why_it_does_not_answer(path: str) -> None:
    with Server() as server:
        url = f"{server.url}{path}?access_token=t&img_url={URL}"
        assert requests.post(url, timeout=10).json()["errcode"] == -604100
        assert "answered by WeChat alone" in server.requests[0].mistakes[0]


@pytest.fixture(scope="module")
def codes() -> bytes:
    """A picture of 500 x 300 pixels with a QR code at the left and an EAN-13 at the right."""
    picture = Image.new("L", (500, 300), 255)
    for kind, text, scale, at in (
        ("QRCode", "https://example.com/图", 4, (20, 30)),
        ("EAN13", "4006381333931", 2, (260, 60)),
    ):
        code = zxingcpp.create_barcode(text, getattr(zxingcpp.BarcodeFormat, kind))
        picture.paste(Image.fromarray(zxingcpp.write_barcode_to_image(code, scale=scale)), at)
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def test_codes_of_a_picture(granted: Path, codes: bytes) -> None:
    told = cloud.Cloud(backend="local").openapi.img.scanQRCode(img=codes)
    assert told["imgSize"] == {"w": 500, "h": 300}
    found = {code["typeName"]: code for code in told["codeResults"]}
    assert found["QR_CODE"]["data"] == "https://example.com/图"
    place = found["QR_CODE"]["pos"]
    assert list(place) == ["leftTop", "rightTop", "rightBottom", "leftBottom"]
    assert 20 <= place["leftTop"]["x"] < place["rightTop"]["x"] <= 260
    assert 30 <= place["leftTop"]["y"] < place["leftBottom"]["y"] <= 260


def test_the_server_reads_codes(granted: Path, codes: bytes, server: RecordingServer) -> None:
    local = cloud.Cloud(backend="local").openapi.img.scanQRCode(img=codes)
    server.answers = [http(codes, content_type="image/png")]
    with Server(allow_hosts=["127.0.0.1"]) as here:
        url = f"{here.url}/cv/img/qrcode?access_token=t"
        answer = requests.post(url, files={"img": ("a.png", codes)}, timeout=10).json()
        assert list(answer) == ["errcode", "errmsg", "code_results", "img_size"]
        assert (answer["errcode"], answer["errmsg"], answer["img_size"]) == (0, "ok", {"w": 500, "h": 300})
        assert {(code["type_name"], code["data"], "pos" in code) for code in answer["code_results"]} == {
            ("QR_CODE", "https://example.com/图", True),
            ("EAN_13", "4006381333931", False),
        }
        assert requests.post(f"{url}&img_url={server.url}/a.png", timeout=10).json() == answer
        with here.environment():
            assert cloud.Cloud(backend="wechat").openapi.img.scanQRCode(img=codes) == local
        assert {(seen.endpoint, seen.code) for seen in here.requests if "qrcode" in seen.path} == {
            ("img.scanQRCode", 0)
        }
        assert [seen.mistakes for seen in here.requests if seen.mistakes] == []


@pytest.mark.parametrize(
    ("method", "query", "files", "code"),
    [
        ("GET", "access_token=t", None, 43002),
        ("POST", "", None, 41001),
        ("POST", "access_token=t", None, 41005),
        ("POST", "access_token=t", {"img": ("a.png", b"no picture")}, 101002),
        ("POST", "access_token=t&img_url=http://10.0.0.1/a", None, 101000),
    ],
)
def test_the_server_refuses_a_scan_as_it_does_a_crop(method: str, query: str, files: Any, code: int) -> None:
    with Server() as server:
        answer = requests.request(method, f"{server.url}/cv/img/qrcode?{query}", files=files, timeout=10)
        assert answer.json()["errcode"] == code


def test_a_scan_has_no_ratios(codes: bytes) -> None:
    with Server() as server:
        files = {"img": ("a.png", codes), "ratios": (None, "1")}
        requests.post(f"{server.url}/cv/img/qrcode?access_token=t", files=files, timeout=10)  # type: ignore[arg-type]
        assert server.requests[0].mistakes == ['there is no field "ratios": those that are read: img']


def test_a_scan_can_fail_on_purpose(codes: bytes) -> None:
    with Server(faults=[Fault("img.scanQRCode", 45009)]) as server:
        answer = requests.post(f"{server.url}/cv/img/qrcode?access_token=t", files={"img": ("a", codes)}, timeout=10)
        assert answer.json()["errcode"] == 45009


def test_without_zxing_a_scan_is_refused_with_the_cure(
    granted: Path, codes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zxingcpp", None)
    with Server() as server:
        answer = requests.post(f"{server.url}/cv/img/qrcode?access_token=t", files={"img": ("a", codes)}, timeout=10)
        assert answer.json()["errcode"] == -604100
        assert 'needs zxing-cpp: pip install "cloudfn-aicrop[qrcode]"' in server.requests[0].mistakes[0]
    with pytest.raises(CloudError, match="needs zxing-cpp") as raised:
        cloud.Cloud(backend="local").openapi.img.scanQRCode(img=codes)
    assert raised.value.errCode == -601002


def test_a_picture_without_a_code(granted: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, "JPEG")
    told = cloud.Cloud(backend="local").openapi.img.scanQRCode(img=data.getvalue())
    assert (told["codeResults"], told["imgSize"]) == ([], {"w": 40, "h": 30})


def test_a_new_api_is_a_row_and_a_schema(
    granted: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Api("img.brandNew", "/cv/img/brandnew", query=("imgUrl",), text=("howMuch",), media=("img",))
    made = {**schema.load("img.superresolution")}
    made["properties"] = {**made["properties"], "howMuch": {"description": "a number", "type": "number"}}
    monkeypatch.setattr(apis, "APIS", {**APIS, row.name: row})
    monkeypatch.setattr("cloudfn.backends.wechat.APIS", {**APIS, row.name: row})
    load, schema_of = schema.load, {row.name: made}
    monkeypatch.setattr(schema, "load", lambda name: schema_of.get(name) or load(name))
    server.answers = [http({"errcode": 0, "errmsg": "ok", "new_thing": 1})]
    new = cloud.Cloud(access_token="t", backend="wechat", api_base=server.url).openapi.img.brandNew
    assert new(imgUrl=URL, howMuch=2) == {"newThing": 1, "errMsg": "openapi.img.brandNew:ok", "errCode": 0}
    (request,) = server.requests
    assert (request.path, request.parts) == (
        "/cv/img/brandnew",
        [({"Content-Disposition": 'form-data; name="how_much"'}, b"2")],
    )
    with pytest.raises(CloudError, match="howMuch"):
        new(imgUrl=URL, howMuch="x")


def test_a_timeout_in_milliseconds_is_suspected(caplog: pytest.LogCaptureFixture) -> None:
    cloud.Cloud(timeout=800)
    assert "timeout=800 s: seconds here, milliseconds in Node" in caplog.text
    with pytest.raises(CloudError, match="seconds here, milliseconds in Node; write 5"):
        cloud.Cloud(timeout=5000)


def test_a_content_type_with_a_blank_at_its_end(
    granted: Path, server: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    instance = cloud.Cloud(access_token="t", backend="wechat", api_base=server.url)
    instance.openapi.img.aiCrop(img={"contentType": "image/jpeg ", "value": b"\xff\xd8\xff"})
    (head, _) = server.requests[0].parts[0]
    assert 'filename="img.png"' in head["Content-Disposition"]
    assert "not a known media type" in caplog.text


def test_the_engine_says_what_wechat_would_not_take(granted: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, "PNG")
    cloud.Cloud(backend="local").openapi.img.aiCrop(img=data.getvalue() + bytes(2_000_000))
    assert "WeChat takes less than 2 MB" in caplog.text


def test_an_appid_alone_does_not_mean_wechat(
    granted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WX_APPID", "wx0123456789abcdef")
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, "PNG")
    assert cloud.Cloud().openapi.img.aiCrop(img=data.getvalue())["errCode"] == 0


@pytest.mark.parametrize(
    ("disposition", "code"),
    [
        ('name="img"; filename=""', 41005),
        ("name=\"img\"; filename*=utf-8''a.png", 41005),
        ('name="img"; filename="a.png"; filename*=utf-8\'\'a.png', 0),
    ],
)
def test_the_names_of_a_file(disposition: str, code: int) -> None:
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, "PNG")
    body = f"--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + data.getvalue() + b"\r\n--b--\r\n"
    with Server() as server:
        url = f"{server.url}/cv/img/aicrop?access_token=t"
        told = requests.post(url, data=body, headers={"Content-Type": "multipart/form-data; boundary=b"}, timeout=10)
        assert told.json()["errcode"] == code, server.requests[0].mistakes


def test_an_ampersand_that_was_not_encoded_is_named() -> None:
    with Server() as server:
        requests.post(f"{server.url}/cv/img/aicrop?access_token=t&img_url=http://10.0.0.1/a?x=1&sign=2", timeout=10)
        assert "an & in img_url is written %26" in server.requests[0].mistakes[0]


@pytest.mark.parametrize("path", ["/tcb/uploadfile", "/tcb/batchdownloadfile", "/tcb/batchdeletefile"])
def test_the_storage_endpoints_refuse_as_wechat_does(path: str, tmp_path: Path) -> None:
    with Server(storage=str(tmp_path)) as server:
        url = f"{server.url}{path}"
        assert requests.get(url, timeout=10).json()["errcode"] == 43002
        assert requests.post(url, json={}, timeout=10).json()["errcode"] == 41001
        url += "?access_token=t"
        assert requests.post(url, data=b"x", timeout=10).json()["errcode"] == 47001
        assert requests.post(url, json={}, timeout=10).json()["errcode"] == 40101
        listed = {"file_list": [5], "fileid_list": [5] * 51}
        assert requests.post(url, json={"env": "e", **listed}, timeout=10).json()["errcode"] in (40097, 40101)
    with Server() as server:
        answer = requests.post(f"{server.url}{path}?access_token=t", json={"env": "e"}, timeout=10)
        assert answer.json()["errcode"] == 85088
        assert "--storage DIR" in server.requests[0].mistakes[0]


@pytest.mark.parametrize(
    ("action", "refused"),
    [
        ({"action": "storage.uploadFile", "path": "a.txt", "file": "text"}, True),
        ({"action": "storage.uploadFile", "path": "a.txt", "file": [1]}, True),
        ({"action": "storage.getUploadMetadata", "path": "a\ud800"}, False),  # the upload that follows is refused
    ],
)
def test_an_action_of_the_sdk_that_no_sdk_sends(action: Any, refused: bool, tmp_path: Path) -> None:
    with Server(storage=str(tmp_path)) as server:
        answer = requests.post(f"{server.url}/admin", json=action, timeout=10).json()
        assert ("INVALID_PARAM" in str(answer), "data" in answer) == (refused, not refused)
        place = {"Signature": answer.get("data", {}).get("authorization", "")}
        assert requests.put(f"{server.url}/cos/a%3F", headers=place, timeout=10).status_code in (400, 403)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_of_its_file_and_its_method_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    with Server(storage=str(tmp_path)) as server, server.environment():
        (link,) = cloud.Cloud(env="e").getTempFileURL(fileList=["cloud://e.b/a.txt"])["fileList"]
        url = link["tempFileURL"]
        assert requests.get(url, timeout=10).content == b"a"
        for other in (url.replace("a.txt", "b.txt"), url.partition("?")[0], url.replace("sign=", "sign=0"), url + "1"):
            assert requests.get(other, timeout=10).status_code == 403
        sign = url.partition("sign=")[2].partition("&t=")
        forged = {"Signature": f"{sign[2]}-{sign[0]}"}
        assert requests.put(url.partition("?")[0], data=b"x", headers=forged, timeout=10).status_code == 403
    assert (tmp_path / "a.txt").read_text() == "a"


def test_codes_are_read_under_the_same_limits_as_crops(permitted: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The header tells that a picture takes longer than there is time; WeChat's own limit is named."""
    (permitted / "config.json").write_text('{"permissions": {"openapi": ["img.scanQRCode"]}}')
    file = io.BytesIO()
    Image.new("L", (4000, 4000)).save(file, "PNG", compress_level=0)
    with pytest.raises(CloudError) as raised:
        cloud.Cloud(backend="local", timeout=0.01).openapi.img.scanQRCode(img=file.getvalue())
    assert raised.value.errCode == -604102
    assert "WeChat takes less than 2 MB" in caplog.text
