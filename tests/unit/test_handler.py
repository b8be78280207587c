from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cloudfn import CloudError, handler

IMG = {"contentType": "image/jpeg"}


@pytest.fixture(autouse=True)
def local(permitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_BACKEND", "local")


def event(path: Path, **more: Any) -> dict[str, Any]:
    return {"img": {**IMG, "value": base64.b64encode(path.read_bytes()).decode()}, **more}


def test_a_direct_event(photo: Any) -> None:
    result = handler.main(event(photo("raccoon-966x728.jpg"), ratios="1,2.35", userInfo={"openId": "o"}), None)
    assert json.loads(json.dumps(result)) == result
    sizes = [
        (box["cropRight"] - box["cropLeft"] + 1, box["cropBottom"] - box["cropTop"] + 1) for box in result["results"]
    ]
    assert sizes == [(728, 728), (966, 411)]
    assert (result["imgSize"], result["errCode"], result["errMsg"]) == (
        {"w": 966, "h": 728},
        0,
        "openapi.img.aiCrop:ok",
    )


def test_a_failure_is_exactly_code_and_message(photo: Any, permitted: Path) -> None:
    assert handler.main({"img": {**IMG, "value": "aGVsbG8="}}) == {
        "errCode": 101002,
        "errMsg": "openapi.img.aiCrop:fail invalid image data",
    }
    assert (
        handler.main({})["errCode"]
        == handler.main({**event(photo("coffee.jpg")), "ratioList": "1"})["errCode"]
        == -401002
    )
    assert handler.main("x")["errCode"] == -401003
    (permitted / "config.json").unlink()
    assert handler.main({"ratioList": 1}) == {"errCode": -604101, "errMsg": "system error: error code: -604101"}


def test_main_handler_is_the_same() -> None:
    assert handler.main_handler is handler.main


def test_a_handler_that_raises(photo: Any) -> None:
    main = handler.make_main(raise_errors=True)
    with pytest.raises(CloudError) as raised:
        main({"imgUrl": "x"})
    assert raised.value.errCode == -401002
    assert main(event(photo("chelsea.jpg")), object())["errCode"] == 0


def test_a_handler_with_settings(photo: Any, tmp_path: Path) -> None:
    main = handler.make_main(config=str(tmp_path / "none.json"))
    assert main(event(photo("chelsea.jpg")))["errCode"] == -604101


def test_a_bad_setting_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_TIMEOUT", "soon")
    answer = handler.main({})
    assert answer["errCode"] == -601002
    assert "CLOUDFN_TIMEOUT: got 'soon' (environment)" in answer["errMsg"]


def test_nothing_in_an_event_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for img in (
        "/etc/passwd",
        {**IMG, "value": "/etc/passwd"},
        {**IMG, "value": "file:///etc/passwd"},
        Path("/etc/passwd"),
    ):
        assert handler.main({"img": img})["errCode"] in (-401002, -401003)
    assert handler.main({"imgUrl": "file:///etc/passwd"})["errCode"] == -401002


def test_an_asgi_server_is_told_that_this_is_wsgi() -> None:
    with pytest.raises(TypeError, match=r"WSGI application.*uvicorn --interface wsgi"):
        handler.main({"type": "http", "asgi": {"version": "3.0"}})
