"""Who may read a key file on Windows: its access control list, by ``icacls``.

Names of groups differ from language to language, so accounts are compared by their SIDs: ``icacls /save`` writes the
list as SDDL (https://learn.microsoft.com/windows/win32/secauthz/security-descriptor-string-format).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from care_live.errors import ConfigError

ReadCommand = Callable[[Sequence[str]], str]
"""Runs a command and returns what it prints."""

_ACE = re.compile(r"\((\w+);[^;()]*;([^;()]*);[^;()]*;[^;()]*;([^;()]+)(?:;[^()]*)?\)")
"""Type, rights and account of one entry of a list."""
_ALLOWS = ("A", "XA", "OA")
_READS = ("FA", "FR", "GA", "GR", "CC")
"""Rights, two letters each, with which a file's bytes can be read."""
_READ_BITS = 0x1 | 0x80000000 | 0x10000000
"""FILE_READ_DATA, GENERIC_READ, GENERIC_ALL."""
_TRUSTED = frozenset(("SY", "BA", "OW", "S-1-5-18", "S-1-5-32-544", "S-1-3-4"))
"""The system, administrators and the owner's rights: they can read every file in any case."""
_SID = re.compile(r"S-1-[0-9-]+")
_SECONDS = 20


def refuse_readable_by_others(path: Path, *, run: ReadCommand | None = None) -> None:
    """Refuse a key file that other accounts may read.

    Raises
    ------
    ConfigError
        They may, or the list cannot be read; says which accounts, and what to do.
    """
    run = run or _run
    others = readers(sddl_of(path, run)) - _TRUSTED - {own_sid(run)}
    if others:
        raise ConfigError(
            f"key {path} can be read by other accounts ({', '.join(sorted(others))}): "
            f'icacls "{path}" /inheritance:r /grant:r "%USERNAME%:F", or make a new one'
        )


def restrict(path: Path, *, run: ReadCommand | None = None) -> None:
    """Let this account alone read a file.

    Raises
    ------
    ConfigError
        icacls cannot do it.
    """
    run = run or _run
    run(["icacls", str(path), "/inheritance:r", "/grant:r", f"*{own_sid(run)}:F"])


def readers(sddl: str) -> frozenset[str]:
    """Return the accounts, SIDs or two letters, that a list lets read; without a list all accounts may (WD)."""
    if "D:" not in sddl or "NO_ACCESS_CONTROL" in sddl:
        return frozenset({"WD"})
    return frozenset(account for kind, rights, account in _ACE.findall(sddl) if kind in _ALLOWS and _can_read(rights))


def _can_read(rights: str) -> bool:
    if rights.lower().startswith("0x"):
        return bool(int(rights, 16) & _READ_BITS)
    letters = [rights[at : at + 2] for at in range(0, len(rights), 2)]
    return any(right in _READS for right in letters)


def sddl_of(path: Path, run: ReadCommand) -> str:
    """Return a file's access control list.

    Raises
    ------
    ConfigError
        icacls does not give it.
    """
    with tempfile.TemporaryDirectory(prefix="care-live-acl-") as folder:
        saved = Path(folder) / "acl.txt"
        run(["icacls", str(path), "/save", str(saved)])
        try:
            lines = saved.read_text(encoding="utf-16").splitlines()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"cannot read who may read {path}: {error}") from error
    if len(lines) < 2:
        raise ConfigError(f"icacls says nothing of {path}")
    return lines[1].strip()


def own_sid(run: ReadCommand) -> str:
    """Return the SID of the account that runs this process.

    Raises
    ------
    ConfigError
        whoami does not say it.
    """
    said = run(["whoami", "/user", "/fo", "csv", "/nh"])
    found = _SID.search(said)
    if found is None:
        raise ConfigError(f"whoami does not say which account this is: {said[:200]!r}")
    return found[0]


def _run(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{' '.join(command)} failed: {error}") from error
