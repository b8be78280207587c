"""Cloud storage: the recorded cases of wx-server-sdk over WeChat's HTTPS API, and a folder in its place."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.cloud import _Default
from tests.conftest import vectors
from tests.support.recording import OK, RecordingServer, http
from tests.support.secrecy import assert_no_secret

TOKEN = "an-access-token-of-the-test"
FILE = "cloud://env-1.bucket-1/a.png"
# The codes of the SDK's gateway, and what they are over HTTPS.
CODES = {
    "SUCCESS": 0,
    "SYS_ERR": -501001,
    "SERVER_TIMEOUT": -501002,
    "EXCEED_REQUEST_LIMIT": -501003,
    "EXCEED_CONCURRENT_REQUEST_LIMIT": -501004,
    "INVALIID_ENV": -501005,
    "INVALID_COMMON_PARAM": -501006,
    "INVALID_PARAM": -501007,
    "INVALID_REQUEST_SOURCE": -501008,
    "RESOURCE_NOT_INITIAL": -501009,
    "STORAGE_REQUEST_FAIL": -503001,
    "STORAGE_EXCEED_AUTHORITY": -503002,
    "STORAGE_FILE_NONEXIST": -503003,
    "STORAGE_SIGN_PARAM_INVALID": -503004,
}
PATHS = {
    "storage.batchGetDownloadUrl": "/tcb/batchdownloadfile",
    "storage.batchDeleteFile": "/tcb/batchdeletefile",
    "storage.getUploadMetadata": "/tcb/uploadfile",
}
# Where cloudfn differs on purpose, each with what it does: wrong values that the SDK sends are refused, and what it
# takes for a success, or answers with its own exception's text, is an error with a code.
DIFFERENT = {
    "url-51": -1,
    "url-51-refused": -1,
    "delete-51": -1,
    "url-null": -1,
    "delete-null": -1,
    "download-null": -1,
    "upload-null": -1,
    "url-item-null": -1,
    "url-maxAge-text": -1,
    "url-fileID-number": -1,
    "delete-item-empty": None,
    "upload-path-empty": -1,
    "upload-no-data": -601001,
    "upload-cos-500-empty": -503001,
    "upload-cos-html": -503001,
    "upload-cos-text": None,
    "upload-cos-hang-up": -601003,
    "download-STORAGE_FILE_NONEXIST": -503003,
    "download-STORAGE_EXCEED_AUTHORITY": -503002,
    "download-A_CODE_THAT_NOBODY_KNOWS": -501001,
    "download-fileID-empty": -501007,
    "download-hang-up": -601003,
    "download-refused": -601001,
    "download-no-list": -601001,
    "download-list-empty": -601001,
}


def _value(recorded: Any) -> Any:
    """A recorded value as Python's."""
    if isinstance(recorded, dict):
        if "$buffer" in recorded:
            return recorded["$buffer"].encode()
        return {key: _value(value) for key, value in recorded.items() if value != {"$undefined": True}}
    return [_value(item) for item in recorded] if isinstance(recorded, list) else recorded


def _over_https(answer: dict[str, Any], place: str) -> Any:
    """What WeChat's HTTPS API answers where the SDK's gateway gave this answer."""
    if answer.get("hangup"):
        return lambda connection: connection.shutdown(socket.SHUT_RDWR)
    body, status = answer["body"], answer.get("status", 200)
    kind = answer.get("type", "application/json; charset=utf-8")
    if isinstance(body, dict) and "code" in body:
        body = {"errcode": CODES.get(body["code"], -501001), "errmsg": body["message"]}
    elif isinstance(body, dict):
        data = body.get("data", {})
        body = {"errcode": 0, "errmsg": "ok"}
        for mine, theirs in (("download_list", "file_list"), ("delete_list", "delete_list")):
            if mine in data:
                body[theirs] = [item and _item(item, place) for item in data[mine]]
        names = {"url": "url", "token": "token", "authorization": "authorization", "fileId": "file_id"}
        body |= {theirs: data[mine].replace("HOST", place) for mine, theirs in names.items() if mine in data}
        if "cosFileId" in data:
            body["cos_file_id"] = data["cosFileId"]
    content = body.encode() if isinstance(body, str) else body
    return http(b"" if status == 204 else content, status=f"{status} X", content_type=kind)


