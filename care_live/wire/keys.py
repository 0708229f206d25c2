"""Who may connect: CURVE keys in files, and the list of those who are allowed, with their roles.

A key file has one line, ``care-live-key PUBLIC SECRET``, and only its owner may read it. An allow-list has one
line for each guest, ``ROLE PUBLIC NAME``, like ssh's authorized_keys; it is read again whenever it changes.
Keys are 40 characters of Z85 (https://rfc.zeromq.org/spec/32).
"""

from __future__ import annotations

import os
import re
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

from care_live.errors import ConfigError
from care_live.wire import windows_acl
from care_live.wire.guest import ROLES, Guest, OneGuest, Role

_TAG = "care-live-key"
_Z85 = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_NAME = re.compile(r"[0-9A-Za-z_.@-]{1,64}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair in Z85."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a client needs: its own pair, and the public key of its server."""

    own: KeyPair
    server_public: str


class AllowList:
    """The guests of a file, read again when the file changes; safe from any thread.

    Raises
    ------
    ConfigError
        The file cannot be read, or a line of it is broken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._stamp: tuple[int, int] | None = self._look()
            self._guests = read_allowed(path)
        except OSError as error:
            raise ConfigError(f"cannot read the allow-list {path}: {error.strerror or error}") from error
        self._changed = False

    def guest(self, public: str) -> Guest | None:
        """Return who has that public key, or None: not allowed."""
        with self._lock:
            self._refresh()
            return self._guests.get(public)

    def has_changed(self) -> bool:
        """Return whether the guests have changed since the last call."""
        with self._lock:
            self._refresh()
            changed, self._changed = self._changed, False
            return changed

    def _refresh(self) -> None:
        """Read the file again if it has changed; a damaged list admits no client."""
        try:
            if (stamp := self._look()) == self._stamp:
                return
            guests = read_allowed(self._path)
        except (ConfigError, OSError):
            stamp, guests = None, {}
        self._changed = self._changed or guests != self._guests
        self._stamp, self._guests = stamp, guests

    def _look(self) -> tuple[int, int]:
        about = self._path.stat()
        return about.st_mtime_ns, about.st_size


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a server needs: its own pair, and who may connect."""

    own: KeyPair
    allowed: AllowList | OneGuest


def check_public(public: str) -> str:
    """Return a public key unchanged.

    Raises
    ------
    ConfigError
        It is not 40 characters of Z85.
    """
    if not _Z85.fullmatch(public):
        raise ConfigError(
            f"{public!r} is not a public key: wanted the 40 characters that care-live keys new prints, or its .pub file"
        )
    return public


def read_public(said: str) -> str:
    """Return a public key that is given as itself, or by the ``.pub`` file that holds it.

    Raises
    ------
    ConfigError
        It is neither.
    """
    path = Path(said)
    try:
        return check_public(path.read_text(encoding="ascii").strip() if path.is_file() else said)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read a public key from {path}: {error}") from error


def read_client(own: Path | None, server: str | None) -> ClientKeys | None:
    """Return what a daemon on another machine requires, or None for one on this machine.

    Parameters
    ----------
    own : this machine's key file
    server : that daemon's public key, or the ``.pub`` file that holds it

    Raises
    ------
    ConfigError
        Only one of the two is given, or one of them is not a key.
    """
    if own is None and not server:
        return None
    if own is None or not server:
        raise ConfigError(
            "your key file and the daemon's public key belong together: give both, or neither for a daemon on this "
            "machine"
        )
    return ClientKeys(read_pair(own), read_public(server))


def read_server(own: Path | None, allowed: Path | None) -> ServerKeys | None:
    """Return the keys of a server that other machines may reach, or None: loopback only.

    Parameters
    ----------
    own : this machine's key file
    allowed : its allow-list

    Raises
    ------
    ConfigError
        One of the two files is not named, is missing, or may be read by others.
    """
    if own is None and allowed is None:
        return None
    if own is None or allowed is None:
        raise ConfigError("server_key_file and authorized_keys_file belong together: set both, or neither for loopback")
    return ServerKeys(read_pair(own), AllowList(allowed))


def write_pair(path: Path, pair: KeyPair) -> None:
    """Write a key file that only its owner can read, and its public half beside it as ``PATH.pub``.

    An existing key is never overwritten.

    Raises
    ------
    ConfigError
        The file exists or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists; give another name, or remove it if that key is not needed") from error
    except OSError as error:
        raise ConfigError(f"cannot write key {path}: {error.strerror or error}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        if os.name == "nt":  # there the mode above says nothing of other accounts
            windows_acl.restrict(path)
        file.write(f"{_TAG} {pair.public} {pair.secret}\n")
    public_file(path).write_text(f"{pair.public}\n", encoding="ascii")


def public_file(path: Path) -> Path:
    """Return where the public half of a key file lies."""
    return path.with_name(path.name + ".pub")


def read_pair(path: Path) -> KeyPair:
    """Read a key file.

    Raises
    ------
    ConfigError
        The file is missing, is not a key file, or others may read it.
    """
    try:
        _refuse_readable_by_others(path)
        words = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read key {path}: {error}; make one with care-live keys new") from error
    if len(words) != 3 or words[0] != _TAG or not all(_Z85.fullmatch(word) for word in words[1:]):
        raise ConfigError(f"{path} is not a key file: make one with care-live keys new")
    return KeyPair(words[1], words[2])


def _refuse_readable_by_others(path: Path) -> None:
    if os.name == "nt":
        windows_acl.refuse_readable_by_others(path)
    elif (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        raise ConfigError(f"key {path} has mode {mode:04o}, so others can read it: chmod 600 {path}, or make a new one")


def read_allowed(path: Path) -> dict[str, Guest]:
    """Read an allow-list: public key to guest.

    Raises
    ------
    ConfigError
        A line is not ``ROLE PUBLIC NAME``; the message names it.
    """
    guests: dict[str, Guest] = {}
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), start=1):
        words = line.split()
        if not words or line.lstrip().startswith("//"):
            continue
        if len(words) != 3 or words[0] not in ROLES or not _Z85.fullmatch(words[1]) or not _NAME.fullmatch(words[2]):
            raise ConfigError(f"{path} line {number}: wanted 'ROLE PUBLIC NAME' with a role of {', '.join(ROLES)}")
        guests[words[1]] = Guest(words[2], next(role for role in ROLES if role == words[0]))
    return guests


def allow(path: Path, public: str, name: str, role: Role) -> None:
    """Add a guest to an allow-list, or change its name and role."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is not a name: wanted 1-64 letters, digits or _.@-")
    guests = read_allowed(path) if path.exists() else {}
    guests[check_public(public)] = Guest(name, role)
    _write_allowed(path, guests)


def revoke(path: Path, who: str) -> list[Guest]:
    """Remove a guest from an allow-list, by name or public key; return the removed ones.

    Raises
    ------
    ConfigError
        No entry has that name or key.
    """
    guests = read_allowed(path) if path.exists() else {}
    gone = [guest for public, guest in guests.items() if who in (public, guest.name)]
    if not gone:
        raise ConfigError(f"no entry of {path} has the name or key {who!r}")
    _write_allowed(path, {public: guest for public, guest in guests.items() if guest not in gone})
    return gone


def _write_allowed(path: Path, guests: dict[str, Guest]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        "// ROLE PUBLIC-KEY NAME\n",
        *(f"{guest.role} {public} {guest.name}\n" for public, guest in guests.items()),
    ]
    draft = path.with_name(path.name + ".partial")
    draft.write_text("".join(lines), encoding="ascii")
    draft.replace(path)
