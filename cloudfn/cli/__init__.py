"""The command `cloudfn`. Data goes to stdout, talk to stderr.

Exit codes: 0 ok, 1 the call failed, 2 usage, 3 configuration or permission, 4 some of several failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cloudfn.cli import batch, check, crop, explain, invoke, package, serve
from cloudfn.cli.report import exit_code, report
from cloudfn.errors import CloudError, shortage

_COMMANDS = (crop, batch, invoke, package, serve, check, explain)


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong, and not all that it takes."""

    def error(self, message: str) -> NoReturn:
        """End the command with exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n  {self.prog} --help explains the arguments\n")


class _Version(argparse.Action):
    """The --version option, which looks the version up only when it is used."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(version("cloudfn-aicrop"))
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, sys.argv's when None, and give the exit code."""
    _make_streams_safe()
    parser = _Parser(prog="cloudfn", description="WeChat's smart crop, with or without WeChat.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    # The library's warnings (a misspelt key in config.json, the cure of a failed call) are talk for the user.
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(levelname)s: %(message)s")
    try:
        arguments = parser.parse_args(argv)
        if "run" not in arguments:
            parser.print_help(sys.stderr)
            return 2
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except CloudError as error:
        report(error)
        return exit_code([error])
    except MemoryError as error:
        report(shortage(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as with `| head`: whatever Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"cloudfn: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _make_streams_safe() -> None:
    """Send output nowhere where the caller closed stdout or stderr, and escape what an encoding cannot hold."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the descriptor is free: the next file to be opened would get it, and everything printed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
