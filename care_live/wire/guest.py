"""Who may connect to a server, and what they may do there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "recorder", "operator"]
"""*viewer*: newest volumes. *recorder*: also every volume by replay. *operator*: also frames into the daemon."""

ROLES: tuple[Role, ...] = get_args(Role)
_RANK = {role: rank for rank, role in enumerate(ROLES)}


@dataclass(frozen=True, slots=True)
class Guest:
    """The owner of a key on the allow-list."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Return whether what `role` may do is allowed: an operator may record, a recorder may view."""
        return _RANK[self.role] >= _RANK[role]


LOCAL = Guest("local", "operator")
"""A client that reaches a loopback address without keys is a user of this machine."""


@dataclass(frozen=True, slots=True)
class OneGuest:
    """The only one who may connect; takes the place of an allow-list."""

    public: str
    who: Guest

    def guest(self, public: str) -> Guest | None:
        """Return who has that public key, or None: not allowed."""
        return self.who if public == self.public else None

    def has_changed(self) -> bool:
        """Return whether the guests have changed since the last call: they never do."""
        return False
