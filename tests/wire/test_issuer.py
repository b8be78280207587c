"""Issuer with the lives that WeChat documents."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from cloudfn.server.issuer import Issuer
from cloudfn.testing import APPID, SECRET, Fault, Server


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Issuer:
    return Issuer(clock)


def test_each_token_of_the_older_api_is_new_and_the_one_before_lives_five_minutes(tokens: Issuer, clock: Clock) -> None:
    (first, life), (second, _) = tokens.issue("a"), tokens.issue("a")
    assert (life, first != second) == (7200, True)
    clock.now += 299
    assert (tokens.problem(first), tokens.problem(second)) == (0, 0)
    clock.now += 1
    assert (tokens.problem(first), tokens.problem(second)) == (40001, 0)
    clock.now += 6900
    assert tokens.problem(second) == 42001


def test_a_stable_token_is_the_same_until_five_minutes_before_its_end(tokens: Issuer, clock: Clock) -> None:
    first, life = tokens.stable("a")
    assert life == 7200
    clock.now += 6855
    assert tokens.stable("a") == (first, 345)  # the example of WeChat's page
    clock.now += 45
    assert tokens.stable("a") == (first, 300)
    clock.now += 1
    second, life = tokens.stable("a")
    assert (second != first, life) == (True, 7200)
    assert (tokens.problem(first), tokens.problem(second)) == (0, 0)
    clock.now += 299
    assert (tokens.problem(first), tokens.problem(second)) == (42001, 0)


def test_a_forced_refresh_ends_the_old_token_at_once(tokens: Issuer, clock: Clock) -> None:
    first, _ = tokens.stable("a")
    second, _ = tokens.stable("a", force=True)
    assert (tokens.problem(first), tokens.problem(second)) == (40001, 0)
    clock.now += 29
    assert tokens.stable("a", force=True)[0] == second  # too soon
    clock.now += 1
    assert tokens.stable("a", force=True)[0] != second


def test_twenty_forced_refreshes_a_day(tokens: Issuer, clock: Clock) -> None:
    def forced() -> str:
        clock.now += 60
        return tokens.stable("a", force=True)[0]

    assert len({forced() for _ in range(25)}) == 20
    clock.now += 86400
    last = tokens.stable("a")[0]
    assert forced() != last


def test_the_two_apis_and_two_accounts_know_nothing_of_each_other(tokens: Issuer) -> None:
    stable, older, other = tokens.stable("a")[0], tokens.issue("a")[0], tokens.stable("b")[0]
    tokens.issue("a")
    tokens.stable("b", force=True)
    assert [tokens.problem(token) for token in (stable, older, other)] == [0, 0, 40001]
    tokens.stable("a", force=True)
    assert [tokens.problem(token) for token in (stable, older)] == [40001, 0]


def test_what_is_remembered_has_a_limit(tokens: Issuer) -> None:
    first = tokens.issue("a")[0]
    for _ in range(10_000):
        last = tokens.issue("a")[0]
    assert (tokens.problem(first), tokens.problem(last), len(tokens._known)) == (40001, 0, 10_000)


def test_accounts_that_are_remembered_have_a_limit(tokens: Issuer) -> None:
    for number in range(10_001):
        tokens.issue(f"a{number}")
        tokens.stable(f"a{number}", force=True)
    assert [len(table) for table in (tokens._latest, tokens._stable, tokens._forced)] == [10_000] * 3


WHOLE = {"grant_type": "client_credential", "appid": APPID, "secret": SECRET}


@pytest.fixture(scope="module", params=["token", "stable_token"])
def ask(request: pytest.FixtureRequest) -> Any:
    with Server(strict=True) as server:

        def ask(**given: Any) -> Any:
            url = f"{server.url}/cgi-bin/{request.param}"
            if request.param == "token":
                return requests.get(url, params=given, timeout=10).json()
            return requests.post(url, json=given, timeout=10).json()

        yield ask


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"appid": None}, 41002, "appid missing"),
        ({"secret": None}, 41004, "appsecret missing"),
        ({"appid": "wx1", "grant_type": None}, 40013, "invalid appid"),  # checked before the grant type
        ({"appid": "wx" + "0" * 63}, 40013, "invalid appid"),
        ({"grant_type": "password"}, 40002, "invalid grant_type"),
        ({"secret": "another"}, 40125, "invalid appsecret"),
    ],
)
def test_wrong_credentials(change: dict[str, Any], code: int, text: str, ask: Any) -> None:
    given = {name: value for name, value in (WHOLE | change).items() if value is not None}
    answer = ask(**given)
    assert answer["errcode"] == code
    assert answer["errmsg"].startswith(f"{text} rid: ")


def test_right_credentials(ask: Any) -> None:
    answer = ask(**WHOLE)
    assert list(answer) == ["access_token", "expires_in"]
    assert 300 <= answer["expires_in"] <= 7200


def test_stable_token_wants_post_and_json() -> None:
    with Server() as server:
        url = f"{server.url}/cgi-bin/stable_token"
        assert requests.get(url, params=WHOLE, timeout=10).json()["errcode"] == 43002
        assert requests.post(url, data=WHOLE, timeout=10).json()["errcode"] == 47001
        assert requests.post(url, json=[1], timeout=10).json()["errcode"] == 47001
        forced = [requests.post(url, json=WHOLE | {"force_refresh": True}, timeout=10).json() for _ in range(2)]
        assert forced[0]["access_token"] == forced[1]["access_token"]  # the second came within 30 seconds
        first = requests.post(url, json=WHOLE, timeout=10).json()["access_token"]
        assert first == forced[0]["access_token"]


def test_strict_takes_only_what_it_issued() -> None:
    with Server(strict=True) as server:
        url = f"{server.url}/cv/img/aicrop?access_token="
        token = requests.get(f"{server.url}/cgi-bin/token", params=WHOLE, timeout=10).json()["access_token"]
        assert requests.post(url + "invented", timeout=10).json()["errcode"] == 40001
        assert requests.post(url + token, timeout=10).json()["errcode"] == 41005  # past the token's check
        server.expire_tokens()
        assert requests.post(url + token, timeout=10).json()["errcode"] == 42001
        assert all(seen.mistakes for seen in server.requests if seen.code)


def test_faults_of_the_token_endpoints() -> None:
    with Server(faults=[Fault("stable_token", 40164)]) as server:
        answer = requests.post(f"{server.url}/cgi-bin/stable_token", json=WHOLE, timeout=10).json()
        assert answer["errcode"] == 40164
        assert "invalid ip 127.0.0.1" in answer["errmsg"]
        assert "access_token" in requests.get(f"{server.url}/cgi-bin/token", params=WHOLE, timeout=10).json()
