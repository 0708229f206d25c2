"""Numbers as units of work for Dask's workers, of which none waits for another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from care_live.offline.handed_out import Resources, do_units


@dataclass(frozen=True)
class Unordered:
    """Hands out numbers to workers, as `care_live.offline.handed_out` has it."""

    client: Any
    work: Callable[[int], object]

    def joins(self, one: int, following: int) -> bool:
        return True

    def submit(self, tasks: Sequence[Sequence[int]], resources: Resources) -> Sequence[Any]:
        works = [self.work] * len(tasks)
        futures: list[Any] = self.client.map(do_units, works, list(tasks), pure=False, resources=resources)
        return futures

    def begin_anew(self) -> None:
        """Forget what is on its way: there is nothing."""
