"""The JSON Schemas: compiled here into quick checks; jsonschema, which is slow to load, explains only refusals."""

from __future__ import annotations

import json
import numbers
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from jsonschema import ValidationError

_SHOWN = 1000  # items or characters that matter to an explanation

Check: TypeAlias = Callable[[Any], bool]


@cache
def load(name: str) -> dict[str, Any]:
    """Return the JSON Schema in `schemas/<name>.json`."""
    return cast("dict[str, Any]", json.loads(data(f"schemas/{name}.json")))


def data(path: str) -> bytes:
    """Return a file of this package, which may lie in a zip; importlib.resources takes longer to load than all this."""
    return cast(bytes, __loader__.get_data(str(Path(__file__).parent / path)))  # type: ignore[name-defined]


@cache
def acceptance(name: str) -> Check:
    """Return a check of whether a value conforms to a schema, without a reason; tuples are arrays, mappings objects."""
    return _compiled(load(name))


def breaches(name: str, value: object) -> list[ValidationError]:
    """Return a value's breaches of a schema, in the schema's order; raise RecursionError if it is too deep."""
    from jsonschema import Draft202012Validator, validators

    checker = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "array": lambda _, value: isinstance(value, (list, tuple)),
            "object": lambda _, value: isinstance(value, Mapping),
        }
    )
    extended = validators.extend(Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]
    return list(extended(load(name)).iter_errors(_outline(value)))


def _outline(value: object) -> object:
    """Return a value without most of what is large in it: jsonschema writes out all that breaches a schema."""
    if isinstance(value, str):
        return value[:_SHOWN]
    if isinstance(value, Mapping):
        return {key: _outline(item) for key, item in islice(value.items(), _SHOWN)}
    if isinstance(value, (list, tuple)):
        return [_outline(item) for item in value[:_SHOWN]]
    if isinstance(value, (bytes, bytearray)):
        return value[:0]
    if isinstance(value, int) and abs(value) > sys.maxsize:
        return sys.maxsize
    return value


def breaching(breach: ValidationError, value: Any) -> Any:
    """Return the part of `value`, itself and not an outline, that a breach is about."""
    for step in breach.absolute_path:
        value = value[step]
    return value


def place(breach: ValidationError) -> str:
    """Return where a breach is, such as `img.value` or `ratios[2]`; "" for the value itself."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in breach.absolute_path)[1:]


def _compiled(schema: Mapping[str, Any]) -> Check:
    """Compile a schema's keywords into one function; raise ValueError for one that is not in the table below."""
    unknown = schema.keys() - _KEYWORDS.keys() - _ANNOTATIONS
    if unknown:
        raise ValueError(f"no check for {', '.join(sorted(unknown))}")
    checks = tuple(make(schema[keyword], schema) for keyword, make in _KEYWORDS.items() if keyword in schema)
    return lambda value: all(check(value) for check in checks)


def _type(names: str | list[str], _schema: object) -> Check:
    classes = tuple(kind for name in ([names] if isinstance(names, str) else names) for kind in _TYPES[name])
    return lambda value: isinstance(value, classes) and not isinstance(value, bool)


def _properties(properties: Mapping[str, Any], _schema: object) -> Check:
    checks = {name: _compiled(schema) for name, schema in properties.items()}
    return lambda value: (
        not isinstance(value, Mapping) or all(check(value[name]) for name, check in checks.items() if name in value)
    )


def _additional(allowed: bool, schema: Mapping[str, Any]) -> Check:
    names = schema.get("properties", {}).keys()
    return lambda value: allowed or not isinstance(value, Mapping) or all(name in names for name in value)


def _required(names: list[str], _schema: object) -> Check:
    return lambda value: not isinstance(value, Mapping) or all(name in value for name in names)


def _items(schema: Mapping[str, Any], _schema: object) -> Check:
    check = _compiled(schema)
    return lambda value: not isinstance(value, (list, tuple)) or all(map(check, value))


def _max_items(most: int, _schema: object) -> Check:
    return lambda value: not isinstance(value, (list, tuple)) or len(value) <= most


def _one_of(schemas: list[Mapping[str, Any]], _schema: object) -> Check:
    checks = [_compiled(schema) for schema in schemas]
    return lambda value: sum(check(value) for check in checks) == 1


def _const(expected: str, _schema: object) -> Check:
    return lambda value: isinstance(value, str) and value == expected


def _pattern(pattern: str, _schema: object) -> Check:
    search = re.compile(pattern).search
    return lambda value: not isinstance(value, str) or search(value) is not None


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (numbers.Number,),
    "array": (list, tuple),
    "object": (Mapping,),
}
# What costs little comes first.
_KEYWORDS: Mapping[str, Callable[[Any, Mapping[str, Any]], Check]] = {
    "type": _type,
    "maxItems": _max_items,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "oneOf": _one_of,
    "const": _const,
    "pattern": _pattern,
}
_ANNOTATIONS = {"$schema", "$comment", "title", "description", "format"}
