"""A bar over all units of offline work, with the time that is left: on a terminal, and in a notebook."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class ProgressBar:
    """Shows how much is done; a context manager.

    Parameters
    ----------
    total : units
    words : what is done
    shown : False: show nothing; where neither a terminal nor a notebook looks on, nothing is shown either
    """

    def __init__(self, total: int, *, shown: bool = True, words: str = "restoring") -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = RichProgress(
            *columns, console=Console(stderr=True), transient=True, disable=not (shown and _is_watched())
        )
        self._task = self._bar.add_task(words, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, n: int = 1, *, words: str | None = None) -> None:
        """Note that units are done."""
        self._bar.update(self._task, advance=n, description=words)


def _is_watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules
