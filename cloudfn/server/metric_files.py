"""The files in which workers share their metrics, known before prometheus-client is imported.

A process maps its files into its memory. Where the disk is full, such a file has no room behind it and a write to it
ends the process (SIGBUS); so the room is reserved here before prometheus-client opens them, and it never needs more.
"""

from __future__ import annotations

from pathlib import Path

_FILES = ("counter", "histogram", "gauge_livesum")  # a file for each type of metric
_RESERVED = 256 * 1024  # bytes of a file; some 1,000 values


def reserve(folder: Path, process: int) -> None:
    """Reserve disk space for a process' files; raises OSError where there is none."""
    for name in _FILES:
        (folder / f"{name}_{process}.db").write_bytes(bytes(_RESERVED))


def forget(folder: Path, process: int) -> None:
    """Drop the work in progress that a dead process had counted; its finished work still counts."""
    (folder / f"gauge_livesum_{process}.db").unlink(missing_ok=True)
