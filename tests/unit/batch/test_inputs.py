"""What stands for which pictures."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cloudfn.batch import crop_all
from cloudfn.batch.inputs import Filter, expand
from cloudfn.batch.values import Item
from cloudfn.errors import CloudError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.PNG", "note.txt", ".hidden.jpg", "in/c.webp", "in/deep/d.jpeg", ".git/e.jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def listed(*sources: Any, only: Filter | None = None, stdin: bytes | None = None, ratios: str = "") -> list[Item]:
    stream = None if stdin is None else io.BufferedReader(io.BytesIO(stdin))
    return list(expand(sources, ratios, only or Filter(), stream))


def test_a_folder_is_all_its_pictures_and_nothing_hidden(folder: Path) -> None:
    items = listed("photos")
    assert [item.source for item in items] == [
        "photos/a.PNG",
        "photos/b.jpg",
        "photos/in/c.webp",
        "photos/in/deep/d.jpeg",
    ]
    assert [item.name for item in items] == ["a", "b", "in/c", "in/deep/d"]


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (Filter(include=("*.jpg", "*.jpeg")), ["b.jpg", "d.jpeg"]),
        (Filter(include=("*.txt",)), ["note.txt"]),
        (Filter(exclude=("in/*",)), ["a.PNG", "b.jpg"]),
        (Filter(include=("*.jpg",), exclude=("b*",)), []),
    ],
)
def test_filters(only: Filter, names: list[str], folder: Path) -> None:
    assert [Path(item.source).name for item in listed("photos", only=only)] == names


def test_a_glob_is_what_it_matches_unless_a_file_has_that_name(folder: Path) -> None:
    assert [item.source for item in listed("photos/**/*.j*")] == ["photos/b.jpg", "photos/in/deep/d.jpeg"]
    (folder / "x[1].jpg").write_bytes(b"x")
    assert listed("x[1].jpg") == [Item("x[1].jpg")]
    (nothing,) = listed("photos/*.gif")
    assert nothing.error is not None
    assert "matches no file" in nothing.error.facts.problem


def test_what_is_no_file_in_a_folder_is_left_alone(folder: Path) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "photos" / "pipe.jpg")
    (folder / "photos" / "folder.jpg").mkdir()
    (folder / "photos" / "loop").symlink_to(folder / "photos")
    (folder / "photos" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    names = [Path(item.source).name for item in listed("photos")]
    assert names == ["a.PNG", "b.jpg", "gone.jpg", "c.webp", "d.jpeg"]


def test_lists_of_every_kind(folder: Path) -> None:
    (folder / "l.txt").write_bytes("\ufeff照片/一.jpg\r\n\r\nhttps://example.com/a.jpg?x=1\n".encode())
    lines = [
        {"input": "a.jpg", "ratios": "1,16:9"},
        {"url": "https://example.com/b.jpg", "ratios": [1, "2:3"]},
        {"path": "c.jpg"},
    ]
    (folder / "l.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "l.csv").write_text('path,title,ratios\na.jpg,x,"1,2"\n"b, c.jpg",y\n')
    assert listed("l.txt", ratios="3") == [Item("照片/一.jpg", "3"), Item("https://example.com/a.jpg?x=1", "3")]
    assert listed("l.jsonl", ratios="3") == [
        Item("a.jpg", "1,16:9"),
        Item("https://example.com/b.jpg", "1,2:3"),
        Item("c.jpg", "3"),
    ]
    assert listed("l.csv") == [Item("a.jpg", "1,2"), Item("b, c.jpg")]
    assert listed({"input": Path("a.jpg"), "ratios": 1.5}, "b.jpg", ratios="2") == [
        Item("a.jpg", "1.5"),
        Item("b.jpg", "2"),
    ]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_list_with_one_line_of_rubbish_in_a_hundred(kind: str, folder: Path) -> None:
    rubbish = {
        "jsonl": ['{"input": ', "{}", '{"input": 5}', '{"input": "a", "ratios": {}}', '{"input": "a\\u0000"}', "\0"],
        "csv": ['"never closed', ",1", '"a"b,1', "a" * 70_000, '"', ",,,"],
    }[kind]
    good = '{{"input": "{}.jpg"}}' if kind == "jsonl" else "{}.jpg,1"
    lines = ["path,ratios"] if kind == "csv" else []
    lines += [rubbish[number // 100] if number % 100 == 50 else good.format(number) for number in range(600)]
    (folder / f"l.{kind}").write_text("\n".join(lines))
    items = listed(f"l.{kind}")
    bad = [item for item in items if item.error]
    assert len(items) == 600
    assert len(bad) == 6
    assert all(item.error and item.error.errCode == -401002 for item in bad)
    assert [item.source for item in bad] == [f"l.{kind}:{number}" for number in range(51 + (kind == "csv"), 602, 100)]


def test_standard_input_is_a_picture_or_a_list(photo: Any) -> None:
    data = photo("chelsea.jpg").read_bytes()
    assert listed("-", stdin=data) == [Item("-", name="stdin", data=data)]
    assert listed("-", stdin=b"BMW.jpg\n/b.jpg") == [Item("BMW.jpg"), Item("/b.jpg")]
    with pytest.raises(CloudError, match="standard input is closed"):
        listed("-")


def test_a_name_that_is_no_utf8_comes_through(folder: Path) -> None:
    raw = b"\xd5\xd5\xc6\xac.jpg"  # GBK
    assert listed("-", stdin=raw + b"\n") == [Item(os.fsdecode(raw))]


@pytest.mark.parametrize("name", ["none.jsonl", "none.csv"])
def test_a_list_that_is_not_there_is_told_at_once(name: str, folder: Path) -> None:
    with pytest.raises(CloudError, match=r"cannot be read: No such file"):
        listed(name)


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/l.txt", "HTTPS://example.com/l.jsonl"])
def test_a_list_behind_http_is_not_fetched(name: str) -> None:
    """fsspec would, from private addresses too."""
    with pytest.raises(CloudError, match="is a list behind http; download it"):
        listed(name)


def test_a_csv_without_a_column_for_the_picture(folder: Path) -> None:
    (folder / "l.csv").write_text("name\na.jpg\n")
    with pytest.raises(CloudError, match="names no column"):
        listed("l.csv")


def test_nothing_is_listed_before_it_is_wanted() -> None:
    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"{number}.jpg"

    assert [item.source for item in islice(expand(endless(), "", Filter()), 3)] == ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"inputs": None}, "inputs are a path, a URL or a list of them, not a NoneType"),
        ({"inputs": "a.jpg", "workers": 0}, "workers is a whole number from 1 on, not 0"),
        ({"inputs": "a.jpg", "workers": "2"}, "workers is a whole number"),
        ({"inputs": "a.jpg", "executor": 5}, "executor is a concurrent.futures.Executor, not a int"),
    ],
)
def test_arguments_of_another_type(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        crop_all(**arguments)


@pytest.mark.parametrize("arguments", [{"limit": -1}, {"quota": 0}, {"rate": 0}, {"rate": -1.5}, {"rate": math.nan}])
def test_numbers_that_limit_nothing(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is a number above 0, not "):
        crop_all("a.jpg", **arguments)


@pytest.mark.parametrize("wrong", [{"size": (0, None)}, {"size": 5}, {"quality": 500}, {"format": "bmp"}])
def test_settings_of_cut_pictures_are_refused_before_any_work(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"a {next(iter(wrong))} is "):
        next(crop_all("a.jpg", cut=tmp_path / "cut", **wrong))
    assert list(tmp_path.iterdir()) == []
