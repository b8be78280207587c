"""The options that a server is started with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from functools import partial

from cloudfn.server.faults import Fault
from cloudfn.settings import Settings

MAX_BYTES = 2 * 1024 * 1024  # WeChat says "less than 2M"; which of the two it means is unknown


@dataclass(frozen=True)
class Options:
    """The options of a server: everything in which one differs from another.

    `settings` holds the engine's limits, the allowed hosts, the time for a picture's URL, and with `strict` the appid
    and secret that tokens are issued for. `config` is the config.json that decides what the SDK's endpoint permits;
    with "" every known API is permitted. `queue` is how many calls a worker keeps at a time, `body_seconds` how long a
    request's body may take, and a client take nothing of its answer, `per_address` how many connections of one address
    a worker keeps. `quota` is the number of crops a day, None for any number. `storage` is the folder that the server
    keeps files in, "" for none, `storage_key` signs the links to them. `admin_token` is what a change by the admin
    surface needs; with "" there is no such surface.
    """

    settings: Settings = field(default_factory=Settings)
    strict: bool = False
    config: str = ""
    max_bytes: int = MAX_BYTES
    faults: tuple[Fault, ...] = ()
    latency: float = 0.0
    seed: int | None = None
    quota: int | None = None
    workers: int = 1
    queue: int = 128
    body_seconds: float = 30.0
    per_address: int = 256
    log_json: bool = False
    storage: str = ""
    storage_key: bytes = field(default_factory=partial(secrets.token_bytes, 32), repr=False)
    admin_token: str = field(default="", repr=False)

    @property
    def needs_one_worker(self) -> list[str]:
        """Return the flags in use that need a state which workers cannot share."""
        used = {"--strict": self.strict, "--fault": self.faults, "--quota": self.quota is not None}
        return [flag for flag, in_use in used.items() if in_use]
