"""The parameters of a cloud call, checked against the API's JSON Schema and decoded into a `Call`.

Nothing here touches the network, and what came in an event is never opened as a file.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence, Sized
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

from cloudfn.call import apis, media, schema
from cloudfn.call.apis import Api
from cloudfn.call.naming import near, to_snake
from cloudfn.call.values import FILE_ID, Call, Media, Ratios
from cloudfn.errors import CloudError, parameter_error

_log = logging.getLogger("cloudfn")

_DECIMAL = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_RATIO = re.compile(rf"({_DECIMAL})(?:\s*:\s*({_DECIMAL}))?")
_CONTENT_TYPE = re.compile(r"[!-~][ -~]{0,254}")  # printable ASCII: it goes into a header


Begin: TypeAlias = Callable[[], None]

# Characters, bytes or numbers of a picture that takes long enough to decode to do something else meanwhile.
_LARGE = 256 * 1024


_COMPARED = 1000  # keys of an event; comparing half a million takes seconds


def _nothing() -> None:
    """Do nothing: the default where no work can begin early."""


def read(api: Api, given: object, *, convert_case: bool = True, begin: Begin = _nothing) -> Call:
    """Return the call for `given`, one mapping of parameters.

    `convert_case=False` takes WeChat's own names (img_url) only; otherwise both spellings count and the camelCase one
    wins. A parameter that is None counts as missing. Bytes or a `pathlib.Path` may stand in a picture's place.
    `begin` is called before a large picture is decoded, when everything else has been checked for its kind.

    Raises `CloudError`: -401003 for a wrong type, -401002 for an unknown, missing or wrong value. The text names the
    parameter, what came and what is expected.
    """
    fields = _spelled(api, _mapping(api, given), convert_case)
    fields |= {name: _shorthand(api, name, fields[name]) for name in api.media if name in fields}
    return _checked(api, fields, begin)


def read_event(api: Api, event: object, *, begin: Begin = _nothing) -> Call:
    """Return the call for a cloud function's event, from which the API's camelCase fields are taken.

    Any other key is ignored, unless it looks like one of them misspelt. Nothing in an event names a file.
    Raises as `read` does.
    """
    event = _mapping(api, event)
    key = misspelt(api, event)
    if key is not None:
        raise _unknown(api, key, api.fields)
    return _checked(api, {name: event[name] for name in api.fields if event.get(name) is not None}, begin)


def misspelt(api: Api, event: Mapping[Any, Any]) -> str | None:
    """Return the first of an event's keys that looks like one of the API's fields and is none."""
    return next(
        (str(key) for key in islice(event, _COMPARED) if key not in api.fields and near(str(key), api.fields)), None
    )


def _mapping(api: Api, parameters: object) -> Mapping[Any, Any]:
    if not isinstance(parameters, Mapping):
        raise _refusal(api, "the parameters", _describe(parameters), api.schema()["description"], wrong_type=True)
    return parameters


def _checked(api: Api, fields: dict[str, Any], begin: Begin) -> Call:
    """Validate and decode everything in `fields`, and return the call."""
    for name in api.media:
        if isinstance(fields.get(name), Mapping):
            fields[name] = _camel_part(fields[name])
    _validate(api, fields)
    properties = api.schema()["properties"]
    params = {}
    # Pictures last: once one of them is being decoded, all the rest is known to be good.
    for name in sorted(fields, key=lambda name: name in api.media):
        if name in api.media and _is_large(fields[name]["value"]):
            begin()
        kind = properties[name].get("format")
        params[name] = _FORMATS[kind](api, name, fields[name]) if kind else fields[name]
    return Call(api.name, {name: value for name, value in params.items() if value is not None})


def _refusal(api: Api, name: str, came: str, expected: str, *, cure: str = "", wrong_type: bool = False) -> CloudError:
    return parameter_error(api.name, name, came, expected, cure=cure, wrong_type=wrong_type)


def _unknown(api: Api, name: str, allowed: Sequence[str]) -> CloudError:
    name = name[:80]
    match = near(name.rpartition(".")[2], allowed)
    return _refusal(
        api, name, "a parameter that does not exist", f"`{match}`" if match else f"one of {', '.join(allowed)}"
    )


def _is_large(value: object) -> bool:
    return isinstance(value, Sized) and len(value) > _LARGE


def _describe(value: object) -> str:
    """Describe a value without showing anything large or private."""
    kind = type(value).__name__
    if value is None or isinstance(value, (bool, int, float)):
        try:
            return repr(value)[:40]
        except ValueError:  # Python refuses to write out a number of thousands of digits
            return f"a very large {kind}"
    return f"a {kind} of length {len(value)}" if isinstance(value, Sized) else f"a {kind}"


def _spelled(api: Api, parameters: Mapping[Any, Any], convert_case: bool) -> dict[str, Any]:
    """Return the parameters under the API's camelCase names, without None; raise for a name that the API lacks."""
    wire = {to_snake(name): name for name in api.fields}
    names = {key: to_snake(str(key)) if convert_case else key for key in parameters}
    for key, name in names.items():
        if name not in wire:
            raise _unknown(api, str(key), api.fields if convert_case else tuple(wire))
    # Names that conversion changes come last, so that of two spellings the camelCase one wins.
    order = sorted((key for key in parameters if parameters[key] is not None), key=lambda key: names[key] != key)
    return {wire[names[key]]: parameters[key] for key in order}


def _camel_part(part: Mapping[Any, Any]) -> dict[Any, Any]:
    """Rename a picture's own keys, which may have either spelling whatever convertCase says, as in the SDK."""
    spelling = {"content_type": "contentType", "file_name": "fileName"}
    renamed = {spelling[key]: value for key, value in part.items() if key in spelling}
    own = {key: value for key, value in part.items() if key not in spelling and (value or key not in renamed)}
    return renamed | own


def _shorthand(api: Api, name: str, value: object) -> object:
    if isinstance(value, Path):
        path = value
        try:
            value = path.read_bytes()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise _refusal(api, name, f"{path}: {why}", "the path of a file that can be read") from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"contentType": media.sniff(media.decode(value)) or "application/octet-stream", "value": value}
    return value


def _validate(api: Api, fields: dict[str, Any]) -> None:
    """Raise for the first breach of the API's schema; unknown names first, they are the usual cause of the others."""
    if schema.acceptance(api.name)(fields):
        return
    try:
        breaches = schema.breaches(api.name, fields)
    except RecursionError:
        raise _refusal(api, "the parameters", "values nested too deep", api.schema()["description"]) from None
    breach = min(breaches, key=lambda breach: breach.validator != "additionalProperties")
    rule, instance = cast("dict[str, Any]", breach.schema), schema.breaching(breach, fields)
    name = schema.place(breach)
    if breach.validator == "additionalProperties":
        unknown = next(key for key in instance if key not in rule["properties"])
        raise _unknown(api, f"{name}.{unknown}", tuple(rule["properties"]))
    if breach.validator == "required":
        missing = next(key for key in rule["required"] if key not in instance)
        raise _refusal(
            api, f"{name}.{missing}" if name else missing, "nothing", rule["properties"][missing]["description"]
        )
    if breach.validator == "oneOf":
        choice = [key for option in rule["oneOf"] for key in option["required"]]
        came = " and ".join(key for key in choice if key in fields) or "neither"
        raise _refusal(api, " / ".join(choice), came, f"exactly one of {' and '.join(choice)}")
    if breach.validator == "maxItems":
        raise _refusal(api, name, _describe(instance), f"at most {rule['maxItems']} items")
    raise _refusal(api, name, _describe(instance), rule.get("description", ""), wrong_type=breach.validator == "type")


def warm_up() -> None:
    """Load what reading the parameters of any API needs."""
    for name in apis.APIS:
        schema.acceptance(name)
    media.file_name("img", "image/jpeg")


# Characters of a URL. Servers refuse lines of over 8 KB; anything longer is a picture in a data URI, or a slip.
_MAX_URL = 8192
_LONG_URL_CURE = "send the picture's bytes as img"


def _url(api: Api, name: str, value: str) -> str:
    expected = api.schema()["properties"][name]["description"]
    if len(value) > _MAX_URL:
        raise _refusal(api, name, f"a URL of {len(value):,} characters", f"at most {_MAX_URL:,}", cure=_LONG_URL_CURE)
    if not value.isprintable() or value != value.strip():
        raise _refusal(api, name, "a URL with white space around it or control characters in it", expected)
    try:
        parts = urlsplit(value)
        scheme, host, _port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise _refusal(api, name, f"a URL that cannot be read ({error})", expected) from None
    if scheme == "cloud":
        from cloudfn.call.storage import path_of

        if not value.startswith(FILE_ID) or path_of(value) is None:
            raise _refusal(api, name, "a fileID that cannot be one", "cloud://ENV.BUCKET/path")
        return value
    cure = _URL_CURES.get(scheme, "")
    if scheme not in ("http", "https"):
        raise _refusal(api, name, f'a URL that begins with "{value[:12]}"', expected, cure=cure)
    if not host or not host.strip(".") or set(host) & set(' "%<>\\^`{|}'):
        raise _refusal(api, name, f'a URL with "{(host or "")[:40]}" for a host', expected)
    return value


