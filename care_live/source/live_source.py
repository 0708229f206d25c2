"""Live of a core that a person drives, and the acquisitions that it runs in between: one run after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from care_live.config import LiveSourceConfig, RemoteConfig
from care_live.errors import ConfigError
from care_live.images import RunEnded, RunStarted, SourceEvent
from care_live.live_frame import LatestFrame
from care_live.source.live_link import LiveLink
from care_live.source.live_microscope import LiveMicroscope
from care_live.source.remote import Remote
from care_live.source.run_names import run_names
from care_live.source.tap_line import TapLine
from care_live.wire.keys import read_server

logger = logging.getLogger(__name__)


class LiveSource:
    """Shows Live on one address and takes the runs of taps on another, as long as the daemon runs.

    Parameters
    ----------
    run_id : of the first run; the following ones are numbered
    is_taken : whether a run has a name already

    Raises
    ------
    ConfigError
        An address is taken, or is not loopback and there are no keys.
    """

    def __init__(
        self, config: LiveSourceConfig, *, run_id: str, is_taken: Callable[[str], bool] = lambda name: False
    ) -> None:
        self._names = run_names(run_id, is_taken)
        runs = RemoteConfig(
            bind=config.bind_runs,
            z_planes=config.z_planes,
            server_key_file=config.server_key_file,
            authorized_keys_file=config.authorized_keys_file,
        )
        self._line = TapLine()
        self._remote = Remote(runs, run_id=next(self._names), until_stored=True, line=self._line)
        try:
            self._link = LiveLink(config.bind, read_server(config.server_key_file, config.authorized_keys_file))
        except BaseException:
            self._remote.close()
            raise
        self._is_run_of_another = False
        self._microscope = None
        if config.microscope is not None:
            self._microscope = LiveMicroscope(
                config.microscope, address=self._link.address, address_of_runs=self._remote.address
            )

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
        event = self._remote.next_event(timeout_s)
        if isinstance(event, RunStarted) and self._microscope is not None:
            self._is_run_of_another = not event.tap.startswith(self._microscope.origin)
        return self._microscope_ended() if event is None else event

    def _microscope_ended(self) -> RunEnded | None:
        """End with the own microscope, once the acquisitions of others are over, and none waits in line."""
        if self._microscope is None or self._is_run_of_another or len(self._line):
            return None
        ended = self._microscope.why_ended()
        return RunEnded("failed", ended) if ended else None

    def next_run(self) -> None:
        """Wait for the next tap: the run before is recorded."""
        self._is_run_of_another = False
        self._remote.begin_anew(next(self._names))

    def stored(self, before: int) -> None:
        """Note that the frames of this run that arrived before this one are safe: the tap may forget them."""
        self._remote.stored(before)

    def move(self, order: Mapping[str, Any]) -> str:
        """Carry out an order to the microscope that this source has started.

        Raises
        ------
        ConfigError
            The order is invalid, or the microscope is not this source's.
        SourceError
            The microscope has ended.
        """
        if self._microscope is None:
            raise ConfigError("this daemon drives no microscope in Live: set source.microscope")
        return self._microscope.move(order)

    def stop(self) -> None:
        if n_waiting := len(self._line):
            logger.warning(
                "acquisitions that wait for their turn n=%d are not recorded: the daemon is stopped", n_waiting
            )
        self._remote.stop()

    def close(self) -> None:
        try:
            if self._microscope is not None:
                self._microscope.close()
            self._link.close()
        finally:
            self._remote.close()
