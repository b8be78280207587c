"""Progress of many pictures on a terminal: a bar with rate, remaining time and failures by code."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress
    from typing_extensions import Self


class Bar:
    """Draws while its block lasts, on stderr, where that is a terminal and rich is installed; quiet elsewhere.

    `count` returns the number of pictures, None where it is not known before the end; it may be slow.
    """

    def __init__(self, count: Callable[[], int | None], *, wanted: bool = True) -> None:
        """Prepare the bar; with `wanted` False it stays quiet, as for a single picture."""
        self._wanted = wanted
        self._count = count
        self._progress: Progress | None = None
        self._start = time.monotonic()
        self._total: int | None = None

    def __enter__(self) -> Self:
        if not (self._wanted and sys.stderr.isatty()):
            return self
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
        except ImportError:
            return self
        self._progress = Progress(
            BarColumn(bar_width=None, complete_style="green", finished_style="green"),
            TextColumn("{task.fields[done]}", style="bold"),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[failures]}", style="red"),
            console=Console(stderr=True),
            refresh_per_second=4,
            transient=True,
            # rich prints what is printed meanwhile above the bar, to its own stream: data is not to go there.
            redirect_stdout=sys.stdout.isatty(),
            expand=True,
        )
        self._task = self._progress.add_task("", total=None, done="", pace="", failures="")
        self._progress.start()
        threading.Thread(target=self._set_total, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def show(self, done: int, skipped: int, failures: Counter[int]) -> None:
        """Show the progress: pictures done in this run, those done before, and the codes of this run."""
        if not self._progress:
            return
        seconds = max(time.monotonic() - self._start, 1e-3)
        total, rate = self._total, done / seconds
        pace = f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s"
        if total is not None:
            pace += f"  {_clock((total - done - skipped) / rate)} left" if rate and total > done + skipped else ""
        self._progress.update(
            self._task,
            completed=done + skipped,
            total=total,
            done=f"{done + skipped:,}" + (f" of {total:,}" if total is not None else ""),
            pace=pace,
            failures="  ".join(f"{code}: {times:,}" for code, times in failures.most_common() if code),
        )

    def _set_total(self) -> None:
        with contextlib.suppress(Exception):  # errors in the inputs are reported where they are read
            self._total = self._count()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary(done: int, skipped: int, failures: Counter[int], seconds: float) -> Iterator[str]:
    """Yield the lines of a summary: the work done, and the meaning of each kind of failure."""
    from cloudfn.codes import CODES

    failed = done - failures[0]
    before = f", {skipped:,} done before" if skipped else ""
    took = f"{_clock(seconds)}" if seconds >= 60 else f"{seconds:.1f} s"
    pictures = "1 picture" if done == 1 else f"{done:,} pictures"
    rate = done / max(seconds, 1e-3)
    yield f"{pictures} in {took} ({rate:.1f}/s): {failures[0]:,} cropped, {failed:,} failed{before}"
    for code, times in failures.most_common():
        if code:
            row: Any = CODES.get(code)
            yield f"  {times:,} x {code}" + (f": {row.meaning}" if row else "")
