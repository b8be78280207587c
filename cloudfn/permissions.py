"""The permission of a cloud call: `config.json` beside the function must list the API, or the call is refused."""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

from cloudfn import files, settings
from cloudfn.call import schema
from cloudfn.call.naming import near
from cloudfn.errors import CloudError, gateway_failure

_log = logging.getLogger("cloudfn")


def check(api: str, config: str = "", initialised: Path | None = None) -> Path:
    """Return the config.json that grants `api`; raise `CloudError` -604101 where there is none.

    `config` is the file's path, if it was set; otherwise the first config.json counts that is beside the function's
    file, in the platform's code folder, beside the file that calls, in the folder `initialised`, or in the working
    directory. A file that is missing, unreadable, not JSON, against the schema, or without the API means a refusal,
    whose hint says which file was read and what to do.
    """
    tried = [Path(config)] if config else [folder / "config.json" for folder in settings.code_folders(initialised)]
    for path in tried:
        version = files.version(path)
        if version:
            break
    else:
        places = ", ".join(dict.fromkeys(str(_absolute(path)) for path in tried)) or "no folder: there is none"
        raise _denied(api, f"no config.json was found (looked for {places})")
    path = _absolute(path)
    granted = _granted(path, version)
    if isinstance(granted, str):
        raise _denied(api, f"{path}: {granted}")
    if api not in granted:
        wrong = next((name for name in granted if name == f"openapi.{api}" or near(name, [api])), None)
        listed = f'"{wrong}" is not the name' if wrong else "permissions.openapi does not list it"
        raise gateway_failure(api, -604101, problem=f"{path}: {listed}", cure=f'write "{api}" there and deploy again')
    return path


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError:  # the working directory was deleted
        return path


def _denied(api: str, problem: str) -> CloudError:
    cure = f'put {{"permissions": {{"openapi": ["{api}"]}}}} into config.json beside the function and deploy it again'
    return gateway_failure(api, -604101, problem=problem, cure=cure)


@lru_cache(maxsize=32)
def _granted(path: Path, _version: files.Version) -> tuple[str, ...] | str:
    """Return the APIs that a config.json grants, or why it grants none; read it again only when it has changed."""
    try:
        config = json.loads(files.read(path).decode("utf-8-sig"))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except json.JSONDecodeError as error:
        return f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg})"
    except (ValueError, RecursionError):
        return "is not JSON in UTF-8"
    unknown = _warn_unknown(path, config, schema.load("config"))
    if schema.acceptance("config")(config):
        return tuple(config["permissions"]["openapi"])
    try:
        breach = schema.breaches("config", config)[0]
    except RecursionError:
        return "is nested too deep"
    expected = breach.schema.get("description", "") if isinstance(breach.schema, dict) else ""
    place = schema.place(breach) or "it"
    problem = f"{place} must be {expected}" if breach.validator != "required" else breach.message
    return f"{problem}{unknown}"


def _warn_unknown(path: Path, config: Any, rules: dict[str, Any]) -> str:
    """Warn about keys that WeChat does not know; return the similar names for the hint."""
    levels = [("", config, rules)]
    if isinstance(config, dict):
        levels.append(("permissions.", config.get("permissions"), rules["properties"]["permissions"]))
    said = ""
    for prefix, value, part in levels:
        for key in value if isinstance(value, dict) else ():
            if key not in part["properties"]:
                match = near(key, part["properties"])
                meant = f'; did you mean "{prefix}{match}"?' if match else ""
                _log.warning('%s: unknown key "%s%s"%s', path, prefix, key, meant)
                said += f' ("{prefix}{key}" is unknown{meant})'
    return said
