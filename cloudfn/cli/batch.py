"""`cloudfn batch`: any number of pictures, on all cores or a Dask cluster, with results that can be resumed."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from cloudfn.batch.pace import rate
from cloudfn.batch.run import Batch
from cloudfn.cli import pictures
from cloudfn.cli.progress import Bar, summary
from cloudfn.cli.report import CONFIGURATION, print_line, wrong_use


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("batch", help="crop any number of pictures, to be stopped and resumed at any time")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=pictures.INPUTS)
    pictures.add_arguments(parser, "--cut")
    parser.add_argument("--out", metavar="FILE", type=Path, help="one line of JSON a picture; default: stdout")
    parser.add_argument("--sheet", metavar="FILE.html", type=Path, help="write a page of small pictures with boxes")
    parser.add_argument("--resume", action="store_true", help="leave out what --out holds already")
    parser.add_argument("--retry-failed", action="store_true", help="and do the failures in it again")
    parser.add_argument("--limit", type=pictures.number(1, 10**12), metavar="N", help="at most so many pictures now")
    parser.add_argument("--dry-run", action="store_true", help="name the pictures that would be done, and do nothing")
    parser.add_argument("--workers", type=pictures.number(1, 1024), metavar="N", help="processes; default: one a core")
    parser.add_argument("--scheduler", default="", metavar="tcp://HOST:PORT", help="work on this Dask cluster")
    parser.add_argument("--quota", type=pictures.number(1, 10**9), metavar="N", help="calls of WeChat a day")
    parser.add_argument("--rate", type=_rate, metavar="N/s", help="calls of WeChat a second (/s, /m, /h)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Crop all; lines go to --out or stdout, the bar and a summary to stderr."""
    _check(arguments)
    stop = _Stop()
    batch = Batch(
        inputs=arguments.inputs,
        ratios=arguments.ratios,
        cut=pictures.cut_of(arguments, "batch", "--cut"),
        out=arguments.out,
        sheet=arguments.sheet,
        resume=arguments.resume,
        retry_failed=arguments.retry_failed,
        limit=arguments.limit,
        only=pictures.filter_of(arguments),
        backend=arguments.backend,
        workers=arguments.workers,
        scheduler=arguments.scheduler,
        quota=arguments.quota,
        rate=arguments.rate,
        stop=stop,
        stdin=pictures.standard_input(),
    )
    if arguments.dry_run:
        return _dry_run(batch)
    start = time.monotonic()
    try:
        with stop, Bar(batch.count) as bar:
            for done in batch.run():
                bar.show(batch.done, batch.skipped, batch.failures)
                if arguments.out is None:
                    print_line(done.line or {})
    finally:
        if batch.done or batch.skipped or sys.exc_info()[0] is None:  # a batch that never began has nothing to sum up
            for text in summary(batch.done, batch.skipped, batch.failures, time.monotonic() - start):
                print(text, file=sys.stderr)
    if stop():
        return 130
    return _exit_code(batch)


def _check(arguments: argparse.Namespace) -> None:
    pictures.check_ratios(arguments, "batch")
    if (arguments.resume or arguments.retry_failed) and arguments.out is None:
        wrong_use("batch", "--resume and --retry-failed need the --out FILE of the earlier run")
    if (arguments.quota or arguments.rate) and arguments.backend != "wechat":
        wrong_use("batch", "--quota and --rate are about calls of WeChat: add --backend wechat")
    if arguments.scheduler and arguments.backend != "local":
        wrong_use("batch", "--scheduler is for the embedded engine: calls of WeChat share one quota on one machine")
    if arguments.sheet and arguments.sheet.suffix.lower() not in (".html", ".htm"):
        wrong_use("batch", f"--sheet {arguments.sheet}: expected a file name that ends in .html")


def _dry_run(batch: Batch) -> int:
    batch.check()
    number = 0
    for item in batch.pending():
        number += 1
        print_line({"input": item.source, **({"ratios": item.ratios} if item.ratios else {})})
    print(f"{number:,} pictures would be done, {batch.skipped:,} are done already", file=sys.stderr)
    return 0


def _exit_code(batch: Batch) -> int:
    failed = batch.done - batch.failures[0]
    if not failed:
        return 0
    if batch.failures[0]:
        return 4
    return 3 if CONFIGURATION.issuperset(code for code in batch.failures if code) else 1


def _rate(text: str) -> float:
    try:
        return rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {error}") from None


class _Stop:
    """A switch that the first Ctrl-C, or SIGTERM, turns on; the second one is left to Python."""

    def __init__(self) -> None:
        self._wished = False

    def __call__(self) -> bool:
        return self._wished

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._wish) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _wish(self, number: int, _: FrameType | None) -> None:
        self._wished = True
        signal.signal(number, signal.default_int_handler)
        print("\nstopping: what is under way is finished first; once more ends at once", file=sys.stderr)
