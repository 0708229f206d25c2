"""What became of volumes after they closed: intake notes it, the restoring stage asks."""

from __future__ import annotations

from msgspec.structs import replace

from care_live.images import Restored, State, StateChanged, VolumeKey
from care_live.volume_set import VolumeSet


class VolumeStates:
    """The newest state of each volume that changed after it closed.

    Intake writes and the restoring stage reads without a lock: a state is stored by one assignment, and a result that
    misses it by a moment is corrected for every watcher by the `StateChanged` that intake publishes and stores itself.
    """

    def __init__(self) -> None:
        self._confirmed = VolumeSet()
        self._others: dict[VolumeKey, State] = {}

    def note(self, change: StateChanged) -> None:
        """Note a change; the last one holds."""
        if change.state == "confirmed":
            self._confirmed.add(change.key)
            self._others.pop(change.key, None)
        else:
            self._others[change.key] = change.state

    def up_to_date(self, restored: Restored) -> Restored:
        """Return a result with the state that its volume has now."""
        key, known = restored.volume.key, restored.volume.state
        state = self._others.get(key) or ("confirmed" if key in self._confirmed else known)
        if state == restored.volume.state:
            return restored
        return replace(restored, raw=replace(restored.volume, state=state))
