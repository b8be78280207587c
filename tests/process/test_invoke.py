"""`cloudfn invoke --platform`: an event as the platform hands it over, within its limits."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudfn.cli import main
from cloudfn.hosts import HOSTS
from tests.support import events
from tests.support.events import Sent

FUNCTION = """
import os
import time
import cloudfn as cloud

def main(event, context):
    print("working")
    given = type(context.event).__name__
    marks = {
        "AWS_LAMBDA_FUNCTION_NAME",
        "SCF_FUNCTIONNAME",
        "FC_FUNCTION_NAME",
        "RUNTIME_FUNC_NAME",
    } & set(os.environ)
    return {"a": event.get("a"), "form": context.form, "given": given, "marks": list(marks)}

@cloud.function
def left(event, context):
    return context.platform.get_remaining_time_in_millis()

def sleeps(event, context):
    time.sleep(30)

def large(event, context):
    return "x" * 7_000_000

async def waits(event, context):
    return {"objects": [stored.key for stored in context.objects], "messages": list(context.messages)}

def picture(event, context):
    return b"\\x89PNG\\r\\n\\x1a\\n" + bytes(int(event.get("more", 0)))

def fails(event, context):
    return {"errCode": 45009, "errMsg": "no more"}
"""

Invoke = Callable[..., "tuple[int, Any, str]"]


@pytest.fixture
def invoke(permitted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    import os

    (permitted / "index.py").write_text(FUNCTION)
    # The command writes the platform's marks into the environment of its process, which is ours here.
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def invoke(platform: str, event: Any, name: str | None = "main", *more: str) -> tuple[int, Any, str]:
        (permitted / "event.json").write_text(json.dumps(event))
        function = ["--function", f"index.py:{name}"] if name else []
        code = main(["invoke", "event.json", "--platform", platform, *function, *more])
        told = capsys.readouterr()
        return code, json.loads(told.out) if told.out else None, told.err

    return invoke


@pytest.mark.parametrize(
    ("platform", "given", "marks"),
    [
        ("scf", "dict", ["SCF_FUNCTIONNAME"]),
        ("cloudbase", "dict", ["SCF_FUNCTIONNAME"]),
        ("lambda", "dict", ["AWS_LAMBDA_FUNCTION_NAME"]),
        ("fc", "bytes", ["FC_FUNCTION_NAME"]),
        ("huawei", "dict", ["RUNTIME_FUNC_NAME"]),
    ],
)
def test_a_direct_event(platform: str, given: str, marks: list[str], invoke: Invoke) -> None:
    code, answer, said = invoke(platform, {"a": 1})
    assert (code, said) == (0, "working\n")
    assert answer == {"a": 1, "form": "direct", "given": given, "marks": marks}


@pytest.mark.parametrize("platform", HOSTS)
def test_an_http_event(platform: str, invoke: Invoke) -> None:
    event = events.http_v2(Sent(b'{"a": 2}', "application/json"))
    code, answer, _ = invoke(platform, event)
    seen = events.seen(answer)
    assert (code, seen.status, seen.json["a"]) == (0, 200, 2)
    assert seen.json["form"] == {
        "cloudrun": "WSGI",
        "google": "Google functions-framework",
        "azure": "Azure Functions",
    }.get(platform, "AWS Function URL / HTTP API v2")


@pytest.mark.parametrize("platform", ["cloudrun", "google", "azure"])
def test_a_direct_event_is_posted_where_there_is_only_http(platform: str, invoke: Invoke) -> None:
    code, answer, _ = invoke(platform, {"a": 3})
    assert (code, events.seen(answer).json["a"]) == (0, 3)


def test_the_ready_made_handler(invoke: Invoke, photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    value = base64.b64encode(photo("chelsea.jpg").read_bytes()).decode()
    event = {"img": {"contentType": "image/jpeg", "value": value}}
    code, answer, _ = invoke("fc", event, None)
    assert (code, answer["errCode"]) == (3, 41001)  # a platform has no engine by accident
    monkeypatch.setitem(os.environ, "CLOUDFN_BACKEND", "local")
    assert invoke("fc", event, None)[1]["imgSize"] == {"w": 451, "h": 300}


@pytest.mark.parametrize("name", [path.stem for path in sorted(events.FOLDER.glob("*.json"))])
def test_every_sample_gets_an_answer(name: str, invoke: Invoke) -> None:
    platform = {"aws": "lambda"}.get(name.split("-")[0], name.split("-")[0])
    code, answer, said = invoke(platform, events.sample(name))
    if name == "aws-http-v2":  # its base64 flag lies
        assert (code, answer["statusCode"]) == (1, 400)
    elif name == "fc-docs--apigw":  # its text is no JSON object, and a function of one's own takes it as it is
        assert (code, answer["statusCode"]) == (0, 200)
    else:
        assert code == 0, said
    assert answer.get("statusCode", 200) < 500


def test_the_time_limit_is_held_and_named(invoke: Invoke) -> None:
    code, answer, said = invoke("lambda", {}, "sleeps", "--timeout", "0.3")
    assert (code, answer) == (1, None)
    assert "AWS Lambda (direct) stops the function after 0.3 s" in said
    assert 2500 < invoke("lambda", {}, "left")[1] <= 3000  # Lambda's default
    assert 800_000 < invoke("lambda", {}, "left", "--timeout", "900")[1] <= 900_000


def test_sizes_are_held_and_named(invoke: Invoke) -> None:
    code, _, said = invoke("scf", {"a": "x" * 6_300_000})
    assert code == 1
    assert "Tencent SCF (direct) takes events of 6 MiB, this one has 6,300,009 bytes" in said
    code, _, said = invoke("cloudbase", {}, "large")
    assert code == 1
    assert "Tencent CloudBase (direct) takes answers of 1 MiB, this one has 7,000,002 bytes" in said
    assert invoke("fc", {}, "large")[0] == 0


def test_a_failure_of_the_call_is_the_commands(invoke: Invoke) -> None:
    code, answer, _ = invoke("cloudrun", {}, "fails")
    assert (code, answer["statusCode"]) == (1, 429)
    assert invoke("scf", {}, "fails")[:2] == (1, {"errCode": 45009, "errMsg": "no more"})


def test_the_limits_of_every_form(invoke: Invoke) -> None:
    text = events.http_v2(Sent(b'{"a": "' + b"x" * 110_000 + b'"}', "application/json"))
    code, _, said = invoke("cloudrun", text)
    assert code == 1
    assert (
        "WeChat CloudRun (AWS Function URL / HTTP API v2) takes events of 100 KiB, this one has 110,009 bytes" in said
    )
    assert invoke("cloudrun", events.http_v2(Sent(bytes(200_000), "image/png")))[0] == 0  # binary may have 20 MiB
    code, _, said = invoke("cloudrun", {"more": 1_100_000}, "picture")
    assert "takes answers of 1000 KiB" in said
    code, _, said = invoke("lambda", events.alb(Sent(bytes(900_000), "image/png")))
    assert "AWS Lambda (AWS ALB) takes events of 1 MiB" in said
    code, _, said = invoke("lambda", events.rest_v1(Sent()), "sleeps", "--timeout", "0.2")
    assert "AWS Lambda (AWS REST API v1) stops the function after 0.2 s" in said


def test_bytes_and_async_functions(invoke: Invoke, permitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"contentType": "image/png", "value": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()}
    assert invoke("scf", {}, "picture")[:2] == (0, answer)
    assert main(["invoke", "--function", "index.py:picture"]) == 0
    assert json.loads(capsys.readouterr().out) == answer
    stored = {"objects": ["inbound/sample-java-s3.png"], "messages": []}
    assert invoke("lambda", events.sample("aws-s3"), "waits")[:2] == (0, stored)
    (permitted / "event.json").write_text(json.dumps(events.sample("aws-s3")))
    assert main(["invoke", "event.json", "--function", "index.py:waits"]) == 0  # as the platform would
    assert json.loads(capsys.readouterr().out) == stored


def test_a_refused_event_fails_the_command(invoke: Invoke) -> None:
    code, answer, said = invoke("lambda", events.sample("aws-s3"), None)
    assert (code, answer) == (1, None)
    assert "an event of S3 is no cloud call" in said


def test_what_is_missing_is_said(permitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file, a function, and a module that the file imports are three different facts."""
    (permitted / "index.py").write_text("import no_such_module_at_all\n")
    assert main(["invoke", "--function", "index.py:main"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "No module named 'no_such_module_at_all'" in said
    # A circular import in the user's own files names them, and is no usage error all the same.
    (permitted / "circle_a.py").write_text("from circle_b import b\na = 1\n")
    (permitted / "circle_b.py").write_text("from circle_a import a\nb = 1\n")
    assert main(["invoke", "--function", "circle_a.py:main"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "cannot import name 'a' from 'circle_a'" in said
    for name, words in (
        ("none.py:main", "a file that exists"),
        ("circle_b.py:main", "circle_b.py has no function main"),
        ("event.txt:main", "is not a Python file"),
    ):
        (permitted / "circle_b.py").write_text("b = 1\n")
        (permitted / "event.txt").write_text("")
        with pytest.raises(SystemExit) as raised:
            main(["invoke", "--function", name])
        assert raised.value.code == 2
        said = capsys.readouterr().err
        assert words in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "more",
    [
        ["--platform", "nowhere"],
        ["--timeout", "5"],
        ["--platform", "lambda", "--timeout", "901"],
        ["--platform", "lambda", "--timeout", "0"],
    ],
)
def test_usage(more: list[str], permitted: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["invoke", *more])
    assert raised.value.code == 2
