"""Calls into drivers and disks that may never return: the caller waits for each of them until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from care_live.daemon.stage import Stage
from care_live.errors import StageError

Result = TypeVar("Result")

_LOOK_S = 0.1


class Deadlines:
    """Makes each call in a thread of its own, so that the caller, and Ctrl-C, can go on without it."""

    def __init__(self) -> None:
        self._overdue: list[Stage] = []

    @property
    def hung(self) -> tuple[str, ...]:
        """Names of the calls that have not returned yet: only the end of the process ends their threads."""
        return tuple(call.name for call in self._overdue if call.alive)

    def within(
        self, name: str, action: Callable[[], Result], deadline_s: float, given_up: Callable[[], bool] = lambda: False
    ) -> Result:
        """Return what a call returns.

        Parameters
        ----------
        name : of the call, in errors
        action : the call
        deadline_s : how long it may take
        given_up : called about ten times a second; true ends the wait

        Raises
        ------
        StageError
            The call did not return in time.
        Exception
            The error of the call.
        """
        result: list[Result] = []
        call = Stage(name, lambda: result.append(action()), on_failure=lambda error: None)
        began_s = time.monotonic()
        until_s = began_s + deadline_s
        call.start()
        while not call.ended_within(max(0.0, min(_LOOK_S, until_s - time.monotonic()))):
            if given_up() or time.monotonic() >= until_s:
                self._overdue.append(call)
                waited_s = time.monotonic() - began_s  # the deadline may be none
                raise StageError(f"{name} did not return within {waited_s:.1f} s: it hangs")
        if call.error is not None:
            raise call.error
        return result[0]
