"""The bytes of a file to and from an object storage, under a deadline.

The address comes from WeChat and is signed, so it is a secret: it appears in no error, and no redirect is followed.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import certifi
import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from cloudfn.call.values import Deadline
from cloudfn.net.deadline import HTTPConnection, HTTPSConnection, enforced

_SAFE = "%/:=&?~#+!$,;'@()*[]"  # what encodeURI leaves alone, and "%": a link that is encoded already stays as it is
_ATTEMPTS = 2


class ObjectError(Exception):
    """A file that did not get through; `code` is the errCode for it, `text` names no address."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


def exchange(
    method: str,
    url: str,
    deadline: Deadline,
    *,
    fields: Mapping[str, str] | None = None,
    content: bytes = b"",
    max_bytes: int,
    plain: str = "",
    ca_bundle: str = "",
) -> tuple[int, bytes]:
    """Return the status and the body of one exchange; `fields` make it a form whose last part, `file`, is the content.

    https only, but for addresses that begin with `plain`. Repeated once, where no connection was made.

    Raises `ObjectError`: -604102, -601003, and -601001 for an address or an answer that cannot be right.
    """
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and not (plain and url.startswith(plain))):
        raise ObjectError(-601001, "wechat server internal error, the address of the file is not https")
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    headers = {"User-Agent": "cloudfn", "Accept-Encoding": "identity", "Connection": "close"}
    body = b""
    if fields is not None:
        body, headers["Content-Type"] = _form(fields, content)
    for attempt in range(_ATTEMPTS):
        connection = (
            HTTPSConnection(parts.hostname, parts.port or 443, ssl_context=_tls(ca_bundle))
            if parts.scheme == "https"
            else HTTPConnection(parts.hostname, parts.port or 80)
        )
        try:
            with enforced(deadline):
                connection.request(method, path, body or None, headers, preload_content=False, decode_content=False)
                response = connection.getresponse()
                held = _body(response, max_bytes)
                return response.status, held
        except NewConnectionError as error:
            failure = ObjectError(-601003, f"network error: {type(error.__cause__ or error).__name__}")
            if attempt + 1 < _ATTEMPTS:
                continue
        except (TimeoutError, urllib3.exceptions.TimeoutError):
            failure = ObjectError(-604102, f"no answer within {deadline.seconds:.3g} seconds")
        except (HTTPError, http.client.HTTPException, OSError) as error:
            failure = ObjectError(-601003, f"network error: {type(error).__name__}")
        finally:
            connection.close()
        break
    # Raised out here, so that it keeps no exception that knows the address.
    raise failure


def _body(response: urllib3.HTTPResponse, max_bytes: int) -> bytes:
    held: bytes = response.read(max_bytes + 1)
    if len(held) > max_bytes:
        raise ObjectError(-503001, f"the file has more than {max_bytes:,} bytes; CLOUDFN_MAX_URL_MIB says how many")
    if response.length_remaining:
        raise ObjectError(-601003, "network error: the file broke off before its end")
    return held


def _form(fields: Mapping[str, str], content: bytes) -> tuple[bytes, str]:
    parts = []
    for name, value in fields.items():
        part = RequestField(name, value)
        part.make_multipart()
        parts.append(part)
    file = RequestField("file", content, filename="file")
    file.make_multipart(content_type="application/octet-stream")
    return encode_multipart_formdata([*parts, file])


def _tls(ca_bundle: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle or certifi.where())
    except OSError:
        return ssl.create_default_context(capath=ca_bundle)
