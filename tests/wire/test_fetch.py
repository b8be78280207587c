"""fetch and the deadline under it: real sockets on loopback, and no look-up ever leaves this host."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from cloudfn.call.media import sniff
from cloudfn.call.values import Deadline
from cloudfn.errors import CloudError
from cloudfn.net.deadline import AddressInfo, HTTPConnection, enforced, look_up
from cloudfn.net.fetch import fetch
from tests.support.recording import RecordingServer

PICTURE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 400  # the head of a JPEG and 102,400 bytes
PUBLIC = "93.184.215.14"
Script = Callable[[socket.socket], None]

# --- hosts of the tests -----------------------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[..., RecordingServer]]:
    with ExitStack() as servers:

        def start(script: Script, context: ssl.SSLContext | None = None) -> RecordingServer:
            # A script takes the connection, and the connection is closed when the script ends.
            return servers.enter_context(RecordingServer(script, tls=context, reads_bodies=False))

        yield start


def says(*lines: str, body: bytes = PICTURE, status: str = "200 OK") -> Script:
    return lambda connection: connection.sendall(f"HTTP/1.1 {status}\r\n{head(*lines)}\r\n".encode("latin-1") + body)


def head(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def redirects(location: str, status: int = 302) -> Script:
    return says(f"Location: {location}", "Content-Length: 0", body=b"", status=f"{status} Found")


def drips(beginning: bytes, drop: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while not select.select([connection], [], [], 0.02)[0]:  # until the client hangs up
            connection.sendall(drop)

    return script


def get(url: str, **options: Any) -> bytes:
    """fetch, with 127.0.0.1 allowed."""
    return fetch(url, **{"timeout": 10, "allow_hosts": ["127.0.0.1"], **options})


def refusal(url: str, **options: Any) -> str:
    """The hint of the refusal, which must be all that anybody learns."""
    with pytest.raises(CloudError) as caught:
        get(url, **options)
    error = caught.value
    assert (error.errCode, error.errMsg) == (101000, "invalid image url")
    assert error.__cause__ is None
    assert error.__context__ is None
    assert error.hint
    return error.hint


def leads_to(*addresses: str, port: int = 80) -> list[AddressInfo]:
    return [
        (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in addresses
    ]


# --- forbidden addresses ----------------------------------------------------------------------------------------------

FORBIDDEN = """
http://127.0.0.1/                                      loopback
http://127.0.0.1:80/                                   loopback
http://127.0.0.1./                                     loopback
http://127.255.255.254/                                loopback
HTTP://127.0.0.1/                                      loopback
http://localhost/                                      loopback
http://LOCALHOST/                                      loopback
http://localhost./                                     loopback
http://localhost6/                                     loopback
http://127.1/                                          odd
http://127.0.1/                                        odd
http://0/                                              odd
http://2130706433/                                     odd
http://017700000001/                                   odd
http://0177.0.0.1/                                     odd
http://0177.0.0.01/                                    odd
http://127.0.0.01/                                     odd
http://0x7f000001/                                     odd
http://0x7F000001/                                     odd
http://0x7f.1/                                         odd
http://0x7f.0x0.0x0.0x1/                               odd
http://127.0.0.0x1/                                    odd
http://127.0.0.1.1/                                    odd
http://256.0.0.1/                                      odd
http://425.510.425.510/                                odd
http://2852039166/                                     odd
http://0xa9fea9fe/                                     odd
http://0.0.0.0/                                        unspecified
http://0.1.2.3/                                        unspecified
http://10.0.0.1/                                       private
http://10.255.255.255/                                 private
http://172.16.0.1/                                     private
http://172.31.255.255/                                 private
http://192.168.0.1/                                    private
http://169.254.169.254/latest/meta-data/               link-local
http://169.254.0.23/                                   link-local
http://100.64.0.1/                                     NAT
http://100.100.100.200/                                NAT
http://168.63.129.16/                                  cloud
http://192.0.0.192/                                    reserved
http://192.0.2.1/                                      documentation
http://198.51.100.1/                                   documentation
http://203.0.113.1/                                    documentation
http://198.18.0.1/                                     benchmarking
http://198.19.255.255/                                 benchmarking
http://192.88.99.1/                                    6to4
http://224.0.0.1/                                      multicast
http://239.255.255.250/                                multicast
http://240.0.0.1/                                      reserved
http://255.255.255.255/                                reserved
http://[::1]/                                          loopback
http://[0:0:0:0:0:0:0:1]/                              loopback
http://[0000:0000:0000:0000:0000:0000:0000:0001]/      loopback
http://[::]/                                           unspecified
http://[::127.0.0.1]/                                  IPv4-compatible
http://[::7f00:1]/                                     IPv4-compatible
http://[::ffff:127.0.0.1]/                             IPv4-mapped
http://[::ffff:7f00:1]/                                IPv4-mapped
http://[::FFFF:169.254.169.254]/                       IPv4-mapped
http://[0:0:0:0:0:ffff:10.0.0.1]/                      IPv4-mapped
http://[::ffff:0:127.0.0.1]/                           reserved
http://[64:ff9b::127.0.0.1]/                           loopback
http://[64:ff9b::a9fe:a9fe]/                           link-local
http://[64:ff9b:1::a9fe:a9fe]/                         NAT64
http://[2002:7f00:1::]/                                6to4
http://[2002:a9fe:a9fe::1]/                            6to4
http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/         Teredo
http://[2001:2::1]/                                    reserved
http://[2001:20::1]/                                   reserved
http://[2001:db8::1]/                                  documentation
http://[3fff::1]/                                      documentation
http://[2606:4700::5efe:127.0.0.1]/                    loopback
http://[2606:4700::200:5efe:10.0.0.1]/                 private
http://[fe80::5efe:8.8.8.8]/                           link-local
http://[fe80::1]/                                      link-local
http://[fe80::1%25lo]/                                 plainly
http://[fe80::1%lo]/                                   plainly
http://[::1%25lo]/                                     plainly
http://[fc00::1]/                                      private
http://[fd00:ec2::254]/                                private
http://[fec0::1]/                                      reserved
http://[ff02::1]/                                      multicast
http://[100::1]/                                       reserved
http://[4000::1]/                                      reserved
http://[5f00::1]/                                      reserved
http://[::1/                                           brackets
http://::1/                                            plainly
http://[127.0.0.1]/                                    plainly|brackets
http://[1:2]/                                          odd|brackets
http://x[::1]/                                         plainly|brackets
http://[::1]x/                                         plainly|brackets
http://metadata.google.internal/                       link-local
http://two-faced.example/                              private
http://six.example/                                    loopback
http://zone.example/                                   link-local
http://nat64.example/                                  private
http://nowhere.example/                                no address
http://empty.example/                                  no address
http://good.example@127.0.0.1/                         user
http://good.example:80@127.0.0.1/                      user
http://user:password@good.example/                     user
http://@good.example/                                  user
http://good.example%40127.0.0.1/                       plainly
http://127.0.0.1%2f@good.example/                      user
http://127%2e0%2e0%2e1/                                plainly
http://%31%32%37.0.0.1/                                plainly
http://127.0.0.1%00.good.example/                      plainly
http://good.example,127.0.0.1/                         plainly
http://good.example;127.0.0.1/                         plainly
http://127.0.0.1:x/                                    plainly
http://127.0.0.1:80:80/                                plainly
http://127.0.0.1../                                    plainly
http://.127.0.0.1/                                     plainly
http://good..example/                                  plainly
http://good.example:0/                                 port 0
http://good.example:81/                                port 81
http://good.example:443/                               port 443
http://good.example:8080/                              port 8080
http://good.example:99999/                             port 99999
https://good.example:80/                               port 80
https://good.example:8443/                             port 8443
https://127.0.0.1/                                     loopback
http:///etc/passwd                                     no host
http://                                                no host
http:/127.0.0.1/                                       no host
http:127.0.0.1                                         no host
http://?@127.0.0.1/                                    no host
http://#@127.0.0.1/                                    no host
http://:80/                                            no host
//127.0.0.1/                                           neither
127.0.0.1/                                             neither
file:///etc/passwd                                     neither
ftp://127.0.0.1/                                       neither
gopher://127.0.0.1:6379/_FLUSHALL                      neither
dict://127.0.0.1:11211/                                neither
data:image/png;base64,AAAA                             neither
jar:http://127.0.0.1!/                                 neither
wxfile://tmp/picture.jpg                               neither
cloud://env.bucket/picture.jpg                         neither
"""
# What a line of that table cannot show: white space, control and non-ASCII characters.
UNPRINTABLE = [
    "",
    " ",
    " http://127.0.0.1/",
    "http://127.0.0.1/ ",
    "http:// 127.0.0.1/",
    "http://127.0.0.1 .good.example/",
    "\thttp://127.0.0.1/",
    "ht\ntp://127.0.0.1/",
    "http://127.0\t.0.1/",
    "http://127.0.0.1\r\nHost: good.example/",
    "http://good.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "http://127.0.0.1\x00.good.example/",
    "\x00http://127.0.0.1/",
    "http://127.0.0.1\x7f/",
    "http://good.example\\@127.0.0.1/",
    "http://127.0.0.1\\@good.example/",
    "http:\\\\127.0.0.1\\",
    "http://１２７.０.０.１/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://127｡0｡0｡1/",
    "http://loc\u00adalhost/",
    "http://ⓛocalhost/",
    "http://good.example\uff0f@127.0.0.1/",
    "http://good.example\u2044.127.0.0.1/",
    "http://[：：1]/",
    "http://例子.example/",
    "http://good.example/图片.jpg",
    "http://good.example/\ud800",
]
CASES = [[*(line.split(maxsplit=1))] for line in FORBIDDEN.strip().splitlines()] + [[u, "percent"] for u in UNPRINTABLE]

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost6": ["::1"],
    "metadata.google.internal": ["169.254.169.254"],
    "two-faced.example": [PUBLIC, "10.0.0.1"],
    "six.example": ["2606:4700::1111", "::1"],
    "zone.example": ["fe80::1%lo"],
    "nat64.example": ["64:ff9b::10.0.0.1"],
    "good.example": [PUBLIC],
    "empty.example": [],
}


class Canary:
    """Listens where every spelling of this host leads to, and never answers."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port: int = self.listener.getsockname()[1]

    def resolve(self, host: str, port: int, **options: Any) -> Sequence[AddressInfo]:
        """Every name as in NAMES, every number as the C library reads it, and the canary's port for every port."""
        if host in NAMES:
            return leads_to(*NAMES[host], port=self.port)
        return socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    def was_visited(self) -> bool:
        return bool(select.select([self.listener], [], [], 0)[0])


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")
    canary = Canary()
    with canary.listener:
        yield canary


