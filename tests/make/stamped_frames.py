"""Frames that carry their own index in their pixels, so that any lost or swapped plane shows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from care_live.assemble import Assembler
from care_live.config import AssembleConfig
from care_live.images import Frame, Plan, PlaneIndex, RunEnded, RunStarted, Volume, VolumeKey
from care_live.open_volumes import AssemblyEvent

SHAPE = (4, 6)


def stamped(index: PlaneIndex, shape: tuple[int, int] = SHAPE, dtype: str = "uint16") -> np.ndarray:
    """Return a plane whose first four pixels are its t, p, c, z, each plus one: zero is a plane that never came."""
    pixels = np.full(shape, 7, dtype)
    pixels.flat[:4] = [number + 1 for number in index]
    pixels.flags.writeable = False
    return pixels


def make_plan(n_t: int = 2, n_p: int = 1, n_c: int = 1, n_z: int = 3, *, endless: bool = False) -> Plan:
    keys = [VolumeKey(*numbers) for numbers in itertools.product(range(n_t), range(n_p), range(n_c))]
    return Plan(
        stacks={key: tuple(range(n_z)) for key in keys},
        shape_px=SHAPE,
        channels=tuple(f"channel-{c}" for c in range(n_c)),
        positions=tuple(f"position-{p}" for p in range(n_p)),
        endless=endless,
    )


def indices(plan: Plan) -> list[PlaneIndex]:
    return [PlaneIndex(*key, z) for key, planes in plan.stacks.items() for z in planes]


class Rig:
    """An assembler with a clock in the test's hand."""

    def __init__(
        self, plan: Plan, *, budget_bytes: int = 2**30, stored: Iterable[VolumeKey] = (), **config: float
    ) -> None:
        self.now_ns = 0
        self.room_bytes = budget_bytes
        self.arrivals = itertools.count()
        self.assembler = Assembler(
            AssembleConfig(**config),
            admit=self._admit,
            give_back=self._give_back,
            stored=list(stored),
            clock_ns=lambda: self.now_ns,
            wall_clock_ns=lambda: 5_000,
        )
        self.assembler.take(RunStarted("run", plan))

    def _admit(self, nbytes: int) -> bool:
        if nbytes > self.room_bytes:
            return False
        self.room_bytes -= nbytes
        return True

    def _give_back(self, nbytes: int) -> None:
        self.room_bytes += nbytes

    def frame(self, index: PlaneIndex, **changes: object) -> Frame:
        fields = {"run_id": "run", "pixels": stamped(index), "host_time_ns": self.now_ns, **changes}
        return Frame(arrival=next(self.arrivals), index=index, **fields)

    def send(self, sent: Iterable[PlaneIndex], **changes: object) -> list[AssemblyEvent]:
        return [event for index in sent for event in self.assembler.take(self.frame(index, **changes))]

    def end(self, reason: str = "finished", n_refused: int = 0) -> list[AssemblyEvent]:
        return self.assembler.take(RunEnded(reason, n_refused=n_refused))


def volumes(events: Iterable[AssemblyEvent]) -> dict[VolumeKey, Volume]:
    return {event.key: event for event in events if isinstance(event, Volume)}


def assert_in_place(volume: Volume) -> None:
    """Every plane says its own index, or is zero and named missing."""
    for row, z in enumerate(volume.integrity.expected):
        if z in volume.integrity.missing:
            assert not volume.pixels[row].any()
        else:
            np.testing.assert_array_equal(volume.pixels[row], stamped(PlaneIndex(*volume.key, z)))
