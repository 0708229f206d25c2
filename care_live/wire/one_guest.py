"""A server for one kind of client, whose key is made for it and lies in no file."""

from __future__ import annotations

from dataclasses import dataclass

from care_live.wire.keys import Guest


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
