"""The networks of a run: which channels each makes, which one an order names, what the status shows of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from care_live.config import ChannelNetwork
from care_live.errors import ConfigError
from care_live.images import ModelIdentity, NetworkInUse
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


def described(
    networks: Sequence[protocol.NetworkReady],
    settings: Sequence[ChannelNetwork],
    n_restored: Mapping[int, int],
    held_bytes: Sequence[Sequence[int]],
) -> tuple[dict[str, Any], ...]:
    """Return for the status what each of several networks does; empty where there is one.

    Parameters
    ----------
    n_restored : volumes, by network
    held_bytes : by each worker, of each network
    """
    if len(networks) == 1:
        return ()
    return tuple(
        {
            "network": one.identity.name,
            "channels": list(asked.channels),
            "provider": one.provider,
            "restored": n_restored.get(number, 0),
            "held_mib": sum(held[number] for held in held_bytes if held) >> 20,
        }
        for number, (one, asked) in enumerate(zip(networks, settings, strict=True))
    )
