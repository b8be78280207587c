"""`cloudfn check`: everything in the set-up that would make a call fail, and the cure. It never calls WeChat."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cloudfn import permissions, settings
from cloudfn.backends import choose, name_of
from cloudfn.call.apis import APIS
from cloudfn.call.naming import near
from cloudfn.errors import CloudError, installing
from cloudfn.secret import Secret
from cloudfn.settings import Settings

OK, WARNING, PROBLEM = "ok", "warning", "problem"

# No release of this package is older than this day: a clock that shows less is wrong.
_RELEASED = 1_767_225_600  # 2026-01-01 UTC
_SHORTEST_TOKEN = 64  # WeChat's tokens have more than 100 characters; fewer than this are a mistake


class Finding(NamedTuple):
    """One line of the report; only a `problem` makes a call fail."""

    level: str
    about: str
    text: str
    cure: str = ""


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("check", help="what of the set-up would make a call fail, and the cure")
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Print every finding; 3 when a call would fail."""
    findings = list(_findings())
    for finding in findings:
        print(f"{finding.level:<8} {finding.about:<30} {finding.text}")
        if finding.cure:
            print(f"{'':<8} {'':<30} cure: {finding.cure}")
    return 3 if any(finding.level == PROBLEM for finding in findings) else 0


def _findings() -> Iterator[Finding]:
    try:
        bad = list(_settings())
    except CloudError as error:  # .env cannot be read
        yield Finding(PROBLEM, ".env", error.errMsg)
        return
    yield from bad
    yield from _misspelt()
    yield Finding(OK, "platform", settings.platform() or "none of the serverless platforms is recognised")
    if any(finding.level == PROBLEM for finding in bad):
        return
    current = settings.load()
    for api in APIS:
        finding = _permission(api, current)
        # A function needs what it calls; nobody needs all of them.
        if finding.level == OK or api == "img.aiCrop":
            yield finding
    yield from _backend(current)
    yield from _clock()
    yield from _limits(current)


def _settings() -> Iterator[Finding]:
    """Report every setting that is not a default, with its source; secrets are masked."""
    for setting, value, source in settings.surroundings():
        name = setting.metadata["name"]
        shown = f"set, {len(value)} characters" if isinstance(value, Secret) else re.sub(r"//[^/]*@", "//***@", value)
        try:
            settings.parsed(setting, value, source)
        except CloudError as error:
            yield Finding(PROBLEM, name, error.facts.problem, error.facts.cure)
        else:
            yield Finding(OK, name, f"{shown} ({source})")


def _misspelt() -> Iterator[Finding]:
    known = [setting.metadata["name"] for setting in settings.table()]
    for name in sorted(settings.names_set() - set(known)):
        match = near(name, known)
        # WX_ is WeChat's own prefix too (WX_OPENID, WX_CONTEXT_KEYS): there only a near name is a slip.
        if name.startswith("CLOUDFN_") or (name.startswith("WX_") and match):
            yield Finding(WARNING, name, "no such setting", f"did you mean {match}?" if match else "remove it")


def _permission(api: str, current: Settings) -> Finding:
    try:
        return Finding(OK, "config.json", f"{permissions.check(api, current.config)} grants {api}")
    except CloudError as error:
        return Finding(PROBLEM, "config.json", error.facts.problem, error.facts.cure)


def _backend(current: Settings) -> Iterator[Finding]:
    name = name_of(current)
    yield Finding(OK, "backend", f"{name} answers")
    if name == "local":
        yield from _extras(PROBLEM)
        return
    try:
        choose(current).close()
    except CloudError as error:
        yield Finding(PROBLEM, "CLOUDFN_API_BASE", error.facts.problem, error.facts.cure)
    yield from _credentials(current)
    yield from _certificates(current)
    yield from _extras(OK)


def _credentials(current: Settings) -> Iterator[Finding]:
    """Check the credentials as far as possible without WeChat: whether they are set, and their form."""
    from cloudfn.backends.tokens import TokenFile
    from cloudfn.call.values import Deadline

    source = current.credential()
    if source == "side-car":
        yield Finding(OK, "credentials", "CloudRun's side-car adds the token")
    elif source == "":
        yield Finding(PROBLEM, "credentials", "none: a call would end with 41001", current.missing_credential)
    elif source == "appid":
        yield Finding(OK, "credentials", "an access token is fetched with WX_APPID and WX_APPSECRET")
        if not re.fullmatch(r"wx[0-9a-f]{16}", current.appid):
            yield Finding(WARNING, "WX_APPID", "has not the usual form", "copy it anew: wx and 16 digits 0-9 a-f")
        if not re.fullmatch(r"[0-9a-f]{32}", current.appsecret.reveal()):
            yield Finding(WARNING, "WX_APPSECRET", "has not the usual form", "copy it anew: 32 digits 0-9 a-f")
    elif source == "cloudbase_access_token_file":
        try:
            TokenFile(current.cloudbase_access_token_file).get("", Deadline(1))
            yield Finding(OK, "credentials", f"the cloudbase token in {current.cloudbase_access_token_file}")
        except CloudError as error:
            yield Finding(PROBLEM, "credentials", error.facts.problem, error.facts.cure)
    else:
        token: Secret = getattr(current, source)
        yield Finding(OK, "credentials", f"a token from outside ({source}), {len(token)} characters")
        if len(token) < _SHORTEST_TOKEN or not re.fullmatch(r"[\w-]+", token.reveal(), re.ASCII):
            yield Finding(
                WARNING, "token", "has not the usual form", "copy the whole token, nothing before or after it"
            )


def _certificates(current: Settings) -> Iterator[Finding]:
    if current.ca_bundle:
        folder = Path(current.ca_bundle).is_dir()
        try:
            ssl.create_default_context(cafile=None if folder else current.ca_bundle)
        except OSError as error:
            cure = "name a file of certificates in PEM form, or a folder made by c_rehash"
            yield Finding(PROBLEM, "CLOUDFN_CA_BUNDLE", f"cannot be used ({error})", cure)


def _extras(level_if_missing: str) -> Iterator[Finding]:
    """Check that the packages of the engine are installed."""
    for package in ("Pillow", "numpy"):
        try:
            yield Finding(OK, package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            cure = installing("local") if level_if_missing == PROBLEM else ""
            yield Finding(level_if_missing, package, "not installed; the embedded engine needs it", cure)


def _clock() -> Iterator[Finding]:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _RELEASED:
        yield Finding(PROBLEM, "clock", f"{shown} is in the past: TLS would fail", "set this machine's clock")
    else:
        yield Finding(OK, "clock", shown)


def _limits(current: Settings) -> Iterator[Finding]:
    text = f"one call takes at most {current.timeout:g} s"
    if settings.platform():
        # 3 s by default on SCF, CloudBase, FC and Lambda; the process cannot see what was set.
        cure = "set the function's own time limit above CLOUDFN_TIMEOUT; the platforms' default is 3 s"
        yield Finding(
            WARNING if current.timeout >= 3 else OK, "CLOUDFN_TIMEOUT", text, cure if current.timeout >= 3 else ""
        )
    else:
        yield Finding(OK, "limits", text)
    yield Finding(
        OK,
        "limits",
        f"wechat: pictures of less than 2 MB; local: {current.max_megapixels:g} megapixels, "
        f"baseline JPEG {current.max_jpeg_megapixels:g}, from a URL {current.max_url_mib:g} MiB",
    )
