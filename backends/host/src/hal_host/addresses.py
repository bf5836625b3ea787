"""This machine's network interfaces and their IPv4 addresses."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct

from hal.interface.errors import BackendUnavailable, nearest
from hal_host.tcp_settings import AUTO

_SIOCGIFADDR = 0x8915
_ADDRESS_AT = slice(20, 24)  # in `struct ifreq`


def interfaces() -> dict[str, str]:
    """The IPv4 address of each interface that has one."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found[name] = socket.inet_ntoa(answer[_ADDRESS_AT])
    return found


def chosen(interface: str) -> list[str]:
    """The addresses that peers may connect to: those of `interface`, a name or an address or `auto`.

    `BackendUnavailable` for one that this machine does not have.
    """
    found = interfaces()
    if interface == AUTO:
        # loopback last: it leads nowhere but here
        return sorted(found.values(), key=lambda address: ipaddress.ip_address(address).is_loopback)
    if interface in found:
        return [found[interface]]
    if interface in found.values() or _is_loopback(interface):
        return [interface]
    near = nearest(interface, found)
    hint = f"; did you mean {near!r}?" if near else ""
    known = ", ".join(f"{name} ({address})" for name, address in found.items())
    what = f"tcp.interface: this machine has no interface or address {interface!r}, it has {known}{hint}"
    raise BackendUnavailable(what)


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.IPv4Address(text).is_loopback
    except ValueError:
        return False