@pytest.mark.parametrize(("url", "words"), CASES, ids=[ascii(url) for url, _ in CASES])
def test_forbidden(url: str, words: str, canary: Canary) -> None:
    hint = refusal(url, timeout=2, allow_hosts=(), resolve=canary.resolve)
    assert any(word in hint for word in words.split("|")), hint
    assert not canary.was_visited()


def test_forbidden_spellings_are_many() -> None:
    assert len({url for url, _ in CASES}) == len(CASES) > 160


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"])
def test_canary_sees_what_is_allowed(host: str) -> None:
    canary = Canary()
    with canary.listener:
        names = [host, "[::ffff:7f00:1]"]  # the shortest spelling before Python 3.13
        refusal(f"http://{host}/", allow_hosts=names, resolve=canary.resolve, timeout=0.1)
        assert canary.was_visited()


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", "64:ff9b::8.8.8.8", "2606:4700::5efe:8.8.8.8"])
def test_public_addresses_are_connected_to(address: str) -> None:
    # An address of the wrong family fails at once and on this host: nothing is sent to anybody.
    family = socket.AF_INET if ":" in address else socket.AF_INET6
    answer = [(family, socket.SOCK_STREAM, 6, "", (address, 80))]
    assert "no connection" in refusal("http://good.example/", resolve=lambda *_, **__: answer)


