from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest

from cloudfn import CloudError, permissions, settings

GRANT = '{"permissions": {"openapi": ["img.aiCrop"]}}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hint(config: str = "") -> str:
    """The hint of the refusal."""
    with pytest.raises(CloudError) as raised:
        permissions.check("img.aiCrop", config)
    error = raised.value
    assert error.to_dict() == {"errCode": -604101, "errMsg": "system error: error code: -604101"}
    assert str(error) == (
        "errCode: -604101 function has no permission to call this API | errMsg: system error: error code: -604101"
    )
    assert error.api == "img.aiCrop"
    return error.hint


def test_granted(folder: Path) -> None:
    (folder / "config.json").write_text("\ufeff" + GRANT, encoding="utf-8")
    permissions.check("img.aiCrop")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "line 1, column 1"),
        ('{\n  "permissions": {"openapi": ["img.aiCrop"],}\n}', "line 2, column "),
        ('{\n  // the API\n  "permissions": {}\n}', "line 2, column 3"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ("{}", "'permissions' is a required property"),
        ('{"permissions": {}}', "'openapi' is a required property"),
        ('{"permissions": null}', "permissions must be an object"),
        ('{"permissions": {"openapi": null}}', "permissions.openapi must be a list"),
        ('{"permissions": {"openapi": "img.aiCrop"}}', "permissions.openapi must be a list"),
        ('{"permissions": {"openapi": {"img.aiCrop": true}}}', "permissions.openapi must be a list"),
        ('{"permissions": {"openapi": [5, "img.aiCrop"]}}', "permissions.openapi[0] must be an API's name"),
        ('{"permissions": {"openapi": []}}', "does not list it"),
        ('{"permissions": {"openapi": ["*"]}}', "does not list it"),
        ('{"permissions": {"openapi": ["img.*", "wxacode.get"]}}', "does not list it"),
        (
            '{"permissions": {"openapi": ["openapi.img.aiCrop"]}}',
            '"openapi.img.aiCrop" is not the name; write "img.aiCrop"',
        ),
        ('{"permissions": {"openapi": ["img.aicrop"]}}', '"img.aicrop" is not the name; write "img.aiCrop"'),
        ('{"permission": {"openapi": ["img.aiCrop"]}}', 'did you mean "permissions"?'),
        ('{"permissions": {"openApi": ["img.aiCrop"]}}', 'did you mean "permissions.openapi"?'),
        (GRANT[:-1] + ', "triggers": {}}', "triggers must be a list of at most one timer"),
        (
            GRANT[:-1] + ', "triggers": [{"name": "a", "type": "cron", "config": "0 0 2 * * * *"}]}',
            'triggers[0].type must be "timer"',
        ),
        (GRANT[:-1] + ', "triggers": [{"name": "a", "type": "timer", "config": "0 2 * * *"}]}', "seven fields"),
        (
            GRANT[:-1] + ', "triggers": [{"name": "1a", "type": "timer", "config": "0 0 2 * * * *"}]}',
            "begins with a letter",
        ),
    ],
)
def test_refused_with_the_place_and_the_cure(content: str, told: str, folder: Path) -> None:
    (folder / "config.json").write_text(content)
    assert told in hint()
    assert str(folder / "config.json") in hint()


def test_two_timers_are_one_too_many(folder: Path) -> None:
    timer = '{"name": "a", "type": "timer", "config": "0 0 2 * * * *"}'
    (folder / "config.json").write_text(f'{GRANT[:-1]}, "triggers": [{timer}]}}')
    permissions.check("img.aiCrop")
    (folder / "config.json").write_text(f'{GRANT[:-1]}, "triggers": [{timer}, {timer}]}}')
    assert "triggers must be a list of at most one timer" in hint()
    broken = timer.replace('"a"', '"a\\n"')
    (folder / "config.json").write_text(f'{GRANT[:-1]}, "triggers": [{broken}]}}')
    assert "begins with a letter" in hint()


def test_missing(folder: Path) -> None:
    assert re.search(rf"no config.json was found \(looked for .*{folder / 'config.json'}\)", hint())
    assert 'put {"permissions": {"openapi": ["img.aiCrop"]}} into config.json' in hint()
    assert "none.json" in hint("none.json")


def test_unreadable(folder: Path) -> None:
    (folder / "config.json").mkdir()
    assert "cannot be read" in hint()
    (folder / "bytes.json").write_bytes(b"\xff\xff")
    assert "is not JSON in UTF-8" in hint("bytes.json")
    (folder / "wide.json").write_text(GRANT, encoding="utf-16")
    assert "is not JSON in UTF-8" in hint("wide.json")
    assert "no config.json was found" in hint("a/" * 3000)


def test_a_working_directory_that_was_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "no config.json was found" in hint()
    assert "no config.json was found (looked for elsewhere.json)" in hint("elsewhere.json")


def test_a_file_of_the_same_size_and_time(folder: Path) -> None:
    """As tools leave it that set all times to one moment; and one that becomes readable later."""
    path = folder / "config.json"
    path.write_text(GRANT)
    os.utime(path, (0, 0))
    permissions.check("img.aiCrop")
    path.write_text(GRANT.replace("aiCrop", "aiCrap"))
    os.utime(path, (0, 0))
    assert "is not the name" in hint()


def test_a_pipe_and_a_file_that_is_far_too_large(folder: Path) -> None:
    """Neither is read: the one would never end, the other takes seconds at every call."""
    os.mkfifo(folder / "pipe.json")
    assert "cannot be read (it is no regular file)" in hint("pipe.json")
    with (folder / "large.json").open("wb") as file:
        file.truncate(100_000_000)
    assert "cannot be read (it has 100,000,000 bytes, more than 1,048,576)" in hint("large.json")
    (folder / "config.json").write_text('{"permissions": ' + "[" * 100_000)
    assert "is not JSON" in hint()


def test_a_bad_file_is_not_parsed_at_every_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.json").write_text("{")
    first = hint()
    monkeypatch.setattr("cloudfn.permissions.files.read", None)  # calling it would be an error
    assert hint() == first


def test_an_edited_file_is_read_again(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text("{}")
    assert "required" in hint()
    path.write_text(GRANT)
    permissions.check("img.aiCrop")
    path.write_text(GRANT.replace("img.aiCrop", "img.AiCrop"))
    os.utime(path, ns=(1, 1))
    assert "is not the name" in hint()


def test_where_it_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was set, then the function's folder, then the platform's, then the working directory."""
    places = [folder / name for name in ("set", "function", "scf", "lambda", "fc")]
    for place in places:
        place.mkdir()
        (place / "config.json").write_text("{}")
    settings.use_code_folder(places[1])
    monkeypatch.setenv("USER_CODE_ROOT", str(places[2]))
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(places[3]))
    monkeypatch.setenv("FC_FUNC_CODE_PATH", str(places[4]))
    (folder / "config.json").write_text(GRANT)
    assert str(places[0]) in hint(str(places[0] / "config.json"))
    for place in places[1:]:
        assert str(place) in hint()
        (place / "config.json").unlink()
    permissions.check("img.aiCrop")


def test_an_unknown_key_is_warned_about(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = '{"permissions": {"openapi": ["img.aiCrop"], "database": []}, "trigger": []}'
    (folder / "config.json").write_text(content)
    with caplog.at_level(logging.WARNING, "cloudfn"):
        permissions.check("img.aiCrop")
        permissions.check("img.aiCrop")
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        'unknown key "trigger"; did you mean "triggers"?',
        'unknown key "permissions.database"',
    ]
