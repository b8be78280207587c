"""The permission of a cloud call: `config.json` beside the function must list the API, or the call is refused."""

from __future__ import annotations

import json
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from cloudfn import settings
from cloudfn.call import apis
from cloudfn.call.naming import near
from cloudfn.errors import CloudError, gateway_failure

_log = logging.getLogger("cloudfn")


class _DeniedError(Exception):
    """Why a config.json grants nothing, with the cure."""


def check(api: str, config: str = "") -> Path:
    """The config.json that grants `api`; raises `CloudError` -604101 where there is none.

    `config` is the file's path, when it was set; otherwise the first config.json counts that lies beside the
    function's file, in the platform's code folder, or in the working directory. Missing, unreadable, not JSON, not
    what the schema says, or without the API: refused. The hint says which file was read and what to do.
    """
    tried = [Path(config)] if config else [folder / "config.json" for folder in settings.code_folders()]
    path = next((path.absolute() for path in tried if os.path.exists(path)), None)  # noqa: PTH110 - Path.exists raises
    if path is None:
        places = ", ".join(dict.fromkeys(str(path.absolute()) for path in tried))
        raise _denied(api, f"no config.json was found (looked for {places})")
    try:
        granted = _granted(path, settings.file_version(path))
    except _DeniedError as denied:
        raise _denied(api, f"{path}: {denied}") from None
    if api not in granted:
        wrong = next((name for name in granted if name == f"openapi.{api}" or near(name, [api])), None)
        listed = f'"{wrong}" is not the name' if wrong else "permissions.openapi does not list it"
        raise gateway_failure(api, -604101, problem=f"{path}: {listed}", cure=f'write "{api}" there and deploy again')
    return path


def _denied(api: str, problem: str) -> CloudError:
    cure = f'put {{"permissions": {{"openapi": ["{api}"]}}}} into config.json beside the function and deploy it again'
    return gateway_failure(api, -604101, problem=problem, cure=cure)


@lru_cache(maxsize=32)
def _granted(path: Path, _version: tuple[int, int]) -> tuple[str, ...]:
    try:
        config = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise _DeniedError(f"cannot be read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise _DeniedError(f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError):
        raise _DeniedError("is not JSON in UTF-8") from None
    schema = apis.load_schema("config")
    unknown = _warn_unknown(path, config, schema)
    from jsonschema import Draft202012Validator

    for breach in Draft202012Validator(schema).iter_errors(config):
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in breach.absolute_path)[1:]
        expected = breach.schema.get("description", "") if isinstance(breach.schema, dict) else ""
        problem = f"{place or 'it'} must be {expected}" if breach.validator != "required" else breach.message
        raise _DeniedError(f"{problem}{unknown}")
    return tuple(config["permissions"]["openapi"])


def _warn_unknown(path: Path, config: Any, schema: dict[str, Any]) -> str:
    """Warn about keys that WeChat does not know; gives the near names for the hint."""
    levels = [("", config, schema)]
    if isinstance(config, dict):
        levels.append(("permissions.", config.get("permissions"), schema["properties"]["permissions"]))
    said = ""
    for prefix, value, part in levels:
        for key in value if isinstance(value, dict) else ():
            if key not in part["properties"]:
                match = near(key, part["properties"])
                meant = f'; did you mean "{prefix}{match}"?' if match else ""
                _log.warning('%s: unknown key "%s%s"%s', path, prefix, key, meant)
                said += f' ("{prefix}{key}" is unknown{meant})'
    return said
