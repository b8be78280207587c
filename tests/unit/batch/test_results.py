"""The file of results: valid whatever happened, one line a picture."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cloudfn.batch.results import Results
from cloudfn.batch.values import Item
from cloudfn.errors import CloudError


def line(source: str, code: int = 0, **more: Any) -> dict[str, Any]:
    return {"input": source, "errCode": code, "backend": "local", **more}


def write(path: Path, *lines: dict[str, Any], torn: str = "") -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines) + torn)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def test_a_run_that_does_not_go_on_replaces_nothing(out: Path) -> None:
    write(out, line("a"))
    with pytest.raises(CloudError, match="holds results already") as caught:
        Results(out)
    assert "--resume" in caught.value.hint
    assert read(out) == [line("a")]


@pytest.mark.parametrize("torn", ["", '{"inp', '{"input": "b", "errCode": 0}', '{"input": "b'])
def test_a_torn_end_is_taken_away(torn: str, out: Path) -> None:
    write(out, line("a"), torn=torn)
    with Results(out, resume=True) as results:
        assert not results.wants(Item("a"))
        assert results.wants(Item("b"))
        results.append(line("b"))
    assert read(out) == [line("a"), line("b")]


def test_a_file_that_is_something_else_is_left_as_it_is(out: Path, photo: Any) -> None:
    for content in (photo("chelsea.jpg").read_bytes(), b"hello", b'{"a": 1}\n', b"[]\n"):
        out.write_bytes(content)
        with pytest.raises(CloudError, match="is no result of a batch"):
            Results(out, resume=True)
        assert out.read_bytes() == content


def test_failures_are_done_again_and_have_one_line_in_the_end(out: Path) -> None:
    write(out, line("a"), line("b", 101002), line("c", 101000))
    with Results(out, retry_failed=True) as results:
        assert [results.wants(Item(name)) for name in "abcd"] == [False, True, True, True]
        assert [results.wants(Item(name)) for name in "abcd"] == [False] * 4
        results.append(line("b"))
        results.append(line("d"))
        assert results.done == 4
    assert read(out) == [line("a"), line("c", 101000), line("b"), line("d")]


def test_a_run_killed_between_two_lines_of_a_picture_leaves_the_later_one(out: Path) -> None:
    write(out, line("a", 101002), line("b"), line("a"))
    with Results(out, resume=True) as results:
        assert results.done == 2
        assert [each["errCode"] for each in results.lines()] == [0, 0]
    assert read(out) == [line("b"), line("a")]


def test_the_same_picture_with_other_ratios_is_another(out: Path) -> None:
    with Results(out) as results:
        assert results.wants(Item("a", "1"))
        assert results.wants(Item("a", "2"))
        assert not results.wants(Item("a", "1"))


def test_two_runs_do_not_write_one_file(out: Path) -> None:
    pytest.importorskip("fcntl")
    with Results(out), pytest.raises(CloudError, match="another run is writing"):
        Results(out, resume=True)


def test_names_that_no_encoding_has_are_valid_json(out: Path) -> None:
    broken, good = os.fsdecode(b"\xd5\xd5.jpg"), "照片 😀.jpg"
    with Results(out) as results:
        results.append(line(broken))
        results.append(line(good))
    assert [each["input"] for each in read(out)] == [broken, good]
    assert good.encode() in out.read_bytes()
    with Results(out, resume=True) as results:
        assert not results.wants(Item(broken))


def test_names_of_cut_pictures_are_unlike_and_short(out: Path) -> None:
    long = "很" * 300
    items = [Item("x/a.jpg"), Item("y/A.png"), Item("z", name="in/a"), Item(f"{long}1.jpg"), Item(f"{long}2.jpg")]
    with Results(out) as results:
        names = [results.register.named(item).name for item in [*items, Item("s3://b/../c%3F.jpg"), Item("-")]]
    assert names[:3] == ["a", "A-2", "in/a"]
    assert len({name.lower() for name in names}) == 7
    assert all(len(os.fsencode(name)) < 200 for name in names)
    assert names[5] == "c_"


def test_names_of_an_earlier_run_stay_taken(out: Path) -> None:
    write(out, line("x/a.jpg", name="a"))
    with Results(out, resume=True) as results:
        assert results.register.named(Item("y/a.jpg")).name == "a-2"


def test_a_temporary_folder_without_room_is_told(out: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limits of processes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    keys = (hashlib.sha256(b"%d" % number).digest() for number in range(200_000))
    with Results(out) as results:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
        try:
            with pytest.raises(CloudError, match=r"temporary folder cannot hold .*; make room there"):
                all(results.register.claim(key, failed_too=False) for key in keys)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_a_regular_file_can_be_resumed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(CloudError, match="is no regular file; name one"):
            Results(path)


@pytest.mark.parametrize("where", ["none/r.jsonl", "."])
def test_a_file_that_cannot_be_written_is_told(where: str, tmp_path: Path) -> None:
    with pytest.raises(CloudError) as caught:
        Results(tmp_path / where)
    assert caught.value.errCode == -601002
