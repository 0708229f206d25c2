"""Which channels of a run the network restores, and which it reads together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from care_live.images import VolumeKey


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """The rest passes through: stored and shown as it was recorded, a transmitted-light image for example."""

    together: tuple[int, ...] = ()
    """Channels of the run that the network reads together, in its order; empty: it reads each by itself."""
    alone: frozenset[int] | None = None
    """Channels that a network restores which reads each by itself; None: all."""

    @classmethod
    def first(cls, n: int) -> ChannelChoice:
        """Return the first channels of the run, for a network that reads `n` together."""
        return cls(tuple(range(n)) if n > 1 else ())

    @property
    def n_together(self) -> int:
        """Volumes that one result needs."""
        return len(self.together) or 1

    def takes(self, key: VolumeKey) -> bool:
        """Return whether the network reads a volume."""
        return key.c in self.together if self.together else self.alone is None or key.c in self.alone

    def group(self, key: VolumeKey) -> VolumeKey:
        """Return the key that stands for all volumes which are read together with this one."""
        return key._replace(c=self.together[0]) if self.together else key

    def keys(self, key: VolumeKey) -> tuple[VolumeKey, ...]:
        """Return all volumes that are read together with this one, in the network's order."""
        return tuple(key._replace(c=c) for c in self.together) or (key,)


def choose(asked: Sequence[str], of_network: Sequence[str], of_run: Sequence[str]) -> tuple[ChannelChoice, str]:
    """Find the channels by name.

    Parameters
    ----------
    asked : ``restore.channels``; empty: a network of several channels takes those with its names, else the first ones
    of_network : input channels in the card
    of_run : channels of the plan

    Returns
    -------
    The choice, and what is wrong with what was asked; empty: nothing.
    """
    several = len(of_network) > 1
    names = tuple(asked) or (tuple(of_network) if several and set(of_network) <= set(of_run) else ())
    if not names:
        return ChannelChoice.first(len(of_network)), ""
    if unknown := [name for name in names if name not in of_run]:
        known = ", ".join(of_run)
        return _none(
            of_network
        ), f"restore.channels names {', '.join(unknown)}, but the run has {known}: only raw is kept"
    if several and len(names) != len(of_network):
        wanted = f"the network reads {len(of_network)} channels together ({', '.join(of_network)})"
        return _none(of_network), f"restore.channels names {len(names)} channels, but {wanted}: only raw is kept"
    numbers = tuple(of_run.index(name) for name in names)
    return (ChannelChoice(together=numbers) if several else ChannelChoice(alone=frozenset(numbers))), ""


def _none(of_network: Sequence[str]) -> ChannelChoice:
    return ChannelChoice((-1,) * len(of_network)) if len(of_network) > 1 else ChannelChoice(alone=frozenset())
