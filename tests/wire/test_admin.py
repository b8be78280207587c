"""Faults, quota and the admin surface, which answers this machine's own user only."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import pytest
import requests

from cloudfn.cli import main
from cloudfn.server import faults
from cloudfn.server.app import create_app
from cloudfn.server.faults import Fault, Faults
from cloudfn.server.options import Options
from cloudfn.server.quota import Quota
from cloudfn.server.state import State
from cloudfn.testing import Server


def crop(server: Server) -> int:
    """The code of a call that has no picture: 41005 when nothing else goes wrong."""
    code = requests.post(f"{server.url}/cv/img/aicrop?access_token=T", timeout=10).json()["errcode"]
    assert isinstance(code, int)
    return code


def admin(server: Server, what: str, body: Any = None, **headers: str) -> requests.Response:
    method = "GET" if what in ("requests", "state") else "POST"
    known = {"Authorization": f"Bearer {server.admin_token}"} | headers
    return requests.request(method, f"{server.url}/_cloudfn/{what}", json=body, headers=known, timeout=10)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("img.aiCrop:45009@0.1", Fault("img.aiCrop", 45009, 0.1)),
        ("token:-1", Fault("token", -1)),
        ("stable_token:0@0.5+200ms", Fault("stable_token", 0, 0.5, 0.2)),
        ("img.aiCrop:502+1.5s", Fault("img.aiCrop", 502, 1.0, 1.5)),
    ],
)
def test_a_fault_as_text(text: str, fault: Fault) -> None:
    assert faults.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("img.aiCrop", "ENDPOINT:CODE"),
        ("img.aicrop:1", "did you mean img.aiCrop"),
        ("img.aiCrop:1@2", "0 to 1"),
        ("img.aiCrop:1@1.1.1", "0 to 1"),
        ("img.aiCrop:1+5", "200ms"),
        ("img.aiCrop:1+9999s", "at most 600s"),
    ],
)
def test_a_wrong_fault_says_what_is_right(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        faults.parse(text)


def test_faults_come_as_often_as_they_should_and_the_same_for_the_same_seed() -> None:
    def drawn(seed: int) -> list[int]:
        some = Faults([Fault("img.aiCrop", 45009, 0.1), Fault("token", -1)], 0.0, seed)
        return [some.draw("img.aiCrop")[0] for _ in range(2000)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert set(drawn(1)) == {0, 45009}
    assert 150 < drawn(1).count(45009) < 250


def test_faults_by_the_admin_surface_and_reset() -> None:
    with Server() as server:
        set_to = admin(
            server, "faults", {"faults": [{"endpoint": "img.aiCrop", "code": 45009, "latency": 0.2}], "seed": 1}
        )
        assert set_to.json()["faults"] == [
            {"endpoint": "img.aiCrop", "code": 45009, "probability": 1.0, "latency": 0.2}
        ]
        start = time.perf_counter()
        assert crop(server) == 45009
        assert time.perf_counter() - start >= 0.2
        admin(server, "reset")
        assert crop(server) == 41005


@pytest.mark.parametrize(
    ("what", "body", "word"),
    [
        ("faults", {}, "expected"),
        ("faults", {"faults": [{"endpoint": "img.aiCrop", "kode": 1}]}, "probability"),
        ("faults", {"faults": [{"endpoint": "img.aiCrop", "code": "1"}]}, "whole number"),
        ("faults", {"faults": [], "seed": "x"}, "seed"),
        ("quota", {"limit": -1}, "whole number"),
        ("quota", [1], "JSON object"),
    ],
)
def test_a_wrong_body_says_what_is_right(what: str, body: Any, word: str) -> None:
    with Server() as server:
        reply = admin(server, what, body)
        assert (reply.status_code, word in reply.json()["error"]) == (400, True)
        assert crop(server) == 41005


def test_the_quota() -> None:
    with Server(quota=2) as server:
        url = f"{server.url}/cv/img/aicrop?access_token=T&img_url=http%3A%2F%2F10.0.0.1%2Fa"
        codes = [requests.post(url, timeout=10).json()["errcode"] for _ in range(3)]
        assert codes == [101000, 101000, 45009]
        assert admin(server, "state").json()["quota"] == {"limit": 2, "used": 2}
        admin(server, "quota", {"limit": None})
        assert requests.post(url, timeout=10).json()["errcode"] == 101000


def test_the_quota_starts_anew_at_midnight_in_china() -> None:
    now = [1_800_028_799.0]  # 2027-01-15 15:59:59 UTC
    quota = Quota(1, lambda: now[0])
    assert (quota.take(), quota.take()) == (True, False)
    now[0] += 1
    assert quota.take()


def test_the_last_200_requests() -> None:
    with Server() as server:
        for _ in range(201):
            crop(server)
        listed = admin(server, "requests").json()["requests"]
    assert len(listed) == 200
    assert listed[-1]["code"] == 41005
    assert "neither" in listed[-1]["mistakes"][0]


def test_tokens_can_be_ended() -> None:
    with Server() as server:
        given = {"grant_type": "client_credential", "appid": "a", "secret": "b"}
        requests.get(f"{server.url}/cgi-bin/token", params=given, timeout=10)
        assert admin(server, "state").json()["tokens"] == 1
        assert admin(server, "tokens/expire").json()["tokens"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example:8000"},  # a name that was pointed at 127.0.0.1
        {"Host": "127.0.0.1.attacker.example"},
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "8.8.8.8"},
        {"X-Forwarded-Proto": "https"},
        {"x-real-ip": ""},
        {"CF-Connecting-IP": "8.8.8.8"},
        {"True-Client-IP": "8.8.8.8"},
        {"X-Original-URL": "/"},
        {"X-Envoy-External-Address": "8.8.8.8"},
        {"Via": "1.1 proxy"},
    ],
)
def test_pages_of_others_and_proxies_are_refused(headers: dict[str, str]) -> None:
    with Server() as server:
        reply = admin(server, "faults", {"faults": [{"endpoint": "img.aiCrop", "code": 45009}]}, **headers)
        assert reply.status_code == 403
        assert reply.json()["error"]
        assert crop(server) == 41005


@pytest.mark.parametrize("peer", ["10.0.0.8", "8.8.8.8", "::ffff:10.0.0.8", "2001:db8::1", ""])
def test_other_machines_are_refused(peer: str) -> None:
    client = create_app(State(Options(admin_token="T0KEN"))).test_client()
    assert client.get("/_cloudfn/state", environ_base={"REMOTE_ADDR": peer}).status_code == 403
    assert client.get("/_cloudfn/state", environ_base={"REMOTE_ADDR": "::1"}).status_code == 200


@pytest.mark.parametrize("what", ["faults", "quota", "reset", "tokens/expire"])
@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer wrong", "Basic {token}", "{token}"])
def test_a_change_needs_the_token_which_a_proxy_without_headers_has_not(what: str, sent: str) -> None:
    with Server(quota=7) as server:
        reply = admin(server, what, {"limit": 1}, Authorization=sent.format(token=server.admin_token))
        assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "printed at the start" in reply.json()["error"]
        assert admin(server, "state").json()["quota"] == {"limit": 7, "used": 0}
        assert server.admin_token not in reply.text + repr(server) + repr(server._state.options)


def test_http_1_0_which_proxies_speak_is_refused() -> None:
    with Server() as server, socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        client.sendall(b"GET /_cloudfn/requests HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        assert b" 403 " in client.recv(100)


def test_it_can_be_off() -> None:
    client = create_app(State(Options())).test_client()
    for path in ("state", "requests", "reset"):
        reply = client.post(f"/_cloudfn/{path}", headers={"Authorization": "Bearer "})
        assert (reply.status_code, "--admin" in reply.get_json()["error"]) == (404, True)


@pytest.mark.parametrize(
    ("flags", "is_on"),
    [
        ([], True),
        (["--host", "::1"], True),
        (["--host", "localhost"], True),
        (["--host", "0.0.0.0"], False),
        (["--host", "192.168.1.2"], False),
        (["--no-admin"], False),
        (["--host", "0.0.0.0", "--admin"], True),
        (["--host", "0.0.0.0", "--admin-token", "T0KEN"], True),
    ],
)
def test_it_is_off_by_default_where_others_can_connect(
    flags: list[str], is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Options] = []
    monkeypatch.setattr("cloudfn.server.run.serve", lambda options, *_: started.append(options))
    assert main(["serve", *flags]) == 0
    assert bool(started[0].admin_token) == is_on
    assert "T0KEN" not in flags or started[0].admin_token == "T0KEN"


@pytest.mark.parametrize("what", ["quota", "faults", "state"])
def test_a_body_over_the_limit_is_413(what: str) -> None:
    with Server(max_bytes=1000, quota=7) as server:
        url, token = f"{server.url}/_cloudfn/{what}", {"Authorization": f"Bearer {server.admin_token}"}
        method = "GET" if what == "state" else "POST"
        reply = requests.request(method, url, data=b" " * 100_000, headers=token, timeout=10)
        assert (reply.status_code, "over the limit" in reply.json()["error"]) == (413, True)
        assert admin(server, "state").json()["quota"]["limit"] == 7


def test_the_pages_of_this_machine_are_allowed() -> None:
    with Server() as server:
        for headers in ({"Origin": "http://localhost:3000"}, {"Host": "localhost"}, {"Sec-Fetch-Site": "same-origin"}):
            assert admin(server, "state", **headers).status_code == 200
        unknown = requests.get(f"{server.url}/_cloudfn/what", timeout=10)
        assert (unknown.status_code, "POST /_cloudfn/reset" in unknown.json()["error"]) == (404, True)


def test_health_readiness_and_metrics() -> None:
    with Server() as server:
        crop(server)
        assert requests.get(f"{server.url}/healthz", timeout=10).json() == {"status": "ok"}
        assert requests.get(f"{server.url}/readyz", timeout=10).json() == {"status": "ready"}
        text = requests.get(f"{server.url}/metrics", timeout=10).text
    assert 'cloudfn_calls_total{code="41005",endpoint="img.aiCrop"} 1.0' in text
    assert "cloudfn_decode_failures_total 0.0" in text
    assert "cloudfn_queue 0.0" in text
