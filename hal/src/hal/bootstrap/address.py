"""Addresses of the store, written `host:port`, or `[host]:port` for an IPv6 address."""

from __future__ import annotations

import ipaddress

from hal.interface.errors import UsageError


def parse_address(text: str, *, origin: str = "the store's address") -> tuple[str, int]:
    """The host and port of `host:port`; `UsageError` naming `origin` and the text where it is malformed."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{origin} is {text!r}: expected host:port with a port of 1 to 65535, or [host]:port for IPv6")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether `host` certainly means this machine alone: `localhost` or a loopback address.

    Other names are not looked up: a machine's own name may resolve to loopback there, to a network address elsewhere.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
