"""Who may see the page: a token, its cookie, and the page's own origin. Calculations only."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from care_live.default_ports import PAGE
from care_live.errors import ConfigError
from care_live.wire.address import is_loopback_host

TOKEN = re.compile(r"[0-9A-Za-z_-]{16,128}")
_BIND = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):(?P<port>\d{1,5})")


def parse_bind(bind: str) -> tuple[str, int]:
    """Split ``HOST:PORT``; port 0 takes any free one.

    Raises
    ------
    ConfigError
        The text is not an address.
    """
    match = _BIND.fullmatch(bind)
    if match is None or int(match["port"]) > 65535:
        raise ConfigError(f"cannot bind the page to {bind!r}: wanted HOST:PORT, such as {PAGE}")
    return match["host"].strip("[]"), int(match["port"])


def choose_token(host: str, token_file: Path | None) -> str:
    """Return the token that opens the page: from its file, or a new one for this start.

    Raises
    ------
    ConfigError
        The page would be reachable from other machines and no token was given, or the file has none.
    """
    if token_file is not None:
        return read_token(token_file)
    if not is_loopback_host(host):
        raise ConfigError(
            f"the page would be open to other machines at {host}: give --token-file with a token of your own "
            "(16-128 letters and digits); plain HTTP can be read by others on the network"
        )
    return secrets.token_urlsafe(24)


def read_token(path: Path) -> str:
    """Read the token from a file of one line.

    Raises
    ------
    ConfigError
        The file cannot be read or contains no token.
    """
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the token file {path}: {error}") from error
    if TOKEN.fullmatch(text) is None:
        raise ConfigError(f"{path} has no token: wanted one line of 16-128 letters, digits, - or _")
    return text


def data_token(token: str) -> str:
    """Return the weaker token that only reads the run's files: it may stand in a link."""
    return hmac.new(token.encode(), b"care_live data", hashlib.sha256).hexdigest()[:32]


def same(given: str | None, token: str) -> bool:
    """Compare two tokens in constant time."""
    return given is not None and hmac.compare_digest(given.encode(), token.encode())


def same_origin(origin: str | None, host: str | None) -> bool:
    """Return whether a WebSocket was opened by the page itself; browsers always send both headers."""
    if not origin or not host:
        return False
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def inside(root: Path, relative: str) -> Path | None:
    """Return the file below `root` that a link names, or None for anything outside, hidden or absent."""
    if "\\" in relative or "\0" in relative or any(part.startswith(".") for part in relative.split("/")):
        return None
    path = (root / relative).resolve()
    return path if path.is_relative_to(root.resolve()) and path.is_file() else None
