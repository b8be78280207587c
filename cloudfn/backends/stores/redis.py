"""The store on a Redis server, for any number of machines."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cloudfn import forks
from cloudfn.backends.stores.store import StoreError
from cloudfn.call.media import Bytes
from cloudfn.errors import missing_extra, setting_error
from cloudfn.secret import Secret

_PREFIX = "cloudfn:"
_SECONDS = 1.0  # that the server may take for a command, or to be connected to


class Redis:
    """A Redis server, for any number of machines: `redis://` or, with TLS, `rediss://`."""

    name = "redis"

    def __init__(self, url: Secret) -> None:
        """Raises `CloudError` -601002 where the package is not installed, or for an invalid address."""
        try:
            import redis
        except ImportError:
            raise missing_extra("CLOUDFN_STORE=redis://", "the package redis", "redis") from None
        self._error: type[Exception] = redis.RedisError
        self._url = url
        with contextlib.suppress(ValueError):
            self.after_fork()
            forks.watch(self)
            return
        # Raised out here so that the address stays in no __context__.
        raise setting_error("CLOUDFN_STORE", "an address that is none", "redis://host:6379/0")

    def after_fork(self) -> None:
        """Connect anew: in a child another thread may have held a lock of the client that is the parent's."""
        import redis

        self._client: Any = redis.Redis.from_url(
            self._url.reveal(),
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            health_check_interval=30,
        )
        # The counter's life begins with its first use, in the same step.
        self._count = self._client.register_script(
            "local n = redis.call('incrby', KEYS[1], ARGV[1]) "
            "if redis.call('pttl', KEYS[1]) < 0 then redis.call('pexpire', KEYS[1], ARGV[2]) end return n"
        )
        self._forget = self._client.register_script(
            "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
        )

    def __repr__(self) -> str:
        return "Redis()"

    def get(self, key: str) -> bytes | None:
        with self._reported():
            value: bytes | None = self._client.get(_PREFIX + key)
            return value

    def set(self, key: str, value: Bytes, seconds: float) -> None:
        with self._reported():
            self._client.set(_PREFIX + key, value, px=max(1, int(seconds * 1000)))

    def delete(self, key: str, value: Bytes) -> None:
        with self._reported():
            self._forget(keys=[_PREFIX + key], args=[value])

    def add(self, key: str, amount: int, seconds: float) -> int:
        with self._reported():
            return int(self._count(keys=[_PREFIX + key], args=[amount, max(1, int(seconds * 1000))]))

    @contextmanager
    def lock(self, key: str, lease: float) -> Iterator[bool]:
        name, owner = f"{_PREFIX}{key}.lock", secrets.token_hex(8).encode()
        with self._reported():
            held = bool(self._client.set(name, owner, px=max(1, int(lease * 1000)), nx=True))
        try:
            yield held
        finally:
            if held:
                with contextlib.suppress(StoreError), self._reported():  # its lease ends it
                    self._forget(keys=[name], args=[owner])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            # The error's text names the server; the class alone says enough.
            raise StoreError(f"the Redis server does not answer ({type(error).__name__})") from None
