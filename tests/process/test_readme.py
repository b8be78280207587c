"""The README says what runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.readme import README, render

TEXT = README.read_text(encoding="utf-8")
ROOT = README.parent
FUNCTION = re.search(r"```python\n(import cloudfn as cloud.*?)```", TEXT, re.DOTALL)[1]  # type: ignore[index]


def test_the_tables_are_those_of_the_code() -> None:
    assert render(TEXT) == TEXT, "run: python -m tests.support.readme"


@pytest.mark.parametrize(
    "command",
    [
        (
            'python -m pip install -e ".[local]" && '
            "cloudfn crop tests/photos/chelsea.jpg --ratios 1,2.35 --preview preview.png"
        ),
        'python -m pip install -e ".[dev]" && python -m pytest',
    ],
)
def test_the_two_commands_are_there(command: str) -> None:
    assert command in TEXT


def test_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXT)
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_the_output_that_is_shown_is_the_output(permitted: Path) -> None:
    shown = re.search(r"```text\n(tests/photos/chelsea.*?)```", TEXT, re.DOTALL)[1]  # type: ignore[index]
    command = [sys.executable, "-m", "cloudfn", "crop", "tests/photos/chelsea.jpg", "--ratios", "1,2.35"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == shown


def test_the_five_line_function_runs(permitted: Path, photo: Any, server: Any) -> None:
    from tests.support.recording import http

    server.answers = [http(photo("raccoon-966x728.jpg").read_bytes(), content_type="image/jpeg")]
    (permitted / "index.py").write_text(FUNCTION)
    (permitted / "event.json").write_text(json.dumps({"imgUrl": f"{server.url}/a.jpg"}))
    (permitted / ".env").write_text("CLOUDFN_BACKEND=local\nCLOUDFN_ALLOW_HOSTS=127.0.0.1\n")
    command = [sys.executable, "-m", "cloudfn", "invoke", "event.json", "--function", "index.py:main"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["imgSize"] == {"w": 966, "h": 728}
