"""Reports of failures, and the exit codes that go with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from cloudfn.errors import CloudError

# Codes that mean: the set-up of this machine or function is wrong (an extra or a setting, permission, credentials).
CONFIGURATION = frozenset((-601002, -604101, 41001))


def report(error: CloudError, about: str = "") -> None:
    """Print the failure and its cure to stderr, in the facts' plain words where there are any."""
    said = error.facts.problem or error.errMsg.removeprefix(f"openapi.{error.api}:fail ")
    about = "" if said.startswith(about) else f"{about}: "
    print(f"cloudfn: {about}{said} (errCode {error.errCode})", file=sys.stderr)
    cure = error.facts.cure or error.hint
    if cure:
        print(f"  {cure}", file=sys.stderr)


def wrong_use(command: str, text: str) -> NoReturn:
    """End the command with exit code 2 and one line: what is wrong with its arguments."""
    print(f"cloudfn {command}: {text}", file=sys.stderr)
    raise SystemExit(2)


def exit_code(errors: Sequence[CloudError], of: int = 1) -> int:
    """Return the exit code for these `errors` out of so many calls."""
    if not errors:
        return 0
    if len(errors) < of:
        return 4
    return 3 if all(error.errCode in CONFIGURATION for error in errors) else 1


def print_line(value: dict[str, Any]) -> None:
    """Print a line of JSON; what the terminal's encoding has no bytes for is escaped as JSON does it."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    print(text, flush=True)
