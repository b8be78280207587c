"""The settings: one table, and the one place that reads the environment and `./.env`.

An argument of `init`, `Cloud` or the command line counts before the environment, the environment before `.env`, and
`.env` before the default. An empty value counts as not set. `.env` is `./.env` only; nothing is ever written to the
environment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from cloudfn import files, hosts
from cloudfn.call.naming import near
from cloudfn.codes import CODES
from cloudfn.errors import refusal, setting_error, setup_error
from cloudfn.secret import Secret

# Inside CloudRun this plain address leads to a side-car that adds the token: WX/doc, "open interface service".
SIDE_CAR = "http://api.weixin.qq.com"

# Where CloudRun mounts its token; a new one comes every 10 minutes. Source: WeChat's page "cloudcall" of CloudRun.
_CLOUDRUN_TOKEN_FILE = "/.tencentcloudbase/wx/cloudbase_access_token"
# Where a token can come from, in the order in which they count: settings, "appid" standing for appid and secret, and
# the token that came with the request being answered.
OF_THE_REQUEST = "the request"
_CREDENTIALS = (
    "access_token",
    OF_THE_REQUEST,
    "cloudbase_access_token",
    "cloudbase_access_token_file",
    "appid",
)
_DOTENV = ".env"
_function_folder: Path | None = None

# Parsed keywords of `init`, `Cloud` or the command line: field -> value.
Arguments: TypeAlias = tuple[tuple[str, Any], ...]
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/,\"]+")
_MOST_SECONDS = 900  # the longest that any platform lets a function run
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return text.lower()

    return parse


def _number(above: float, most: float, unit: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text) if _DECIMAL.fullmatch(text) else math.nan
        if not above < value <= most:
            raise ValueError(f"a number of {unit} above {above:g} and at most {most:g}")
        return value

    return parse


def _life(text: str) -> float:
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not 0 <= value <= 31_536_000:
        raise ValueError("a number of seconds from 0 to a year")
    return value


def _seconds(text: str) -> float:
    try:
        return _number(0, _MOST_SECONDS, "seconds")(text)
    except ValueError as error:
        value = float(text) if _DECIMAL.fullmatch(text) else 0.0
        meant = f": seconds here, milliseconds in Node; write {value / 1000:g}" if value > _MOST_SECONDS else ""
        raise ValueError(f"{error}{meant}") from None


def _existing(text: str) -> str:
    if not os.path.exists(text):  # noqa: PTH110 - Path.exists raises for a name that is too long
        raise ValueError("a file or folder that exists")
    return text


def _word(text: str) -> str:
    """Parse a credential: it travels in an address, where a line break inside it is always a slip."""
    if not text.isprintable():
        raise ValueError("text without line breaks and control characters")
    return text


def _proxy(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("http://host:port or http://user:password@host:port")
    return text


def _switch(text: str) -> bool:
    try:
        return {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError("on or off") from None


_PERIODS = {"day": 86400, "hour": 3600, "minute": 60}
_QUOTA = re.compile(r"([0-9]{1,9})\s*/\s*(day|hour|minute)")


def _quota(text: str) -> tuple[tuple[int, int], ...]:
    """Parse `100/day,10/minute` into calls and the seconds of their period, for each part."""
    parts = [_QUOTA.fullmatch(part.strip().lower()) for part in text.split(",")]
    if not all(parts):
        raise ValueError("calls a period, such as 100/day or 100/day,10/minute")
    return tuple((int(part[1]), _PERIODS[part[2]]) for part in parts if part)


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(host.strip().lower() for host in text.split(",") if host.strip())


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError("origins such as https://example.com, without a path, or *")
    return origins


def _setting(name: str, default: Any, meaning: str, parse: Callable[[str], Any] = str, *, secret: bool = False) -> Any:
    metadata = {"name": name, "meaning": meaning, "parse": parse, "secret": secret}
    return field(default=Secret(default) if secret else default, repr=not secret, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Every setting, parsed. A field's name is its keyword; its metadata holds the environment variable's name."""

    backend: str = _setting(
        "CLOUDFN_BACKEND",
        "auto",
        "`wechat`, `local` (the embedded engine) or `auto`: wechat where credentials are set, else local; on a "
        "serverless platform never local by accident",
        _choice("auto", "wechat", "local"),
    )
    config: str = _setting("CLOUDFN_CONFIG", "", "path of config.json; otherwise it is looked for beside the function")
    appid: str = _setting(
        "WX_APPID", "", "the mini program's appid; with the secret, tokens are fetched as needed", _word
    )
    appsecret: Secret = _setting("WX_APPSECRET", "", "its app secret", _word, secret=True)
    access_token: Secret = _setting("WX_ACCESS_TOKEN", "", "an access token from outside", _word, secret=True)
    cloudbase_access_token: Secret = _setting(
        "WX_CLOUDBASE_ACCESS_TOKEN", "", "a cloudbase access token from outside", _word, secret=True
    )
    cloudbase_access_token_file: str = _setting(
        "WX_CLOUDBASE_ACCESS_TOKEN_FILE", "", "a file with one, read for each call; CloudRun's own is found by itself"
    )
    token_api: str = _setting(
        "CLOUDFN_TOKEN_API",
        "stable_token",
        "`stable_token`, or `token` for the older API, each of whose tokens makes the one before it void",
        _choice("stable_token", "token"),
    )
    api_base: str = _setting(
        "CLOUDFN_API_BASE",
        "https://api.weixin.qq.com",
        f"where WeChat's API is: https, or http to this machine; `{SIDE_CAR}` means CloudRun's side-car, which gets no "
        "token",
    )
    timeout: float = _setting("CLOUDFN_TIMEOUT", 10.0, "seconds for one whole call", _seconds)
    store: Secret = _setting(
        "CLOUDFN_STORE",
        "memory",
        "where tokens, cached results and counted calls are kept: `memory`, `file:///folder` for the processes of a "
        "machine, `redis://...` or `rediss://...` for any number of machines",
        secret=True,  # a Redis address may hold a password
    )
    cache: float = _setting(
        "CLOUDFN_CACHE",
        0.0,
        "seconds that a result is kept, by the picture's content and the ratios (of a URL at most 60); 0: not at all",
        _life,
    )
    fallback: bool = _setting(
        "CLOUDFN_FALLBACK",
        False,
        "`on`: the embedded engine answers when WeChat is busy, out of quota or cannot be reached",
        _switch,
    )
    shrink: bool = _setting(
        "CLOUDFN_SHRINK",
        False,
        "`on`: pictures of 2 MiB and more go to WeChat smaller, and the boxes are scaled back",
        _switch,
    )
    quota: tuple[tuple[int, int], ...] = _setting(
        "CLOUDFN_QUOTA",
        (),
        "calls to WeChat that all processes of a store may make together, such as `100/day` or `100/day,10/minute`; "
        "the next one ends with 45009 or 45011 before any network",
        _quota,
    )
    allow_hosts: tuple[str, ...] = _setting(
        "CLOUDFN_ALLOW_HOSTS",
        (),
        "hosts, joined by commas, that a picture's URL may name although their address is private",
        _hosts,
    )
    proxy: Secret = _setting(
        "CLOUDFN_PROXY", "", "the proxy to WeChat, `http://host:port`; otherwise the environment's", _proxy, secret=True
    )
    ca_bundle: str = _setting("CLOUDFN_CA_BUNDLE", "", "file or folder of trusted certificates", _existing)
    cors: tuple[str, ...] = _setting(
        "CLOUDFN_CORS",
        (),
        "origins, joined by commas, whose pages may call a function over HTTP, such as `https://example.com`; `*` for "
        "all",
        _origins,
    )
    trigger_seconds: float | None = _setting(
        "CLOUDFN_TRIGGER_SECONDS",
        None,
        "what the HTTP trigger waits for the function, where that was changed: API Gateway's REST APIs wait for 29 s "
        "unless it is raised",
        _number(0, 900, "seconds"),
    )
    storage: str = _setting("CLOUDFN_STORAGE", "", "a folder that is the `local` backend's cloud storage", _existing)
    max_url_mib: float = _setting(
        "CLOUDFN_MAX_URL_MIB", 32.0, "the largest picture fetched from a URL, in MiB", _number(0, 1024, "MiB")
    )
    max_megapixels: float = _setting(
        "CLOUDFN_MAX_MEGAPIXELS", 24.0, "the largest picture that the engine decodes", _number(0, 1000, "megapixels")
    )
    max_jpeg_megapixels: float = _setting(
        "CLOUDFN_MAX_JPEG_MEGAPIXELS",
        100.0,
        "the same for baseline JPEG, which is shrunk while it is decoded",
        _number(0, 1000, "megapixels"),
    )

    # Where each value came from that is not a default: field -> "argument", "environment" or ".env".
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def credential(self, *, of_the_request: bool = False) -> str:
        """Return where tokens come from: the name of a field, "appid" standing for appid and secret, or "side-car".

        "" where there is nothing. An argument counts before everything else, then access_token, then the token of the
        request where the call has one (`OF_THE_REQUEST`), then the cloudbase token, then appid and secret.
        """
        if self.uses_side_car:
            return "side-car"
        usable = [name for name in _CREDENTIALS if (of_the_request if name == OF_THE_REQUEST else self._usable(name))]
        return min(usable, key=lambda name: self.sources.get(name) != "argument", default="")

    def _usable(self, name: str) -> bool:
        return bool(getattr(self, name)) and (name != "appid" or bool(self.appsecret))

    @property
    def has_credentials(self) -> bool:
        """Return whether WeChat is meant to be called: there are credentials, or a secret whose appid was forgotten.

        An appid alone says nothing: it is a part of every caller's context too.
        """
        return bool(self.credential() or self.appsecret)

    @property
    def missing_credential(self) -> str:
        """Return the cure for missing credentials."""
        if self.appid or self.appsecret:
            return f"set {'WX_APPSECRET' if self.appid else 'WX_APPID'} too"
        return CODES[41001].cure

    @property
    def uses_side_car(self) -> bool:
        """Return whether WeChat is reached through CloudRun's side-car, which adds the token by itself."""
        return self.api_base.rstrip("/") == SIDE_CAR


