"""A set of volumes that stays small in a run of any length: of each position and channel, all up to one, and a few."""

from __future__ import annotations

from collections.abc import Iterable

from care_live.images import VolumeKey


class VolumeSet:
    """Volumes, nearly in the order of time. One thread adds; others may ask meanwhile.

    Parameters
    ----------
    keys : in it from the beginning
    """

    def __init__(self, keys: Iterable[VolumeKey] = ()) -> None:
        self._below: dict[tuple[int, int], int] = {}  # (p, c): it has every t below this
        self._above: dict[tuple[int, int], set[int]] = {}
        for key in keys:
            self.add(key)

    def add(self, key: VolumeKey) -> None:
        place = (key.p, key.c)
        above = self._above.setdefault(place, set())
        above.add(key.t)
        first = below = self._below.get(place, 0)
        while below in above:
            below += 1
        self._below[place] = below  # first: another thread may ask meanwhile
        above.difference_update(range(first, below))

    def __contains__(self, key: VolumeKey) -> bool:
        place = (key.p, key.c)
        return key.t < self._below.get(place, 0) or key.t in self._above.get(place, ())

    def __ge__(self, keys: Iterable[VolumeKey]) -> bool:
        """Return whether it has all of some volumes."""
        return all(key in self for key in keys)