# --- one look-up, and the address that was checked --------------------------------------------------------------------


class Changing:
    """A name whose answer is another one each time."""

    def __init__(self, *answers: Sequence[AddressInfo]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int, **options: Any) -> Sequence[AddressInfo]:
        self.asked.append((host, port))
        return self.answers.pop(0)


def test_name_is_asked_for_once(serve: Callable[..., RecordingServer], canary: Canary) -> None:
    server = serve(says())
    resolve = Changing(leads_to("127.0.0.1", port=server.port), leads_to("127.0.0.1", port=canary.port))
    assert get("http://Rebinding.example./a?b=c#d", allow_hosts=["rebinding.example"], resolve=resolve) == PICTURE
    assert resolve.asked == [("rebinding.example", 80)]
    assert not canary.was_visited()
    request = server.requests[0].text.splitlines()
    assert request[0] == "GET /a?b=c HTTP/1.1"
    assert "Host: rebinding.example" in request
    assert "User-Agent: cloudfn" in request
    assert "Accept-Encoding: identity" in request


def test_answer_that_changes_after_the_check(canary: Canary) -> None:
    public = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (PUBLIC, 80))]  # cannot be connected to
    resolve = Changing(public, leads_to("127.0.0.1", port=canary.port))
    refusal("http://rebinding.example/", resolve=resolve)
    assert len(resolve.asked) == 1
    assert not canary.was_visited()


