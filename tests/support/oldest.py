"""The oldest allowed version of each of the package's own dependencies, as constraints for pip.

`pip install -e ".[local,redis]" -c <(python -m tests.support.oldest)` makes the environment that a gate tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
# Extras that users install; `dev` holds the tests' own tools.
_EXTRAS = ("local", "redis", "cluster")
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)")


def constraints(project: dict[str, Any]) -> Iterator[str]:
    """Yield `name==version` for each requirement `name>=version` of a [project] table."""
    lists = [project["dependencies"], *(project["optional-dependencies"].get(extra, []) for extra in _EXTRAS)]
    for requirement in dict.fromkeys(requirement for listed in lists for requirement in listed):
        match = _REQUIREMENT.fullmatch(requirement.partition(";")[0].strip())
        if match:
            yield f"{match[1]}=={match[2]}"


if __name__ == "__main__":
    import sys

    if sys.version_info >= (3, 11):
        import tomllib

        print("\n".join(constraints(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"])))
