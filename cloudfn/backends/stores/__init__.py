"""Stores for tokens, results, counters and locks: memory, files, or Redis.

A store that cannot answer raises `StoreError`, whatever it is made of, and says so in the log; its users go on without
it. Keys never hold a secret. Values live for a number of seconds and are gone afterwards.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cloudfn.backends.stores.resting import Resting
from cloudfn.backends.stores.store import Store
from cloudfn.errors import setting_error
from cloudfn.secret import Secret


@lru_cache(maxsize=8)
def open_store(address: Secret) -> Store:
    """Return this process's store of CLOUDFN_STORE: `memory`, `file:///folder`, `redis://...`, `rediss://...`.

    Raises `CloudError` -601002 for anything else. `file:` alone is a folder in the temporary directory, which can be
    written to where the code's own folder cannot.
    """
    kind = _kind(address)
    if kind == "memory":
        from cloudfn.backends.stores.memory import Memory

        return Memory()
    if kind == "file":
        from cloudfn.backends.stores.disk import Disk

        return Resting(Disk(_folder(address)))
    if kind == "redis":
        from cloudfn.backends.stores.redis import Redis

        return Resting(Redis(address))
    raise setting_error("CLOUDFN_STORE", "no such store", "memory, file:///folder, redis://host or rediss://host")


def _kind(address: Secret) -> str:
    """Return memory, file or redis; "" for any other address."""
    scheme, colon, _ = address.reveal().lower().partition(":")
    known = {"memory": "memory"} if not colon else {"file": "file", "redis": "redis", "rediss": "redis"}
    return known.get(scheme, "")


def _folder(address: Secret) -> Path:
    from tempfile import gettempdir

    folder = unquote(urlsplit(address.reveal()).path)
    return Path(folder) if folder.strip("/") else Path(gettempdir()) / f"cloudfn-{_user()}"


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
