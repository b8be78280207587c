"""The TLS settings of every connection: which certificates it trusts, and the sessions that it resumes."""

from __future__ import annotations

import socket
import ssl
import sys
from functools import cache
from pathlib import Path
from typing import Any

from cloudfn.errors import setting_error


class Context(ssl.SSLContext):
    """A client's context that resumes the last session with a host, which saves both sides the certificates."""

    _sessions: dict[str, ssl.SSLSession]

    def wrap_socket(self, sock: socket.socket, **options: Any) -> ssl.SSLSocket:  # type: ignore[override]
        return super().wrap_socket(sock, session=self._sessions.get(options.get("server_hostname", "")), **options)

    def remember(self, sock: Any) -> None:
        """Keep the session of a connection that brought an answer: the ticket of TLS 1.3 arrives with it."""
        session = getattr(sock, "session", None)  # a TLS inside the TLS of a proxy has none
        if session is not None and session.has_ticket:
            self._sessions[sock.server_hostname] = session


@cache
def context(ca_bundle: str = "", named_by: str = "CLOUDFN_CA_BUNDLE") -> Context:
    """Return the context that trusts a file or a folder of certificates, certifi's where none is named.

    `named_by` is the setting or variable that names it. Raises `CloudError` -601002 where there are no certificates.
    """
    if not ca_bundle:
        import certifi

        ca_bundle = certifi.where()
    made = Context(ssl.PROTOCOL_TLS_CLIENT)
    made._sessions = {}
    if sys.version_info >= (3, 13):  # as ssl.create_default_context and urllib3
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    folder = Path(ca_bundle).is_dir()
    try:
        made.load_verify_locations(None if folder else ca_bundle, ca_bundle if folder else None)
    except OSError as error:  # ssl.SSLError is one
        why = error.strerror or type(error).__name__
        expected = "a file of certificates in PEM form, or a folder of them"
        raise setting_error(named_by, f"{ca_bundle} ({why})", expected) from None
    return made
