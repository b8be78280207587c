"""Cloud storage's endpoints: WeChat's HTTPS API, and the JSON actions of wx-server-sdk, over the same folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Request

from cloudfn.call.absent import ABSENT
from cloudfn.call.storage import MOST
from cloudfn.net import multipart
from cloudfn.server import intake
from cloudfn.server.answers import Refusal
from cloudfn.server.bucket import Bucket
from cloudfn.server.journal import Exchange, shown
from cloudfn.server.state import State

# The gateway's code of one file -> its status over HTTPS.
_STATUS = {"SUCCESS": 0, "STORAGE_FILE_NONEXIST": -503003}
# The names that the SDK's other actions have in the SDK.
_NAMES = {"functions": "callFunction", "database": "database", "wx": "openapi"}
_FAULT = "storage"


def upload(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    """Answer /tcb/uploadfile."""
    bucket, fields = _https_request(state, request, exchange)
    path = fields.get("path")
    if not isinstance(path, str) or not path.strip("/"):
        raise Refusal(40101, "path is missing: send the path that the file is kept under")
    return bucket.place(_base(request), fields["env"], path)


def links(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    """Answer /tcb/batchdownloadfile."""
    bucket, fields = _https_request(state, request, exchange)
    files = []
    for item in _files(fields.get("file_list"), dict):
        file_id = str(item.get("fileid", ""))
        code, url = bucket.link(_base(request), file_id, item.get("max_age"))
        files.append({"fileid": file_id, "download_url": url, "status": _STATUS[code], "errmsg": _words(code)})
    return {"file_list": files}


def delete(state: State, request: Request, exchange: Exchange) -> dict[str, Any]:
    """Answer /tcb/batchdeletefile."""
    bucket, fields = _https_request(state, request, exchange)
    files = []
    for file_id in _files(fields.get("fileid_list"), str):
        code = bucket.remove(file_id)
        files.append({"fileid": file_id, "status": _STATUS[code], "errmsg": _words(code)})
    return {"delete_list": files}


def action(state: State, request: Request, exchange: Exchange, body: bytes) -> dict[str, Any] | None:
    """Answer the SDK's requests other than cloud calls, as `data`; None for a cloud call, which others answer.

    Raises Refusal -501007, whose words the SDK shows to its caller.
    """
    content_type = request.headers.get("Content-Type", "")
    fields = _fields(content_type, body)
    name = fields.get("action")
    if not isinstance(name, str) or name == "wx.openApi":
        return None
    exchange.endpoint = "sdk"
    if name not in _ACTIONS:
        called = _NAMES.get(name.partition(".")[0], "")
        cure = f"cloud.{called}: {ABSENT[called]}" if called in ABSENT else "this server answers openapi and storage"
        raise _sdk_refusal(f'the action "{shown(name)}" is not answered by this server; {cure}')
    exchange.endpoint = name
    if state.bucket is None:
        raise _sdk_refusal("this server keeps no files: start it with --storage DIR")
    state.disturb(_FAULT)
    return {"data": _ACTIONS[name](state.bucket, fields, _base(request))}


def _sdk_links(bucket: Bucket, fields: Mapping[str, Any], base: str) -> dict[str, Any]:
    listed = []
    for item in _sdk_files(fields.get("file_list"), dict):
        file_id = str(item.get("fileid", ""))
        code, url = bucket.link(base, file_id, item.get("max_age"))
        age = {"maxAge": item["max_age"]} if "max_age" in item else {}
        listed.append({"code": code, "fileID": file_id, "tempFileURL": url, **age})
    return {"download_list": listed}


def _sdk_delete(bucket: Bucket, fields: Mapping[str, Any], _base: str) -> dict[str, Any]:
    ids = _sdk_files(fields.get("fileid_list"), str)
    return {"delete_list": [{"code": bucket.remove(file_id), "fileID": file_id} for file_id in ids]}


def _sdk_place(bucket: Bucket, fields: Mapping[str, Any], base: str) -> dict[str, Any]:
    path = fields.get("path")
    if not isinstance(path, str) or not path.strip("/"):
        raise _sdk_refusal("cloudPath is empty")
    place = bucket.place(base, str(fields.get("envName") or ""), path)
    return {**place, "fileId": place["file_id"], "cosFileId": place["cos_file_id"]}


def _sdk_upload(bucket: Bucket, fields: Mapping[str, Any], _base: str) -> dict[str, Any]:
    """Store the file that wx-server-sdk before 2.3 sends with the action."""
    content = fields.get("file", b"")
    if not isinstance(content, bytes):
        raise _sdk_refusal("the file came as JSON: send it as the part file of a form")
    file_id = bucket.write(str(fields.get("envName") or ""), str(fields.get("path", "")), content)
    if file_id is None:
        raise _sdk_refusal("this path cannot be a file of the folder")
    return {"fileID": file_id}


_ACTIONS = {
    "storage.batchGetDownloadUrl": _sdk_links,
    "storage.batchDeleteFile": _sdk_delete,
    "storage.getUploadMetadata": _sdk_place,
    "storage.uploadFile": _sdk_upload,
}


def _https_request(state: State, request: Request, _exchange: Exchange) -> tuple[Bucket, dict[str, Any]]:
    """Return the bucket and the JSON of an HTTPS request; raises Refusal in WeChat's order."""
    if request.method != "POST":
        raise Refusal(43002, f"the method is {shown(request.method)}: send POST")
    state.disturb(_FAULT)
    state.check_token(request.args)
    try:
        fields = json.loads(intake.body(request, state.options))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise Refusal(47001, "the body is no JSON object")
    if not isinstance(fields.get("env"), str) or not fields["env"]:
        raise Refusal(40101, "env is missing: send the cloud environment's name")
    if state.bucket is None:
        raise Refusal(85088, "this server keeps no files: start it with --storage DIR")
    return state.bucket, fields


def _files(items: object, kind: type) -> list[Any]:
    if not isinstance(items, list) or len(items) > MOST or not all(isinstance(item, kind) for item in items):
        raise Refusal(40097, f"the list of files is none, or holds something else, or more than {MOST}")
    return items


def _sdk_files(items: object, kind: type) -> list[Any]:
    if not isinstance(items, list) or len(items) > MOST or not all(isinstance(item, kind) for item in items):
        raise _sdk_refusal(f"the list of files is none, or holds something else, or more than {MOST}")
    return items


def _sdk_refusal(words: str) -> Refusal:
    return Refusal(-501007, words, words=words)


def _words(code: str) -> str:
    return "ok" if code == "SUCCESS" else code


def _base(request: Request) -> str:
    return request.host_url.rstrip("/")


def _fields(content_type: str, body: bytes) -> dict[str, Any]:
    """Return the fields of an action, from JSON or the form of a file; {} for anything else."""
    try:
        if content_type.lower().startswith("application/json"):
            read = json.loads(body)
            return read if isinstance(read, dict) else {}
        parts = {part.name: part for part in multipart.parse(content_type, body)}
        plain = {name: part.text for name, part in parts.items() if name not in ("file", "requestData")}
        return {**plain, "file": parts["file"].data} if "file" in parts else plain
    except (ValueError, RecursionError):
        return {}
