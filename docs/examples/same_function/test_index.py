"""Tests of index.py without WeChat: `python -m pytest test_index.py`."""

import pytest
from index import main

from cloudfn.testing import Fault, Server

EVENT = {"imgUrl": "https://example.com/a.jpg"}


@pytest.fixture
def wechat():
    """WeChat's endpoints on this machine; the function calls them."""
    with Server() as server, server.environment():
        yield server


def test_the_quota_is_used_up(wechat):
    wechat.fail(Fault("img.aiCrop", 45009))
    assert main(EVENT, None)["errCode"] == 45009


def test_what_wechat_is_asked(wechat):
    assert main({"imgUrl": "https://10.0.0.1/a.jpg"}, None)["errCode"] == 101000
    asked = wechat.requests[-1]
    assert (asked.img_url, asked.ratios) == ("https://10.0.0.1/a.jpg", "1,2.35")
    assert "10.0.0.1 has the private address" in asked.mistakes[0]


def test_a_busy_wechat_is_asked_three_times(wechat):
    wechat.fail(Fault("img.aiCrop", -1))
    assert main(EVENT, None)["errCode"] == -1
    assert [request.code for request in wechat.requests if request.endpoint == "img.aiCrop"] == [-1, -1, -1]
