"""Cloud storage over WeChat's HTTPS API: WeChat tells where files are, its object storage gives and takes the bytes.

Source: https://developers.weixin.qq.com/miniprogram/dev/wxcloud/reference-http-api/storage/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cloudfn.backends.wechat import WeChat
from cloudfn.call.reply import errcode
from cloudfn.call.storage import Wanted, link, outcome
from cloudfn.call.values import Call
from cloudfn.codes import CODES
from cloudfn.errors import failure
from cloudfn.net import objects
from cloudfn.settings import Settings

_FAILED = -503001
_LINK_AGE = 600  # seconds; the same as wx-server-sdk requests for a download


class CloudFiles:
    """The files of one environment of WeChat's cloud."""

    def __init__(self, settings: Settings, env: str) -> None:
        """Raises `CloudError` -601002 where CLOUDFN_API_BASE is an address that no token may be sent to."""
        self._settings = settings
        self._wechat = WeChat(settings)
        self._env = env

    def close(self) -> None:
        """Close the connections."""
        self._wechat.close()

    def links(self, call: Call, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
        """Request links from WeChat."""
        file_list = [
            {"fileid": item.file_id} if item.max_age is None else {"fileid": item.file_id, "max_age": item.max_age}
            for item in wanted
        ]
        answer = self._ask(call, "/tcb/batchdownloadfile", {"file_list": file_list})
        return [
            link(
                _id(item, one.file_id),
                item.get("status"),
                str(item.get("download_url") or ""),
                one.max_age,
                item.get("errmsg") or "",
            )
            for item, one in _paired(call, answer.get("file_list"), wanted)
        ]

    def delete(self, call: Call, file_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Delete files through WeChat."""
        answer = self._ask(call, "/tcb/batchdeletefile", {"fileid_list": list(file_ids)})
        return [
            outcome(_id(item, file_id), item.get("status"), item.get("errmsg") or "")
            for item, file_id in _paired(call, answer.get("delete_list"), file_ids)
        ]

    def resolve(self, call: Call, file_id: str) -> str:
        """Return a link that lives just long enough."""
        links = self.links(call, [Wanted(file_id, _LINK_AGE)])
        if not links:
            raise failure(call.api, -601001, "wechat server internal error, the answer holds no file")
        if links[0]["status"]:
            raise failure(call.api, links[0]["status"], links[0]["errMsg"])
        url: str = links[0]["tempFileURL"]
        return url

    def download(self, call: Call, file_id: str) -> bytes:
        """Return the bytes behind such a link."""
        status, body = self._move(call, "GET", self.resolve(call, file_id))
        if status != 200:
            raise failure(call.api, _FAILED, f"下载文件失败: Status:{status}")
        return body

    def upload(self, call: Call, path: str, content: bytes) -> str:
        """Request the file's address from WeChat, and send the file there as a form, its bytes last."""
        place = self._ask(call, "/tcb/uploadfile", {"path": path})
        names = ("url", "token", "authorization", "file_id", "cos_file_id")
        url, token, authorization, file_id, cos_file_id = (place.get(name) for name in names)
        if not isinstance(url, str) or not isinstance(file_id, str):
            raise failure(call.api, -601001, "wechat server internal error, the answer holds no address for the file")
        fields = {
            "key": path,
            "Signature": str(authorization),
            "x-cos-security-token": str(token),
            "x-cos-meta-fileid": str(cos_file_id),
        }
        status, body = self._move(call, "POST", url, fields, content)
        refusal = _storage_refusal(body)
        if refusal or not 200 <= status < 300:
            raise failure(call.api, _FAILED, refusal or f"上传文件失败: Status:{status}")
        return file_id

    def _ask(self, call: Call, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._wechat.post(call, path, {"env": self._env, **fields})
        code = errcode(call.api, answer)
        if code:
            raise failure(call.api, code, str(answer.get("errmsg", "")))
        return answer

    def _move(
        self,
        call: Call,
        method: str,
        url: str,
        fields: Mapping[str, str] | None = None,
        content: bytes = b"",
    ) -> tuple[int, bytes]:
        parts = urlsplit(self._settings.api_base)
        try:
            return objects.exchange(
                method,
                url,
                call.deadline,
                fields=fields,
                content=content,
                max_bytes=int(self._settings.max_url_mib * 1024 * 1024),
                # A server for tests keeps its files itself.
                plain=f"http://{parts.netloc}/" if parts.scheme == "http" else "",
                ca_bundle=self._settings.ca_bundle,
            )
        except objects.ObjectError as error:
            raise failure(call.api, error.code, error.text) from None


def _id(item: Mapping[str, Any], file_id: str) -> str:
    # One of WeChat's examples calls it "files".
    return str(item.get("fileid") or item.get("files") or file_id)


def _paired(call: Call, items: object, requested: Sequence[Any]) -> list[tuple[dict[str, Any], Any]]:
    """Pair an answer's items with those of the request; anything that is not an item is left out, as in the SDK."""
    if not isinstance(items, list):
        raise failure(call.api, -601001, "wechat server internal error, the answer holds no list of files")
    listed = [item for item in items if isinstance(item, dict)]
    return list(zip(listed, requested, strict=False))


def _storage_refusal(body: bytes) -> str:
    """Return the object storage's refusal, `[Code]: Message` as the SDK shows it; "" where the body holds none."""
    text = body[:4096].decode("utf-8", "replace")
    code, message = (re.search(rf"<{name}>([^<]*)</{name}>", text) for name in ("Code", "Message"))
    return f"[{code[1]}]: {message[1] if message else CODES[_FAILED].text}" if code and "<Error>" in text else ""
