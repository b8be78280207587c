"""Counts for Prometheus, merged over several workers.

Workers share a folder that PROMETHEUS_MULTIPROC_DIR names, prometheus-client's own way; see `metric_files`.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from cloudfn.server.journal import Exchange

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BYTES = (10_000, 100_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 32_000_000)
_MEGAPIXELS = (0.1, 0.5, 1, 2, 4, 8, 16, 32, 64, 100)


class Metrics:
    """The numbers of one application.

    `off` says why they cannot be published, "" where they can; they are counted all the same.
    """

    def __init__(self, off: str = "") -> None:
        self.off = off
        registry = self._registry = CollectorRegistry()
        self._calls = Counter(
            "cloudfn_calls", "Requests by endpoint and errcode", ("endpoint", "code"), registry=registry
        )
        self._seconds = Histogram(
            "cloudfn_call_seconds", "Time to answer", ("endpoint",), buckets=_SECONDS, registry=registry
        )
        self._bytes = Histogram("cloudfn_picture_bytes", "Size of pictures", buckets=_BYTES, registry=registry)
        self._megapixels = Histogram(
            "cloudfn_picture_megapixels", "Size of pictures", buckets=_MEGAPIXELS, registry=registry
        )
        self._failures = Counter("cloudfn_decode_failures", "Pictures that could not be read", registry=registry)
        self.queue = Gauge(
            "cloudfn_queue", "Calls accepted and not answered yet", registry=registry, multiprocess_mode="livesum"
        )

    def count(self, exchange: Exchange) -> None:
        """Count a finished request."""
        self._calls.labels(exchange.endpoint, str(exchange.code)).inc()
        self._seconds.labels(exchange.endpoint).observe(exchange.milliseconds / 1000)
        if exchange.picture:
            self._bytes.observe(exchange.picture)

    def decoded(self, width: int, height: int) -> None:
        """Count a picture of this size that was read."""
        self._megapixels.observe(width * height / 1e6)

    def not_decoded(self) -> None:
        """Count a picture that could not be read."""
        self._failures.inc()

    def text(self) -> bytes:
        """Return the numbers of all workers in Prometheus' text format."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self._registry)
        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        return generate_latest(merged)
