"""Whatever comes in, a result or a `CloudError` comes out: events, pictures, ratios, config.json, WeChat's answers."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudfn import CloudError, handler, permissions
from cloudfn.call.apis import APIS
from cloudfn.call.media import decode
from cloudfn.call.params import read, read_event
from cloudfn.call.reply import normalise, parse
from cloudfn.call.values import Media, Ratios
from tests.support.events import FOLDER

AI_CROP = APIS["img.aiCrop"]
URL = "https://example.com/a.jpg"
many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=64)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from([*AI_CROP.fields, "img_url", "imgURL", "ratio", "contentType", "value", "body", "headers"])
PARAMETERS = st.dictionaries(NAMES | st.text(max_size=12), TREES, max_size=5)
SAMPLES = [json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))]


def outcome(run: Any, *args: Any, **keywords: Any) -> Any:
    """The result, or the CloudError that was raised; any other exception fails the test."""
    try:
        return run(*args, **keywords)
    except CloudError as caught:
        error = caught
    assert isinstance(error.errCode, int)
    assert error.errCode != 0
    assert error.errMsg
    json.dumps(error.to_dict(), ensure_ascii=False).encode()
    return error


@many
@given(PARAMETERS)
def test_parameters(parameters: dict[Any, Any]) -> None:
    outcome(read, AI_CROP, parameters)
    outcome(read_event, AI_CROP, parameters)


@many
@given(TREES | st.decimals(), st.booleans())
def test_ratios(ratios: Any, listed: bool) -> None:
    call = outcome(read, AI_CROP, {"imgUrl": URL, "ratios": [ratios] if listed else ratios})
    if not isinstance(call, CloudError) and "ratios" in call.params:
        found: Ratios = call.params["ratios"]
        assert 1 <= len(found.values) <= 5
        assert all(0 < value < float("inf") for value in found.values)
        assert len(found.text.split(",")) == len(found.values)
        # What goes onto the wire means what the engine is given, to the digits that a ratio may have.
        assert [float(text) for text in found.text.split(",")] == pytest.approx(found.values, rel=1e-5)


@pytest.mark.parametrize("exponent", ["1E-400000000", "1E+400000000", "1E-400", "NaN", "sNaN", "Infinity"])
def test_numbers_beyond_a_float(exponent: str) -> None:
    assert outcome(read, AI_CROP, {"imgUrl": URL, "ratios": [Decimal(exponent)]}).errCode == -401002


@many
@given(TREES)
def test_a_picture_in_any_form(value: Any) -> None:
    call = outcome(read, AI_CROP, {"img": {"contentType": "image/png", "value": value}})
    if not isinstance(call, CloudError):
        found: Media = call.params["img"]
        assert bytes(found.value) == bytes(decode(value))
        assert found.file_name.isascii()


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: {"value": inner}])
@pytest.mark.parametrize("place", ["img", "value", "ratios", "event"])
def test_what_is_nested_five_thousand_deep(wrap: Any, place: str) -> None:
    value: Any = "x"
    for _ in range(5000):
        value = wrap(value)
    parameters = {
        "img": {"img": value},
        "value": {"img": {"contentType": "image/png", "value": value}},
        "ratios": {"imgUrl": URL, "ratios": value},
        "event": {"imgUrl": URL, "other": value},
    }[place]
    outcome(read_event, AI_CROP, parameters)
    outcome(read, AI_CROP, parameters)


@many
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_config_json_grants_nothing_or_says_why(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_bytes(content)
    answer = outcome(permissions.check, "img.aiCrop", str(path))
    assert isinstance(answer, Path) or answer.errCode == -604101
    assert not isinstance(answer, Path) or b"img.aiCrop" in content


@many
@given(
    st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([200, 204, 302, 412, 500]),
    st.text(max_size=30) | st.just("application/json"),
    st.booleans(),
)
def test_any_answer_of_wechat(body: bytes, status: int, content_type: str, convert_case: bool) -> None:
    answer = outcome(parse, "img.aiCrop", body, status=status, content_type=content_type)
    if not isinstance(answer, CloudError):
        result = outcome(normalise, "img.aiCrop", answer, convert_case=convert_case)
        assert isinstance(result, CloudError) or result["errCode"] == 0


def _mutations(draw: st.DrawFn, node: Any) -> Any:
    """A copy of a sample with something else in one place, or a key more or less on the way there."""
    if not isinstance(node, (dict, list)) or not node or draw(st.integers(0, 4)) == 0:
        return draw(TREES)
    if isinstance(node, list):
        index = draw(st.integers(0, len(node) - 1))
        return [_mutations(draw, item) if at == index else item for at, item in enumerate(node)]
    key = draw(st.sampled_from(sorted(node)))
    changed = {**node, key: _mutations(draw, node[key])}
    if draw(st.integers(0, 5)) == 0:
        del changed[key]
    return changed


@st.composite
def events(draw: st.DrawFn) -> Any:
    return _mutations(draw, draw(st.sampled_from(SAMPLES)))


@pytest.fixture
def main(permitted: Path) -> Any:
    return handler.make_main(backend="local")


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(events() | TREES)
def test_any_event(main: Any, event: Any) -> None:
    """The handler gives an answer, or raises a CloudError where nobody waits for one; never anything else."""
    answer = outcome(main, event, None)
    if isinstance(answer, dict) and "statusCode" in answer:
        assert 200 <= int(answer["statusCode"]) < 600
    if not isinstance(answer, (bytes, CloudError)):
        json.dumps(answer)


@pytest.mark.parametrize("text", ["\ud800", "1,\udfff", "\ud800" * 100])
@pytest.mark.parametrize("field", ["ratios", "imgUrl", "img"])
@pytest.mark.parametrize("sample", SAMPLES, ids=[path.stem for path in sorted(FOLDER.glob("*.json"))])
def test_a_lone_surrogate_is_an_answer_too(main: Any, sample: Any, field: str, text: str) -> None:
    event = {**sample, "body": json.dumps({"imgUrl": URL, field: text}), "isBase64Encoded": False}
    outcome(main, event, None)
