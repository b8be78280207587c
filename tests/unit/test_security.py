"""`.github/SECURITY.md`: each promise names a test, and the test is there."""

from __future__ import annotations

import re

from tests.conftest import TESTS

ROOT = TESTS.parent


def test_every_promise_names_a_test_that_exists() -> None:
    text = (ROOT / ".github" / "SECURITY.md").read_text(encoding="utf-8")
    table = text.partition("## What is promised")[2].partition("## What is not promised")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"
