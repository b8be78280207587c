from __future__ import annotations

import asyncio
import inspect
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import CloudError, storage
from cloudfn.cloud import _Default
from tests.conftest import TESTS, vectors
from tests.support.recording import OK, RecordingServer, http

RESULT = {
    "results": [{"cropLeft": 112, "cropTop": 0, "cropRight": 839, "cropBottom": 727}],
    "imgSize": {"w": 966, "h": 728},
    "errMsg": "openapi.img.aiCrop:ok",
    "errCode": 0,
}
URL = "https://example.com/a.jpg"


@pytest.fixture
def instance(permitted: Path, server: RecordingServer) -> Any:
    """An instance whose WeChat is the recording server."""
    return cloud.Cloud(backend="wechat", access_token="t0ken", api_base=server.url)


def refused(run: Any) -> CloudError:
    with pytest.raises(CloudError) as raised:
        run()
    return raised.value


@pytest.mark.parametrize("case", vectors("init"))
def test_init_was_not_called(case: dict[str, Any]) -> None:
    default = _Default()
    api = default.openapi({"convertCase": False}) if "options" in case["id"] else default.openapi
    error = refused(lambda: api.img.aiCrop({}))
    assert error.to_dict() == {key: case["error"][key] for key in ("errCode", "errMsg")}
    assert str(error) == case["error"]["message"]
    assert error.retryable is False


def test_a_second_init_is_ignored(permitted: Path, server: RecordingServer) -> None:
    default = _Default()
    default.init({"env": cloud.DYNAMIC_CURRENT_ENV, "access_token": "t"}, api_base=server.url)
    default.init(api_base="http://127.0.0.1:1")
    assert default.openapi.img.aiCrop(imgUrl=URL) == RESULT


def test_a_mapping_or_keywords(instance: Any) -> None:
    assert instance.openapi.img.aiCrop({"imgUrl": URL}) == instance.openapi.img.aiCrop(imgUrl=URL) == RESULT
    assert type(instance.openapi.img.aiCrop(imgUrl=URL)) is dict
    assert refused(lambda: instance.openapi.img.aiCrop({"imgUrl": URL}, ratios="1")).errCode == -401003
    assert refused(lambda: instance.openapi.img.aiCrop()).errCode == -401002


def test_case_conversion_off(instance: Any, server: RecordingServer) -> None:
    raw = instance.openapi({"convertCase": False}).img.aiCrop({"img_url": URL})
    assert list(raw) == ["results", "img_size", "errMsg", "errCode"]
    assert instance.openapi({"convertCase": 0}).img.aiCrop({"imgUrl": URL}) == RESULT
    assert instance.openapi({"convertCase": False})({"version": "v2"}).img.aiCrop({"imgUrl": URL}) == RESULT


@pytest.mark.parametrize("options", [None, "x", 5, [], {}])
def test_options_are_an_object(options: Any, instance: Any) -> None:
    assert refused(lambda: instance.openapi(options)).errMsg == "an options object is expected"


