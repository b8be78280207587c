"""The state of one worker, whatever carries its HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from cloudfn.server.answers import Refusal
from cloudfn.server.bucket import Bucket
from cloudfn.server.budget import Budget
from cloudfn.server.crops import Crops
from cloudfn.server.faults import Faults
from cloudfn.server.issuer import Issuer
from cloudfn.server.journal import Journal
from cloudfn.server.metrics import Metrics
from cloudfn.server.options import Options
from cloudfn.server.quota import Quota

_HELD = 256 * 1024 * 1024  # bytes of bodies and fetched pictures that a worker holds
_LARGEST_FILE = 32 * 1024 * 1024  # bytes of an upload to the storage
_BESIDE_THE_PICTURE = 64 * 1024  # bytes of a body that are not the picture

_TOKEN_CURES = {
    40001: "the token was never issued here, or a newer one replaced it: get one from /cgi-bin/stable_token",
    42001: "the token's life is over: get a new one, five minutes before expires_in ends",
}


class State:
    """Tokens, faults, quota, the last requests, metrics and the engine; thread-safe.

    `ready` returns whether another call would be accepted; the front sets it.
    """

    def __init__(
        self,
        options: Options,
        *,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.options = options
        self.clock = clock
        self.tokens = Issuer(clock)
        self.faults = Faults(options.faults, options.latency, options.seed)
        self.quota = Quota(options.quota, clock)
        self.journal = Journal()
        self.metrics = metrics or Metrics()
        self.budget = Budget(max(_HELD, 4 * self.body_limit))
        self.bucket = Bucket(options.storage, options.storage_key, clock) if options.storage else None
        self.crops = Crops(options, self.metrics, self.budget, self.bucket)
        self.ready: Callable[[], bool] = lambda: True
        self._sleep = sleep

    @property
    def body_limit(self) -> int:
        """Return how many bytes of a body are read."""
        largest = max(self.options.max_bytes, _LARGEST_FILE) if self.options.storage else self.options.max_bytes
        return largest + _BESIDE_THE_PICTURE

    def reset(self) -> None:
        """Restore the first state: no tokens, no requests, the first faults and quota."""
        for part in (self.tokens, self.faults, self.quota, self.journal):
            part.reset()

    def disturb(self, endpoint: str) -> None:
        """Wait and fail as the faults say; raises Refusal."""
        code, latency = self.faults.draw(endpoint)
        if latency:
            self._sleep(latency)
        if code:
            raise Refusal(code)

    def check_token(self, query: Mapping[str, str]) -> None:
        """Raise Refusal 41001 without a token, 40014 for a malformed one, and, where strict, 40001 and 42001."""
        token = query.get("access_token") or query.get("cloudbase_access_token") or ""
        if not token:
            raise Refusal(41001, "no access_token in the query: send it there, never in the body or a header")
        if not token.isascii() or not token.isprintable() or " " in token:
            raise Refusal(40014, "the access token has characters that no token has: send it whole and unchanged")
        if not self.options.strict:
            return
        code = self.tokens.problem(query.get("access_token", ""))
        if code:
            raise Refusal(code, _TOKEN_CURES[code])

    def check_quota(self) -> None:
        """Use up one call of today; raises Refusal 45009 when none is left."""
        if not self.quota.take():
            cure = "POST /_cloudfn/reset, or raise --quota"
            raise Refusal(45009, f"the quota that this server was given is used up: {cure}")
