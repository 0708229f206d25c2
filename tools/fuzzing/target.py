"""What can be fuzzed: a reader, sound inputs for it, and what must hold when they are damaged."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fuzzing.damage import Case, Files


class WrongError(AssertionError):
    """A reader took something damaged for good: the worst outcome of all."""


class Target(Protocol):
    """One reader under attack. Made once in each child process; a case is read in that process."""

    def originals(self, folder: Path) -> Sequence[Files]:
        """Return sound inputs, small ones; *folder* is empty and may be written to."""

    def damaged(self, sound: Files, chance: random.Random) -> Case:
        """Damage one of them."""

    def read(self, case: Case, folder: Path) -> None:
        """Read a case as care_live does; *folder* is empty and may be written to.

        Raises
        ------
        CareLiveError
            The case was refused, as it should be.
        WrongError
            What the reader gave, or left behind, is not what the sound input holds.
        """


def write_files(files: Files, folder: Path) -> None:
    """Lay an input out as files in a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read_files(folder: Path) -> Files:
    """Return every file of a folder by its path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
