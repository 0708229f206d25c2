"""Live of a core in this process, restored: nothing of it is stored, and the camera never waits.

::

    from care_live.source import live
    watching = live(core, "tcp://127.0.0.1:5795")
    core.startContinuousSequenceAcquisition()   # or press Live in napari-micromanager, or snap
    ...
    watching.close()

The core is pymmcore-plus's or that of pycromanager's Python backend. Acquisitions that pymmcore-plus runs on the same
core are recorded in between, as runs of the same daemon.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from care_live import default_ports
from care_live.errors import CareLiveError, ProtocolError, StageError
from care_live.source import live_protocol
from care_live.source.live_camera import LaserProperty, LiveCamera, LiveCore
from care_live.source.tap_sender import Endpoint
from care_live.wire.keys import read_client
from care_live.wire.sockets import Sockets

if TYPE_CHECKING:
    from care_live.source.pymmcore_plus import Observer

logger = logging.getLogger(__name__)

_HERE_S = 1.0
_CLOSE_S = 5.0


def live(
    core: LiveCore,
    address: str = default_ports.LIVE,
    *,
    runs: str | None = default_ports.TAPS,
    laser: tuple[str, str] | None = None,
    key_file: Path | None = None,
    daemon_key: str | None = None,
) -> LiveSender:
    """Let a daemon (``source.kind = "live"``) show what this core's camera sees in Live and in snaps.

    Parameters
    ----------
    core : pymmcore-plus's, or that of pycromanager's Python backend
    address : ``tcp://HOST:PORT``, where the daemon's ``source.bind`` is
    runs : where acquisitions of pymmcore-plus are sent, the daemon's ``source.bind_runs``; None: they are not
    laser : device and property that hold the laser's power, for the dose beside the picture
    key_file, daemon_key : own CURVE key file, and the daemon's public key or ``.pub`` file; None: it is on this machine

    Raises
    ------
    ConfigError
        The address or a key is invalid, or pymmcore is not installed.
    """
    keys = read_client(key_file, daemon_key)
    sender = LiveSender(core, Endpoint(address, keys=keys), laser=None if laser is None else LaserProperty(*laser))
    if runs is not None and hasattr(core, "mda"):
        from care_live.source.pymmcore_plus import Observer

        sender.observer = Observer(core, Endpoint(runs, keys=keys))
    return sender


class LiveSender:
    """A thread that sends the newest frame each time the daemon wants one."""

    def __init__(self, core: LiveCore, endpoint: Endpoint, *, laser: LaserProperty | None = None) -> None:
        self._sockets = Sockets(client=endpoint.keys)
        self._socket = self._sockets.connect("dealer", endpoint.address, max_message_bytes=live_protocol.HEADER_BYTES)
        self._camera = LiveCamera(core, laser=laser, on_snap=self._sockets.wake)
        self._here_s = 0.0
        self._n_failed = 0
        self.n_sent = 0
        """Frames that were sent."""
        self.observer: Observer | None = None
        """What sends the acquisitions of the same core."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._main, name="care_live live")
        self._thread.start()

    def close(self) -> None:
        """Stop watching the core.

        Raises
        ------
        StageError
            The thread did not end in time.
        """
        self._closing.set()
        self._sockets.wake()
        self._thread.join(_CLOSE_S)
        if self.observer is not None:
            self.observer.close(within_s=_CLOSE_S)
        if self._thread.is_alive():
            raise StageError(f"Live did not end within {_CLOSE_S:g} s: the camera's driver may hang")

    def __enter__(self) -> LiveSender:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _main(self) -> None:
        try:
            while not self._closing.is_set():
                self._report()
                self._sockets.poll(self._camera.poll_s if self._camera.is_wanted else _HERE_S)
                self._read()
                if self._camera.is_wanted:
                    self._send_newest()
        except CareLiveError as error:
            logger.error("live ends: %s", error)
        finally:
            self._camera.close()
            self._sockets.close()

    def _report(self) -> None:
        """Let a daemon know that this camera can be asked, also one that was started later."""
        if time.monotonic() - self._here_s >= _HERE_S:
            self._here_s = time.monotonic()
            self._socket.send(live_protocol.here(time.monotonic_ns()))

    def _read(self) -> None:
        while (received := self._socket.receive()) is not None:
            try:
                live_protocol.check_wanted(received.parts)
                self._camera.is_wanted = True
            except ProtocolError as error:
                logger.warning("live ignores a message: %s", error)

    def _send_newest(self) -> None:
        """Send a new frame, if there is one; an error of a driver is logged once, and the next frame is tried."""
        try:
            frame = self._camera.newest()
        except Exception as error:  # noqa: BLE001 - a camera that is being reconfigured must not end Live
            self._n_failed += 1
            if self._n_failed == 1:
                logger.warning("live frame cannot be read (this is logged once): %s", error)
            self._closing.wait(_HERE_S / 4)
            return
        if frame is not None and self._socket.send(live_protocol.frame_parts(frame, time.monotonic_ns())):
            self._camera.is_wanted = False
            self.n_sent += 1
