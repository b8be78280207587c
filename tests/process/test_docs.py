"""The documentation says what runs: its tables, its links, and every block of code, in both languages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docs import ROOT, blocks, is_chinese, pages, render
from tests.support.recording import RecordingServer, http

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
ENGLISH = [page for page in PAGES if not is_chinese(page.values[0])]  # type: ignore[arg-type]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The picture that pages ask about, and where this machine has it.
PICTURE_URL = "https://example.com/a.jpg"
PHOTO = ROOT / "tests" / "photos" / "raccoon-966x728.jpg"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert render(text, chinese=is_chinese(page)) == text, "run: python -m tests.support.docs"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") == 2 * len(list(blocks(text)))
    assert [block.code for block in blocks(text) if not block.role] == []
    assert all(block.about for block in blocks(text) if block.role in ("shown", "file"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader would work: the pages speak of `tests/photos`."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "photos").symlink_to(ROOT / "tests" / "photos")
    return tmp_path


@pytest.fixture
def pictures() -> Iterator[RecordingServer]:
    """The host of the picture that pages ask about."""
    with RecordingServer(http(PHOTO.read_bytes(), content_type="image/jpeg")) as server:
        yield server


@pytest.mark.parametrize("page", ENGLISH)
def test_every_block_runs(page: Path, folder: Path, pictures: RecordingServer) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CLOUDFN_ALLOW_HOSTS": "127.0.0.1",
    }
    stdout = ""
    for block in blocks(page.read_text(encoding="utf-8")):
        code = block.code.replace(PICTURE_URL, pictures.at("/a.jpg"))
        if block.role == "file":
            path = folder / block.about
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
        elif block.role == "run":
            command = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
            done = subprocess.run(
                [*command, code], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
            )
            assert done.returncode == int(block.about or 0), f"{code}\n{done.stdout}{done.stderr}"
            stdout = done.stdout
        elif block.role == "output":
            assert stdout == block.code


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
def test_the_two_commands_are_in_the_readme(command: str) -> None:
    assert command in README


def test_what_the_first_command_prints_is_what_the_readme_shows(folder: Path) -> None:
    shown = re.search(r"```text\n(tests/photos/chelsea.*?)```", README, re.DOTALL)
    command = [sys.executable, "-m", "cloudfn", "crop", "tests/photos/chelsea.jpg", "--ratios", "1,2.35"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown
    assert done.stdout == shown[1]
