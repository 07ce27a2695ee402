"""The three servers of the protocol. server0 and server1 hold masked values; server2 is the dealer."""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """A worker's role."""

    SERVER0 = 0
    SERVER1 = 1
    SERVER2 = 2

    __hash__ = int.__hash__  # an enumeration's own is a call in Python, at each look into a table of messages

    @property
    def label(self) -> str:
        """The name used in messages, certificates and on the wire: "server0"."""
        return _LABELS[self]

    @property
    def partner(self) -> Role:
        """The other one of server0 and server1."""
        if self > Role.SERVER1:
            raise ValueError(f"{self.label} has no partner.")
        return _ROLES[1 - self]

    @property
    def peers(self) -> tuple[Role, Role]:
        """The other two servers."""
        first, second = (role for role in SERVERS if role != self)
        return first, second


_ROLES = tuple(Role)
_LABELS = tuple(role.name.lower() for role in Role)

SERVERS = (Role.SERVER0, Role.SERVER1, Role.SERVER2)
DEALER = Role.SERVER2
