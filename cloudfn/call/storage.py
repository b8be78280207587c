"""The parameters and results of wx-server-sdk's four cloud storage functions.

The words of an error are those of wx-server-sdk 4.0.2, recorded by running it. Nothing here touches network or disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cloudfn.codes import CODES
from cloudfn.errors import CloudError, Facts, failure

MOST = 50  # files in one call: WeChat's pages of getTempFileURL and deleteFile
_LONGEST = 86400  # seconds that a link lives at most
_FILE_ID = re.compile(r"cloud://(?P<env>[A-Za-z0-9_-]+)(?:\.[^/\s]+)?/(?P<path>.+)", re.DOTALL)

_NOT_A_BUFFER = "[node-sdk] fileContent should be instance of fs.ReadStream or Buffer"
_NOT_TEXT = "fileList的元素如果不是对象，则必须是字符串"
_NOT_BOTH = "fileList 的元素如果是对象，必须是包含 fileID 和 maxAge 的对象"
_EMPTY = "fileList的元素必须是非空的字符串"


class Wanted(NamedTuple):
    """A file whose link is wanted, and the link's life in seconds, None for WeChat's default."""

    file_id: str
    max_age: int | None = None


def path_of(file_id: str) -> str | None:
    """Return the path in a fileID, `cloud://ENV.BUCKET/path`; None for anything else."""
    match = _FILE_ID.fullmatch(file_id)
    return match["path"] if match else None


def read_links(parameters: object) -> list[Wanted]:
    """Read `getTempFileURL`'s parameters: the files to link to. Raise `CloudError`."""
    api = "getTempFileURL"
    return [_wanted(api, item) for item in _at_most(api, _field(api, parameters, "fileList", "array"))]


def read_deletion(parameters: object) -> list[str]:
    """Read `deleteFile`'s parameters: the fileIDs to delete. Raise `CloudError`."""
    api = "deleteFile"
    items = _field(api, parameters, "fileList", "array")
    for index, item in enumerate(items):
        if not isinstance(item, str):
            words = f"Type of fileList[{index}] must be string instead of {_type_of(item)}"
            raise refused(api, words, "give fileIDs, such as cloud://ENV.BUCKET/a.png")
        if not item:
            raise refused(api, _EMPTY, "leave empty fileIDs out of fileList")
    return _at_most(api, items)


def read_download(parameters: object) -> str:
    """Read `downloadFile`'s parameters: the fileID. Raise `CloudError`."""
    file_id: str = _field("downloadFile", parameters, "fileID", "string")
    return file_id


def read_upload(parameters: object) -> tuple[str, bytes]:
    """Read `uploadFile`'s parameters: the path and the bytes; a file object is read. Raise `CloudError`."""
    api = "uploadFile"
    path: str = _field(api, parameters, "cloudPath", "string")
    assert isinstance(parameters, Mapping)
    content = parameters.get("fileContent")
    if content is None or (isinstance(content, (str, int, float)) and not content):
        came = _type_of(content) if "fileContent" in parameters else "undefined"
        raise refused(api, f"Type of fileContent must be fs.ReadStream instead of {came}", _CONTENT_CURE)
    if not path.strip("/"):
        raise refused(api, "cloudPath is empty", 'give the path under which the file is kept, such as "cut/a.jpg"')
    if callable(getattr(content, "read", None)):
        try:
            content = content.read()
        except (OSError, ValueError) as error:  # closed, or text in another encoding
            raise refused(api, f"fileContent cannot be read ({error})", _CONTENT_CURE) from error
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise refused(api, _NOT_A_BUFFER, _CONTENT_CURE)
    return path, bytes(content)


_CONTENT_CURE = "give the file's bytes, or a file that is open for reading in binary mode"


def link(file_id: str, status: object, url: str, max_age: int | None, words: object = "") -> dict[str, Any]:
    """Return one file of `getTempFileURL`'s result; `status` 0 is success, `words` are the cloud's own."""
    common = outcome(file_id, status, words)
    age = {} if max_age is None else {"maxAge": max_age}
    return {**common, **age, "tempFileURL": "" if common["status"] else url}


def outcome(file_id: str, status: object, words: object = "") -> dict[str, Any]:
    """Return one file of `deleteFile`'s result; the SDK's text of a code counts, then the cloud's own words."""
    if status in (0, None, ""):
        return {"fileID": file_id, "status": 0, "errMsg": "ok"}
    try:
        code = int(status)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        code = -501001
    row = CODES.get(code)
    return {"fileID": file_id, "status": code, "errMsg": (row.text if row else "") or str(words) or CODES[-501001].text}


def succeeded(api: str, **result: Any) -> dict[str, Any]:
    """Return the result of a successful call: the SDK ends it with errMsg, and has no errCode here."""
    return {**result, "errMsg": f"{api}:ok"}


def refused(api: str, words: str, cure: str) -> CloudError:
    """Make the error of a wrong parameter, in the SDK's words and with its code."""
    return failure(api, -1, words, cure=cure, retryable=False)


def _wanted(api: str, item: object) -> Wanted:
    cure = "give a fileID, or a mapping of fileID and maxAge"
    if isinstance(item, str):
        return Wanted(item)
    if not isinstance(item, (Mapping, list, tuple)):
        raise refused(api, _NOT_TEXT, cure)
    if not isinstance(item, Mapping) or "fileID" not in item or "maxAge" not in item:
        raise refused(api, _NOT_BOTH, cure)
    file_id, age = item["fileID"], item["maxAge"]
    if not isinstance(file_id, str):
        raise refused(api, f"fileID should be string instead of {_type_of(file_id)}", cure)
    if isinstance(age, bool) or not isinstance(age, (int, float)) or not 0 < age <= _LONGEST:
        raise refused(api, f"maxAge should be a number of seconds from 1 to {_LONGEST}", "a link lives a day at most")
    return Wanted(file_id, int(age))


def _at_most(api: str, items: list[Any]) -> list[Any]:
    if len(items) > MOST:
        raise refused(api, f"fileList has {len(items)} files, at most {MOST} go into one call", "make several calls")
    return items


def _field(api: str, parameters: object, name: str, kind: str) -> Any:
    """Return the parameter `name`, of this JavaScript type; raise in the SDK's words."""
    cure = f"give one mapping with {name}, or keywords"
    if parameters is None:
        raise refused(api, f"undefined . Params for {api} must be an object instead of undefined", cure)
    if not isinstance(parameters, Mapping):
        raise _wrong_type(api, f"parameter should be object instead of {_name_of(parameters)}; ", cure)
    value = parameters.get(name)
    if _name_of(value) != kind:
        came = _name_of(value) if name in parameters else "undefined"
        raise _wrong_type(api, f"parameter.{name} should be {kind} instead of {came};", cure)
    return [*value] if isinstance(value, (list, tuple)) else value


def _wrong_type(api: str, words: str, cure: str) -> CloudError:
    return CloudError(-1, words, api=api, hint=cure, retryable=False, facts=Facts(words, cure))


def _type_of(value: object) -> str:
    """Return JavaScript's typeof of a value."""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number" if isinstance(value, (int, float)) else "object"


def _name_of(value: object) -> str:
    return "null" if value is None else "array" if isinstance(value, (list, tuple)) else _type_of(value)
