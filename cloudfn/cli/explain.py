"""`cloudfn explain`: what a code means and what to do; what a cloud call takes, and who answers it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cloudfn.call.apis import APIS, Api
from cloudfn.call.naming import near
from cloudfn.codes import CODES, Code
from cloudfn.errors import installing


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("explain", help="what an errCode means, what a cloud call takes")
    parser.add_argument(
        "code",
        nargs="?",
        metavar="CODE",
        help="a code, its name, or img.aiCrop; without it, all codes",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one row of a table at length, or every code in short."""
    if arguments.code is None:
        for row in CODES.values():
            print(f"{row.code:>8}  {row.name:<26} {row.meaning}")
        return 0
    if arguments.code in APIS:
        _print_api(APIS[arguments.code])
        return 0
    entry = _find(arguments.code)
    if entry is None:
        match = near(arguments.code, [*APIS, *(code.name for code in CODES.values())])
        advice = f"; did you mean {match}?" if match else "; `cloudfn explain` lists the codes that are known"
        print(f"cloudfn: no code or cloud call {arguments.code}{advice}", file=sys.stderr)
        return 2
    print(f"{entry.code} {entry.name}")
    if entry.text:
        print(f"  text     {entry.text}")
    print(f"  meaning  {entry.meaning}\n  cure     {entry.cure}\n  repeat?  {'yes' if entry.retryable else 'no'}")
    return 0


def _print_api(api: Api) -> None:
    print(f"{api.name}\n  path        {api.path}")
    schema = api.schema()
    print(f"  parameters  {schema['description']}")
    for name in api.fields:
        print(f"    {name:<9} {schema['properties'][name]['description']}")
    print(f'  config.json {{"permissions": {{"openapi": ["{api.name}"]}}}}')
    here = f"; the engine and the server too: {installing(api.extra)}" if api.extra else " alone"
    print(f"  answered by WeChat{here}")


def _find(wanted: str) -> Code | None:
    return next((row for row in CODES.values() if wanted.strip().upper() in (str(row.code), row.name)), None)
