"""The command `cloudfn`. Data goes to stdout, talk to stderr.

Exit codes: 0 ok, 1 the call failed, 2 usage, 3 configuration or permission, 4 some of several failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from cloudfn.cli import check, crop, explain, invoke
from cloudfn.cli.report import exit_code, report
from cloudfn.errors import CloudError

_COMMANDS = (crop, invoke, check, explain)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, sys.argv's when None, and give the exit code."""
    parser = argparse.ArgumentParser(prog="cloudfn", description="WeChat's smart crop, with or without WeChat.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    arguments = parser.parse_args(argv)
    # The library's warnings (a misspelt key in config.json, the cure of a failed call) are talk for the user.
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(levelname)s: %(message)s")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except CloudError as error:
        report(error)
        return exit_code([error])
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as with `| head`: what Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
