"""The feed: a thread that receives what a daemon publishes and puts it into the live cache."""

from __future__ import annotations

import logging
import threading

import msgspec

from care_live.errors import ProtocolError, StageError
from care_live.publish.delivery import FromDaemon
from care_live.publish.subscriber import AWAY_S, Subscriber
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.view_records import SystemStatus
from care_live.wire.address import is_loopback
from care_live.wire.arrays import codec_here
from care_live.wire.keys import ClientKeys
from care_live.wire.messages import EVERYTHING, Heartbeat

logger = logging.getLogger(__name__)

_WAIT_S = 1.0
_RETRY_S = 3.0


class LiveFeed:
    """Fills a live cache from one daemon until it is closed; after a lost link it connects again.

    Parameters
    ----------
    address
        The daemon's ``bind_pull``, tcp://HOST:PORT.
    slabs
        Take planes of volumes that are still being restored too.

    Raises
    ------
    ConfigError
        The address cannot be connected to, or needs keys.
    """

    def __init__(self, address: str, cache: LiveCache, *, keys: ClientKeys | None = None, slabs: bool = False) -> None:
        self._address, self._cache = address, cache
        view = msgspec.structs.replace(EVERYTHING, codec="none" if is_loopback(address) else codec_here())
        self._subscriber = Subscriber(address, view=view, keys=keys, credit=2, slabs=slabs)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._main, name="viewer feed")
        self._thread.start()

    def close(self, deadline_s: float = 5.0) -> None:
        """End the thread and the link.

        Raises
        ------
        StageError
            The thread did not end in time.
        """
        self._closing.set()
        self._subscriber.wake()
        self._thread.join(deadline_s)
        if self._thread.is_alive():
            raise StageError(f"the viewer's feed did not end within {deadline_s:g} s; end the process")

    def _main(self) -> None:
        try:
            while not self._closing.is_set():
                self._listen_once()
        finally:
            self._subscriber.close()

    def _listen_once(self) -> None:
        try:
            message = self._subscriber.next(_WAIT_S)
        except ProtocolError as error:
            logger.warning("feed refused address=%s error=%s", self._address, error)
            self._cache.report(SystemStatus(detail=str(error)))
            self._closing.wait(_RETRY_S)
            return
        if message is None or isinstance(message, Heartbeat):
            self._cache.report(self._status())
        if message is not None:
            self._take(message)

    def _take(self, message: FromDaemon) -> None:
        try:
            self._cache.take(message)
        except Exception as error:  # the thread boundary: one message is lost, and the feed goes on
            logger.exception("feed message lost address=%s error=%s", self._address, error)

    def _status(self) -> SystemStatus:
        heartbeat, connected = self._subscriber.heartbeat, self._subscriber.silent_s < AWAY_S
        if heartbeat is None or not connected:
            return SystemStatus(connected=connected, detail="" if connected else f"no daemon at {self._address}")
        status = heartbeat.status
        return SystemStatus(
            connected=True,
            volumes_per_s=status.volumes_per_s,
            lost_planes=status.planes_lost + status.planes_dropped,
            lost_volumes=status.volumes_refused,
            skipped_volumes=status.volumes_skipped,
            missed_messages=self._subscriber.n_skipped,
            disk_seconds_left=status.disk_s_left,
            workers=tuple(status.workers or ()),
            detail=status.note,
        )
