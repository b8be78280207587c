"""cloudfn's engine as a peer of the crop benchmark: crop(jpeg, ratios) -> half-open boxes."""

from __future__ import annotations

from collections.abc import Sequence

from cloudfn.crop import Box, find


def crop(jpeg: bytes, ratios: Sequence[float]) -> list[Box]:
    return list(find(jpeg, ratios).boxes)
