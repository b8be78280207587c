"""How the command tells of failures."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cloudfn.errors import CloudError

# Codes that mean: the set-up of this machine or function is wrong (an extra or a setting, permission, credentials).
_CONFIGURATION = {-601002, -604101, 41001}


def report(error: CloudError, about: str = "") -> None:
    """The error's words and its cure on stderr."""
    print(f"cloudfn: {about + ': ' if about else ''}{error.errMsg} (errCode {error.errCode})", file=sys.stderr)
    if error.hint and not error.facts.in_words:
        print(f"  {error.hint}", file=sys.stderr)


def exit_code(errors: Sequence[CloudError], of: int = 1) -> int:
    """The exit code when `errors` are what failed of so many calls."""
    if not errors:
        return 0
    if len(errors) < of:
        return 4
    return 3 if all(error.errCode in _CONFIGURATION for error in errors) else 1
