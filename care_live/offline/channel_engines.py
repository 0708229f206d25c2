"""The engines of several networks as one: each volume goes to that of its channel, others pass through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from care_live.errors import RestoreError
from care_live.images import ModelIdentity, NetworkInUse, Restored, Volume, VolumeKey
from care_live.model.card import ModelCard
from care_live.restore import past
from care_live.restore.channel_choice import ChannelChoice, ChannelGroup
from care_live.restore.engine import Engine
from care_live.restore.network_set import NetworkSet
from care_live.restore.ranges import LearntRange


class ChannelEngines:
    """What an `Engine` offers to offline work, of several networks.

    Parameters
    ----------
    networks : open; they share one budget of memory
    channels : of the recording, by network
    """

    def __init__(self, networks: NetworkSet, channels: ChannelChoice) -> None:
        self._networks, self.channels = networks, channels

    def inputs(self, volumes: Sequence[Volume]) -> list[tuple[Volume, ...]]:
        """Return what is taken at once of a time point: a channel alone, or those that a network reads together.

        Raises
        ------
        RestoreError
            A network that reads several channels lacks one of them.
        """
        by_key = {volume.key: volume for volume in volumes}
        groups = dict.fromkeys(self.channels.keys(key) for key in by_key)
        for keys in groups:
            if lacking := [key.c for key in keys if key not in by_key]:
                raise RestoreError(
                    f"time point {keys[0].t} has no channel {lacking[0]}, which a network reads with others"
                )
        return [tuple(by_key[key] for key in keys) for keys in groups]

    def restore(self, volumes: Sequence[Volume]) -> tuple[Restored, ...]:
        """Restore what `inputs` gave; nothing comes of a channel that passes through."""
        group = self.channels.group_of(volumes[0].key)
        if group is None:
            return ()
        engine = self._networks.use(group.network, len(volumes) * math.prod(volumes[0].pixels.shape))
        return engine.restore(volumes, outputs=group.outputs(len(engine.card.channels_out)))

    def n_past(self, key: VolumeKey) -> int:
        """Return how many earlier time points the network of a volume reads."""
        group = self.channels.group_of(key)
        return 0 if group is None else self._engine(group).card.past

    def learn(self, volumes: Sequence[Volume]) -> None:
        """Remember what a time point teaches of the range; see `Engine.learn`."""
        if (group := self.channels.group_of(volumes[0].key)) is not None:
            self._engine(group).learn(volumes)

    @property
    def memories(self) -> Mapping[tuple[int, int], LearntRange]:
        """What earlier volumes taught, by position and channel."""
        return {place: memory for engine in self._networks.engines for place, memory in engine.memories.items()}

    @memories.setter
    def memories(self, memories: Mapping[tuple[int, int], LearntRange]) -> None:
        for engine in self._networks.engines:
            engine.memories = dict(memories)

    @property
    def forgets_older_volumes(self) -> bool:
        return self._networks.engines[0].forgets_older_volumes

    def knows_range(self, keys: Sequence[VolumeKey]) -> bool:
        """Tell whether these volumes have a range that no further volume changes; those that pass through have none."""
        return all(engine.knows_range([key]) for engine, key in self._taken(keys))

    def has_measured(self, keys: Sequence[VolumeKey]) -> bool:
        """Tell whether volumes of these places, with signal, came before."""
        return all(engine.has_measured([key]) for engine, key in self._taken(keys))

    def forget_ranges(self, p: int) -> None:
        """Forget what the volumes of a stage position taught."""
        for engine in self._networks.engines:
            engine.forget_ranges(p)

    def forget_camera(self) -> None:
        """Forget what earlier volumes have shown of the camera."""
        for engine in self._networks.engines:
            engine.forget_camera()

    def warm_up(self, shape: tuple[int, int, int]) -> None:
        """Get ready for whole raw volumes (z, y, x)."""
        for engine in self._networks.engines:
            engine.warm_up(shape)

    def in_use(self) -> tuple[NetworkInUse, ...]:
        """Return the networks with the channels that each of them makes, one file once."""
        made: dict[int, set[int]] = {}
        for number, engine in enumerate(self._networks.engines):
            first = next(n for n, one in enumerate(self._networks.engines) if one.identity == engine.identity)
            made.setdefault(first, set()).update(self.channels.made_by(number, len(engine.card.channels_out)))
        engines = ((self._networks.engines[number], channels) for number, channels in made.items())
        return tuple(
            NetworkInUse(engine.identity, engine.card.model_dump(mode="json"), tuple(sorted(channels)))
            for engine, channels in engines
        )

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Of all networks."""
        return tuple(self._networks.engines)

    def _taken(self, keys: Sequence[VolumeKey]) -> Iterator[tuple[Engine, VolumeKey]]:
        for key in keys:
            if (group := self.channels.group_of(key)) is not None:
                yield self._engine(group), key

    def _engine(self, group: ChannelGroup) -> Engine:
        return self._networks.engines[group.network]


def inputs(channels: Sequence[Volume], engine: Engine | ChannelEngines) -> list[tuple[Volume, ...]]:
    """Return what the network takes at once: each channel alone, or all that it knows together.

    Raises
    ------
    RestoreError
        The time point has another number of channels than the network.
    """
    if isinstance(engine, ChannelEngines):
        return engine.inputs(channels)
    n_in = len(engine.card.channels_in)
    if n_in == 1:
        return [(volume,) for volume in channels]
    if len(channels) != n_in:
        raise RestoreError(
            f"network {engine.card.name} takes {n_in} channels ({', '.join(engine.card.channels_in)}) "
            f"but time point {channels[0].key.t} has {len(channels)}"
        )
    return [tuple(channels)]


def with_past(
    group: Sequence[Volume], engine: Engine | ChannelEngines, earlier: Mapping[VolumeKey, Volume]
) -> tuple[Volume, ...]:
    """Return volumes with those of earlier time points that their network reads.

    Parameters
    ----------
    earlier : those there are
    """
    n_past = engine.n_past(group[0].key) if isinstance(engine, ChannelEngines) else engine.card.past
    return past.completed(group, n_past, earlier)


def most_past(engine: Engine | ChannelEngines) -> int:
    """Return how many earlier time points any of the networks reads."""
    return max(one.card.past for one in (engine.engines if isinstance(engine, ChannelEngines) else (engine,)))


def card_of(engine: Engine | ChannelEngines, model: ModelIdentity) -> ModelCard:
    """Return the card of the network that restored something."""
    engines = engine.engines if isinstance(engine, ChannelEngines) else (engine,)
    return next(one.card for one in engines if one.identity == model)


def networks_of(engine: Engine | ChannelEngines) -> tuple[NetworkInUse, ...]:
    """Return what restores, as a run's journal has it."""
    if isinstance(engine, ChannelEngines):
        return engine.in_use()
    return (NetworkInUse(engine.identity, engine.card.model_dump(mode="json")),)
