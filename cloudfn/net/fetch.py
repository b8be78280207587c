"""Safe fetching of a picture from somebody else's URL, which can reach nothing but the public internet.

The danger is server-side request forgery: a URL that makes this host ask what only this host may ask, such as the
metadata service of its cloud. The rules here are one straight line a hop: read the URL, resolve its name once, check
every address, connect to exactly those addresses, and start again with a redirect. What WeChat's own fetcher takes is
documented nowhere; its staff named standard ports, users found double-encoded and non-ASCII URLs refused.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import string
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError

from cloudfn.call.media import sniff
from cloudfn.call.values import Deadline
from cloudfn.errors import picture_error
from cloudfn.net import tls
from cloudfn.net.deadline import AddressInfo, HTTPConnection, HTTPSConnection, Resolve, enforced, look_up

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 3
_PIECE = 256 * 1024  # bytes
_MAX_URL = 8192  # characters; servers refuse lines of over 8 KB
_HEADERS = {"User-Agent": "cloudfn", "Accept-Encoding": "identity", "Connection": "close"}

# The forms of a URL on which all common parsers agree. No white space, no backslash, nothing beyond ASCII (and so
# no full-width digits, no other dots of IDNA), no user, no percent sign in the host (and so no zone), no empty label.
_PLAIN = re.compile(r"[!-\[\]-~]+")
_AUTHORITY = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f.]*:[0-9a-f:.]*)]|(?P<name>[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)\.?)(?::(?P<port>\d{0,5}))?",
    re.IGNORECASE | re.ASCII,
)
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # the URL standard's "ends in a number"
_LOCATION_SAFE = string.punctuation.replace("\\", "")

# The IANA special-purpose registries (2025) and the clouds' own addresses elsewhere. `is_global` of the standard
# library is not enough: its table differs from one Python to the next, and it misses embedded addresses.
_SPECIAL = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),  # and 100.100.100.200, Alibaba Cloud's metadata
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud platform"),  # Azure's WireServer
        ("169.254.0.0/16", "link-local"),  # and 169.254.169.254, metadata nearly everywhere
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),  # and 192.0.0.192, Oracle Cloud's metadata
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved"),  # benchmarking and ORCHID among them
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)
_UNICAST = ip_network("2000::/3")  # all of IPv6 that is allocated
_NAT64 = ip_network("64:ff9b::/96")  # the way to the public IPv4 internet from networks that only have IPv6
_ISATAP = 0x5EFE  # RFC 5214: the upper half of an interface identifier, whatever its universal/local bit


class _RefusedError(Exception):
    """The reason why a URL is not fetched, and the cure, in words that hold nothing secret."""

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(problem, cure)
        self.problem = problem
        self.cure = cure


class _Target(NamedTuple):
    scheme: str
    host: str  # lower case; an address in its one canonical spelling, without brackets
    port: int
    path: str  # with the query
    allowed: bool  # a setting allows the host whatever its address


def fetch(
    url: str,
    *,
    timeout: float = 10,
    max_bytes: int = 32 * 1024 * 1024,
    allow_hosts: Collection[str] = (),
    ca_bundle: str = "",
    resolve: Resolve = socket.getaddrinfo,
    hold: Callable[[int], None] = lambda _count: None,
) -> bytes:
    """Return the bytes of the picture at `url`, at most `max_bytes` of them, within `timeout` seconds in all.

    For a URL that a stranger chose: http and https on their standard ports, public addresses only. A host in
    `allow_hosts` (`name` or `name:port`, case ignored, an IPv6 address in its shortest spelling) may have any address
    and any port that the URL names. At most 3 redirects, each checked as the URL itself; from https to http none,
    because a request made over https would be answered by whoever sits on the way. Proxies, netrc, cookies and settings
    play no part. `ca_bundle` is a file or a folder of certificates to trust instead of certifi's; `resolve` is called
    as socket.getaddrinfo, once a hop. `hold` is called with the number of bytes before they are kept; what it raises
    ends the fetch and is raised here.

    Raises CloudError: -601002 where `ca_bundle` has no certificates, else 101000; TypeError for arguments of another
    type. The error's hint tells why and the cure; it names the address that the host has, and of a URL only scheme,
    host and path: the rest may be secret.
    """
    if not isinstance(url, str) or isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        came = f"{type(url).__name__} and {type(timeout).__name__}"
        raise TypeError(f"fetch takes the URL as a str and the timeout as a number of seconds, not {came}")
    if isinstance(allow_hosts, str):
        raise TypeError(f"allow_hosts is a list of hosts, such as [{allow_hosts!r}]")
    allowed = frozenset(name.lower() for name in allow_hosts)
    here = url
    try:
        with enforced(Deadline(timeout)):
            for _ in range(1 + _MAX_REDIRECTS):
                target = _target(here, allowed)
                with _answer(target, _addresses(target, resolve), ca_bundle) as response:
                    if response.status not in _REDIRECTS:
                        return _picture(response, max_bytes, hold)
                    here = _next(here, response.headers.get("Location"))
        refused = _RefusedError(f"more than {_MAX_REDIRECTS} redirects", "use the address where they end")
    except _RefusedError as error:
        refused = error
    except (OSError, HTTPError, http.client.HTTPException, ValueError) as error:
        refused = _broken(error, timeout)
    redirected = "" if here == url else f", redirected to {_shown(here)}"
    # Outside of the except blocks, so that no URL stays in __context__.
    raise picture_error(101000, "invalid image url", f"{_shown(url)}{redirected}: {refused.problem}", refused.cure)


def _broken(error: Exception, timeout: float) -> _RefusedError:
    """Return the refusal that a failed exchange amounts to."""
    send = "send the picture's bytes as img"
    if isinstance(error, NewConnectionError):  # before the next, which is its base class
        return _RefusedError(f"no connection ({error.__cause__})", f"check the host, or {send}")
    if isinstance(error, (TimeoutError, urllib3.exceptions.TimeoutError)):
        cure = "use a faster host, raise the time limit, or send the bytes as img"
        return _RefusedError(f"not fetched within {timeout:g} s", cure)
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", error.reason)
        return _RefusedError(f"TLS failed ({why})", "repair the host's certificate")
    if isinstance(error, OSError):
        return _RefusedError(f"the connection failed ({error})", f"try again, or {send}")
    return _RefusedError(f"the answer broke off or is not HTTP ({type(error).__name__})", "check the URL with curl")


def _target(url: str, allowed: frozenset[str]) -> _Target:
    if len(url) > _MAX_URL:
        raise _RefusedError(f"it has {len(url):,} characters", f"use one of at most {_MAX_URL:,}")
    if not _PLAIN.fullmatch(url):
        raise _RefusedError(
            "it is empty, or has a space, a backslash, a control or non-ASCII character",
            "percent-encode these once, and write a host's name in its xn-- form",
        )
    try:
        scheme, authority, path, query, _ = urlsplit(url)
    except ValueError:
        raise _RefusedError("its brackets do not match", "write [ and ] around an IPv6 address only") from None
    if scheme not in _PORTS:
        raise _RefusedError("it is neither http nor https", "use https://")
    if "@" in authority:
        raise _RefusedError("it has a user name or password", "use a URL that needs no login")
    match = _AUTHORITY.fullmatch(authority)
    if not match:
        raise _RefusedError("it has no host, or none that is written plainly", "use https://host/path")
    host = (match["ipv6"] or match["name"]).lower()
    try:
        host = str(ip_address(host))
    except ValueError:
        if match["ipv6"] or _NUMBER.fullmatch(host):
            raise _RefusedError("its host is an address in an odd spelling", "use a host's name") from None
    port = int(match["port"] or _PORTS[scheme])
    bare = f"[{host}]" if match["ipv6"] else host
    is_allowed = not allowed.isdisjoint((host, bare, f"{bare}:{port}"))
    if port != _PORTS[scheme] and not is_allowed:
        raise _RefusedError(
            f"its port {port} is not the standard one, {_PORTS[scheme]} for {scheme}",
            "serve the picture there, or allow the host with CLOUDFN_ALLOW_HOSTS",
        )
    return _Target(scheme, host, port, (path or "/") + (f"?{query}" if query else ""), is_allowed)


def _addresses(target: _Target, resolve: Resolve) -> Sequence[AddressInfo]:
    """Return the host's addresses; raise unless every one is public or the host is allowed."""
    try:
        addresses = look_up(target.host, target.port, resolve)
    except (socket.gaierror, UnicodeError):
        addresses = ()
    if not addresses:
        raise _RefusedError(f"the host {target.host} has no address", "check its spelling")
    for address in () if target.allowed else [str(info[4][0]) for info in addresses]:
        kind = _kind(ip_address(address.partition("%")[0]))
        if kind:
            raise _RefusedError(
                f"the host {target.host} has the {kind} address {address}",
                "use a public URL, send the picture's bytes as img, or allow the host with CLOUDFN_ALLOW_HOSTS",
            )
    return addresses


def _kind(address: IPv4Address | IPv6Address) -> str:
    """Return the kind of a special address; "" for a public one."""
    inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64:
        return _kind(inner)
    for network, kind in _SPECIAL:
        if address in network:
            return kind
    if address.version == 4:
        return ""
    if address not in _UNICAST:
        return "reserved"
    return _kind(inner) if (int(address) >> 32) & 0xFDFFFFFF == _ISATAP else ""


@contextmanager
def _answer(target: _Target, addresses: Sequence[AddressInfo], ca_bundle: str) -> Iterator[urllib3.HTTPResponse]:
    """Return the answer, its body unread, from one of exactly these addresses."""
    connection = (
        HTTPSConnection(target.host, target.port, ssl_context=tls.context(ca_bundle))
        if target.scheme == "https"
        else HTTPConnection(target.host, target.port)
    )
    connection.addresses = addresses
    with closing(connection):
        connection.request("GET", target.path, headers=_HEADERS, preload_content=False, decode_content=False)
        with closing(connection.getresponse()) as response:
            yield response


def _next(url: str, location: str | None) -> str:
    """Return where a redirect leads."""
    if not location:
        raise _RefusedError("it redirects to nowhere", "use the address of the picture itself")
    # Headers arrive as Latin-1; like browsers, percent-encode what hosts forgot to.
    following = urljoin(url, quote(location.strip(), safe=_LOCATION_SAFE, encoding="latin-1"))
    if url.lower().startswith("https:") and following.lower().startswith("http:"):
        raise _RefusedError("it redirects from https to http", "use the address where that ends")
    return following


def _picture(response: urllib3.HTTPResponse, max_bytes: int, hold: Callable[[int], None]) -> bytes:
    """Return an answer's body, if its headers and its first bytes promise a picture."""
    if response.status != 200:
        raise _RefusedError(f"the answer is HTTP {response.status}", "use a URL that answers 200 without a login")
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise _RefusedError(f"the answer is compressed ({_quoted(encoding)})", "serve the picture as it is")
    too_large = _RefusedError(f"the picture has more than {max_bytes} bytes", "make it smaller")
    if (response.length_remaining or 0) > max_bytes:
        raise too_large
    head = response.read(32)
    if not sniff(head):
        said = _quoted(response.headers.get("Content-Type", "no Content-Type"))
        page = "html" in said.lower() or head.lstrip()[:5].lower() in (b"<!doc", b"<html")
        what = "a web page" if page else "something that is no picture" if head else "no bytes"
        raise _RefusedError(f"the URL answered with {what} ({said})", "use the address of the picture itself")
    body = bytearray(head)
    while piece := response.read(_PIECE):
        if len(body) + len(piece) > max_bytes:
            raise too_large
        hold(len(piece))
        body += piece
    if response.length_remaining:
        raise _RefusedError("the answer broke off before its end", "try again, or send the picture's bytes as img")
    return bytes(body)


def _quoted(text: str) -> str:
    """Quote a stranger's words for a log: printable ASCII on one line, not too long."""
    return ascii(text)[1:-1][:200]


def _shown(url: str) -> str:
    """Return a URL for a log: without user, query and fragment."""
    try:
        scheme, authority, path, _, _ = urlsplit(url)
    except ValueError:
        return "the URL"
    user, _, host = authority.rpartition("@")
    if not _AUTHORITY.fullmatch(host):
        return f"{scheme}://..." if scheme in _PORTS and authority else "the URL"
    return _quoted(f"{scheme}://{host}" + ("" if user else path))
