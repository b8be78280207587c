"""A text that must not be shown: an access token, the app secret, a proxy's address with its password."""

from __future__ import annotations

import json
from collections.abc import Mapping


class Secret:
    """A secret text, wrapped from where it comes in to where it goes onto the wire.

    Error trackers keep the locals of every frame, and logs keep what is formatted into them: neither `repr` nor `str`
    shows the text, only `reveal` returns it. Two are equal where their texts are; an empty one is false.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text; keep it out of variables that outlive the expression."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def unshown_json(fields: Mapping[str, object]) -> memoryview:
    """Return JSON, the secrets among the values in it revealed, as bytes that no traceback shows."""
    return memoryview(json.dumps(fields, default=Secret.reveal).encode())
