"""The files of a cloud environment, in WeChat's cloud over HTTPS or in a folder of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cloudfn.backends import name_of
from cloudfn.call.storage import Wanted
from cloudfn.call.values import Call
from cloudfn.errors import setup_error
from cloudfn.settings import Settings


class Files(Protocol):
    """The files of an environment; each method serves one cloud call and raises `CloudError`."""

    def links(self, call: Call, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
        """Return `getTempFileURL`'s fileList, in the order of `wanted`."""

    def delete(self, call: Call, file_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Delete the files and return `deleteFile`'s fileList, in the order of `file_ids`."""

    def download(self, call: Call, file_id: str) -> bytes:
        """Return the bytes of a file."""

    def resolve(self, call: Call, file_id: str) -> str | bytes:
        """Return a link from which WeChat can fetch a picture, or the picture itself."""

    def upload(self, call: Call, path: str, content: bytes) -> str:
        """Store a file and return its fileID."""

    def close(self) -> None:
        """Close the connections."""


def files_for(options: Settings, env: str) -> Files:
    """Return the files that belong to these settings.

    Raises `CloudError` -601002: the local backend without CLOUDFN_STORAGE, WeChat's cloud without an environment.
    """
    if name_of(options) == "wechat":
        from cloudfn.backends.cloud_files import CloudFiles

        if not env:
            cure = 'name it, cloud.init(env="my-env-1a2b3c"), or set TCB_ENV; the console shows it'
            raise setup_error("cloud storage needs the cloud environment", cure)
        return CloudFiles(options, env)
    if not options.storage:
        cure = "set CLOUDFN_STORAGE to a folder, or CLOUDFN_BACKEND=wechat"
        raise setup_error("the local backend has no cloud storage", cure)
    from cloudfn.backends.folder import Folder

    return Folder(options.storage, env)