def test_the_order_of_the_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RecordingServer) -> None:
    """init, then the API's name, then permission, then parameters, then the backend."""
    monkeypatch.chdir(tmp_path)
    assert refused(lambda: _Default().openapi.no.such({})).errCode == -1
    instance = cloud.Cloud(backend="wechat", api_base=server.url)
    unknown = refused(lambda: instance.openapi.img.aiCorp({"x": 1}))
    assert unknown.to_dict() == {"errCode": -604100, "errMsg": "system error: error code: -604100"}
    assert 'did you mean "img.aiCrop"' in unknown.hint
    assert refused(lambda: instance.openapi.img.aiCrop({"x": 1})).errCode == -604101  # type: ignore[call-overload]
    (tmp_path / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    assert refused(lambda: instance.openapi.img.aiCrop({"x": 1})).errCode == -401002  # type: ignore[call-overload]
    assert refused(lambda: instance.openapi.img.aiCrop({"imgUrl": URL})).errCode == 41001
    assert server.connections == 0


def test_the_cure_is_in_the_hint_and_once_in_the_log(instance: Any, server: RecordingServer, caplog: Any) -> None:
    server.answers = [http({"errcode": 45009, "errmsg": "reach max api daily quota limit rid: 1-2-3"})]
    with caplog.at_level(logging.WARNING, "cloudfn"):
        error = refused(lambda: instance.openapi.img.aiCrop(imgUrl=URL))
    assert error.errMsg == "openapi.img.aiCrop:fail reach max api daily quota limit rid: 1-2-3"
    assert (error.api, error.retryable) == ("img.aiCrop", False)
    assert "CLOUDFN_BACKEND=local" in error.hint
    assert [record.levelname for record in caplog.records if error.hint in record.getMessage()] == ["WARNING"]


def test_our_own_refusals_tell_the_cure_themselves(instance: Any, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, "cloudfn"):
        error = refused(lambda: instance.openapi.img.aiCrop(imgUrl=URL, ratios="16/9"))
    assert "write 16:9" in error.errMsg
    assert error.hint in error.errMsg
    assert not caplog.records


def test_independent_instances(permitted: Path, server: RecordingServer) -> None:
    one = cloud.Cloud({"access_token": "one"}, api_base=server.url)
    two = cloud.Cloud(access_token="two", api_base=server.url)
    for instance in (one, two, one):
        instance.openapi.img.aiCrop(imgUrl=URL)
        instance.close()
    assert [dict(request.query)["access_token"] for request in server.requests] == ["one", "two", "one"]


def test_the_environment_is_read_when_a_call_is_made(
    permitted: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = cloud.Cloud()
    for token in ("first", "second"):
        monkeypatch.setenv("WX_ACCESS_TOKEN", token)
        monkeypatch.setenv("CLOUDFN_API_BASE", server.url)
        assert instance.openapi.img.aiCrop(imgUrl=URL) == RESULT
    assert [dict(request.query)["access_token"] for request in server.requests] == ["first", "second"]


def test_wrong_arguments_of_init() -> None:
    assert refused(lambda: cloud.Cloud(timeuot=5)).errCode == -401002
    assert refused(lambda: cloud.Cloud(timeout="x")).errCode == -601002
    assert refused(lambda: cloud.Cloud([])).errCode == -401003  # type: ignore[arg-type]
    cloud.Cloud(env="prod", traceUser=True)


@pytest.mark.parametrize(
    ("environment", "code"),
    [({}, 0), ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, 41001), ({"TENCENTCLOUD_RUNENV": "SCF"}, 41001)],
)
def test_auto_is_local_but_never_by_accident_on_a_platform(
    environment: dict[str, str], code: int, permitted: Path, photo: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    instance = cloud.Cloud()
    said = "the embedded engine answers"
    with caplog.at_level(logging.WARNING, "cloudfn"):
        for _ in range(2):
            if code:
                assert refused(lambda: instance.openapi.img.aiCrop(img=photo("chelsea.jpg"))).errCode == code
            else:
                assert instance.openapi.img.aiCrop(img=photo("chelsea.jpg"))["imgSize"] == {"w": 451, "h": 300}
    assert caplog.text.count(said) == (0 if code else 1)


def test_names_that_are_no_apis(instance: Any) -> None:
    assert repr(instance.openapi.img.aiCrop) == "openapi.img.aiCrop"
    assert (dir(instance.openapi), dir(instance.openapi.img)) == (
        ["img", "ocr"],
        ["aiCrop", "scanQRCode", "superresolution"],
    )
    with pytest.raises(AttributeError):
        instance.openapi.__wrapped__  # noqa: B018 - what inspecting tools look for
    with pytest.raises(AttributeError, match="has no attribute 'getWxContext'"):
        cloud.getWxContext  # noqa: B018


@pytest.mark.parametrize("case", vectors("context"))
def test_recorded_contexts(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in case["env"].items():
        if value is not None:
            monkeypatch.setenv(name, value)
    expected = {key: value for key, value in case["result"].items() if value != {"$undefined": True}}
    context = cloud.get_wx_context()
    assert context == expected
    assert {key: type(value) for key, value in context.items()} == {key: type(value) for key, value in expected.items()}


def test_contexts_beyond_the_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WX_CONTEXT_KEYS", "WX_ENV,WX_LONG")
    monkeypatch.setenv("WX_ENV", "from-key")
    monkeypatch.setenv("WX_LONG", "9" * 5000)
    assert cloud.get_wx_context() == {"LONG": "9" * 5000}


def test_importing_costs_next_to_nothing() -> None:
    heavy = ("requests", "urllib3", "jsonschema", "dotenv", "PIL", "numpy")
    script = f"import sys, cloudfn; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_public_names_are_all_there_and_no_submodule_has_one() -> None:
    import pkgutil

    assert {name for name in cloud.__all__ if getattr(cloud, name) is not None} == set(cloud.__all__)
    assert not set(cloud.__all__) & {module.name for module in pkgutil.iter_modules(cloud.__path__)}
    assert set(OK) >= {"errcode", "results"}


def test_every_public_name_is_documented() -> None:
    values = {name: getattr(cloud, name) for name in cloud.__all__}
    values |= {f"Cloud.{name}": value for name, value in vars(cloud.Cloud).items() if not name.startswith("_")}
    values |= {f"aio.{name}": getattr(cloud.aio, name) for name in ("openapi", *storage.FUNCTIONS)}
    values |= {"handler.main": cloud.handler.main, "aio.aiCrop": cloud.aio.openapi.img.aiCrop}
    for room in (cloud.crop, cloud.batch, cloud.testing):
        values |= {f"{room.__name__}.{name}": getattr(room, name) for name in room.__all__}
    assert [name for name, value in values.items() if not value.__doc__] == []
    for call in (cloud.openapi.img.aiCrop, cloud.aio.openapi.img.aiCrop):
        assert all(said in (call.__doc__ or "") for said in ("right and bottom inclusive", "-604101", "at most five"))
        assert list(inspect.signature(call).parameters) == ["imgUrl", "ratios", "img"]
    assert {"size", "format", "quality"} <= inspect.signature(cloud.cut).parameters.keys()


def test_config_json_beside_the_file_that_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when pytest runs, from the root of a project, a function that lies in a folder of its own."""
    (tmp_path / "function").mkdir()
    (tmp_path / "function" / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    (tmp_path / "function" / "calling.py").write_text(
        "import cloudfn\ninstance = cloudfn.Cloud(backend='local')\n"
        "def main(picture): return cloudfn.Cloud(backend='local').openapi.img.aiCrop(img=picture)\n"
        "async def later(picture): return await instance.aio.openapi.img.aiCrop(img=picture)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    from function.calling import instance, later, main  # type: ignore[import-not-found]

    picture = (TESTS / "photos" / "chelsea.jpg").read_bytes()
    assert main(picture)["errCode"] == 0
    assert asyncio.run(later(picture))["errCode"] == 0
    with ThreadPoolExecutor(1) as pool:  # in its threads no file calls
        assert pool.submit(instance.openapi.img.aiCrop, {"img": picture}).result()["errCode"] == 0
    (tmp_path / "function" / "config.json").unlink()
    assert refused(lambda: main(picture)).errCode == -604101


def test_the_version_and_the_engine_without_an_import() -> None:
    script = "import cloudfn; print(cloudfn.__version__, cloudfn.crop.find.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+ find\n", done.stdout)
