"""Fuzz a target for some seconds: `python -m tests.fuzz picture 300`. Needs `pip install atheris` (Linux, macOS).

The smallest inputs that reach new code stay in `corpus/<target>/`; an input that breaks a target is written to the
working directory by libFuzzer, as `crash-...`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_CORPUS = Path(__file__).with_name("corpus")
_LARGEST = 4096  # bytes of an input
_KEPT = 60  # inputs of a target: they lie in the repository


def _run(name: str, *options: str) -> None:
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    # Only what is imported in here is instrumented, so nothing of the package may have been imported before.
    with atheris.instrument_imports(include=["cloudfn"]):
        from cloudfn.crop import analysis  # noqa: F401 - the engine's modules, which its first call would import
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def main(name: str, seconds: str) -> int:
    """Fuzz in a process of its own, then keep the smallest of the inputs that reached something new."""
    corpus = _CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = (str(corpus), f"-max_total_time={seconds}", f"-max_len={_LARGEST}", "-timeout=20", "-rss_limit_mb=2048")
    code = subprocess.run([sys.executable, "-m", "tests.fuzz", "--run", name, *options], check=False).returncode
    for superfluous in sorted(corpus.iterdir(), key=lambda path: path.stat().st_size)[_KEPT:]:
        superfluous.unlink()
    return code


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        _run(sys.argv[2], *sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"))
