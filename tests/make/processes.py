"""Child processes, some of which may end while they are looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil


def children(of: psutil.Process | None = None, *, with_words: str) -> list[psutil.Process]:
    """Return the children whose command line has some words; one that has ended has none."""
    return list(_found(of or psutil.Process(), with_words))


def _found(of: psutil.Process, words: str) -> Iterator[psutil.Process]:
    for child in of.children():
        with contextlib.suppress(psutil.Error):
            if words in " ".join(child.cmdline()):
                yield child
