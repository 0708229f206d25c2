"""Several networks for files, each for channels by name: what `care_live.restore` takes as *networks*."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from care_live.config import ChannelNetwork, RestoreConfig
from care_live.errors import ConfigError, RestoreError, UnknownChannelError
from care_live.images import ModelIdentity
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.offline.channel_engines import ChannelEngines
from care_live.offline.computed_with import ComputedWith, not_there
from care_live.offline.provenance import of_network
from care_live.offline.settings import NetworkSettings, is_numbers, restore_config
from care_live.restore.channel_choice import ChannelChoice, NetworkWish, choose
from care_live.restore.network_set import NetworkSet

if TYPE_CHECKING:  # the other kind of networks, which a caller opens
    from care_live.offline.opened_network import OpenedNetwork

ByChannel: TypeAlias = Mapping[str | tuple[str, ...], str | Path | None]
"""The network of each channel, or of channels that it reads together; None: the channel passes through."""


def open_networks(networks: ByChannel, **settings: Unpack[NetworkSettings]) -> NamedNetworks:
    """Open networks, each for channels by name; a channel that has none passes through as it is.

    Parameters
    ----------
    networks : by the name of the channel, or the names of those that a network reads together, in its order
    **settings : see `NetworkSettings`

    Raises
    ------
    ModelError
        A file is not a network, or its card is wrong.
    ConfigError
        A setting, or a name, is invalid.
    """
    by_names = {(names,) if isinstance(names, str) else tuple(names): model for names, model in networks.items()}
    entries = [
        {"name": names, "model": "none" if by_names[names] is None else str(by_names[names])}
        for names in sorted(by_names)  # a result that goes on has them in the order of its first part
    ]
    return NamedNetworks(restore_config(settings, channel=entries))


class NamedNetworks:
    """The networks of a `RestoreConfig`, checked and ready, for recordings whose channels have these names.

    Parameters
    ----------
    config : names the networks by channel
    """

    def __init__(self, config: RestoreConfig) -> None:
        for number, network in enumerate(config.networks):
            config = config.with_network(number, file.located(network.model).resolve())
        self.config = config
        self._files = tuple(file.located(network.model) for network in config.networks)
        self.cards: tuple[ModelCard, ...] = tuple(map(file.read_card, self._files))
        self.identities: tuple[ModelIdentity, ...] = tuple(map(file.identity, self._files))
        self._sets: dict[tuple[bool, str], NetworkSet] = {}
        """By kind of pixels and providers."""

    @property
    def networks(self) -> tuple[ChannelNetwork, ...]:
        """File, channels and provider of each."""
        return self.config.networks

    @property
    def path(self) -> Path:
        """The first network's file."""
        return self._files[0]

    @property
    def identity(self) -> ModelIdentity:
        """Names and checksums of all."""
        names = ", ".join(one.name for one in self.identities)
        return ModelIdentity(names, "+".join(one.sha256 for one in self.identities))

    @property
    def provenance(self) -> dict[str, Any]:
        """Which network each channel has, JSON-able; that of a name alone in it would be another result."""
        of_names = zip(self.networks, self.identities, self._files, strict=True)
        return {"+".join(one.channels): of_network(made, model) for one, made, model in of_names}

    def n_outputs(self, number: int, n_channels: int) -> int:
        """Return how many channels one of the networks makes."""
        card, n_named = self.cards[number], len(self.networks[number].channels)
        return n_named if len(card.channels_in) == len(card.channels_out) == 1 else len(card.channels_out)

    def choose(self, of_recording: Sequence[str]) -> ChannelChoice:
        """Find the channels of a recording by name.

        Raises
        ------
        UnknownChannelError
            It lacks one.
        """
        wishes = [NetworkWish(card, one.channels) for card, one in zip(self.cards, self.networks, strict=True)]
        channels, wrong = choose(wishes, of_recording)
        if wrong:
            raise UnknownChannelError(f"{'; '.join(wrong)}: give each network channels that the recording has")
        return channels

    def engine(self, dtype: str, before: ComputedWith | None = None, *, channels: Sequence[str] = ()) -> ChannelEngines:
        """Return what restores the channels of a recording; the networks are opened at the first call.

        Parameters
        ----------
        before : what computed the first part of a result that goes on
        channels : of the recording, by name

        Raises
        ------
        ConfigError
            What computed the first part is not there any more.
        UnknownChannelError
            The recording lacks a channel.
        """
        chosen = self.choose(channels)
        networks = self._opened(is_numbers(dtype), before)
        if before is not None and before != ComputedWith.of(*networks.engines):
            raise not_there(before, f"this machine computes with {ComputedWith.of(*networks.engines)}")
        return ChannelEngines(networks, chosen)

    def computed_with(self, dtype: str) -> ComputedWith:
        """Return what computes pixels of a type here."""
        return ComputedWith.of(*self._opened(is_numbers(dtype), None).engines)

    def _opened(self, numbers: bool, before: ComputedWith | None) -> NetworkSet:
        asked = ",".join(network.provider for network in self.networks)
        wanted = asked if before is None else before.provider
        if (numbers, wanted) not in self._sets:
            providers = wanted.split(",")
            if len(providers) != len(self.networks):
                assert before is not None
                raise not_there(before, f"now {len(self.networks)} networks are asked for")
            try:
                opened = NetworkSet(self.config.with_providers(providers), numbers=numbers)
            except (ConfigError, RestoreError) as error:
                if before is None or before.provider == asked:
                    raise
                raise not_there(before, str(error)) from error
            self._sets[numbers, wanted] = self._sets[numbers, ComputedWith.of(*opened.engines).provider] = opened
        return self._sets[numbers, wanted]


Networks: TypeAlias = "OpenedNetwork | NamedNetworks"
"""What restores files: one network for all channels, or each for its own."""
