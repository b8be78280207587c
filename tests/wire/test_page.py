"""The page's files and the addresses that it asks, as a browser asks them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from cloudfn import cut
from cloudfn.testing import Fault, Server
from tests.conftest import TESTS
from tests.support.recording import RecordingServer, http

PHOTO = (TESTS / "photos" / "raccoon-966x728.jpg").read_bytes()


def ask(server: Server, what: str, picture: bytes | None = PHOTO, origin: str | None = "", **fields: Any) -> Any:
    """What the page sends, from the server's own origin or from another one, or from none."""
    files: dict[str, Any] = {name: (None, value) for name, value in fields.items()}
    if picture is not None:
        files["img"] = ("img", picture)
    headers = {} if origin is None else {"Origin": origin or server.url}
    return requests.post(f"{server.url}/page/{what}", files=files, headers=headers, timeout=20)


def test_the_page_comes_with_a_policy_that_lets_nothing_in_from_elsewhere() -> None:
    with Server(max_bytes=12345) as server:
        page = requests.get(server.url, timeout=10)
        assert page.status_code == 200
        assert 'data-max-bytes="12345" data-strict="false"' in page.text
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "<style" not in page.text
        assert " style=" not in page.text
        again = requests.get(server.url, headers={"If-None-Match": page.headers["ETag"]}, timeout=10)
        assert again.status_code == 304
        script = requests.get(f"{server.url}/page/app.js", timeout=10)
        assert script.headers["Content-Type"].startswith("text/javascript")
        assert script.headers["Content-Security-Policy"] == policy
        assert requests.post(server.url, timeout=10).status_code == 405


@pytest.mark.parametrize("name", ["__init__.py", "samples/LICENSES.md", "..%2Fapp.py", "nothing.js", ""])
def test_only_the_page_s_own_files_are_served(name: str) -> None:
    with Server() as server:
        assert requests.get(f"{server.url}/page/{name}", timeout=10).status_code == 404


def test_the_crop_is_the_one_of_wechat_s_address_and_tells_why() -> None:
    with Server() as server:
        answer = ask(server, "crop", ratios="1,0.5").json()
        files: Any = {"img": ("a.jpg", PHOTO), "ratios": (None, "1,0.5")}
        known = requests.post(f"{server.url}/cv/img/aicrop?access_token=T", files=files, timeout=20).json()
        assert answer["wechat"] == known
        assert answer["cloud"]["results"][0]["cropRight"] == known["results"][0]["crop_right"]
        assert answer["cloud"]["errMsg"] == "openapi.img.aiCrop:ok"
        why = answer["explain"]
        heat = base64.b64decode(why["map"])
        assert (len(heat), max(heat)) == (64 * 64, 255)
        assert len(why["scores"]) == 2
        assert len(why["runners_up"][1]) >= 1
        assert 0 < why["focal_share"]["x"] < 1
        assert [(call.endpoint, call.through, call.ratios) for call in server.requests] == [
            ("img.aiCrop", "page", "1,0.5"),
            ("img.aiCrop", "http", "1,0.5"),
        ]


def test_a_focus_is_kept_whole() -> None:
    with Server() as server:
        answer = ask(server, "crop", ratios="0.3", focus="0,100,199,299").json()
        assert answer["wechat"]["results"][0]["crop_left"] == 0
        assert answer["explain"]["focus"] == [{"crop_left": 0, "crop_top": 100, "crop_right": 199, "crop_bottom": 299}]


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"ratios": "16/9"}, 47001, "write 16:9 instead of 16/9"),
        ({"ratios": "1", "focus": "1,2,3"}, 47001, "expected left,top,right,bottom"),
        ({"ratios": "1", "focus": "0,0,5000,10"}, 47001, "not inside the picture of 966x728"),
        ({"ratios": "1", "focus": "0,0,-5,10"}, 47001, "not inside the picture"),
        ({"ratios": "1", "focus": "0,0,9,9;" * 126}, 47001, "send fewer boxes"),
    ],
)
def test_what_is_wrong_is_told_with_its_cure(fields: dict[str, Any], code: int, word: str) -> None:
    with Server() as server:
        answer = ask(server, "crop", **fields).json()
        assert answer["wechat"]["errcode"] == code
        assert answer["cloud"]["errCode"] == code
        assert word in " ".join(answer["mistakes"])
        assert answer["rid"] == server.requests[-1].rid


def test_a_picture_that_is_too_large_or_none() -> None:
    with Server(max_bytes=100_000) as server:
        answer = ask(server, "crop", ratios="1").json()
        assert answer["wechat"]["errcode"] == 101002
        assert "raise --max-bytes" in answer["mistakes"][0]
        answer = ask(server, "crop", b"<html>", ratios="1").json()
        assert (answer["wechat"]["errcode"], answer["name"]) == (101002, "INVALID_IMAGE_DATA")
        assert ask(server, "crop", None, ratios="1").json()["wechat"]["errcode"] == 44001


