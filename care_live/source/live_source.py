"""Live of a core that a person drives, and the acquisitions that it runs in between: one run after the other."""

from __future__ import annotations

from care_live.config import LiveSourceConfig, RemoteConfig
from care_live.images import RunEnded, SourceEvent
from care_live.live_frame import LatestFrame
from care_live.source.live_link import LiveLink
from care_live.source.remote import Remote
from care_live.source.run_names import run_names
from care_live.wire.keys import read_server


class LiveSource:
    """Shows Live on one address and takes the runs of taps on another, as long as the daemon runs.

    Parameters
    ----------
    run_id : of the first run; the following ones are numbered

    Raises
    ------
    ConfigError
        An address is taken, or is not loopback and there are no keys.
    """

    def __init__(self, config: LiveSourceConfig, *, run_id: str) -> None:
        self._names = run_names(run_id)
        runs = RemoteConfig(
            bind=config.bind_runs,
            z_planes=config.z_planes,
            server_key_file=config.server_key_file,
            authorized_keys_file=config.authorized_keys_file,
        )
        self._remote = Remote(runs, run_id=next(self._names), until_stored=True)
        try:
            self._link = LiveLink(config.bind, read_server(config.server_key_file, config.authorized_keys_file))
        except BaseException:
            self._remote.close()
            raise
        self._stopped = self._has_ended = False

    @property
    def live(self) -> LatestFrame:
        """The newest frame outside any run."""
        return self._link.frames

    @property
    def address(self) -> str:
        """Where `care_live.source.live` sends the frames of Live."""
        return self._link.address

    @property
    def address_of_runs(self) -> str:
        """Where taps send their runs."""
        return self._remote.address

    def next_event(self, timeout_s: float) -> SourceEvent | None:
        if self._has_ended and not self._stopped:
            self._has_ended = False
            self._remote.begin_anew(next(self._names))
        event = self._remote.next_event(timeout_s)
        self._has_ended = isinstance(event, RunEnded)
        return event

    def stored(self, before: int) -> None:
        """Note that the frames of this run that arrived before this one are safe: the tap may forget them."""
        self._remote.stored(before)

    def stop(self) -> None:
        self._stopped = True
        self._remote.stop()

    def close(self) -> None:
        try:
            self._link.close()
        finally:
            self._remote.close()
