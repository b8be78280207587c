"""What the tests share: a clean environment, the photographs, the recorded cases, a server on a raw socket."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfn import settings
from tests.support.recording import RecordingServer

TESTS = Path(__file__).parent
# All that a test gets of the environment it is started in: what Python, pip, npm and the system need.
_KEPT = re.compile(
    r"PATH|HOME|USER|LANG|LC_.*|TZ|TE?MP(DIR)?|SYSTEMROOT|VIRTUAL_ENV|PYTHON.*|PYTEST.*|HYPOTHESIS.*|COV.*|PIP_.*|npm_.*|"
    r"NODE_.*|SSL_CERT_.*|.*_NUM_THREADS|OPENBLAS_.*|DISPLAY|XDG_.*|CHROME.*|CI|TESTS_NO_SKIP",
    re.IGNORECASE,
)

# Where everything that a test may need is installed, a skipped test is a failure.
_NO_SKIP = os.environ.get("TESTS_NO_SKIP") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _NO_SKIP and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and TESTS_NO_SKIP=1 forbids it: {report.longrepr}"
    return report


def pytest_configure() -> None:
    """Take away what the machine that runs the tests has set, before any fixture of any scope runs."""
    for name in list(os.environ):
        if not _KEPT.fullmatch(name):
            del os.environ[name]
    # Under nohup SIGINT is ignored, and every process that a test starts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as slow what starts programs; leave out what is for the night, unless -m names it."""
    for item in items:
        if TESTS / "process" in item.path.parents:
            item.add_marker(pytest.mark.slow)
    if "nightly" not in config.option.markexpr:
        nightly = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=nightly)
        items[:] = [item for item in items if item not in nightly]


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """Keep from a test what the one before it set."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
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