def test_answer_that_changes_with_a_redirect(serve: Callable[..., RecordingServer], canary: Canary) -> None:
    server = serve(redirects("http://rebinding.example/again"))
    resolve = Changing(leads_to("127.0.0.1", port=server.port), leads_to("127.0.0.1", port=canary.port))
    hint = refusal("http://first.example/", allow_hosts=["first.example"], resolve=resolve)
    assert hint.startswith("http://first.example/, redirected to http://rebinding.example/again: ")
    assert "127.0.0.1" in hint
    assert resolve.asked == [("first.example", 80), ("rebinding.example", 80)]
    assert not canary.was_visited()


def test_next_address_is_tried(serve: Callable[..., RecordingServer]) -> None:
    server = serve(says())
    nobody = socket.create_server(("127.0.0.1", 0))
    with nobody:
        closed = nobody.getsockname()[1]
    answer = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("127.0.0.9", 80)),  # what a host without IPv6 does: an OSError
        (9999, socket.SOCK_STREAM, 6, "", ("::1", 80)),  # and a family that the kernel does not have
        *leads_to("127.0.0.1", port=closed),
        *leads_to("127.0.0.1", port=server.port),
    ]
    assert get("http://many.example/", allow_hosts=["many.example"], resolve=lambda *_, **__: answer) == PICTURE


def test_address_that_swallows_packets_leaves_time_for_the_next(serve: Callable[..., RecordingServer]) -> None:
    server = serve(says())
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for _ in range(4):  # a full queue of connections drops further ones, as a black hole does
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        answer = leads_to("127.0.0.1", port=full.getsockname()[1]) + leads_to("127.0.0.1", port=server.port)
        begin = time.monotonic()
        picture = get("http://m.example/", timeout=2, allow_hosts=["m.example"], resolve=lambda *_, **__: answer)
        assert picture == PICTURE
        assert time.monotonic() - begin > 0.5


# --- allowed hosts and ports ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "allowed", "is_fetched"),
    [
        ("pictures.intra", "pictures.intra", True),
        ("pictures.intra", "PICTURES.intra", True),
        ("PICTURES.intra", "pictures.intra:{port}", True),
        ("pictures.intra", "pictures.intra:1", False),
        ("pictures.intra", "intra", False),
        ("pictures.intra", "127.0.0.1", False),
        ("pictures.intra", "", False),
        ("127.0.0.1", "127.0.0.1:{port}", True),
    ],
)
def test_allowed_hosts(host: str, allowed: str, is_fetched: bool, serve: Callable[..., RecordingServer]) -> None:
    server = serve(says())
    options: dict[str, Any] = {
        "allow_hosts": [allowed.format(port=server.port)],
        "resolve": lambda *_, **__: leads_to("127.0.0.1", port=server.port),
    }
    url = f"http://{host}:{server.port}/p.jpg"
    if is_fetched:
        assert get(url, **options) == PICTURE
        assert f"Host: {host.lower()}:{server.port}" in server.requests[0].text
    else:
        assert "CLOUDFN_ALLOW_HOSTS" in refusal(url, **options)
        assert not server.requests


def test_allowed_ipv6() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as silent:
        port = silent.getsockname()[1]
        for allowed in ("::1", "[::1]", f"[::1]:{port}"):
            assert "within" in refusal(f"http://[0::1]:{port}/", allow_hosts=[allowed], timeout=0.1)


def test_environment_plays_no_part(
    serve: Callable[..., RecordingServer], canary: Canary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    first = serve(says("Set-Cookie: a=b", "Location: /", "Content-Length: 0", body=b"", status="302 Found"))
    refusal(first.url)
    assert not canary.was_visited()
    assert len(first.requests) == 4
    assert not [
        line for request in first.requests for line in request.text.splitlines() if line[:4] in ("Auth", "Cook")
    ]


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed(status: int, serve: Callable[..., RecordingServer]) -> None:
    server = serve(says())
    assert get(serve(redirects(server.at("/p.jpg?a=b"), status)).at("/old")) == PICTURE
    assert server.requests[0].text.startswith("GET /p.jpg?a=b HTTP/1.1")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("p.jpg", "/dir/p.jpg"),
        ("/p.jpg", "/p.jpg"),
        ("../p.jpg", "/p.jpg"),
        ("?a=b", "/dir/old?a=b"),
        ("//127.0.0.1:{port}/p.jpg", "/p.jpg"),
        ("p%20q.jpg", "/dir/p%20q.jpg"),
        ("p q.jpg", "/dir/p%20q.jpg"),
        ("\u00e4.jpg", "/dir/%E4.jpg"),
        ("a\\b", "/dir/a%5Cb"),
        ("p.jpg#part", "/dir/p.jpg"),
    ],
)
def test_relative_redirect(location: str, target: str, serve: Callable[..., RecordingServer]) -> None:
    answers = [says()]
    server = serve(lambda connection: answers.pop()(connection))
    answers.append(redirects(location.format(port=server.port)))
    assert get(server.at("/dir/old")) == PICTURE
    assert server.requests[1].text.startswith(f"GET {target} HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://localhost/", "loopback"),
        ("//metadata.google.internal/", "link-local"),
        ("http://[::ffff:127.0.0.1]/", "IPv4-mapped"),
        ("http://2130706433/", "odd"),
        ("http://good.example@127.0.0.1/", "user"),
        ("http://good.example\\@127.0.0.1/", "user"),
        ("http://127.0.0.1\t/", "plainly"),
        ("http://127\uff0e0.0.1/".encode().decode("latin-1"), "plainly"),
        ("http://good.example:8080/", "port 8080"),
        ("file:///etc/passwd", "neither"),
        ("gopher://127.0.0.1/", "neither"),
        ("data:image/png;base64,AAAA", "neither"),
        ("http://[", "ValueError"),
        ("", "nowhere"),
    ],
)
def test_redirect_to_a_forbidden_place(
    location: str, words: str, serve: Callable[..., RecordingServer], canary: Canary
) -> None:
    server = serve(redirects(location))

    def resolve(host: str, port: int, **options: Any) -> Sequence[AddressInfo]:
        return leads_to("127.0.0.1", port=server.port) if host == "first.example" else canary.resolve(host, port)

    assert words in refusal("http://first.example/", allow_hosts=["first.example"], resolve=resolve)
    assert len(server.requests) == 1
    assert not canary.was_visited()


def test_at_most_three_redirects(serve: Callable[..., RecordingServer]) -> None:
    hops = serve(says())
    for _ in range(3):
        hops = serve(redirects(hops.url))
    assert get(hops.url) == PICTURE
    assert "more than 3 redirects" in refusal(serve(redirects(hops.url)).url)


def test_redirect_without_location(serve: Callable[..., RecordingServer]) -> None:
    assert "nowhere" in refusal(serve(says(status="302 Found")).url)


# --- what comes back --------------------------------------------------------------------------------------------------

PICTURES = {
    "JPEG": b"\xff\xd8\xff\xdb",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF89a",
    "BMP": b"BM\x36\x00\x00\x00\x00\x00\x00\x00",
    "WEBP": b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    "TIFF, little endian": b"II*\x00\x08\x00\x00\x00",
    "TIFF, big endian": b"MM\x00*\x00\x00\x00\x08",
    "AVIF": b"\x00\x00\x00\x20ftypavif",
    "HEIC": b"\x00\x00\x00\x18ftypheic",
    "HEIF": b"\x00\x00\x00\x18ftypmif1",
}


@pytest.mark.parametrize("beginning", PICTURES.values(), ids=PICTURES)
def test_pictures(beginning: bytes, serve: Callable[..., RecordingServer]) -> None:
    body = beginning + bytes(100)
    assert get(serve(says("Content-Type: text/plain", body=body)).url) == body


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("text/html; charset=utf-8", b"hello", "a web page (text/html; charset=utf-8)"),
        ("image/jpeg", b"\n <!DOCTYPE html><html>", "a web page (image/jpeg)"),
        ("image/jpeg", b"<html>", "a web page (image/jpeg)"),
        ("application/json", b'{"code": 1}', "something that is no picture (application/json)"),
        ("image/svg+xml", b"<svg/>", "something that is no picture (image/svg+xml)"),
        ("video/mp4", b"\x00\x00\x00\x20ftypisom", "something that is no picture (video/mp4)"),
        ("image/png", b"", "no bytes (image/png)"),
        ("a\x1b[31m" + "b" * 500, b"?", "something that is no picture (a\\x1b[31mbbb"),
    ],
)
def test_no_picture(content_type: str, body: bytes, words: str, serve: Callable[..., RecordingServer]) -> None:
    hint = refusal(serve(says(f"Content-Type: {content_type}", body=body)).url)
    assert f"the URL answered with {words}" in hint
    assert len(hint) < 400


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 429, 500, 503])
def test_status_other_than_200(status: int, serve: Callable[..., RecordingServer]) -> None:
    assert f"HTTP {status}" in refusal(serve(says(status=f"{status} So")).url)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
def test_compressed_answer(encoding: str, serve: Callable[..., RecordingServer]) -> None:
    assert f"compressed ({encoding})" in refusal(serve(says(f"Content-Encoding: {encoding}")).url)


def chunked(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


FRAMINGS: dict[str, tuple[list[str], Callable[[bytes], bytes]]] = {
    "with Content-Length": (["Content-Length: {}"], bytes),
    "until the end": ([], bytes),
    "chunked": (["Transfer-Encoding: chunked"], chunked),
    "with Content-Length, kept alive": (["Content-Length: {}", "Connection: keep-alive"], bytes),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("too_many", [0, 1, 5000])
def test_size(framing: str, too_many: int, serve: Callable[..., RecordingServer]) -> None:
    lines, encode = FRAMINGS[framing]
    server = serve(says(*[line.format(len(PICTURE)) for line in lines], body=encode(PICTURE)))
    limit = len(PICTURE) - too_many
    if too_many:
        assert f"more than {limit} bytes" in refusal(server.url, max_bytes=limit)
    else:
        assert get(server.url, max_bytes=limit) == PICTURE


def test_announced_size_is_enough_to_refuse(serve: Callable[..., RecordingServer]) -> None:
    server = serve(says("Content-Length: 1001", body=PICTURE[:100]))  # the rest never comes
    assert "more than 1000 bytes" in refusal(server.url, max_bytes=1000)


def test_endless_answer(serve: Callable[..., RecordingServer]) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(PICTURE)

    assert "more than 1000000 bytes" in refusal(serve(script).url, max_bytes=1_000_000)


@pytest.mark.parametrize(
    "script",
    [
        says("Content-Length: 999999"),
        says("Content-Length: 999999", body=PICTURE[:10]),
        says("Transfer-Encoding: chunked", body=chunked(PICTURE)[:-5000]),
        says("Transfer-Encoding: chunked", body=PICTURE),
        says("Content-Length: 5, 6"),
        says(*["X: y"] * 200),
        says("X: " + "y" * 70_000),
        says(status="Hello"),
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
        lambda connection: connection.sendall(PICTURE),
        lambda connection: connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"),
        lambda connection: None,
    ],
)
def test_broken_answer(script: Script, serve: Callable[..., RecordingServer]) -> None:
    hint = refusal(serve(script).at("/p.jpg?signature=SECRET"))
    assert "broke off" in hint or "connection failed" in hint
    assert "SECRET" not in hint


# --- time -------------------------------------------------------------------------------------------------------------

SILENT: Script = drips(b"", b"")


@pytest.mark.parametrize(
    "script",
    [
        SILENT,
        drips(b"", b"H"),
        drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"y"),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b""),
        drips(b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8\xff", b"."),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n\xff\xd8\xff", b"."),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n\xff\r\n"),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\xff\xd8\xff\r\n0\r\n", b"X: y\r\n"),
    ],
)
def test_nobody_outlasts_the_deadline(script: Script, serve: Callable[..., RecordingServer]) -> None:
    begin = time.monotonic()
    assert "not fetched within 0.4 s" in refusal(serve(script).url, timeout=0.4)
    assert time.monotonic() - begin < 2


def test_deadline_holds_over_redirects(serve: Callable[..., RecordingServer]) -> None:
    def slow(answer: Script) -> Script:
        def script(connection: socket.socket) -> None:
            time.sleep(0.3)
            answer(connection)

        return script

    last = serve(slow(says()))
    first = serve(slow(redirects(serve(slow(redirects(last.url))).url)))
    assert "not fetched within 0.5 s" in refusal(first.url, timeout=0.5)
    assert not last.requests


def test_deadline_holds_over_the_look_up() -> None:
    over = threading.Event()
    begin = time.monotonic()
    hint = refusal("http://slow.example/", timeout=0.2, resolve=lambda *_, **__: over.wait(10) and [])
    assert "not fetched within 0.2 s" in hint
    assert time.monotonic() - begin < 2
    over.set()


@pytest.mark.parametrize("seconds", [0, -1])
def test_no_time_at_all(seconds: float, serve: Callable[..., RecordingServer]) -> None:
    server = serve(says())
    assert "not fetched within" in refusal(server.url, timeout=seconds)
    assert not server.requests


# --- TLS --------------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority and a host's TLS settings."""

    def __init__(self, folder: Path) -> None:
        trustme = pytest.importorskip("trustme", reason="trustme makes the certificates")
        self._authority = trustme.CA()
        self.bundle = str(folder / "ca.pem")
        self._authority.cert_pem.write_to_path(self.bundle)

    def context(self, name: str, seen: list[str | None]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name).configure_cert(context)
        context.sni_callback = lambda _socket, host, _context: seen.append(host)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def tls(server: RecordingServer, authority: Authority, **options: Any) -> dict[str, Any]:
    return {
        "allow_hosts": ["pictures.example"],
        "ca_bundle": authority.bundle,
        "resolve": lambda *_, **__: leads_to("127.0.0.1", port=server.port),
        **options,
    }


def test_tls(serve: Callable[..., RecordingServer], authority: Authority) -> None:
    seen: list[str | None] = []
    server = serve(says(), authority.context("pictures.example", seen))
    assert get("https://pictures.example/p.jpg", **tls(server, authority)) == PICTURE
    assert seen == ["pictures.example"]
    assert "Host: pictures.example\r\n" in server.requests[0].text


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("other.example", {}, "TLS failed (Hostname mismatch"),
        ("127.0.0.1", {}, "TLS failed (Hostname mismatch"),
        ("pictures.example", {"ca_bundle": None}, "TLS failed"),
    ],
)
def test_certificate_is_checked(
    name: str, options: dict[str, Any], words: str, serve: Callable[..., RecordingServer], authority: Authority
) -> None:
    server = serve(says(), authority.context(name, []))
    assert words in refusal("https://pictures.example/", **tls(server, authority, **options))
    assert not server.requests


def test_no_tls_where_https_is_asked_for(serve: Callable[..., RecordingServer], authority: Authority) -> None:
    server = serve(lambda connection: None)
    assert "within" in refusal("https://pictures.example/", **tls(server, authority, timeout=0.3))


@pytest.mark.parametrize("drop", [b"", b"."])
def test_deadline_holds_over_tls(drop: bytes, serve: Callable[..., RecordingServer], authority: Authority) -> None:
    beginning = b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8\xff"
    server = serve(drips(beginning, drop), authority.context("pictures.example", []))
    begin = time.monotonic()
    assert "not fetched within 0.5 s" in refusal("https://pictures.example/", **tls(server, authority, timeout=0.5))
    assert time.monotonic() - begin < 2


def test_https_is_not_redirected_to_http(serve: Callable[..., RecordingServer], authority: Authority) -> None:
    plain = serve(says())
    server = serve(redirects(plain.at("/p.jpg?token=SECRET")), authority.context("pictures.example", []))
    options = tls(server, authority, allow_hosts=["pictures.example", "127.0.0.1"])
    assert "from https to http" in refusal("https://pictures.example/", **options)
    assert not plain.requests


