"""A bar over all units of offline work, with the time that is left: on a terminal, and in a notebook."""

from __future__ import annotations

import importlib
import sys
import time
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_LEAST_S = 0.2
"""Between two pictures of the bar in a notebook."""


class _Bar(Protocol):
    def advance(self) -> None: ...
    def close(self) -> None: ...


class ProgressBar:
    """Shows how much is done; a context manager.

    Parameters
    ----------
    total : units
    shown : False: show nothing; without a terminal or a notebook nothing is shown either
    """

    def __init__(self, total: int, *, shown: bool = True) -> None:
        self._bar: _Bar | None = None
        if shown and _is_notebook():
            self._bar = NotebookBar(total)
        elif shown and sys.stderr.isatty():
            self._bar = TerminalBar(total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self) -> None:
        """Note that one more unit is done."""
        if self._bar is not None:
            self._bar.advance()


class TerminalBar:
    """A bar of rich on stderr; it goes when it is closed."""

    def __init__(self, total: int) -> None:
        columns = (TextColumn("restoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=total)
        self._progress.start()

    def advance(self) -> None:
        self._progress.advance(self._task)

    def close(self) -> None:
        self._progress.stop()


class NotebookBar:
    """A bar of HTML below a notebook's cell; unlike rich's it needs no ipywidgets."""

    def __init__(self, total: int) -> None:
        self._display: Any = importlib.import_module("IPython.display")
        self._total, self._done = total, 0
        self._began_s = self._shown_s = time.monotonic()
        self._place = self._display.display(self._picture(), display_id=True)

    def advance(self) -> None:
        self._done += 1
        now_s = time.monotonic()
        if now_s - self._shown_s >= _LEAST_S or self._done == self._total:
            self._shown_s = now_s
            self._place.update(self._picture())

    def close(self) -> None:
        self._place.update(self._picture())

    def _picture(self) -> Any:
        left_s = (time.monotonic() - self._began_s) / max(1, self._done) * (self._total - self._done)
        left = f", {left_s:.0f} s left" if 0 < self._done < self._total else ""
        bar = f"<progress value='{self._done}' max='{self._total}'></progress>"
        return self._display.HTML(f"{bar} restoring {self._done}/{self._total}{left}")


def _is_notebook() -> bool:
    """Tell whether this process is a kernel; napari imports ipykernel, too, and runs none."""
    if "IPython" not in sys.modules:
        return False
    return hasattr(importlib.import_module("IPython").get_ipython(), "kernel")