def table() -> tuple[dataclasses.Field[Any], ...]:
    """Return the settings one by one: field name, default, and metadata name, meaning, parse, secret."""
    return tuple(setting for setting in dataclasses.fields(Settings) if setting.metadata)


def load(arguments: Mapping[str, object] | None = None) -> Settings:
    """Return the settings now in force. `arguments` are keywords: a field's name or its variable's name in lower case.

    Raises `CloudError`: -401002 for an unknown keyword, -601002 for a bad value, which it names with what is allowed.
    """
    return in_force(check(arguments or {}))


def in_force(arguments: Arguments = ()) -> Settings:
    """Return the settings now in force, with keywords that `check` has parsed.

    What did not change is not parsed again: a call costs a look at the environment and at two files.
    Raises `CloudError` -601002 for a bad value.
    """
    return _combined(arguments, _environment(), files.version(_DOTENV), files.is_regular(_CLOUDRUN_TOKEN_FILE))


@lru_cache(maxsize=16)
def _combined(
    arguments: Arguments, _texts: tuple[Any, ...], _version: files.Version | None, in_cloudrun: bool
) -> Settings:
    values, sources = dict(arguments), dict.fromkeys((name for name, _ in arguments), "argument")
    for setting, value, source in surroundings():
        if setting.name not in values:
            values[setting.name] = parsed(setting, value, source)
            sources[setting.name] = source
    if in_cloudrun and not values.keys() & {name for name in _CREDENTIALS if name != "appid"}:
        values["cloudbase_access_token_file"] = _CLOUDRUN_TOKEN_FILE
        sources["cloudbase_access_token_file"] = "CloudRun"
    return Settings(**values, sources=sources)


