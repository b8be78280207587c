"""`cloudfn invoke`: run a cloud function on this machine."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudfn.cli.report import exit_code, report, wrong_use
from cloudfn.errors import CloudError
from cloudfn.hosts import HOSTS


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("invoke", help="run a cloud function with an event")
    parser.add_argument("event", nargs="?", metavar="EVENT.json", help="the event's file, or - for stdin; default: {}")
    parser.add_argument(
        "--function", metavar="FILE:NAME", help="the function, such as index.py:main; default: cloudfn.handler.main"
    )
    parser.add_argument("--platform", choices=list(HOSTS), help="run it as this platform would, within its limits")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="the function's time limit there; default: the platform's"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Call the function with the event; its answer goes to stdout as JSON, its own prints to stderr."""
    seconds = _seconds(arguments)
    event = _event(arguments)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            if arguments.platform:
                from cloudfn.cli.host import run_on

                answer = run_on(HOSTS[arguments.platform], lambda: _function(arguments), event, seconds)
            else:
                from cloudfn.handler import function

                answer = function(raise_errors=True)(_function(arguments))(event, None)
            text = json.dumps(answer, ensure_ascii=False, indent=2, allow_nan=False)
        except CloudError as error:
            of_its_own = error.__cause__ is None and not arguments.platform
            report(error, "the function raised CloudError" if of_its_own else "")
            return exit_code([error])
        except Exception:  # noqa: BLE001 - a file of a user's own may raise anything, and its traceback is the answer
            traceback.print_exc()
            return 1
    print(text)
    code = _errcode(answer)
    return exit_code([CloudError(code, "")]) if code else 0


def _errcode(answer: Any) -> int:
    """Return the errCode of an answer, also from the body of an HTTP answer; 0 for success."""
    status = answer.get("statusCode", 200) if isinstance(answer, dict) else 200
    if isinstance(status, int) and status >= 400:
        try:
            answer = json.loads(answer["body"])
        except (KeyError, TypeError, ValueError):
            return -504002
    code = answer.get("errCode") if isinstance(answer, dict) else 0
    return code if isinstance(code, int) else 0


def _seconds(arguments: argparse.Namespace) -> float:
    """Return the function's time limit; without --platform there is none."""
    if arguments.platform is None:
        if arguments.timeout is not None:
            wrong_use("invoke", "--timeout is a platform's limit: say --platform too")
        return 0
    host = HOSTS[arguments.platform]
    seconds: float = host.seconds if arguments.timeout is None else arguments.timeout
    if not 0 < seconds <= host.max_seconds:
        wrong_use(
            "invoke", f"--timeout {seconds:g}: {host.title} allows more than 0 and at most {host.max_seconds:g} s"
        )
    return seconds


def _event(arguments: argparse.Namespace) -> Any:
    if arguments.event is None:
        return {}
    shown = "standard input" if arguments.event == "-" else arguments.event
    try:
        source = sys.stdin.buffer.read() if arguments.event == "-" else Path(arguments.event).read_bytes()
        return json.loads(source)
    except OSError as error:
        wrong_use("invoke", f"{shown}: {error.strerror}")
    except json.JSONDecodeError as error:
        wrong_use("invoke", f"{shown} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}")
    except (ValueError, RecursionError):
        wrong_use("invoke", f"{shown} is not JSON in UTF-8")


def _function(arguments: argparse.Namespace) -> Callable[[Any, Any], Any]:
    if arguments.function is None:
        from cloudfn.handler import main

        return main
    file, _, name = arguments.function.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        wrong_use(
            "invoke",
            f"--function {arguments.function}: expected FILE:NAME with a file that exists, such as index.py:main",
        )
    if path.suffix != ".py":
        wrong_use("invoke", f"--function {arguments.function}: {path} is not a Python file (.py)")
    from cloudfn.handler import load_file

    function = getattr(load_file(path), name, None)
    if not callable(function):
        wrong_use("invoke", f"--function {arguments.function}: {path} has no function {name or 'without a name'}")
    return function  # type: ignore[no-any-return]
