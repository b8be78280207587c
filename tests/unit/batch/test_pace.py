"""Rates and days."""

from datetime import datetime, timezone

import pytest

from cloudfn.batch.pace import Pace, rate, today


@pytest.mark.parametrize(("text", "number"), [("5/s", 5), ("5", 5), ("120/m", 2), ("1 / h", 1 / 3600), ("0.5/s", 0.5)])
def test_rates(text: str, number: float) -> None:
    assert rate(text) == number


@pytest.mark.parametrize("text", ["", "0/s", "-1", "5/w", "fast", "nan"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="a number of calls"):
        rate(text)


def test_calls_are_spread_evenly() -> None:
    now = [100.0]
    pace = Pace(4, clock=lambda: now[0])
    starts = []
    for _ in range(8):
        while (wait := pace.pause()) > 0:
            now[0] += wait
        starts.append(now[0])
    assert [start - starts[0] for start in starts] == [number / 4 for number in range(8)]
    now[0] += 60  # a pause saves nothing up
    assert pace.pause() == 0
    assert pace.pause() == 0.25


def test_a_day_of_wechat_begins_at_midnight_in_china() -> None:
    noon = datetime(2026, 5, 2, 4, tzinfo=timezone.utc).timestamp()  # 12:00 there
    assert today("2026-05-01T16:00:00Z", noon)
    assert not today("2026-05-01T15:59:59Z", noon)
    assert not today("2026-05-02T16:00:00Z", noon)
    assert not today(None, noon)
    assert not today("yesterday", noon)