def one(name: str) -> Any:
    """Return the one setting `name`, without an argument; raises `CloudError` -601002 where it has a bad value."""
    for setting, value, source in surroundings():
        if setting.name == name:
            return parsed(setting, value, source)
    return _KEYWORDS[name].default


def surroundings() -> Iterator[tuple[dataclasses.Field[Any], str | Secret, str]]:
    """Yield what the environment and `.env` set: the setting, its text and its place; of two, the one that counts."""
    dotenv, _ = _dotenv(files.version(_DOTENV))
    for (name, setting), value in zip(_SETTINGS.items(), _environment(), strict=True):
        if value:
            yield setting, value, "environment"
        elif text := dotenv.get(name):
            yield setting, text, ".env"


def names_set() -> set[str]:
    """Return every name that the environment or `.env` sets, settings or not."""
    _, names = _dotenv(files.version(_DOTENV))
    return {*os.environ, *names}


def _environment() -> tuple[str | Secret | None, ...]:
    """Return the environment's text for each setting, in the order of `_SETTINGS`."""
    get = os.environ.get
    return tuple([Secret(get(name) or "") if name in _SECRETS else get(name) for name in _SETTINGS])


def sealed(*several: Mapping[str, object] | None) -> dict[str, Any]:
    """Merge keywords into one mapping, the secret ones hidden from tracebacks; the last one counts."""
    together = {name: value for mapping in several if isinstance(mapping, Mapping) for name, value in mapping.items()}
    return {name: _sealed(value) if str(name).upper() in _SECRETS else value for name, value in together.items()}


def _sealed(value: object) -> object:
    if value is None or isinstance(value, Secret):
        return value
    # A value of a wrong type is replaced by its type, which is rejected in the same way.
    return Secret(str(value)) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else type(value)


def check(arguments: Mapping[str, object]) -> Arguments:
    """Return the keywords alone, parsed, by field; raise what `load` raises for them."""
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        setting = _KEYWORDS.get(name)
        if setting is None:
            known = ", ".join(f.name for f in table())
            match = near(str(name), _KEYWORDS)
            cure = f"did you mean {match}?" if match else f"the settings are {known}"
            raise refusal(-401002, f"unknown setting {name!r}", cure)
        if value is not None and value != "" and value != Secret(""):
            if setting.name in values:
                raise refusal(-401002, f"the setting {setting.name} is given twice", "give it once")
            values[setting.name] = parsed(setting, value, "argument")
    return tuple(values.items())


