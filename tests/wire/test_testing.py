"""The server as users' tests have it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cloudfn as cloud
from cloudfn import CloudError
from cloudfn.testing import Fault, Server
from tests.conftest import TESTS

PHOTO = TESTS / "photos" / "chelsea.jpg"


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WX_APPID", "before")
    with Server() as server:
        with server.environment():
            assert os.environ["CLOUDFN_API_BASE"] == server.url
        assert os.environ["WX_APPID"] == "before"
        assert "CLOUDFN_API_BASE" not in os.environ


def test_faults_come_and_go(permitted: Path) -> None:
    with Server(faults=[Fault("img.aiCrop", 45009)]) as server, server.environment():
        crop = cloud.Cloud().openapi.img.aiCrop
        with pytest.raises(CloudError, match="daily quota"):
            crop(img=PHOTO)
        server.fail()
        assert crop(img=PHOTO)["errCode"] == 0
        server.reset()
        assert server.requests == []
        with pytest.raises(CloudError, match="daily quota"):
            crop(img=PHOTO)


def test_latency_ends_in_a_time_out(permitted: Path) -> None:
    with Server(latency=1.0) as server, server.environment(), pytest.raises(CloudError) as raised:
        cloud.Cloud(timeout=0.2).openapi.img.aiCrop(img=PHOTO)
    assert raised.value.errCode == -604102


def test_two_servers_at_once_know_nothing_of_each_other(permitted: Path) -> None:
    with Server() as one, Server() as other:
        with one.environment():
            cloud.Cloud().openapi.img.aiCrop(img=PHOTO)
        assert (len(one.requests), len(other.requests)) == (2, 0)


def test_wrong_arguments() -> None:
    with pytest.raises(CloudError, match="unknown setting"):
        Server(time_out=3)
    with pytest.raises(ValueError, match="did you mean img"):
        Fault("img.aicrop", 45009)


def test_a_server_can_be_started_again() -> None:
    server = Server()
    for _ in range(2):
        with server:
            assert server.url in repr(server)
    assert "not started" in repr(server)


SUITE = """
import cloudfn as cloud

def test_a_function(cloudfn_server, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"permissions": {"openapi": ["img.aiCrop"]}}')
    monkeypatch.chdir(tmp_path)
    cloud.init()
    assert cloud.openapi.img.aiCrop(img=PHOTO.read_bytes(), ratios="1")["imgSize"] == {"w": 451, "h": 300}
    assert [seen.ratios for seen in cloudfn_server.requests] == ["", "1"]
"""


def test_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["cloudfn.testing"]')
    (tmp_path / "test_it.py").write_text(f"from pathlib import Path\nPHOTO = Path({str(PHOTO)!r})\n{SUITE}")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_nobody_pays_for_pytest_or_the_server_before_using_them() -> None:
    code = (
        "import sys, cloudfn.testing; print([m for m in ('pytest', 'flask', 'numpy', 'granian') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_fault_that_is_none_is_refused_at_once() -> None:
    with Server() as server:
        for faults in (["img.aiCrop", 45009], [None], [[Fault("img.aiCrop", 45009)]]):
            with pytest.raises(CloudError, match="got a ") as raised:
                server.fail(*faults)
            assert (raised.value.errCode, "Fault(" in raised.value.hint) == (-401003, True)
    for wrong in (Fault("img.aiCrop", 45009), "img.aiCrop:45009", [45009]):
        with pytest.raises(CloudError, match="to Server a list of them"):
            Server(faults=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"quota": "x"}, {"quota": -1}, {"latency": "x"}, {"latency": math.nan}, {"seed": 1.5}, {"max_bytes": None}],
)
def test_a_number_that_is_none_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(CloudError, match=f"{next(iter(wrong))}: got .* number from 0 on"):
        Server(**wrong)


def test_outside_its_block_and_twice_inside() -> None:
    server = Server()
    with pytest.raises(CloudError, match="use it inside its with block"):
        _ = server.variables
    with server, pytest.raises(CloudError, match="the server runs already"):
        server.__enter__()
    with pytest.raises(CloudError, match="use it inside its with block"), server.environment():
        pass
