"""`cloudfn invoke`: run a cloud function on this machine."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudfn import settings
from cloudfn.cli.report import exit_code, report
from cloudfn.errors import CloudError


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("invoke", help="run a cloud function with an event")
    parser.add_argument("event", nargs="?", metavar="EVENT.json", help="the event's file, or - for stdin; default: {}")
    parser.add_argument(
        "--function", metavar="FILE:NAME", help="the function, such as index.py:main; default: cloudfn.handler.main"
    )
    parser.set_defaults(run=run, usage=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Call the function with the event; its answer goes to stdout as JSON, what it prints itself to stderr."""
    event = _event(arguments)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            function = _function(arguments)
            answer = function(event, None)
            text = json.dumps(answer, ensure_ascii=False, indent=2, allow_nan=False)
        except CloudError as error:
            report(error, "the function raised CloudError")
            return exit_code([error])
        except Exception:  # noqa: BLE001 - a user's function may raise anything, and its traceback is the answer
            traceback.print_exc()
            return 1
    print(text)
    code = answer.get("errCode") if isinstance(answer, dict) else 0
    return exit_code([CloudError(code, "")]) if isinstance(code, int) and code else 0


def _event(arguments: argparse.Namespace) -> Any:
    if arguments.event is None:
        return {}
    try:
        source = sys.stdin.buffer.read() if arguments.event == "-" else Path(arguments.event).read_bytes()
        return json.loads(source)
    except OSError as error:
        return arguments.usage(f"{arguments.event}: {error.strerror}")
    except json.JSONDecodeError as error:
        return arguments.usage(f"{arguments.event} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}")
    except (ValueError, RecursionError):
        return arguments.usage(f"{arguments.event} is not JSON in UTF-8")


def _function(arguments: argparse.Namespace) -> Callable[[Any, Any], Any]:
    if arguments.function is None:
        from cloudfn.handler import main

        return main
    file, _, name = arguments.function.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        arguments.usage(
            f"--function {arguments.function}: expected FILE:NAME with a file that exists, such as index.py:main"
        )
    folder = path.resolve().parent
    # As on a platform: the function's folder is where its own modules and its config.json are.
    sys.path.insert(0, str(folder))
    settings.use_code_folder(folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        arguments.usage(f"--function {arguments.function}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    function = getattr(module, name, None)
    if not callable(function):
        arguments.usage(f"--function {arguments.function}: {path} has no function {name}")
    return function  # type: ignore[return-value]