def environment() -> Mapping[str, str]:
    """Return the process's environment."""
    return os.environ


def platform() -> str | None:
    """Return the serverless platform that this process runs on, as far as its environment shows; None elsewhere."""
    host = hosts.current(os.environ)
    return host.title if host else None


def use_code_folder(folder: Path | None) -> None:
    """Set where the function's own file lies when this process runs it from elsewhere."""
    global _function_folder
    _function_folder = folder


def code_folders(initialised: Path | None = None) -> list[Path]:
    """Return the folders where a function's own files may lie, the likeliest first.

    Beside its file, in the platform's code folder, beside the file that makes the call, `initialised` (beside the file
    that made the instance, for calls from a pool of threads, behind which no file stands), in the working directory.
    """
    names = [name for host in hosts.HOSTS.values() for name in host.code_folders]
    deployed = [Path(folder) for name in names if (folder := os.environ.get(name))]
    working = None
    with contextlib.suppress(OSError):  # it may have been deleted
        working = Path.cwd()
    folders = (_function_folder, *deployed, calling_folder(), initialised, working)
    return [folder for folder in folders if folder]


def calling_folder() -> Path | None:
    """Return the folder of the file whose code called into this package: `pytest` runs functions from elsewhere."""
    frame = sys._getframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_CALLING:
        frame = frame.f_back  # type: ignore[assignment]
    name = frame.f_code.co_filename if frame else ""
    return None if name.startswith("<") or not name else Path(name).parent


# Frames of these modules are skipped: the caller is behind them.
_NOT_CALLING = ("cloudfn", "functools", "contextlib", "concurrent", "threading", "contextvars")


def parsed(setting: dataclasses.Field[Any], value: object, source: str) -> Any:
    """Parse one value; raise `CloudError` -601002, which names it, unless it is secret, and what is allowed."""
    name, secret = setting.metadata["name"], setting.metadata["secret"]
    if secret:
        value = _sealed(value)
    try:
        return _parsed(setting, value)
    except ValueError as error:
        expected = str(error)
    # Raised out here so that no secret's text stays in __context__.
    raise setting_error(name, f"{'a value' if secret else repr(value)[:60]} ({source})", expected)


def _parsed(setting: dataclasses.Field[Any], value: object) -> Any:
    parse = setting.metadata["parse"]
    if isinstance(value, Secret):
        return Secret(parse(value.reveal().strip()))
    if isinstance(value, (list, tuple, set, frozenset)) and parse in (_hosts, _origins):
        value = ",".join(map(str, value))
    if isinstance(value, bool) and parse is _switch:
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float, os.PathLike)):
        raise ValueError("text or a number")
    return parse(os.fspath(value) if isinstance(value, os.PathLike) else str(value).strip())


@lru_cache(maxsize=8)
def _dotenv(version: files.Version | None) -> tuple[Mapping[str, str | Secret], frozenset[str]]:
    """Return the texts that `./.env` holds for settings, and every name in it."""
    if version is None or not files.is_regular(_DOTENV):
        return {}, frozenset()
    try:
        # utf-8-sig: editors on Windows write a byte order mark.
        text = Secret(files.read(_DOTENV).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
    else:
        return _named(text)
    cure = "save it as UTF-8 text that this user can read"
    raise setup_error(f"{Path(_DOTENV).absolute()} cannot be read ({why})", cure)


def _named(text: Secret) -> tuple[Mapping[str, str | Secret], frozenset[str]]:
    import io

    from dotenv import dotenv_values

    # Secrets may hold "$", so nothing is interpolated.
    texts = dotenv_values(stream=io.StringIO(text.reveal()), interpolate=False)
    mine = {name: value for name, value in texts.items() if name in _SETTINGS and value}
    return {name: Secret(v) if name in _SECRETS else v for name, v in mine.items()}, frozenset(texts)


# Variable -> setting; keyword -> setting, the variable in lower case being one too; the variables and keywords, in
# upper case, of those that are secret.
_SETTINGS: Mapping[str, dataclasses.Field[Any]] = {setting.metadata["name"]: setting for setting in table()}
_KEYWORDS: Mapping[str, dataclasses.Field[Any]] = {
    name: setting for setting in table() for name in (setting.name, setting.metadata["name"].lower())
}
_SECRETS = frozenset(name.upper() for name, setting in _KEYWORDS.items() if setting.metadata["secret"])
