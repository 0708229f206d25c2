"""The networks of a run: which channels each makes, which one an order names, what the status shows of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from care_live.config import ChannelNetwork
from care_live.errors import ConfigError
from care_live.images import ModelIdentity, NetworkInUse, Restored
from care_live.restore.channel_choice import ChannelChoice
from care_live.worker import protocol


def in_use(networks: Sequence[protocol.NetworkReady], channels: ChannelChoice) -> tuple[NetworkInUse, ...]:
    """Return the networks with the channels that each of them makes.

    One file that is named twice is there once; one of several whose channels the run lacks is not there.
    """
    found: dict[ModelIdentity, NetworkInUse] = {}
    for number, one in enumerate(networks):
        made = channels.made_by(number, len(one.card.channels_out))
        if len(networks) > 1 and not made:  # no channels would mean all of them
            continue
        if before := found.get(one.identity):
            made = tuple(sorted({*before.channels, *made}))
        found[one.identity] = NetworkInUse(one.identity, one.card.model_dump(mode="json"), made)
    return tuple(found.values())


def names(networks: Sequence[protocol.NetworkReady]) -> str:
    """Return the networks' names in one line."""
    return ", ".join(network.identity.name for network in networks)


def number_of(settings: Sequence[ChannelNetwork], channel: str) -> int:
    """Return which network restores a channel.

    Parameters
    ----------
    settings : of each network
    channel : its name; empty: there is one network

    Raises
    ------
    ConfigError
        No network, or no certain one, has this channel.
    """
    named = [one.channels for one in settings]
    known = "; ".join(", ".join(names) or "all channels" for names in named)
    if not channel and len(named) > 1:
        raise ConfigError(f"{len(named)} networks restore this run: name a channel with --channel ({known})")
    found = (number for number, names in enumerate(named) if channel in names or (len(named) == 1 and not names))
    number = 0 if not channel else next(found, None)
    if number is None:
        raise ConfigError(f"no network restores a channel {channel!r}; those that are restored: {known}")
    return number


class NetworksThatRan:
    """What is known of networks also when others have taken over from them; safe to use from every thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: dict[ModelIdentity, protocol.NetworkReady] = {}
        self._n_restored: Counter[tuple[int, ModelIdentity]] = Counter()
        """Volumes of this run, by number and network."""

    def begin_run(self) -> None:
        """Count anew."""
        with self._guard:
            self._n_restored.clear()

    def remember(self, networks: Iterable[protocol.NetworkReady]) -> None:
        """Keep what runs: its results may be passed on when another network runs."""
        with self._guard:
            self._known |= {network.identity: network for network in networks}

    def network_of(self, identity: ModelIdentity, otherwise: protocol.NetworkReady) -> protocol.NetworkReady:
        """Return the network of a result."""
        with self._guard:
            return self._known.get(identity, otherwise)

    def restored(self, number: int, results: Sequence[Restored]) -> None:
        """Count what a network, by its number, has made."""
        with self._guard:
            self._n_restored.update((number, one.model) for one in results)

    def described(
        self,
        networks: Sequence[protocol.NetworkReady],
        settings: Sequence[ChannelNetwork],
        held_bytes: Sequence[Sequence[int]],
    ) -> tuple[dict[str, Any], ...]:
        """Return for the status what each of several networks does; empty where there is one.

        Parameters
        ----------
        held_bytes : by each worker, of each network
        """
        if len(networks) == 1:
            return ()
        with self._guard:
            n_restored = dict(self._n_restored)
        return tuple(
            {
                "network": one.identity.name,
                "channels": list(asked.channels),
                "provider": one.provider,
                "restored": n_restored.get((number, one.identity), 0),
                "held_mib": sum(held[number] for held in held_bytes if held) >> 20,
            }
            for number, (one, asked) in enumerate(zip(networks, settings, strict=True))
        )
