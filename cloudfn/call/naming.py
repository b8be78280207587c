"""Names as wx-server-sdk converts them: camelCase parameters to WeChat's snake_case, and results back.

Only ASCII letters count. Values, bytes included, and the caller's own objects are left alone.
Source: wx-server-sdk 4.0.2, recorded by running it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

_UPPER = re.compile(r"[A-Z]")
_LONGEST = 64  # characters; a longer name is not worth comparing with ours
_UNDERSCORE_LOWER = re.compile(r"_[a-z]")


def to_snake(name: str) -> str:
    """Convert to snake_case: imgUrl -> img_url, imgURL -> img_u_r_l, ImgUrl -> img_url."""
    return _UPPER.sub(lambda match: ("_" if match.start() else "") + match[0].lower(), name)


def to_camel(name: str) -> str:
    """Convert to camelCase: img_size -> imgSize, a__b -> a_B, _a -> A; a_1 and a_B stay as they are."""
    return _UNDERSCORE_LOWER.sub(lambda match: match[0][1].upper(), name)


def rename(value: Any, convert: Callable[[str], str]) -> Any:
    """Return a copy of `value` in which every key of every mapping, through lists, went through `convert`.

    As in the SDK, keys that change move behind those that do not, and win where both spellings were there.
    """
    if isinstance(value, dict):
        names = {key: convert(key) for key in value}
        order = sorted(names, key=lambda key: names[key] != key)
        return {names[key]: rename(value[key], convert) for key in order}
    if isinstance(value, list):
        return [rename(item, convert) for item in value]
    return value


def near(name: str, names: Iterable[str]) -> str | None:
    """Return the one of `names` that `name` seems to misspell; case and underscores do not count."""
    if len(name) > _LONGEST:
        return None
    from difflib import get_close_matches

    plain = {re.sub(r"[\W_]", "", candidate).lower(): candidate for candidate in names}
    matches = get_close_matches(re.sub(r"[\W_]", "", name).lower(), plain, n=1, cutoff=0.8)
    return plain[matches[0]] if matches else None
