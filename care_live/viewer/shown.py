"""What a viewer shows of one volume, from the wire or from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from care_live.images import Counts, ModelIdentity, State, VolumeKey
from care_live.maps import Array, Head
from care_live.model.card import Calibration
from care_live.model.reliability import half_width_factor
from care_live.reasons import Choice
from care_live.verdict import Trust
from care_live.wire.arrays import PRODUCTS, Product

Image: TypeAlias = Counts | Array
"""A raw or a restored volume, (z, y, x)."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Shown:
    """One volume: what was recorded, what the network gives, and what to know before relying on it."""

    key: VolumeKey
    raw: Counts | None = None
    """Camera counts, (z, y, x); None: not sent to watchers."""
    maps: Mapping[Head, Array] = field(default_factory=dict)
    """As in `care_live.images.Restored`: (z, y, x) each; z may differ from raw's, and some are coarser in y and x.
    Empty: not restored, or not yet."""
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of *mean*, or of raw where nothing is restored; (z, y, x)."""
    state: State = "confirmed"
    flags: frozenset[str] = field(default_factory=frozenset)
    trust: Trust | None = None
    """Whether it agrees with the photons that were counted; None: it was not examined."""
    choice: Choice | None = None
    """Whether it went through the network while it was recorded, and why; None: not known."""
    acquired_us: int = 0
    """Wall clock of the last plane, microseconds since the epoch, on the daemon's machine; 0: unknown."""
    last_plane_s: float | None = None
    """When the last plane came, by this process's monotonic clock: ages count from here; None: from the store."""
    model: ModelIdentity | None = None
    sequence: int = -1
    """Number of the message that brought it; -1: from the store."""
    source_channel: int = -1
    """Channel of the raw volume, which its state belongs to; -1: that of `key`."""
    n_restored: int | None = None
    """Of a volume that is still being restored: planes that are there, from the first on; the others are 0."""
    before: Shown | None = None
    """Of such a volume: the one before it, which is seen where planes are not there yet."""

    def product(self, name: Product) -> Image | None:
        """Return one of the arrays by its name."""
        return self.raw if name == "raw" else self.maps.get(name)

    def parts(self, name: Product) -> tuple[Image, ...]:
        """Return what is seen of a product as arrays that follow each other along z: one, but while it is restored."""
        own, n = self.product(name), self.n_restored
        under = self.before.product(name) if self.before else None
        if own is None:
            return (under,) if under is not None and name == "raw" else ()
        if n is None or n == len(own):
            return (own,)
        return own[:n], (own if under is None else under)[n:]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) that a watcher walks through: the longest stack of all products."""
        shapes = [image.shape for name in PRODUCTS if (image := self.product(name)) is not None]
        z, y, x = max(shapes, default=(0, 0, 0) if self.before is None else self.before.shape)
        return z, y, x

    @property
    def nbytes(self) -> int:
        return sum(image.nbytes for name in PRODUCTS if (image := self.product(name)) is not None)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a viewer shows of the run and its network, on every screen."""

    run_id: str = ""
    channels: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    interval_s: float = 0.0
    model: str = ""
    """Name of the network."""
    limits: str = ""
    """What the network's results must not be used for."""
    card: str = ""
    """One line about the network: task, architecture, training specimen."""
    calibration: Calibration | None = None
    """Of the network's intervals; None: not calibrated."""
    ended: str = ""
    """Why the run ended; empty while it is recorded."""

    def half_width_factor(self, level: float) -> float:
        """Return half of the calibrated central interval of mass `level`, in units of the Laplace scale."""
        return half_width_factor(level, self.calibration)
