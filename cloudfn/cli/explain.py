"""`cloudfn explain`: what a code means and what to do."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cloudfn.call.naming import near
from cloudfn.codes import CODES, Code


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("explain", help="what an errCode means and what to do")
    parser.add_argument("code", nargs="?", metavar="CODE", help="a code or its name; without it, all of them")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one row of the table at length, or every row in short."""
    if arguments.code is None:
        for row in CODES.values():
            print(f"{row.code:>8}  {row.name:<26} {row.meaning}")
        return 0
    entry = _find(arguments.code)
    if entry is None:
        match = near(arguments.code, [code.name for code in CODES.values()])
        advice = f"; did you mean {match}?" if match else "; `cloudfn explain` lists the codes that are known"
        print(f"cloudfn: no code {arguments.code}{advice}", file=sys.stderr)
        return 2
    print(f"{entry.code} {entry.name}")
    if entry.text:
        print(f"  text     {entry.text}")
    print(f"  meaning  {entry.meaning}\n  cure     {entry.cure}\n  repeat?  {'yes' if entry.retryable else 'no'}")
    return 0


def _find(wanted: str) -> Code | None:
    return next((row for row in CODES.values() if wanted.strip().upper() in (str(row.code), row.name)), None)
