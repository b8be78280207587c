"""WeChat's endpoints as clients see them: what is answered, and which mistake the log names."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.server.answers import TEXTS, failed
from cloudfn.testing import APPID, SECRET, Fault, Server
from tests.conftest import TESTS
from tests.support.recording import RecordingServer, http

PHOTO = TESTS / "photos" / "raccoon-966x728.jpg"
RID = r"rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}"
CURL = shutil.which("curl")
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not installed")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def wechat(running: Server) -> Server:
    running.reset()
    return running


def post(server: Server, *, query: str = "access_token=T0KEN", path: str = "/cv/img/aicrop", **given: Any) -> Any:
    return requests.post(f"{server.url}{path}?{query}", timeout=10, **given)


def image(name: str | None = "a.jpg", data: bytes | None = None) -> tuple[str | None, bytes, str]:
    return name, PHOTO.read_bytes() if data is None else data, "image/jpeg"


def size(box: dict[str, int]) -> tuple[int, int]:
    return box["crop_right"] - box["crop_left"] + 1, box["crop_bottom"] - box["crop_top"] + 1


# The two examples of WeChat's page, with its own words for the token.


def curl(*arguments: str) -> Any:
    assert CURL
    done = subprocess.run([CURL, "-sS", "-m", "10", *arguments], capture_output=True, check=True)
    return json.loads(done.stdout)


@needs_curl
def test_the_documented_curl_example_with_a_file(wechat: Server) -> None:
    answer = curl(
        f"{wechat.url}/cv/img/aicrop?access_token=ACCESS_TOCKEN", "-F", f"img=@{PHOTO}", "-F", "ratios=1,2.35"
    )
    assert list(answer) == ["errcode", "errmsg", "results", "img_size"]
    assert (answer["errcode"], answer["errmsg"], answer["img_size"]) == (0, "ok", {"w": 966, "h": 728})
    assert [size(box) for box in answer["results"]] == [(728, 728), (966, 411)]
    assert wechat.requests[-1].mistakes == []


@needs_curl
def test_the_documented_curl_example_with_a_url(server: RecordingServer) -> None:
    server.answers = [http(PHOTO.read_bytes(), content_type="image/jpeg")]
    with Server(allow_hosts=["127.0.0.1"]) as here:
        quoted = requests.utils.quote(f"{server.url}/a.jpg?sign=5ecret", safe="")  # type: ignore[attr-defined]
        address = f"{here.url}/cv/img/aicrop?access_token=ACCESS_TOCKEN&img_url={quoted}"
        answer = curl(address, "-F", "ratios=1,2.35")
        assert [size(box) for box in answer["results"]] == [(728, 728), (966, 411)]
        (seen,) = here.requests
        assert (seen.img_url, seen.ratios, seen.picture) == (f"{server.url}/a.jpg", "1,2.35", PHOTO.stat().st_size)
    assert server.requests[0].target == "/a.jpg?sign=5ecret"


@needs_curl
def test_the_output_in_the_readme_is_the_output(wechat: Server) -> None:
    readme = (TESTS.parent / "docs" / "en" / "server.md").read_text(encoding="utf-8")
    shown = re.search(r"^\$ curl .*raccoon-966x728\.jpg -F ratios=1,2\.35\n(\{.*\})$", readme, re.MULTILINE)
    assert shown
    answer = curl(f"{wechat.url}/cv/img/aicrop?access_token=ACCESS_TOKEN", "-F", f"img=@{PHOTO}", "-F", "ratios=1,2.35")
    assert json.dumps(answer) == shown[1], "docs/en/server.md: the output of the curl example"


# What WeChat is known to answer, and what is ours: the code, and a word of the log's line.

RATIOS = {"ratios": (None, "1,2.35")}
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no token": ({"query": "", "files": {"img": image()}}, 41001, "access_token"),
    "a misspelt token": ({"query": "access_tocken=T", "files": {"img": image()}}, 41001, "did you mean access_token"),
    "a token that is none": ({"query": "access_token=a%20b", "files": {"img": image()}}, 40014, "characters"),
    "nothing": ({}, 41005, "neither"),
    "img_url in the body": ({"files": {"img_url": (None, "https://example.com/a.jpg")}}, 41005, "percent-encoded"),
    "img_url in a form": ({"data": {"img_url": "https://example.com/a.jpg"}}, 41005, "multipart"),
    "JSON": ({"json": {"img_url": "https://example.com/a.jpg"}}, 41005, "multipart"),
    "a field called file": ({"files": {"file": image()}}, 41005, "call it img"),
    "no file name": ({"files": {"img": image(None)}}, 41005, "file name"),
    "no bytes": ({"files": {"img": image(data=b"")}}, 44001, "0 bytes"),
    "no picture": ({"files": {"img": image(data=b"not a picture")}}, 101002, "no picture"),
    "half a picture": ({"files": {"img": image(data=PHOTO.read_bytes()[:5000])}}, 101002, "damaged"),
    "six ratios": ({"files": {"img": image(), "ratios": (None, "1,1,1,1,1,1")}}, 47001, "at most 5"),
    "a full-width comma": ({"files": {"img": image(), "ratios": (None, "1，2")}}, 47001, "ASCII comma"),
    "a private address": ({"query": "access_token=T&img_url=http%3A%2F%2F10.0.0.1%2Fa"}, 101000, "private"),
    "no URL": ({"query": "access_token=T&img_url=wxfile%3A%2F%2Fa"}, 101000, "wxfile"),
}


@pytest.mark.parametrize(("given", "code", "word"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(given: dict[str, Any], code: int, word: str, wechat: Server) -> None:
    reply = post(wechat, **given)
    assert reply.status_code == 200
    assert reply.json()["errcode"] == code
    assert re.fullmatch(re.escape(TEXTS.get(code, "empty_media")) + f" {RID}", reply.json()["errmsg"])
    assert word in " ".join(wechat.requests[-1].mistakes)


def raw(server: Server, request: bytes) -> bytes:
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def multipart(head: bytes, boundary: bytes = b"B0undary") -> bytes:
    part = b"Content-Disposition: form-data; " + head + b"\r\nContent-Type: image/jpeg\r\n\r\n" + PHOTO.read_bytes()
    return b"--" + boundary + b"\r\n" + part + b"\r\n--" + boundary + b"--\r\n"


@pytest.mark.parametrize(
    ("content_type", "disposition", "word"),
    [
        (b'multipart/form-data; boundary="B0undary"', b'name="img"; filename="a.jpg"', "quotes"),
        (b"multipart/form-data; boundary=B0undary", b"name=\"img\"; filename*=utf-8''%E5%9B%BE.jpg", "filename*="),
        (b"multipart/form-data; boundary=Another", b'name="img"; filename="a.jpg"', "cannot be read"),
        (b"multipart/form-data", b'name="img"; filename="a.jpg"', "no boundary"),
    ],
)
def test_multipart_that_wechat_does_not_read(
    content_type: bytes, disposition: bytes, word: str, wechat: Server
) -> None:
    reply = post(wechat, data=multipart(disposition), headers={"Content-Type": content_type})
    assert reply.json()["errcode"] == 41005
    assert word in " ".join(wechat.requests[-1].mistakes)


def test_the_plain_form_of_the_same_is_read(wechat: Server) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=B0undary"}
    reply = post(wechat, data=multipart(b'name="img"; filename="a.jpg"'), headers=headers)
    assert reply.json()["errcode"] == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
def test_only_post(method: str, wechat: Server) -> None:
    reply = requests.request(method, f"{wechat.url}/cv/img/aicrop?access_token=T", timeout=10)
    assert reply.status_code == 200
    assert wechat.requests[-1].code == 43002
    if method != "HEAD":
        assert re.fullmatch(f"require POST method {RID}", reply.json()["errmsg"])


def test_chunked_is_412_without_a_body(wechat: Server) -> None:
    reply = post(wechat, data=iter([b"abc"]))
    assert (reply.status_code, reply.content) == (412, b"")
    assert "Content-Length" in wechat.requests[-1].mistakes[0]


def test_img_url_and_img_together_the_url_is_used(wechat: Server) -> None:
    reply = post(wechat, query="access_token=T&img_url=http%3A%2F%2F10.0.0.1%2Fa", files={"img": image()})
    assert reply.json()["errcode"] == 101000
    assert "the URL is used" in wechat.requests[-1].mistakes[0]


def test_ratios_in_the_query_are_ignored(wechat: Server) -> None:
    reply = post(wechat, query="access_token=T&ratios=1", files={"img": image(), "ratios": (None, "2.35")})
    assert [size(box) for box in reply.json()["results"]] == [(966, 411)]
    assert "ignored" in wechat.requests[-1].mistakes[0]


def test_no_ratios_is_one_box(wechat: Server) -> None:
    assert len(post(wechat, files={"img": image()}).json()["results"]) == 1


def test_a_cloudbase_token_counts(wechat: Server) -> None:
    assert post(wechat, query="cloudbase_access_token=T", files={"img": image()}).json()["errcode"] == 0


def test_the_limit_of_a_picture() -> None:
    data = PHOTO.read_bytes()
    with Server(max_bytes=len(data)) as exact:
        assert post(exact, files={"img": image()}).json()["errcode"] == 0
    with Server(max_bytes=len(data) - 1) as less:
        assert post(less, files={"img": image()}).json()["errcode"] == 101002
        assert post(less, files={"img": image(data=bytes(300_000))}).json()["errcode"] == 101002
        assert all("--max-bytes" in " ".join(seen.mistakes) for seen in less.requests)


def test_an_unknown_address(wechat: Server, caplog: pytest.LogCaptureFixture) -> None:
    assert post(wechat, path="/cv/img/aicorp").status_code == 404
    assert "did you mean /cv/img/aicrop" in caplog.text


@pytest.mark.parametrize(
    "path", ["//cv//img/aicrop", "/cv/img/aicrop/", "//attacker.example/%2e%2e", "/page/../healthz"]
)
def test_nothing_is_redirected(path: str, wechat: Server) -> None:
    request = f"POST {path}?access_token=T0KEN HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n"
    answer = raw(wechat, request.encode())
    assert not re.match(rb"HTTP/1.[01] 3", answer)
    assert b"Location" not in answer
    assert b"T0KEN" not in answer


def test_fetched_pictures_and_bodies_share_one_budget(server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = PHOTO.read_bytes()
    server.answers = [http(picture + bytes(1_000_000), content_type="image/jpeg")]
    monkeypatch.setattr("cloudfn.server.state._HELD", 1)
    with Server(allow_hosts=["127.0.0.1"], max_bytes=len(picture)) as here:  # the budget: four bodies of this size
        ask = f"access_token=T&img_url={requests.utils.quote(server.url + '/a.jpg', safe='')}"  # type: ignore[attr-defined]
        assert [post(here, query=ask).json()["errcode"] for _ in range(3)] == [-1, -1, -1]
        server.answers = [http(picture, content_type="image/jpeg")]
        assert [post(here, query=ask).json()["errcode"] for _ in range(10)] == [0] * 10  # all was given back


@pytest.mark.parametrize("query", ["img_ur{}=1", "img_url=https://example.com/?a&b{}=1"])
def test_of_any_number_of_mistakes_a_few_are_noted(query: str, wechat: Server) -> None:
    fixed, _, each = query.rpartition("&")
    many = "&".join(each.format(number) for number in range(3000))
    answer = post(wechat, query=f"access_token=T&{fixed}&{many}" if fixed else f"access_token=T&{many}")
    assert answer.json()["errcode"] in (41005, 101000)
    assert 1 <= len(wechat.requests[-1].mistakes) <= 20


def test_the_rid_begins_with_the_time_and_stands_in_the_log(wechat: Server) -> None:
    rid = post(wechat).json()["errmsg"].partition("rid: ")[2]
    assert abs(int(rid[:8], 16) - time.time()) < 5
    assert wechat.requests[-1].rid == rid


def test_codes_without_a_known_text_have_their_name() -> None:
    assert failed(44001, "1-2-3") == {"errcode": 44001, "errmsg": "empty_media rid: 1-2-3"}
    assert failed(-604103, "1-2-3")["errmsg"] == "call open API system error rid: 1-2-3"
    assert failed(123456, "1-2-3")["errmsg"] == "system error rid: 1-2-3"


def test_no_secret_in_log_requests_and_reprs(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with Server(strict=True) as strict:
        asked = f"grant_type=client_credential&appid={APPID}&secret={SECRET}"
        token = requests.get(f"{strict.url}/cgi-bin/token?{asked}", timeout=10).json()["access_token"]
        post(strict, query=f"access_token={token}", files={"img": image()})
        post(strict, query="access_token=wr0ng-token", files={"img": image()})
        post(strict, query=f"access_token={token}&img_url=http%3A%2F%2Fu%3Apa55word%4010.0.0.1%2Fa%3Fsign%3D5igned")
        post(strict, query=f"x={token}", path=f"/{token}")
        post(strict, query=asked, path="/cgi-bin/stable_token", json={"appid": APPID, "secret": SECRET})
        # Not the log of the client that asks here: urllib3 logs whole addresses.
        said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("cloudfn"))
        said += "".join(capfd.readouterr()) + repr(strict.requests) + repr(strict) + repr(strict._state.options)
        said += requests.get(f"{strict.url}/_cloudfn/requests", timeout=10).text
        said += requests.get(f"{strict.url}/_cloudfn/state", timeout=10).text
    assert "img.aiCrop" in said
    assert not [secret for secret in (SECRET, "wr0ng-token", "pa55word", "5igned") if secret in said]
    assert token[:50] not in said


# This package's own client.


def test_our_own_client_fetches_a_token_and_gets_a_crop(permitted: Path) -> None:
    with Server(strict=True) as server, server.environment():
        result = cloud.Cloud().openapi.img.aiCrop(img=PHOTO, ratios="1,2.35")
        assert result["imgSize"] == {"w": 966, "h": 728}
        assert [seen.endpoint for seen in server.requests] == ["stable_token", "img.aiCrop"]
        assert server.requests[-1].mistakes == []


@pytest.mark.parametrize("token_api", ["stable_token", "token"])
def test_our_own_client_renews_a_token_whose_life_is_over(token_api: str, permitted: Path) -> None:
    with Server(strict=True) as server, server.environment():
        client = cloud.Cloud(token_api=token_api)
        client.openapi.img.aiCrop(img=PHOTO)
        server.expire_tokens()
        client.openapi.img.aiCrop(img=PHOTO)
        client.close()
        codes = [(seen.endpoint, seen.code) for seen in server.requests]
    once = [(token_api, 0), ("img.aiCrop", 0)]
    assert codes == [*once, ("img.aiCrop", 42001), *once]


def test_our_own_client_with_the_wrong_secret(permitted: Path) -> None:
    with Server(strict=True) as server, server.environment(), pytest.raises(CloudError) as raised:
        cloud.Cloud(appsecret="another").openapi.img.aiCrop(img=PHOTO)
    assert raised.value.errCode == 40125


@pytest.mark.parametrize(("code", "seen"), [(45009, 45009), (101000, 101000), (502, -601001), (48001, 48001)])
def test_our_own_client_meets_a_fault(code: int, seen: int, permitted: Path) -> None:
    faulty = Server(faults=[Fault("img.aiCrop", code)])
    with faulty, faulty.environment(), pytest.raises(CloudError) as raised:
        cloud.Cloud().openapi.img.aiCrop(img=PHOTO)
    assert raised.value.errCode == seen


def test_64_clients_at_once(wechat: Server) -> None:
    def call(number: int) -> Any:
        return post(wechat, files={"img": image(), "ratios": (None, f"{number + 1}:64")}).json()

    with ThreadPoolExecutor(64) as clients:
        answers = list(clients.map(call, range(64)))
    for number, answer in enumerate(answers):
        (box,) = answer["results"]
        assert size(box)[0] == round(728 * (number + 1) / 64)  # each got its own answer