def _item(item: dict[str, Any], place: str) -> dict[str, Any]:
    told = {"fileid": item["fileID"], "status": CODES.get(item["code"], -501001), "errmsg": item["code"]}
    return told | {"download_url": item.get("tempFileURL", "").replace("HOST", place)}


@pytest.fixture
def instance(server: RecordingServer) -> cloud.Cloud:
    return cloud.Cloud(backend="wechat", access_token=TOKEN, api_base=server.url, timeout=5, env="env-1")


def _outcome(instance: cloud.Cloud, api: str, params: Any) -> tuple[Any, CloudError | None]:
    try:
        return getattr(instance, api)(*(() if params == {"$undefined": True} else (_value(params),))), None
    except CloudError as error:
        return None, error


@pytest.mark.parametrize("case", vectors("storage"))
def test_as_recorded(case: dict[str, Any], instance: cloud.Cloud, server: RecordingServer) -> None:
    place = f"127.0.0.1:{server.port}"
    server.answers = [_over_https(answer, place) for answer in case["answers"]]
    result, error = _outcome(instance, case["api"], case["params"])
    if case["id"] in DIFFERENT:
        if DIFFERENT[case["id"]] is not None:
            assert error is not None
            assert error.errCode == DIFFERENT[case["id"]]
            assert error.hint
        return
    if "result" in case:
        assert result == json.loads(json.dumps(case["result"]).replace("HOST", place), object_hook=_value)
        assert list(result) == list(case["result"])
    else:
        assert error is not None
        _assert_same_error(error, case)
    assert [request.path for request in server.requests] == [
        PATHS.get(sent.get("body", {}).get("action"), sent["path"]) for sent in case["sent"]
    ]


def _assert_same_error(error: CloudError, case: dict[str, Any]) -> None:
    """The SDK's words, and the code of what the cloud answers, which 3.0.4 gives and 4.0.2 lost."""
    answer = case["answers"][0]
    if case["sent"] and not isinstance(answer.get("body"), dict):
        assert error.errCode in (-601001, -601003)
    elif case["sent"] and "code" in answer["body"]:
        assert error.errMsg == case["error"]["errMsg"] or answer.get("status", 200) != 200
        assert error.errCode == CODES.get(answer["body"]["code"], -501001)
    elif case["sent"]:
        assert error.errCode == -503001
        # The link is signed, so it is not shown.
        assert error.errMsg == case["error"]["errMsg"].partition(" Url:")[0]
    else:
        assert (error.errCode, error.errMsg) == (-1, case["error"]["errMsg"])


def test_what_goes_out(instance: cloud.Cloud, server: RecordingServer) -> None:
    answer = {"errcode": 0, "file_list": [{"fileid": FILE, "status": 0, "download_url": "https://a/b"}]}
    server.answers = [http(answer)]
    instance.getTempFileURL(fileList=[FILE, {"fileID": FILE, "maxAge": 60}])
    (request,) = server.requests
    assert (request.method, request.query) == ("POST", [("access_token", TOKEN)])
    assert json.loads(request.body) == {
        "env": "env-1",
        "file_list": [{"fileid": FILE}, {"fileid": FILE, "max_age": 60}],
    }


def test_an_upload_is_a_form_whose_file_comes_last(instance: cloud.Cloud, server: RecordingServer) -> None:
    place = {"url": server.at("/cos?x=1"), "token": "t", "authorization": "sig", "file_id": FILE, "cos_file_id": "cos"}
    server.answers = [http({"errcode": 0, **place}), http(b"", status="204 No Content")]
    told = instance.uploadFile(cloudPath="中/a b.png", fileContent=io.BytesIO(b"picture"))
    assert told == {"fileID": FILE, "statusCode": -1, "errMsg": "uploadFile:ok"}
    asked, sent = server.requests
    assert json.loads(asked.body) == {"env": "env-1", "path": "中/a b.png"}
    named = [(head["Content-Disposition"], content) for head, content in sent.parts]
    assert named == [
        ('form-data; name="key"', "中/a b.png".encode()),
        ('form-data; name="Signature"', b"sig"),
        ('form-data; name="x-cos-security-token"', b"t"),
        ('form-data; name="x-cos-meta-fileid"', b"cos"),
        ('form-data; name="file"; filename="file"', b"picture"),
    ]
    assert (sent.target, sent.query) == ("/cos?x=1", [("x", "1")])


