"""Cloud storage as wx-server-sdk has it: one function a call, values in, values out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from cloudfn import settings
from cloudfn.backends.files import Files
from cloudfn.backends.wrappers import Wrapper
from cloudfn.call import media, storage
from cloudfn.call.values import FILE_ID, Backend, Call, Media, Trace
from cloudfn.errors import CloudError

_log = logging.getLogger("cloudfn")

_PICTURE = "img"  # the parameter that takes a picture's bytes in place of imgUrl

# Where a function learns its own environment: CloudBase, SCF, CloudRun.
_ENVIRONMENT = ("TCB_ENV", "SCF_NAMESPACE", "CBR_ENV_ID")


def environment(env: object) -> str:
    """Return the environment that `env` of `init` names: a name, or the platform's own; "" where there is none."""
    if isinstance(env, Mapping):
        env = env.get("storage") or env.get("default")
    if isinstance(env, str) and env:
        return env
    variables = settings.environment()
    return next((variables[name] for name in _ENVIRONMENT if variables.get(name)), "")


class Function(NamedTuple):
    """One of the SDK's functions: reads its parameters before anything else, then answers from the files."""

    read: Callable[[object], Any]
    answer: Callable[[Files, Call, Any], dict[str, Any]]


def _links(kept: Files, call: Call, wanted: list[storage.Wanted]) -> dict[str, Any]:
    return {"fileList": kept.links(call, wanted)}


def _delete(kept: Files, call: Call, file_ids: list[str]) -> dict[str, Any]:
    return {"fileList": kept.delete(call, file_ids)}


def _download(kept: Files, call: Call, file_id: str) -> dict[str, Any]:
    return {"fileContent": kept.download(call, file_id), "statusCode": 200}


def _upload(kept: Files, call: Call, file: tuple[str, bytes]) -> dict[str, Any]:
    # wx-server-sdk 2.3.3 to 4.0.2 return -1: they never learn the status of the upload.
    return {"fileID": kept.upload(call, *file), "statusCode": -1}


FUNCTIONS: Mapping[str, Function] = {
    "getTempFileURL": Function(storage.read_links, _links),
    "downloadFile": Function(storage.read_download, _download),
    "uploadFile": Function(storage.read_upload, _upload),
    "deleteFile": Function(storage.read_deletion, _delete),
}


def perform(call: Call, kept: Files, parameters: Any) -> dict[str, Any]:
    """Run one of the functions with what it read; the result ends with errMsg, as the SDK's does. One log record."""
    start, code = time.perf_counter(), 0
    try:
        return {**FUNCTIONS[call.api].answer(kept, call, parameters), "errMsg": f"{call.api}:ok"}
    except CloudError as error:
        code = error.errCode
        raise
    finally:
        facts = {"api": call.api, "code": code, "milliseconds": round((time.perf_counter() - start) * 1000, 1)}
        _log.info("api=%(api)s code=%(code)s milliseconds=%(milliseconds)s", facts, extra=facts)


class Resolved(Wrapper):
    """A backend that gets each fileID among a call's URLs as a link or, from a folder, as the picture itself."""

    def __init__(self, backend: Backend, kept: Files) -> None:
        super().__init__(backend)
        self._kept = kept

    def __call__(self, call: Call, trace: Trace) -> dict[str, Any]:
        """Answer `call`; raise `CloudError` -503003 and the like, named as the call's own."""
        return self._backend(_resolved(call, self._kept), trace)


def _resolved(call: Call, kept: Files) -> Call:
    params: dict[str, Any] = {}
    for name, value in call.params.items():
        target = kept.resolve(call, value) if _is_file_id(value) else value
        if isinstance(target, bytes):
            content_type = media.sniff(target) or "application/octet-stream"
            params[_PICTURE] = Media(content_type, target, media.file_name(_PICTURE, content_type)[0])
        else:
            params[name] = target
    return replace(call, params=params)


def _is_file_id(value: object) -> bool:
    return isinstance(value, str) and value.startswith(FILE_ID)
