"""Cloud storage over WeChat's HTTPS API: WeChat tells where files are, its object storage gives and takes the bytes.

Source: https://developers.weixin.qq.com/miniprogram/dev/wxcloud/reference-http-api/storage/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from cloudfn.backends.retry import Retries
from cloudfn.backends.wechat import WeChat, multipart
from cloudfn.call.reply import errcode
from cloudfn.call.storage import Wanted, link, outcome
from cloudfn.call.values import Call, Media
from cloudfn.codes import CODES
from cloudfn.errors import CloudError, Limit, failure, too_late
from cloudfn.net.transport import ENCODED, OutgoingRequest, TooLargeError, Transport, TransportError
from cloudfn.secret import Secret
from cloudfn.settings import Settings

_FAILED = -503001
_NOTHING = Secret("")
_WORDS = {
    -601001: "wechat server internal error, the file's answer is cut off or no HTTP: ",
    -601003: "network error: ",
}
_MIB = 1024 * 1024
_LINK_AGE = 600  # seconds; the same as wx-server-sdk requests for a download


class CloudFiles:
    """The files of one environment of WeChat's cloud."""

    def __init__(self, settings: Settings, env: str) -> None:
        """Raises `CloudError` -601002 where CLOUDFN_API_BASE is an address that no token may be sent to."""
        self._settings = settings
        self._wechat = WeChat(settings)
        self._retries = Retries()
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
        self._checked(call, Secret(url))
        return url

    def download(self, call: Call, file_id: str) -> bytes:
        """Return the bytes behind such a link."""
        status, body = self._move(call, "GET", Secret(self.resolve(call, file_id)))
        if status != 200:
            raise failure(call.api, _FAILED, f"下载文件失败: Status:{status}")
        return body

    def upload(self, call: Call, path: str, content: bytes) -> str:
        """Request the file's address from WeChat, and send the file there as a form, its bytes last."""
        try:
            path.encode()
        except UnicodeEncodeError:
            cure = "give a cloudPath that is text: there is half a surrogate pair in it"
            raise failure(call.api, _FAILED, CODES[_FAILED].text, cure=cure) from None
        answer = self._ask(call, "/tcb/uploadfile", {"path": path})
        place = {name: Secret(value) for name, value in answer.items() if isinstance(value, str)}
        del answer  # the signature in it gives away the place of the file
        url, file_id = place.get("url"), place.get("file_id")
        if url is None or file_id is None:
            raise failure(call.api, -601001, "wechat server internal error, the answer holds no address for the file")
        fields = {
            "key": path,
            "Signature": place.get("authorization", _NOTHING),
            "x-cos-security-token": place.get("token", _NOTHING),
            "x-cos-meta-fileid": place.get("cos_file_id", _NOTHING),
            "file": Media("application/octet-stream", content, "file"),
        }
        status, body = self._move(call, "POST", url, fields)
        refusal = _storage_refusal(body)
        if refusal or not 200 <= status < 300:
            raise failure(call.api, _FAILED, refusal or f"上传文件失败: Status:{status}")
        return file_id.reveal()

    def _ask(self, call: Call, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._wechat.post(call, path, {"env": self._env, **fields})
        code = errcode(call.api, answer)
        if code:
            raise failure(call.api, code, str(answer.get("errmsg", "")))
        return answer

    def _checked(self, call: Call, url: Secret) -> tuple[str, str, Secret]:
        """Return an address's host, path and query; raise `CloudError` -601001 for one that cannot be right."""
        parts = _split(url, self._settings.api_base)
        if not parts[0]:
            raise failure(call.api, -601001, "wechat server internal error, the address of the file is not https")
        return parts

    def _move(self, call: Call, method: str, url: Secret, fields: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """Return the status and the body of an exchange with the object storage, whose signed address is a secret."""
        base, path, signed = self._checked(call, url)
        body, content_type = multipart((fields or {}).items())
        request = OutgoingRequest(method, path, {}, body, content_type, signed)
        most = int(self._settings.max_url_mib * _MIB)
        transport = Transport(base, proxy=self._settings.proxy, ca_bundle=self._settings.ca_bundle, largest=most)
        attempts = 0
        try:
            while True:
                attempts += 1
                try:
                    answer = transport.send(request, call.deadline)
                    return answer.status, bytes(answer.body)
                except TransportError as error:
                    failed = _failed(call, error, most)
                    again = error.unsent and self._retries.pause(attempts, 0, call.deadline)
                # Raised out here so that it keeps no exception that quotes the other side, and with it the address.
                if not again:
                    raise failed
        finally:
            transport.close()


def _failed(call: Call, error: TransportError, most: int) -> CloudError:
    if error.code == -604102:
        return too_late(call.api, call.deadline.seconds)
    if isinstance(error, TooLargeError):
        words = f"the file has more than {most:,} bytes; CLOUDFN_MAX_URL_MIB says how many"
        return failure(call.api, _FAILED, words, limit=Limit(most, "bytes", "CLOUDFN_MAX_URL_MIB"))
    words = f"{_WORDS.get(error.code, '')}{type(error.__cause__ or error).__name__}"
    return failure(call.api, error.code, words, retryable=error.retryable)


def _split(url: Secret, api_base: str) -> tuple[str, str, Secret]:
    """Return host, path and query of an address; "" for a host that is not reached over https.

    A server for tests keeps its files itself, so the plain http of the API's address counts too.
    """
    try:
        parts = urlsplit(url.reveal())
        host, _port = parts.hostname or "", parts.port
        host.encode("idna")
        path = quote(parts.path or "/", safe=ENCODED)
    except ValueError:
        return "", "", _NOTHING
    base = f"{parts.scheme}://{parts.netloc}"
    own = urlsplit(api_base)
    safe = parts.scheme == "https" or (parts.scheme == "http" and base == f"{own.scheme}://{own.netloc}")
    good = safe and host and parts.netloc.isascii() and "@" not in parts.netloc and " " not in parts.netloc
    return base if good and url.reveal().isprintable() else "", path, Secret(parts.query)


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
