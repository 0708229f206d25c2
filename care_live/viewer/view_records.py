"""The records that viewers show: a volume from the wire or from the store, its contrast, the run and its network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ValidationError

from care_live.images import LIMITS, Counts, ModelIdentity, NetworkInUse, State
from care_live.live_frame import LiveConditions
from care_live.maps import Array
from care_live.model.card import Calibration, ModelCard
from care_live.model.reliability import half_width_factor
from care_live.raw_and_restored import RawAndRestored
from care_live.wire.arrays import PRODUCTS, Product

ShownImage: TypeAlias = Counts | Array
"""A raw or a restored volume, (z, y, x)."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ViewedVolume(RawAndRestored):
    """One volume as it was published or stored, and what a viewer knows besides.

    While it is still being restored, its maps have the size of the whole volume: planes of ``restored.z`` are there,
    the others are 0.
    """

    state: State = "confirmed"
    """By now: a volume that came provisional may be confirmed later, or become suspect."""
    last_plane_s: float | None = None
    """When the last plane came, by this process's monotonic clock: ages count from here; None: from the store."""
    sequence: int = -1
    """Number of the message that brought it; -1: from the store."""
    before: ViewedVolume | None = None
    """Of one that is still being restored: the one before it, which is seen where planes are not there yet."""

    @property
    def acquired_us(self) -> int:
        """Wall clock of the last plane, microseconds since the epoch, on the daemon's machine; 0: unknown."""
        return 0 if self.volume is None else self.volume.acquired_us

    @property
    def conditions(self) -> LiveConditions | None:
        """How a frame outside any run was taken; None: a volume of a run."""
        return None if self.volume is None else self.volume.live

    @property
    def n_restored(self) -> int | None:
        """Planes that are there, from the first on, of a volume that is still being restored."""
        return None if self.restored is None or self.restored.z is None else self.restored.z.stop

    def product(self, name: Product) -> ShownImage | None:
        """Return one of the arrays by its name."""
        return self.raw if name == "raw" else self.maps.get(name)

    def parts(self, name: Product) -> tuple[ShownImage, ...]:
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
class SystemStatus:
    """The last status of the daemon, and this viewer's view of the link to it."""

    connected: bool = False
    volumes_per_s: float | None = None
    lost_planes: int = 0
    """Planes that never came or had no place: lost by the system, not by this viewer."""
    lost_volumes: int = 0
    """Volumes that were refused whole for want of memory: lost by the system as well."""
    skipped_volumes: int = 0
    """Volumes that were recorded and not restored, by policy or by failure."""
    missed_messages: int = 0
    """Volumes that were published and did not reach this watcher's process."""
    disk_seconds_left: float | None = None
    workers: tuple[str, ...] = ()
    """What each of several inference processes does, in words."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """What a viewer shows of one network."""

    model: ModelIdentity | None = None
    channels: tuple[int, ...] = ()
    """Restored channels that it makes; empty: all."""
    limits: str = ""
    """What its results must not be used for."""
    card: str = ""
    """One line: task, architecture, training specimen."""
    calibration: Calibration | None = None
    """Of its intervals; None: not calibrated."""

    @property
    def name(self) -> str:
        return self.model.name if self.model else ""

    def half_width_factor(self, level: float) -> float:
        """Return half of the calibrated central interval of mass `level`, in units of the Laplace scale."""
        return half_width_factor(level, self.calibration)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a viewer shows of the run and its networks, on every screen."""

    run_id: str = ""
    channels: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    interval_s: float = 0.0
    networks: tuple[NetworkInfo, ...] = ()
    """The last one that was noted for a channel restores it."""
    ended: str = ""
    """Why the run ended; empty while it is recorded."""

    def network_of(self, c: int, made_by: ModelIdentity | None = None) -> NetworkInfo:
        """Return the network of a restored channel.

        Parameters
        ----------
        made_by : what the volume says of it; None: it says nothing
        """
        same = [one for one in self.networks if made_by is not None and one.model == made_by]
        reading = [one for one in self.networks if not one.channels or c in one.channels]
        return (same or reading or [NetworkInfo()])[-1]

    @property
    def current(self) -> tuple[NetworkInfo, ...]:
        """The networks that restore now, by channel; those before a swap are left out."""
        last = {one.channels: one for one in self.networks}
        return tuple(last.values())

    @property
    def model(self) -> str:
        """Names of the networks."""
        return ", ".join(dict.fromkeys(one.name for one in self.current if one.name))

    @property
    def limits(self) -> str:
        """What their results must not be used for."""
        return "; ".join(dict.fromkeys(one.limits for one in self.current if one.limits))

    @property
    def card(self) -> str:
        """One line for each network; where there are several, with its channels before it."""
        several = len(self.current) > 1
        return "\n".join(f"{self._names(one)}: {one.card}" if several else one.card for one in self.current if one.card)

    def _names(self, network: NetworkInfo) -> str:
        return ", ".join(self.channels[c] if c < len(self.channels) else str(c) for c in network.channels)


def describe(
    run_id: str,
    *,
    channels: tuple[str, ...] = (),
    positions: tuple[str, ...] = (),
    interval_s: float = 0.0,
    networks: Iterable[NetworkInUse] = (),
    ended: str = "",
) -> RunInfo:
    """Describe a run; a card that this version cannot read costs only its own line.

    Parameters
    ----------
    networks : with their model cards as decoded JSON; empty: unknown
    """
    return RunInfo(
        run_id=run_id,
        channels=channels,
        positions=positions,
        interval_s=interval_s,
        networks=tuple(map(_network, networks)),
        ended=ended,
    )


def _network(network: NetworkInUse) -> NetworkInfo:
    read = read_card(network.card)
    return NetworkInfo(
        model=network.identity,
        channels=network.channels,
        limits=read.limits if read else LIMITS,
        card=card_line(read) if read else "",
        calibration=read.calibration if read else None,
    )


def read_card(card: Mapping[str, Any]) -> ModelCard | None:
    try:
        return ModelCard.model_validate(dict(card)) if card else None
    except ValidationError:
        return None


def card_line(card: ModelCard) -> str:
    """Describe in one line what the network does and for which specimen it was made."""
    members = f"{card.members} networks" if card.members > 1 else ""
    specimen = f"trained on {card.training.specimen}" if card.training.specimen else ""
    parts = (card.task, members, specimen, card.network)
    return " · ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class ContrastWindow:
    """Auto-contrast of one product of one volume, and its histogram."""

    low: float
    """Shown black."""
    high: float
    """Shown white; always above `low`."""
    first: float
    """Left edge of the histogram."""
    last: float
    """Right edge of the histogram."""
    counts: tuple[int, ...]
    """Voxels per bin of the sample; outliers lie in the outer bins."""