def test_faults_and_quota_count_for_the_page_too() -> None:
    with Server(quota=1) as server:
        assert ask(server, "crop", ratios="1").json()["wechat"]["errcode"] == 0
        assert ask(server, "crop", ratios="1").json()["wechat"]["errcode"] == 45009
        server.fail(Fault("img.aiCrop", 502))
        assert ask(server, "crop", ratios="1").status_code == 502


@pytest.mark.parametrize("origin", ["http://example.com", "null", "http://[", None])
@pytest.mark.parametrize("what", ["crop", "cut", "fetch"])
def test_another_page_or_a_program_gets_nothing(what: str, origin: str | None) -> None:
    with Server() as server:
        assert ask(server, what, origin=origin, ratios="1").status_code == 403
        assert "own page only" in server.requests[-1].mistakes[0]


def test_a_strict_server_s_page_is_for_this_machine() -> None:
    with Server(strict=True) as server:
        assert ask(server, "crop", ratios="1").json()["wechat"]["errcode"] == 0
        headers = {"Origin": server.url, "X-Forwarded-For": "203.0.113.1"}
        assert requests.post(f"{server.url}/page/crop", headers=headers, timeout=10).status_code == 403


def test_cut_pictures_are_those_of_cloudfn_cut() -> None:
    with Server() as server:
        answer = ask(server, "cut", boxes="0,0,99,49;100,10,119,29").json()
        boxes = [
            {"crop_left": 0, "crop_top": 0, "crop_right": 99, "crop_bottom": 49},
            {"crop_left": 100, "crop_top": 10, "crop_right": 119, "crop_bottom": 29},
        ]
        files = [base64.b64decode(file["data"]) for file in answer["files"]]
        assert files == cut(PHOTO, {"results": boxes})
        assert {file["type"] for file in answer["files"]} == {"image/jpeg"}
        scaled = ask(server, "cut", boxes="0,0,99,49", width="40").json()["files"][0]["data"]
        assert Image.open(io.BytesIO(base64.b64decode(scaled))).size == (40, 20)
        wrong: list[dict[str, Any]] = [
            {"boxes": "0,0,9999,9"},
            {"boxes": "a"},
            {"boxes": "0,0,9,9", "width": "-1"},
            {"boxes": "0,0,0,727", "width": "2000"},  # which would be 1,456,000 pixels high
            {"boxes": "0,0,9,9;" * 5, "width": "1600"},  # of 2,560,000 pixels each
            {"boxes": "0,0,9,9;" * 6},
            {"boxes": "0,0,9,9;" * 126},
        ]
        for fields in wrong:
            assert ask(server, "cut", **fields).json()["wechat"]["errcode"] == 47001


def test_cut_pictures_count_among_the_bytes_that_a_worker_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of 2 MB can be noise that is scaled up to 100."""
    monkeypatch.setattr("cloudfn.server.state._HELD", 0)
    with Server(max_bytes=200_000) as server:
        noise = io.BytesIO()
        Image.effect_noise((300, 300), 100).save(noise, "PNG")
        answer = ask(server, "cut", noise.getvalue(), boxes="0,0,299,299", width="1500").json()
        assert answer["wechat"]["errcode"] == -1
        assert ask(server, "cut", noise.getvalue(), boxes="0,0,299,299").json()["wechat"]["errcode"] == 0


def test_nothing_of_a_picture_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with Server() as server:
        for answer in (ask(server, "crop", ratios="1"), ask(server, "cut", boxes="0,0,9,9")):
            assert answer.json()["wechat"]["errcode"] == 0
            assert answer.headers["Cache-Control"] == "no-store"
        assert list(tmp_path.iterdir()) == []
        kept = requests.get(f"{server.url}/_cloudfn/requests", timeout=10).content
        assert len(kept) < 2000  # what they were, and none of the picture's 148,043 bytes


def test_the_picture_behind_a_url_comes_through_the_guard(server: RecordingServer) -> None:
    server.answers = [http(PHOTO, content_type="image/jpeg"), http(b"words", content_type="image/png")]
    with Server(allow_hosts=["127.0.0.1"]) as ours:
        answer = ask(ours, "fetch", None, img_url=f"{server.url}/a.jpg").json()
        assert base64.b64decode(answer["files"][0]["data"]) == PHOTO
        answer = ask(ours, "fetch", None, img_url=f"{server.url}/b").json()
        assert answer["wechat"]["errcode"] == 101000
        assert "no picture" in answer["mistakes"][0]
        assert "files" not in answer
    with Server() as ours:
        answer = ask(ours, "fetch", None, img_url="http://10.0.0.1/a.jpg").json()
        assert answer["wechat"]["errcode"] == 101000
        assert "private address" in answer["mistakes"][0]
        assert ask(ours, "fetch", None, img_url="").json()["wechat"]["errcode"] == 101000
