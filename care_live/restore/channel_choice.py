"""Which network restores which channels of a run, and which it reads together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from care_live.acquisition_plan import VolumeKey, twin_of
from care_live.model.card import ModelCard


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels of the run that one network reads together; one, where it reads each by itself."""

    network: int
    """Its number among the run's networks."""
    inputs: tuple[int, ...]
    """In the order of the network."""
    extra: tuple[int, ...] = ()
    """Channels of the results that are more than these; empty: they follow the last one that is read."""

    def outputs(self, n_out: int) -> tuple[int, ...]:
        """Return the channel of each of n results: those that are read, in their order, then others."""
        following = self.extra or range(max(self.inputs) + 1, max(self.inputs) + 1 + n_out)
        return (*self.inputs, *following)[:n_out]


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """Channels of no group pass through: stored and shown as recorded, a transmitted-light image for example."""

    groups: tuple[ChannelGroup, ...] = ()
    others: int | None = 0
    """The network that restores all other channels, each by itself; None: they pass through."""

    @classmethod
    def first(cls, n: int) -> ChannelChoice:
        """Return the first channels of the run, for a network that reads `n` together."""
        return cls((ChannelGroup(0, tuple(range(n))),), None) if n > 1 else cls()

    def group_of(self, key: VolumeKey) -> ChannelGroup | None:
        """Return the channels that a volume is read with; None: no network reads it."""
        found = next((group for group in self.groups if key.c in group.inputs), None)
        if found is None and self.others is not None:
            return ChannelGroup(self.others, (key.c,))
        return found

    def n_together(self, key: VolumeKey) -> int:
        """Return how many volumes the result of this one needs."""
        return len(self.keys(key))

    @property
    def most_together(self) -> int:
        """Volumes that one result needs at most."""
        return max((len(group.inputs) for group in self.groups), default=1)

    def takes(self, key: VolumeKey) -> bool:
        """Return whether a network reads a volume."""
        return self.group_of(key) is not None

    def group(self, key: VolumeKey) -> VolumeKey:
        """Return the key that stands for all volumes which are read together with this one."""
        return self.keys(key)[0]

    def keys(self, key: VolumeKey) -> tuple[VolumeKey, ...]:
        """Return all volumes that are read together with this one, in the network's order."""
        group = self.group_of(key)
        return (key,) if group is None else tuple(key._replace(c=c) for c in group.inputs)

    def made_by(self, network: int, n_out: int) -> tuple[int, ...]:
        """Return the channels that a network of n outputs gives; empty: all, each from the same raw one."""
        made = {c for group in self.groups if group.network == network for c in group.outputs(n_out)}
        return tuple(sorted(made))


class NetworkWish(NamedTuple):
    """A network, and the names of the run's channels that the settings give it."""

    card: ModelCard
    names: tuple[str, ...]
    """None named: those with the names in its card, if it reads several together; else the first ones, or all."""


def choose(wishes: Sequence[NetworkWish], of_run: Sequence[str]) -> tuple[ChannelChoice, tuple[str, ...]]:
    """Find the channels by name.

    Parameters
    ----------
    wishes : of each network
    of_run : channels of the plan

    Returns
    -------
    The choice, and what is wrong with what was asked, a sentence for each network that restores nothing.
    """
    groups: list[ChannelGroup] = []
    wrong, n_channels = [], len(of_run)
    for number, wish in enumerate(wishes):
        if why := _why_not(wish, of_run):
            wrong.append(why)
            continue
        channels = tuple(map(of_run.index, wish.names)) or _unasked(wish.card, of_run)
        if not channels:
            return ChannelChoice(), tuple(wrong)
        found = _groups(number, wish.card, channels, n_channels)
        n_channels += sum(len(group.extra) for group in found)
        groups += found
    return ChannelChoice(tuple(groups), None), tuple(wrong)


def _unasked(card: ModelCard, of_run: Sequence[str]) -> tuple[int, ...]:
    """Return the channels of a network for which the settings name none; empty: all there are, each by itself."""
    n, own = len(card.channels_in), [c for c in range(len(of_run)) if twin_of(of_run, c) is None]
    if n == 1:
        return tuple(own) if len(card.channels_out) > 1 else ()
    if set(card.channels_in) <= set(of_run):
        return tuple(map(of_run.index, card.channels_in))
    return tuple(own[:n]) if len(own) >= n else tuple(range(n))


def _why_not(wish: NetworkWish, of_run: Sequence[str]) -> str:
    """Return why a network can't restore the channels that it is given; empty where it can."""
    card, n, asked = wish.card, len(wish.card.channels_in), ", ".join(wish.names)
    if unknown := [name for name in wish.names if name not in of_run]:
        known = ", ".join(of_run)
        return f"network {card.name} shall restore {', '.join(unknown)}, but the channels are {known}"
    if n > 1 and wish.names and len(wish.names) != n:
        wanted = f"reads {n} channels together ({', '.join(card.channels_in)})"
        return f"network {card.name} {wanted}, but shall restore {len(wish.names)} ({asked})"
    return ""


def _groups(number: int, card: ModelCard, channels: tuple[int, ...], n_channels: int) -> list[ChannelGroup]:
    """Return the groups of one network; results that are more than the channels read follow the run's channels."""
    together = [channels] if len(card.channels_in) > 1 else [(c,) for c in channels]
    n_more = max(0, len(card.channels_out) - len(card.channels_in))
    firsts = (n_channels + i * n_more for i in range(len(together)))
    return [
        ChannelGroup(number, inputs, tuple(range(first, first + n_more)))
        for inputs, first in zip(together, firsts, strict=True)
    ]
