"""Who keeps the files of a cloud environment: WeChat's cloud over HTTPS, or a folder of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cloudfn.backends import name_of
from cloudfn.call.storage import Wanted
from cloudfn.call.values import Call
from cloudfn.errors import setup_error
from cloudfn.net.deadline import Deadline
from cloudfn.settings import Settings


class Files(Protocol):
    """Keeps files, for the call that asks for them; each method raises `CloudError`."""

    def links(self, call: Call, wanted: Sequence[Wanted], deadline: Deadline) -> list[dict[str, Any]]:
        """`getTempFileURL`'s fileList, in the order of `wanted`."""

    def delete(self, call: Call, file_ids: Sequence[str], deadline: Deadline) -> list[dict[str, Any]]:
        """`deleteFile`'s fileList, in the order of `file_ids`."""

    def download(self, call: Call, file_id: str, deadline: Deadline) -> bytes:
        """The bytes of a file."""

    def resolve(self, call: Call, file_id: str, deadline: Deadline) -> str | bytes:
        """A link that WeChat can fetch a picture from, or the picture itself."""

    def upload(self, call: Call, path: str, content: bytes, deadline: Deadline) -> str:
        """Keep a file; gives its fileID."""

    def close(self) -> None:
        """Give back connections."""


def files_for(chosen: Settings, env: str) -> Files:
    """The files that belong to these settings.

    Raises `CloudError` -601002: the local backend without CLOUDFN_STORAGE, WeChat's cloud without an environment.
    """
    if name_of(chosen) == "wechat":
        from cloudfn.backends.cloud_files import CloudFiles

        if not env:
            cure = 'name it, cloud.init(env="my-env-1a2b3c"), or set TCB_ENV; the console shows it'
            raise setup_error("cloud storage needs the cloud environment", cure)
        return CloudFiles(chosen, env)
    if not chosen.storage:
        cure = "set CLOUDFN_STORAGE to a folder, or CLOUDFN_BACKEND=wechat"
        raise setup_error("the local backend has no cloud storage", cure)
    from cloudfn.backends.folder import Folder

    return Folder(chosen.storage, env)
