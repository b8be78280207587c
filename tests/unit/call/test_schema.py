"""What accepts is made of the schemas: it says the same as jsonschema, which explains them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfn.call import schema
from cloudfn.call.apis import APIS

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=4) | st.binary()
WORDS = ["img.aiCrop", "timer", "daily", "1a", "a\n", "0 0 2 * * * *", "0 2 * * *", "0 0 2 * * * *\n", "image/png"]


def like(rules: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema accepts, or nearly."""
    parts: list[st.SearchStrategy[Any]] = [SCALARS, st.sampled_from(WORDS)]
    if "properties" in rules:
        named = {name: like(inner) for name, inner in rules["properties"].items()}
        parts += [st.fixed_dictionaries({}, optional=named)] * 3
        parts.append(st.fixed_dictionaries({"other": SCALARS}, optional=named))
        parts.append(st.fixed_dictionaries(named))
    if "items" in rules:
        parts += [st.lists(like(rules["items"]), max_size=7), st.tuples(like(rules["items"]))]
    return st.one_of(parts)


VALUES = {name: like(schema.load(name)) for name in (*APIS, "config")}  # made once: it takes longer than a value


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
@settings(max_examples=600, deadline=None)
def test_the_same_verdict(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    assert schema.acceptance(name)(value) is (not schema.breaches(name, value))


def test_a_keyword_without_a_check_is_an_error() -> None:
    """Not a rule that goes unseen."""
    with pytest.raises(ValueError, match="minLength"):
        schema._compiled({"type": "string", "minLength": 3})
