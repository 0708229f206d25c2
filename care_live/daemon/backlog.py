"""Volumes to restore from the store, where they wait without costing memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from care_live.images import VolumeKey
from care_live.restore.channel_choice import ChannelChoice
from care_live.volume_set import VolumeSet


class Backlog:
    """Time points that are restored later, the one that was complete first before the others.

    A time point is ready once all volumes that its network reads together are on the list and stored.

    Parameters
    ----------
    channels : what each network reads, and reads together
    """

    def __init__(self, channels: ChannelChoice) -> None:
        self._channels = channels
        self._asked: OrderedDict[VolumeKey, set[VolumeKey]] = OrderedDict()
        self._ready: OrderedDict[VolumeKey, tuple[VolumeKey, ...]] = OrderedDict()
        self._stored = VolumeSet()
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def ask(self, key: VolumeKey) -> None:
        """Put a volume on the list, once."""
        group = self._channels.group(key)
        if group in self._ready or key in self._asked.get(group, ()):
            return
        self._asked.setdefault(group, set()).add(key)
        self._n += 1
        self._look_at(group)

    def stored(self, key: VolumeKey) -> None:
        """A raw volume can be read back from now on."""
        self._stored.add(key)
        self._look_at(self._channels.group(key))

    def is_stored(self, key: VolumeKey) -> bool:
        """Return whether a raw volume can be read back."""
        return key in self._stored

    def waits_for(self, key: VolumeKey) -> bool:
        """Return whether other channels of a volume's time point are on the list and wait for more."""
        return self._channels.group(key) in self._asked

    def next(self, may_take: Callable[[tuple[VolumeKey, ...]], bool] = lambda keys: True) -> tuple[VolumeKey, ...]:
        """Return the volumes of the next time point that may be taken, and forget them; empty when none is ready."""
        group = next((group for group, keys in self._ready.items() if may_take(keys)), None)
        if group is None:
            return ()
        keys = self._ready.pop(group)
        self._n -= len(keys)
        return keys

    def give_up_incomplete(self) -> list[VolumeKey]:
        """Forget the volumes whose other channels are not on the list, and return them."""
        given_up = {group for group, keys in self._asked.items() if len(keys) < self._channels.n_together(group)}
        keys = [key for group in given_up for key in self._asked.pop(group)]
        self._n -= len(keys)
        return sorted(keys)

    def _look_at(self, group: VolumeKey) -> None:
        keys = self._asked.get(group, set())
        if len(keys) == self._channels.n_together(group) and self._stored >= keys:
            del self._asked[group]
            self._ready[group] = self._channels.keys(group)
