"""The documentation says what runs: its tables, its links, and every block of code, in both languages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from cloudfn.call.apis import APIS
from cloudfn.server.faults import ENDPOINTS
from tests.support.docs import ROOT, TABLES, Block, blocks, counterpart, is_chinese, pages, render, texts, translations
from tests.support.recording import RecordingServer, http

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
ENGLISH = [page for page in PAGES if not is_chinese(page.values[0])]  # type: ignore[arg-type]
ESCAPED = "\\|"  # a bar inside a cell
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


@pytest.mark.parametrize("table", TABLES)
def test_every_table_stands_in_both_languages(table: str) -> None:
    found = [is_chinese(page) for page in pages() if f"<!-- {table} -->" in page.read_text(encoding="utf-8")]
    assert set(found) == {True, False}


def test_no_text_of_a_chinese_table_is_left_in_english() -> None:
    said = translations()
    lacking = [
        (table, text)
        for table, wanted in texts().items()
        for text in wanted
        if not re.search("[\u4e00-\u9fff]", said[table].get(text, ""))
    ]
    assert lacking == [], "chinese.json lacks their translation"


def test_no_translation_is_left_over() -> None:
    wanted = texts()
    assert [(table, text) for table, said in translations().items() for text in said if text not in wanted[table]] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_readme_leads_to_every_topic_and_names_every_extra_of_a_call(language: str) -> None:
    readme = (ROOT / ("README.md" if language == "en" else "README.zh-CN.md")).read_text(encoding="utf-8")
    topics = [f"docs/{language}/{page.name}" for page in (ROOT / "docs" / language).glob("*.md")]
    assert [topic for topic in topics if f"({topic})" not in readme] == []
    named = {extra for listed in re.findall(r"\.\[([\w,]+)\]", readme) for extra in listed.split(",")}
    assert {api.extra for api in APIS.values() if api.extra} <= named


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_of_the_server_names_what_can_fail_on_purpose(language: str) -> None:
    page = (ROOT / "docs" / language / "server.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| `--fault")]
    assert [name for name in ENDPOINTS if f"`{name}`" not in row] == []
    assert "| `--storage DIR` |" in page


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_shown_has_its_name_above(page: Path) -> None:
    """The name in the comment is for the tests: nobody sees it on the rendered page."""
    text = page.read_text(encoding="utf-8")
    shown = [(found[1], text[: found.start()].rstrip()) for found in re.finditer(r"<!-- file: (\S+) -->", text)]
    assert [name for name, above in shown if f"`{name}`" not in above.rpartition("\n\n")[2]] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_mark_of_markdown_is_left_on_the_rendered_page(page: Path) -> None:
    """Beside a full-width sign `**` is no bold text, but two asterisks."""
    html = MarkdownIt("commonmark").enable("table").render(page.read_text(encoding="utf-8"))
    prose = re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)
    assert [line for line in prose.splitlines() if re.search(r"\*\*|`|\]\(", line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_page_leads_to_the_same_page_in_the_other_language(page: Path) -> None:
    other = counterpart(page)
    link = f"]({os.path.relpath(other, page.parent)})".replace(os.sep, "/")
    assert link in page.read_text(encoding="utf-8").partition("\n#")[0]
    assert other.is_file()


@pytest.mark.parametrize("page", ENGLISH)
def test_the_chinese_page_has_the_same_blocks_and_tables(page: Path) -> None:
    english, chinese = page.read_text(encoding="utf-8"), counterpart(page).read_text(encoding="utf-8")
    assert ran(chinese) == ran(english)
    assert shape(chinese) == shape(english)


def ran(text: str) -> list[Block]:
    """The blocks that are not only shown."""
    return [block for block in blocks(text) if block.role != "shown"]


def shape(text: str) -> list[str]:
    """What a translation has in common with its page: the levels of its headings, the columns of its tables' rows."""
    return [
        heading or f"{row.replace(ESCAPED, '').count('|') - 1} columns"
        for heading, row in re.findall(r"(?m)^(?:(#+) |(\|.*\|)$)", text)
    ]


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
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--preview", "preview.png"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert shown
    assert done.stdout == shown[1]
    assert (folder / "preview.png").stat().st_size > 10_000


def test_the_workflow_tests_every_python_that_the_package_names() -> None:
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
    matrix = re.search(r"python: \[(.*)\]", workflow)
    assert matrix
    assert re.findall(r"3\.\d+", matrix[1]) == named


def test_the_workflows_actions_are_pinned_to_commits() -> None:
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)", workflow.read_text(encoding="utf-8"))
        assert used
        assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []
