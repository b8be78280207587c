"""One time limit over every step of a network call: name look-up, connect, TLS, every write and every read.

The timeouts of requests and urllib3 hold for one read, so a server that drips a byte at a time never meets them, and
looking up a name has none at all. Inside `with enforced(Deadline(10)):` the connections of this module, which are
urllib3's own otherwise, get what is left of the time for each step; outside of such a block they raise LookupError.

A deadline that is over shows as TimeoutError, or as what urllib3 turns that into.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import io
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import urllib3
import urllib3.connection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from cloudfn.call.values import Deadline

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]  # an item of socket.getaddrinfo's list
Resolve: TypeAlias = Callable[..., Sequence[AddressInfo]]  # called as socket.getaddrinfo(host, port, type=SOCK_STREAM)

_current: ContextVar[Deadline] = ContextVar("cloudfn_deadline")


@contextmanager
def enforced(deadline: Deadline) -> Iterator[None]:
    """Enforce the deadline on a block's connections; one block inside another may be shorter or longer."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def look_up(host: str, port: int, resolve: Resolve = socket.getaddrinfo) -> Sequence[AddressInfo]:
    """Return the addresses of `host`, in the order to try.

    Raises what `resolve` raises, TimeoutError, and OSError where no thread is left for it.
    """
    if _is_address(host):
        return resolve(host, port, type=socket.SOCK_STREAM)
    answer: concurrent.futures.Future[Sequence[AddressInfo]] = concurrent.futures.Future()

    def work() -> None:
        try:
            answer.set_result(resolve(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - raised again by result()
            answer.set_exception(error)

    # getaddrinfo cannot be stopped, so it runs in a thread that nobody waits for when the time is over.
    try:
        threading.Thread(target=work, name="cloudfn-look-up", daemon=True).start()
    except RuntimeError as error:  # the process may have no more threads
        raise OSError(f"{host} cannot be looked up: {error}") from None
    try:
        return answer.result(_current.get().remaining())
    except concurrent.futures.TimeoutError:  # which is TimeoutError itself only from Python 3.11 on
        raise TimeoutError(f"no answer to the look-up of {host} in time") from None


def _is_address(host: str) -> bool:
    """Return whether `host` is an address already, with nothing to look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _open(
    address: AddressInfo, options: Sequence[tuple[int, int, int | bytes]], deadline: Deadline, share: float
) -> socket.socket:
    """Return a socket to the address, which has this share of the time left to answer."""
    sock = socket.socket(*address[:3])
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(deadline.remaining() * share)
        sock.connect(address[4])
        sock.settimeout(deadline.remaining())  # ssl applies it to the TLS handshake as a whole
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(addresses: Sequence[AddressInfo], options: Sequence[tuple[int, int, int | bytes]]) -> socket.socket:
    """Return a socket to the first address that answers; raise the last one's OSError."""
    deadline = _current.get()
    failure = OSError("the name has no address")
    for tried, address in enumerate(addresses):
        try:
            # A fair share, so that an address that swallows packets leaves time for the next one.
            return _open(address, options, deadline, 1 / (len(addresses) - tried))
        except OSError as error:
            failure = error
    raise failure


class _Reader(io.RawIOBase):
    """The stream that an answer is read from: each read may take the time that is left."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open until the answer is read
        self._deadline = _current.get()

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._sock.settimeout(self._deadline.remaining())
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(cast(socket.socket, _Reader(sock)), *args, **options)  # all it does with it is makefile("rb")

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:  # http.client takes "-5", and reads until the connection ends
            raise http.client.HTTPException("a chunk of the answer has a size below 0")
        return size


class _TimedSocket:
    """A proxy's TLS beneath the TLS of the host: urllib3 reads and writes through it as often as a record needs."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        self._sock.settimeout(_current.get().remaining())
        return self._sock.recv(size)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_current.get().remaining())
        self._sock.sendall(data)


class HTTPConnection(urllib3.connection.HTTPConnection):
    """urllib3's connection under the enforced deadline; its own `timeout` is ignored.

    `addresses` is where to connect, when it is set: then the host's name is for the Host header, SNI and the
    certificate only, and is not looked up. Raises what urllib3's raises.
    """

    addresses: Sequence[AddressInfo] | None = None
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        try:
            addresses = look_up(self._dns_host, self.port) if self.addresses is None else self.addresses
            return _connect(addresses, self.socket_options or ())
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"connection to {self.host} timed out") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def send(self, data: Any) -> None:
        """Write all of it in one step, with or without TLS: both hold the time limit over the whole write."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(_current.get().remaining())
        self.sock.sendall(data)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3's own
        if self._response_options is not None:
            # When a header of the answer is malformed, urllib3 logs the URL, secrets in its query included.
            self._response_options = self._response_options._replace(request_url="/")
        return super().getresponse()


class HTTPSConnection(HTTPConnection, urllib3.connection.HTTPSConnection):
    """The same with TLS, for which it needs an `ssl_context`."""

    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> ssl.SSLSocket:
        assert self.ssl_context is not None
        proxy = self.ssl_context.wrap_socket(sock, server_hostname=hostname)
        self.proxy_is_verified = True
        return cast(ssl.SSLSocket, _TimedSocket(proxy))