# Common mistakes where a URL belongs, each with its cure.
_URL_CURES = {
    "data": "send a data URI as img.value",
    "wxfile": "upload the local file and send its fileID's URL, or send the bytes as img",
}


def _media(api: Api, name: str, value: Mapping[str, Any]) -> Media:
    properties = api.schema()["properties"][name]["properties"]
    content_type = value["contentType"]
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise _refusal(api, f"{name}.contentType", _describe(content_type), properties["contentType"]["description"])
    try:
        data = media.decode(value["value"])
    except (TypeError, ValueError) as error:
        raise _refusal(
            api,
            f"{name}.value",
            str(error),
            properties["value"]["description"],
            wrong_type=isinstance(error, TypeError),
        ) from None
    if not len(data):
        raise _refusal(api, f"{name}.value", "nothing (0 bytes)", "a picture's bytes")
    file_name, known = media.file_name(name, content_type, value.get("fileName"))
    if not known:
        # wx-server-sdk warns too, and names the parameter.
        _log.warning(
            "openapi.%s: %s.contentType is not a known media type; the picture is sent as %s", api.name, name, file_name
        )
    return Media(content_type.strip(), data, file_name)


def _ratios(api: Api, name: str, value: object) -> Ratios | None:
    limit = api.schema()["properties"][name]["maxItems"]
    if isinstance(value, str):
        count = value.count(",") + 1
        items: list[object] = list(value.split(",", limit)) if value.strip() else []
    else:
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        count = len(items)
    if len(items) > limit:
        raise _refusal(api, name, f"{count} aspect ratios", f"at most {limit}")
    pairs = [_ratio(api, name, item) for item in items]
    return Ratios(",".join(text for text, _ in pairs), tuple(number for _, number in pairs)) if pairs else None


_MAX_RATIO = 400  # characters; the smallest float has 326


def _ratio(api: Api, name: str, item: object) -> tuple[str, float]:
    """Return one aspect ratio as text for the wire and as a number: a decimal as it came, w:h as %.6g."""
    expected = 'finite decimals above 0 or w:h, joined by an ASCII comma, such as "1,2.35,16:9"'
    text, number = item.strip() if isinstance(item, str) else "", math.nan
    try:
        if not isinstance(item, str):
            number = float(item)  # type: ignore[arg-type]
            if math.isfinite(number) and number > 0:  # written out, 1E-400000000 has 400 MB
                text = format(item if isinstance(item, Decimal) else Decimal(str(item)), "f")
        elif len(text) <= _MAX_RATIO and (match := _RATIO.fullmatch(text)):
            number = float(match[1]) / float(match[2] or 1)
            text = f"{number:.6g}" if match[2] else text
    except (ArithmeticError, ValueError):
        number = math.nan
    except TypeError:
        raise _refusal(api, name, _describe(item), expected, wrong_type=True) from None
    if not (math.isfinite(number) and number > 0) or len(text) > _MAX_RATIO:
        shown = f'"{text[:40]}"' if isinstance(item, str) else _describe(item)
        cure = next((cure for sign, cure in _RATIO_CURES.items() if sign in text), "") if isinstance(item, str) else ""
        raise _refusal(api, name, shown, expected, cure=cure)
    return text, number


# Common mistakes in aspect ratios, each with the right form.
_RATIO_CURES = {
    "，": "write an ASCII comma instead of ，",
    "、": "write an ASCII comma instead of 、",
    "：": "write an ASCII colon instead of ：",
    "/": "write 16:9 instead of 16/9",
    "x": "write 16:9 instead of 16x9",
    ",": "write each item of a list by itself",
}

_FORMATS: Mapping[str, Callable[[Api, str, Any], Any]] = {
    "http-url": _url,
    "media": _media,
    "aspect-ratios": _ratios,
}
