"""Every input that fuzzing kept, once more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS

INPUTS = [pytest.param(path, id=f"{path.parent.name}-{path.name[:8]}") for path in sorted(CORPUS.glob("*/*"))]


def test_every_target_has_a_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("path", INPUTS)
def test_an_input_that_fuzzing_kept(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
