from __future__ import annotations

from typing import Any

import pytest

from cloudfn.call.naming import near, rename, to_camel, to_snake
from tests.conftest import vectors


@pytest.mark.parametrize("case", vectors("naming"))
def test_recorded_names(case: dict[str, str]) -> None:
    if "camel" in case:
        assert to_snake(case["camel"]) == case["snake"]
    else:
        assert to_camel(case["snake_in"]) == case["camel_out"]


@pytest.mark.parametrize(
    ("camel", "snake"), [("imgUrl", "img_url"), ("ImgUrl", "img_url"), ("img1Url", "img1_url"), ("URL2", "u_r_l2")]
)
def test_documented_names(camel: str, snake: str) -> None:
    assert to_snake(camel) == snake


def test_a_double_underscore_keeps_one() -> None:
    assert (to_camel("a__b"), to_camel("_a")) == ("a_B", "A")


def test_rename_goes_through_lists_and_leaves_values_and_the_original_alone() -> None:
    given: dict[str, Any] = {"img_size": {"w_x": b"a_b"}, "list": [{"a_b": "c_d"}, "e_f"]}
    assert rename(given, to_camel) == {"imgSize": {"wX": b"a_b"}, "list": [{"aB": "c_d"}, "e_f"]}
    assert given == {"img_size": {"w_x": b"a_b"}, "list": [{"a_b": "c_d"}, "e_f"]}


def test_renamed_keys_come_last_and_win() -> None:
    assert list(rename({"a_b": 1, "z": 2}, to_camel)) == ["z", "aB"]
    assert rename({"a_b": 1, "aB": 2}, to_camel) == rename({"aB": 2, "a_b": 1}, to_camel) == {"aB": 1}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ratioList", "ratios"),
        ("img_url", "imgUrl"),
        ("imageUrl", "imgUrl"),
        ("ratio", "ratios"),
        ("IMG", "img"),
        ("userInfo", None),
        ("tcbContext", None),
        ("path", None),
        ("body", None),
        ("version", None),
        ("openid", None),
    ],
)
def test_near_names(typed: str, meant: str | None) -> None:
    assert near(typed, ["imgUrl", "img", "ratios"]) == meant
