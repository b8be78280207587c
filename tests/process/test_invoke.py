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
