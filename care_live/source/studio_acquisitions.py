"""Which acquisitions Micro-Manager's window has begun since the last look, also short ones between two looks.

Its engine names the last acquisition only. Its displays hold the images of all that have a window, until that window is
closed; beside acquisitions these are the album, copies, and data sets that were opened from the disk. *StartTime* tells
them apart: an acquisition began after we came, and a copy has the time of its original.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from care_live.source.java_bridge import JavaBridge, JavaObject, summary_of

_STORE = re.compile(r"[\w.$]+@[0-9a-f]+")
_NUMBERED = re.compile(r"(.*_)(\d+)")
_MOST_NAMED = 256
"""Names of missed acquisitions that one run carries; the log has all."""
_MARGIN_S = 10.0
"""An acquisition may have begun a little before the first look: its images are held some time after its beginning."""


@dataclass(slots=True)
class WindowAcquisition:
    """An acquisition that Micro-Manager's window runs, or has run."""

    name: str
    """Of its store in Java."""
    start: str
    """Micro-Manager's *StartTime*; distinguishes it from every other one."""
    store: JavaObject
    folder: Path | None
    """Where it is saved; None: in memory."""
    title: str
    missed: tuple[str, ...] = ()
    """Acquisitions that are not restored: before it, and not named in time; or behind it, when too many waited."""

    def add_missed(self, names: tuple[str, ...]) -> None:
        """Name further acquisitions that are not restored; of very many the last ones."""
        self.missed = (*self.missed, *names)[-_MOST_NAMED:]


class NamesAcquisitions(NamedTuple):
    """Two objects of Micro-Manager that name acquisitions."""

    engine: JavaObject
    displays: JavaObject


class StudioAcquisitions:
    """Finds each acquisition once.

    Parameters
    ----------
    bridge : the connection
    now_s : the time of day, seconds since the epoch; Micro-Manager runs on the same machine
    """

    def __init__(self, bridge: JavaBridge, *, now_s: float | None = None) -> None:
        self._bridge = bridge
        self._since_s = (time.time() if now_s is None else now_s) - _MARGIN_S
        self._names: set[str] = set()
        """Of stores that need no further look."""
        self._starts: set[str] = set()
        self._numbers: dict[Path, int] = {}
        """The number of the last acquisition, by the path before it."""

    def new(self, at: NamesAcquisitions) -> list[WindowAcquisition]:
        """Return the acquisitions that were never found before, the oldest first.

        Raises
        ------
        SourceError
            Micro-Manager does not answer; the next call finds what this one would have found.
        """
        looked, found = set(self._names), dict[str, WindowAcquisition]()
        for name, store, is_engines in self._stores(at, lambda name: name not in looked):
            one = self._described(name, store)
            if one is not None:
                looked.add(name)
            if one and one.start not in self._starts | found.keys() and (is_engines or self._began_here(one)):
                found[one.start] = one
            else:
                self._bridge.release(store)
        self._names = looked
        self._starts |= found.keys()
        ordered = [found[start] for start in sorted(found)]
        for one in ordered:
            one.missed = self._missed_before(one.folder)
        return ordered

    def find(self, at: NamesAcquisitions, wanted: WindowAcquisition) -> JavaObject | None:
        """Return the store of an acquisition that was found before; None: Micro-Manager does not have it any more.

        Raises
        ------
        SourceError
            Micro-Manager does not answer.
        """
        for name, store, _ in self._stores(at, lambda name: name == wanted.name):
            one = self._described(name, store)
            if one is not None and one.start == wanted.start:
                return store
            self._bridge.release(store)
        return None

    def _stores(self, at: NamesAcquisitions, wanted: Callable[[str], bool]) -> Iterator[tuple[str, JavaObject, bool]]:
        """Yield name and object of the wanted stores, and whether it is the engine's, which comes first."""
        store = self._bridge.call(at.engine, "getAcquisitionDatastore")
        if isinstance(store, JavaObject):
            name = str(self._bridge.call(store, "toString"))
            if wanted(name):
                yield name, store, True
            else:
                self._bridge.release(store)
        with self._bridge.lent(at.displays, "getManagedDataProviders") as held:
            for i, name in enumerate(_STORE.findall(str(self._bridge.call(held, "toString")))):
                if wanted(name):
                    yield name, self._bridge.get(held, "get", i, types=["int"]), False

    def _described(self, name: str, store: JavaObject) -> WindowAcquisition | None:
        """Return what a store is; None: its summary is not there yet, or it has none."""
        summary = summary_of(self._bridge, store)
        if not summary:
            return None
        path = self._bridge.call(store, "getSavePath")
        title = str(self._bridge.call(store, "getName"))
        start = str(summary.get("StartTime") or name)
        return WindowAcquisition(name, start, store, Path(str(path)) if path else None, title)

    def _began_here(self, one: WindowAcquisition) -> bool:
        """Whether it began since we came: what was opened from the disk or copied began before."""
        try:
            return datetime.strptime(one.start, "%Y-%m-%d %H:%M:%S.%f %z").timestamp() >= self._since_s
        except ValueError:
            return False

    def _missed_before(self, folder: Path | None) -> tuple[str, ...]:
        """Return the acquisitions between this one and the last one by their numbers on the disk."""
        numbered = _NUMBERED.fullmatch(folder.name) if folder else None
        if folder is None or numbered is None:
            return ()
        path, number = folder.parent / numbered[1], int(numbered[2])
        last = self._numbers.get(path, number)
        self._numbers[path] = max(last, number)
        between = [folder.with_name(f"{numbered[1]}{n}") for n in range(max(last + 1, number - _MOST_NAMED), number)]
        return tuple(one.name for one in between if one.is_dir())
