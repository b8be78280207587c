"""What the tests share: a clean environment, the photographs, the recorded cases, a server on a raw socket."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfn import settings
from tests.support.recording import RecordingServer

TESTS = Path(__file__).parent
_PREFIXES = (
    "CLOUDFN_",
    "WX_",
    "TCB_",
    "SCF_",
    "TENCENTCLOUD_",
    "AWS_",
    "FC_",
    "LAMBDA_",
    "USER_CODE_ROOT",
    "K_SERVICE",
)


# Where everything that a test may need is installed, a skipped test is a failure.
_NO_SKIP = os.environ.get("CLOUDFN_TESTS_NO_SKIP") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _NO_SKIP and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CLOUDFN_TESTS_NO_SKIP=1 forbids it: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine that runs the tests, and no proxy, reaches a test."""
    for name in list(os.environ):
        if name.startswith(_PREFIXES) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    yield
    settings.use_code_folder(None)


def vectors(name: str) -> list[Any]:
    """The recorded cases of one file, as pytest parameters with their ids."""
    return [
        pytest.param(case, id=case["id"])
        for case in json.loads((TESTS / "support" / "vectors" / f"{name}.json").read_bytes())
    ]


@pytest.fixture
def photo() -> Callable[[str], Path]:
    """A photograph's path by its name."""
    return lambda name: TESTS / "photos" / name


@pytest.fixture
def permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose config.json grants img.aiCrop."""
    (tmp_path / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as running:
        yield running
