from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudfn import CloudError, settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_argument_then_environment_then_dotenv_then_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().timeout == 10
    (folder / ".env").write_text("\ufeffCLOUDFN_TIMEOUT=7\nWX_ACCESS_TOKEN='a${HOME}$b'\n", encoding="utf-8")
    assert settings.load().timeout == 7
    assert settings.load().access_token.reveal() == "a${HOME}$b"
    monkeypatch.setenv("CLOUDFN_TIMEOUT", "6.5")
    assert settings.load().timeout == 6.5
    assert settings.load({"timeout": 5}).timeout == 5
    assert settings.load({"cloudfn_timeout": "4"}).timeout == 4
    assert settings.load({"timeout": None}).timeout == 6.5
    assert "WX_ACCESS_TOKEN" not in settings.environment()


def test_an_empty_value_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_BACKEND", "")
    monkeypatch.setenv("CLOUDFN_TIMEOUT", "")
    assert (settings.load().backend, settings.load().timeout) == ("auto", 10)


def test_only_dotenv_of_the_working_directory_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("CLOUDFN_TIMEOUT=7")
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert settings.load().timeout == 10


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("CLOUDFN_BACKEND", "wehcat", "one of auto, wechat, local"),
        ("CLOUDFN_TIMEOUT", "soon", "a number of seconds above 0 and at most 900"),
        ("CLOUDFN_TIMEOUT", "0", "above 0"),
        ("CLOUDFN_TIMEOUT", "nan", "above 0"),
        ("CLOUDFN_TIMEOUT", "10000", "at most 900"),
        ("CLOUDFN_MAX_MEGAPIXELS", "-1", "a number of megapixels"),
        ("CLOUDFN_MAX_URL_MIB", "x", "a number of MiB"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(CloudError, match=allowed) as raised:
        settings.load()
    assert raised.value.errCode == -601002
    assert raised.value.errMsg.startswith(f"{name}: got '{value}' (environment), expected ")


def test_an_unknown_keyword(folder: Path) -> None:
    with pytest.raises(CloudError, match="did you mean timeout") as raised:
        settings.load({"timeuot": 5})
    assert raised.value.errCode == -401002


@pytest.mark.parametrize(
    "arguments",
    [
        {"access_token": b"abc"},
        {"access_token": ["a"]},
        {"access_token": "a\nb"},
        {"timeout": True},
        {"timeout": "1_0"},
        {"timeout": "１０"},
        {"config": object()},
        {"ca_bundle": "a" * 5000},
        {"ca_bundle": "none.pem"},
    ],
)
def test_values_of_a_wrong_kind(arguments: dict[str, Any]) -> None:
    with pytest.raises(CloudError) as raised:
        settings.load(arguments)
    assert raised.value.errCode == -601002


def test_a_setting_is_given_once() -> None:
    for arguments in ({"timeout": 5, "cloudfn_timeout": 7}, {5: 1}):
        with pytest.raises(CloudError) as raised:
            settings.load(arguments)  # type: ignore[arg-type]
        assert raised.value.errCode == -401002


def test_hosts_and_words_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFN_ALLOW_HOSTS", " a.example , B.example ,")
    monkeypatch.setenv("CLOUDFN_BACKEND", "Local")
    assert settings.load().allow_hosts == ("a.example", "b.example")
    assert settings.load().backend == "local"
    assert settings.load({"allow_hosts": ["c", "d"]}).allow_hosts == ("c", "d")


def test_a_secret_is_not_shown() -> None:
    assert "t0ken" not in repr(settings.load({"access_token": "t0ken"}))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_dotenv_that_cannot_be_read(content: bytes | None, folder: Path) -> None:
    if content is None:
        (folder / ".env").mkdir()  # a folder is no file: as good as absent
        assert settings.load().timeout == 10
        return
    (folder / ".env").write_bytes(content)
    with pytest.raises(CloudError, match="UTF-8") as raised:
        settings.load()
    assert raised.value.errCode == -601002


@pytest.mark.parametrize(
    ("environment", "platform"),
    [
        ({}, None),
        ({"TENCENTCLOUD_RUNENV": "SCF"}, "Tencent SCF"),
        ({"TENCENTCLOUD_RUNENV": "WX_LOCAL_SCF"}, None),
        ({"SCF_FUNCTIONNAME": "f"}, "Tencent SCF"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, "AWS Lambda"),
        ({"FC_FUNCTION_NAME": "f"}, "Alibaba FC"),
    ],
)
def test_the_platform_by_its_marks(
    environment: dict[str, str], platform: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settings.platform() == platform


def test_every_setting_has_a_keyword_and_a_variable() -> None:
    names = [setting.metadata["name"] for setting in settings.table()]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("CLOUDFN_", "WX_")) for name in names)


@pytest.mark.parametrize(
    ("arguments", "environment", "first"),
    [
        ({}, {}, ""),
        ({}, {"WX_APPID": "a"}, ""),
        ({}, {"WX_APPID": "a", "WX_APPSECRET": "b"}, "appid"),
        (
            {},
            {"WX_APPID": "a", "WX_APPSECRET": "b", "WX_CLOUDBASE_ACCESS_TOKEN_FILE": "f"},
            "cloudbase_access_token_file",
        ),
        ({}, {"WX_CLOUDBASE_ACCESS_TOKEN": "c", "WX_CLOUDBASE_ACCESS_TOKEN_FILE": "f"}, "cloudbase_access_token"),
        ({}, {"WX_CLOUDBASE_ACCESS_TOKEN": "c", "WX_ACCESS_TOKEN": "t"}, "access_token"),
        ({"appid": "a", "appsecret": "b"}, {"WX_ACCESS_TOKEN": "t"}, "appid"),
        ({"cloudbase_access_token": "c"}, {"WX_ACCESS_TOKEN": "t"}, "cloudbase_access_token"),
    ],
)
def test_the_order_of_credentials(
    arguments: dict[str, str], environment: dict[str, str], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settings.load(arguments).credential() == first


def test_cloudruns_token_file_is_found_by_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "token").write_text("c")
    monkeypatch.setattr(settings, "_CLOUDRUN_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("WX_APPID", "a")
    monkeypatch.setenv("WX_APPSECRET", "b")
    assert settings.load().credential() == "cloudbase_access_token_file"
    assert settings.load({"access_token": "t"}).cloudbase_access_token_file == ""
