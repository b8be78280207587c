"""Checks that addresses and hosts belong to this machine alone."""

from __future__ import annotations

import ipaddress


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's alone; a name is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def is_local(host: str) -> bool:
    """Return whether a host is this machine's alone: a loopback address or `localhost`."""
    return host == "localhost" or is_loopback(host)
