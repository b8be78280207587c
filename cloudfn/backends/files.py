"""Who keeps the files of a cloud environment: WeChat's cloud over HTTPS, or a folder of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cloudfn.backends import name_of
from cloudfn.call.files import Wanted
from cloudfn.call.values import Backend
from cloudfn.errors import setup_error
from cloudfn.net.deadline import Deadline
from cloudfn.settings import Settings


class Files(Protocol):
    """Keeps files. Each method raises `CloudError`, and TimeoutError when the deadline is over."""

    def links(self, wanted: Sequence[Wanted], deadline: Deadline) -> list[dict[str, Any]]:
        """`getTempFileURL`'s fileList, in the order of `wanted`."""

    def delete(self, file_ids: Sequence[str], deadline: Deadline) -> list[dict[str, Any]]:
        """`deleteFile`'s fileList, in the order of `file_ids`."""

    def download(self, file_id: str, deadline: Deadline, api: str) -> bytes:
        """The bytes of a file, for the call of an API."""

    def resolve(self, file_id: str, deadline: Deadline, api: str) -> str | bytes:
        """A link that WeChat can fetch a picture from, or the picture itself, for the call of an API."""

    def upload(self, path: str, content: bytes, deadline: Deadline) -> str:
        """Keep a file; gives its fileID."""


def files_for(chosen: Settings, backend: Backend, env: str, token: str) -> Files:
    """The files that belong to these settings; `token` came with the request that is answered.

    Raises `CloudError` -601002: the local backend without CLOUDFN_STORAGE, WeChat's cloud without an environment.
    """
    if name_of(chosen) == "wechat":
        from cloudfn.backends.cloud_files import CloudFiles
        from cloudfn.backends.wechat import WeChat

        assert isinstance(backend, WeChat)
        if not env:
            cure = 'name it, cloud.init(env="my-env-1a2b3c"), or set TCB_ENV; the console shows it'
            raise setup_error("cloud storage needs the cloud environment", cure)
        return CloudFiles(chosen, backend, env, token)
    if not chosen.storage:
        cure = "set CLOUDFN_STORAGE to a folder, or CLOUDFN_BACKEND=wechat"
        raise setup_error("the local backend has no cloud storage", cure)
    from cloudfn.backends.folder import Folder

    return Folder(chosen.storage, env)