def test_a_token_that_is_refused_is_renewed_once(server: RecordingServer) -> None:
    tokens = [http({"access_token": f"token-{n}", "expires_in": 7200}) for n in (1, 2)]
    done = {"errcode": 0, "delete_list": [{"fileid": FILE, "status": 0}]}
    server.answers = [tokens[0], http({"errcode": 40001, "errmsg": "invalid credential"}), tokens[1], http(done)]
    instance = cloud.Cloud(appid="wx0123456789abcdef", appsecret="s" * 32, api_base=server.url, env="env-1")
    assert instance.deleteFile(fileList=[FILE])["fileList"] == [{"fileID": FILE, "status": 0, "errMsg": "ok"}]
    assert [dict(request.query).get("access_token") for request in server.requests] == [
        None,
        "token-1",
        None,
        "token-2",
    ]


def test_no_secret_in_an_error(
    instance: cloud.Cloud, server: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    link = server.at("/a.png?sign=a-very-secret-signature")
    listed = {"errcode": 0, "file_list": [{"fileid": FILE, "status": 0, "download_url": link}]}
    for answer in (
        http(b"no", status="403 X"),
        lambda connection: connection.shutdown(socket.SHUT_RDWR),
        b"junk\r\n\r\n",
    ):
        server.answers = [http(listed), answer]
        with pytest.raises(CloudError) as raised:
            instance.downloadFile(fileID=FILE)
        assert_no_secret([TOKEN, "a-very-secret-signature"], raised.value, caplog.text)


def test_the_object_storage_is_spoken_to_over_https_only(instance: cloud.Cloud, server: RecordingServer) -> None:
    listed = {"fileid": FILE, "status": 0, "download_url": "http://files.example/a.png"}
    server.answers = [http({"errcode": 0, "file_list": [listed]})]
    with pytest.raises(CloudError, match="is not https"):
        instance.downloadFile(fileID=FILE)


def test_a_file_goes_through_the_proxy_as_the_call_does(server: RecordingServer) -> None:
    link = "https://files.invalid/a.png?sign=1"
    server.answers = [
        http({"errcode": 0, "file_list": [{"fileid": FILE, "status": 0, "download_url": link}]}),
        http(b"", status="403 Forbidden"),
    ]
    instance = cloud.Cloud(
        access_token=TOKEN, api_base=server.url, proxy=server.url, env="env-1", backend="wechat", timeout=5
    )
    with pytest.raises(CloudError) as raised:
        instance.downloadFile(fileID=FILE)
    assert raised.value.errCode == -601003
    assert {request.target for request in server.requests[1:]} == {"files.invalid:443"}
    assert {request.method for request in server.requests[1:]} == {"CONNECT"}


@pytest.mark.parametrize("method", ["up", "down", "crop"])
@pytest.mark.parametrize(
    "link",
    [
        *("https://[bad/a", "https://host:99999/a", "https://host:x/a", "https://é/a", "https://a..b/a", "//host/a"),
        *("https://user@host/a", "https://ho st/a", "https:///a", "ftp://host/a", "", "\ud800", "https://\ud800/"),
        *("https://host/\ud800", "https://host/?\ud800", "https://host/\r\nX: y"),
    ],
)
def test_an_address_that_is_none(link: str, method: str, server: RecordingServer, permitted: Path) -> None:
    links = [{"fileid": FILE, "status": 0, "download_url": link}]
    server.answers = [http({"errcode": 0, "file_list": links, "url": link, "file_id": FILE})]
    instance = cloud.Cloud(access_token=TOKEN, api_base=server.url, env="env-1", backend="wechat")
    run: dict[str, Callable[[], Any]] = {
        "up": lambda: instance.uploadFile(cloudPath="a", fileContent=b"x"),
        "down": lambda: instance.downloadFile(fileID=FILE),
        "crop": lambda: instance.openapi.img.aiCrop(imgUrl=FILE),
    }
    with pytest.raises(CloudError, match="is not https"):
        run[method]()


def test_a_file_that_is_larger_than_allowed(server: RecordingServer) -> None:
    links = [{"fileid": FILE, "status": 0, "download_url": server.at("/a.png")}]
    server.answers = [http({"errcode": 0, "file_list": links}), http(bytes(600_000))]
    instance = cloud.Cloud(access_token=TOKEN, api_base=server.url, env="env-1", backend="wechat", max_url_mib=0.5)
    with pytest.raises(CloudError, match="CLOUDFN_MAX_URL_MIB") as raised:
        instance.downloadFile(fileID=FILE)
    assert (raised.value.errCode, raised.value.http_status) == (-503001, 413)


def test_a_path_that_is_no_text(instance: cloud.Cloud, server: RecordingServer) -> None:
    with pytest.raises(CloudError, match="uploadFile:fail storage request fail") as raised:
        instance.uploadFile(cloudPath="a\ud800.png", fileContent=b"x")
    assert (raised.value.errCode, server.requests) == (-503001, [])


class Broken(io.BytesIO):
    def read(self, *_: Any) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("kind", ["closed", "broken", "text"])
def test_a_file_object_that_cannot_be_read(kind: str, kept: cloud.Cloud, tmp_path: Path) -> None:
    file: Any = Broken() if kind == "broken" else io.BytesIO(b"x")
    if kind == "closed":
        file.close()
    if kind == "text":
        file = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x80"), "utf-8")
    with pytest.raises(CloudError, match="uploadFile:fail fileContent cannot be read") as raised:
        kept.uploadFile(cloudPath="a.png", fileContent=file)
    assert raised.value.errCode == -1


def test_a_crop_of_a_fileid_within_one_deadline(
    instance: cloud.Cloud, server: RecordingServer, permitted: Path
) -> None:
    link = "https://files.example/a.png?sign=1"
    server.answers = [
        http({"errcode": 0, "file_list": [{"fileid": FILE, "status": 0, "download_url": link}]}),
        http(OK),
    ]
    assert instance.openapi.img.aiCrop(imgUrl=FILE)["errCode"] == 0
    resolved, cropped = server.requests
    assert resolved.path == "/tcb/batchdownloadfile"
    assert ("img_url", link) in cropped.query


def test_a_crop_whose_fileid_takes_all_the_time(server: RecordingServer, permitted: Path) -> None:
    server.answers = [lambda connection: connection.recv(1)]
    instance = cloud.Cloud(access_token=TOKEN, api_base=server.url, timeout=0.2, env="env-1")
    with pytest.raises(CloudError) as raised:
        instance.openapi.img.aiCrop(imgUrl=FILE)
    assert (raised.value.errCode, len(server.requests)) == (-604102, 1)


def test_a_file_that_is_not_there_is_no_crop(
    instance: cloud.Cloud, server: RecordingServer, permitted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "cloudfn")
    server.answers = [http({"errcode": 0, "file_list": [{"fileid": FILE, "status": -503003, "errmsg": "x"}]})]
    with pytest.raises(CloudError) as raised:
        instance.openapi.img.aiCrop(imgUrl=FILE)
    assert raised.value.to_dict() == {"errCode": -503003, "errMsg": "openapi.img.aiCrop:fail storage file not exists"}
    (record,) = (record for record in caplog.records if record.levelname == "INFO")
    assert (record.api, record.code) == ("img.aiCrop", -503003)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("env", "variables", "expected"),
    [
        ("mine", {"TCB_ENV": "other"}, "mine"),
        (cloud.DYNAMIC_CURRENT_ENV, {"TCB_ENV": "one", "SCF_NAMESPACE": "two"}, "one"),
        (cloud.DYNAMIC_CURRENT_ENV, {"SCF_NAMESPACE": "two"}, "two"),
        (None, {"CBR_ENV_ID": "three"}, "three"),
        ({"default": "four"}, {}, "four"),
        ({"storage": "five", "default": "four"}, {}, "five"),
    ],
)
def test_the_environment(
    env: Any, variables: dict[str, str], expected: str, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server.answers = [http({"errcode": 0, "file_list": []})]
    cloud.Cloud(env=env, access_token=TOKEN, api_base=server.url, backend="wechat").getTempFileURL(fileList=[])
    assert json.loads(server.requests[0].body)["env"] == expected


def test_without_an_environment_or_a_folder() -> None:
    with pytest.raises(CloudError, match="TCB_ENV"):
        cloud.Cloud(access_token=TOKEN).downloadFile(fileID=FILE)
    with pytest.raises(CloudError, match="CLOUDFN_STORAGE"):
        cloud.Cloud(backend="local").downloadFile(fileID=FILE)


def test_before_init() -> None:
    with pytest.raises(CloudError, match="please call init first"):
        _Default().getTempFileURL(fileList=[FILE])  # the package's own one may be ready since another test


@pytest.fixture
def kept(tmp_path: Path) -> cloud.Cloud:
    (tmp_path / "files").mkdir()
    return cloud.Cloud(backend="local", storage=str(tmp_path / "files"), env="env-1")


def test_the_function_around_the_crop_in_a_folder(
    kept: cloud.Cloud, permitted: Path, photo: Callable[[str], Path]
) -> None:
    picture = photo("raccoon-966x728.jpg").read_bytes()
    given = kept.uploadFile(cloudPath="in/a.jpg", fileContent=picture)["fileID"]
    (link,) = kept.getTempFileURL(fileList=[given])["fileList"]
    crop = kept.openapi.img.aiCrop(imgUrl=link["tempFileURL"], ratios="1")
    assert crop == kept.openapi.img.aiCrop(imgUrl=given, ratios="1")
    (cut,) = kept.cut({"imgUrl": given, "ratios": "1"}, crop)
    assert (cut,) == tuple(kept.cut({"img": {"contentType": "image/jpeg", "value": picture}}, crop))
    stored = kept.uploadFile(cloudPath="out/a.jpg", fileContent=cut)["fileID"]
    assert kept.downloadFile(fileID=stored)["fileContent"] == cut
    assert kept.deleteFile(fileList=[given, given])["fileList"] == [
        {"fileID": given, "status": 0, "errMsg": "ok"},
        {"fileID": given, "status": -503003, "errMsg": "storage file not exists"},
    ]


HOSTILE = [
    "../secret.txt",
    "a/../../secret.txt",
    "/../secret.txt",
    "a//b",
    ".",
    "..",
    "a/.",
    "..\\secret.txt",
    "C:/secret.txt",
    "C:secret.txt",
    "link/secret.txt",
    "a\0b",
    "a\nb",
    "NUL",
    "com1.txt",
    "a/",
    "a.",
    "a ",
    "x" * 300,
    "x/" * 600 + "x",
    ".cloudfn-upload-1",
    "a%2f..%2fb",
    "\udc80",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_no_fileid_leads_out_of_the_folder(path: str, kept: cloud.Cloud, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "files" / "link").symlink_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    file_id = f"cloud://env-1.b/{path}"
    with pytest.raises(CloudError) as raised:
        kept.downloadFile(fileID=file_id)
    assert raised.value.errCode == -503003
    assert kept.deleteFile(fileList=[file_id])["fileList"][0]["status"] == -503003
    assert kept.getTempFileURL(fileList=[file_id])["fileList"][0]["tempFileURL"] == ""
    if not path.startswith("/"):
        with pytest.raises(CloudError) as raised:
            kept.uploadFile(cloudPath=path, fileContent=b"x")
        assert raised.value.errCode == -503001
    assert sorted(tmp_path.rglob("*")) == before


def test_what_the_sdk_has_besides() -> None:
    for face in (cloud, cloud.Cloud(backend="local")):
        for name in ("callFunction", "database", "CloudID", "logger", "cloudPay"):
            with pytest.raises(CloudError, match=rf"cloud\.{name} is not part of cloudfn; \w+") as raised:
                getattr(face, name)({"name": "x"})
            assert raised.value.errCode == -604100
        with pytest.raises(AttributeError):
            face.dataBase  # noqa: B018


def test_the_names_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCB_ENV", "env-1")
    monkeypatch.setenv("WX_CONTEXT_KEYS", "WX_OPENID")
    monkeypatch.setenv("WX_OPENID", "o1")
    assert cloud.getWXContext() == cloud.Cloud().getWXContext() == {"OPENID": "o1", "ENV": "env-1"}
    assert isinstance(cloud.createNewInstance({"env": "x"}), cloud.Cloud)


def test_awaited_as_in_node(kept: cloud.Cloud) -> None:
    @cloud.function
    async def main(event: Any, context: Any) -> Any:
        stored = await kept.uploadFile({"cloudPath": "a.txt", "fileContent": b"text"})
        return (await kept.aio.downloadFile({"fileID": stored["fileID"]}))["fileContent"].decode()

    assert main({}, None) == "text"