# --- secrets, the log, and anything else that may come ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://10.0.0.1:80/a/b.jpg?signature=SECRET#SECRET", "http://10.0.0.1:80/a/b.jpg: "),
        ("http://SECRET:SECRET@10.0.0.1/", "http://10.0.0.1: "),
        ("http://SECRET@10.0.0.1/SECRET@/", "http://10.0.0.1: "),
        ("http://user:SECRET/@10.0.0.1/", "http://...: "),
        ("http://user:SECRET?@10.0.0.1/", "http://...: "),
        ("user:SECRET@10.0.0.1/", "the URL: "),
        ("http:SECRET@10.0.0.1/", "the URL: "),
        ("http://[SECRET", "the URL: "),
        ("http://10.0.0.1/a\x1b[31m\nb?SECRET", "http://10.0.0.1/a\\x1b[31mb: "),
        ("http://10.0.0.1/" + "a" * 5000 + "?SECRET", "http://10.0.0.1/" + "a" * 184 + ": "),
    ],
)
def test_secrets_stay_secret(url: str, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        hint = refusal(url, allow_hosts=())
    assert hint.startswith(shown)
    assert "SECRET" not in hint
    assert "SECRET" not in caplog.text


def test_malformed_header_reveals_no_url(
    serve: Callable[..., RecordingServer], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert get(serve(says("no header")).at("/p.jpg?signature=SECRET")) == PICTURE
    assert "SECRET" not in caplog.text


def test_success_is_silent(serve: Callable[..., RecordingServer], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        get(serve(says()).url)
    assert not caplog.records


def unresolvable(*_: Any, **__: Any) -> list[AddressInfo]:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.builds("http://{}".format, st.text()),
        st.builds(
            "https://{}:{}/{}".format,
            st.text("[]:.%@0x7f1é", max_size=12),
            st.text("0123456789-", max_size=6),
            st.text(),
        ),
        st.builds("http://{}/".format, st.from_regex(r"[a-z0-9_.-]{1,80}", fullmatch=True)),
    )
)
def test_any_text_is_refused_with_a_cloud_error(url: str) -> None:
    with pytest.raises(CloudError, match="101000"):
        fetch(url, timeout=5, resolve=unresolvable)


BEGINNINGS = [
    b"",
    b"HTTP/1.1 ",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: ",
    b"HTTP/1.1 200 OK\r\nContent-Type: ",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: ",
    b"HTTP/1.1 302 Found\r\nLocation: http://",
]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(BEGINNINGS), st.binary(max_size=40), st.sampled_from([b"", b"\r\n\r\n", b"\r\n\r\nhello"]))
def test_any_answer_is_a_picture_or_a_cloud_error(beginning: bytes, middle: bytes, end: bytes) -> None:
    def resolve(host: str, port: int, **options: Any) -> Sequence[AddressInfo]:
        return leads_to("127.0.0.1", port=server.port) if host == "127.0.0.1" else unresolvable()

    script: Script = lambda connection: connection.sendall(beginning + middle + end)  # noqa: E731 - one line is enough
    with RecordingServer(script, reads_bodies=False) as server, suppress(CloudError):
        assert sniff(get(server.url, resolve=resolve))


@pytest.mark.parametrize(
    "answer", [UnicodeError("label too long"), OSError("no network"), ValueError("?"), socket.gaierror(-2, "unknown")]
)
def test_failing_look_up(answer: Exception) -> None:
    def resolve(*_: Any, **__: Any) -> list[AddressInfo]:
        raise answer

    assert refusal("http://good.example/", resolve=resolve)


def test_look_up_that_gives_no_address() -> None:
    assert refusal("http://good.example/", resolve=lambda *_, **__: leads_to("not an address"))


# --- the deadline by itself -------------------------------------------------------------------------------------------


def test_deadline() -> None:
    now = [100.0]
    deadline = Deadline(10, clock=lambda: now[0])
    assert deadline.remaining() == 10
    now[0] = 109.5
    assert deadline.remaining() == 0.5
    now[0] = 110
    with pytest.raises(TimeoutError):
        deadline.remaining()


def test_connections_want_a_deadline() -> None:
    with pytest.raises(LookupError):
        look_up("localhost", 80)


class Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = HTTPConnection


@pytest.fixture
def session() -> Iterator[requests.Session]:
    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": Pool}
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        yield session


def test_requests_keeps_the_connection(serve: Callable[..., RecordingServer], session: requests.Session) -> None:
    def twice(connection: socket.socket) -> None:
        for _ in range(2):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            connection.recv(65536)

    server = serve(twice)
    for _ in range(2):  # each call with a deadline of its own
        with enforced(Deadline(5)):
            assert session.get(server.url).content == b"ok"
    assert len(server.requests) == 1  # so the second came over the same connection


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_requests_under_the_deadline(
    beginning: bytes, session: requests.Session, serve: Callable[..., RecordingServer]
) -> None:
    server = serve(drips(beginning, b"."))
    begin = time.monotonic()
    with pytest.raises(requests.RequestException), enforced(Deadline(0.3)):
        session.get(server.url, timeout=60)
    assert time.monotonic() - begin < 2


def test_writing_under_the_deadline(session: requests.Session, serve: Callable[..., RecordingServer]) -> None:
    over = threading.Event()

    def sips(connection: socket.socket) -> None:
        for _ in range(200):
            if over.wait(0.02):
                return
            connection.recv(4096)

    server = serve(sips)
    begin = time.monotonic()
    with pytest.raises(requests.RequestException), enforced(Deadline(0.3)):
        session.post(server.url, data=bytes(30_000_000), timeout=60)
    assert time.monotonic() - begin < 2
    over.set()
