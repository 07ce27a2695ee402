"""Addresses of workers: which host is this one, which ports are free."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from syfr.directories import split_address
from syfr.errors import InputTypeError, PortInUseError

FIRST_PORT = 4000
FREE_PORTS = range(20_000, 32_768)
TRIES = 200


def is_local(host: str) -> bool:
    """Whether a host, as :func:`syfr.directories.split_address` gives it, is this machine."""
    if host == "localhost" or host == socket.gethostname().lower():
        return True
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return False
    if number.is_loopback:
        return True
    # An address is this machine's when one can listen there.
    try:
        with socket.socket(socket.AF_INET if number.version == 4 else socket.AF_INET6) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """So many ports of this machine that nobody uses now, from below those that outgoing connections are given."""
    with ExitStack() as stack:
        found: list[int] = []
        for _ in range(TRIES):
            if len(found) == count:
                return found
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", FREE_PORTS[secrets.randbelow(len(FREE_PORTS))]))
                found.append(probe.getsockname()[1])
    raise PortInUseError("No free port was found on this machine. Give the workers addresses with ports.")


def is_free(address: str) -> bool:
    """Whether an address "host:port" is of this machine and nobody listens there."""
    host, port = split_address(address)
    if not is_local(host):
        return False
    try:
        socket.create_connection((host, port or 0), timeout=1.0).close()
    except OSError:
        return True
    return False


def join_address(host: str, port: int) -> str:
    """A host and a port as one address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def complete_addresses(roles: Sequence[str], hosts: Sequence[str | None]) -> dict[str, str | None]:
    """Addresses with ports by role: hosts without one get 4000, 4001 and 4002 in turn; no host stays None."""
    found: dict[str, str | None] = {}
    for place, (role, host) in enumerate(zip(roles, hosts, strict=True)):
        if host is None:
            found[role] = None
            continue
        name, port = split_address(host)
        address = join_address(name, FIRST_PORT + place if port is None else port)
        if address in found.values():
            raise InputTypeError(f"Two workers have the address {address}. Give each a port of its own.")
        found[role] = address
    return found
