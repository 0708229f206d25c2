"""The dock widget: daemon, run, following or scrubbing, and status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from care_live.config import PublishConfig
from care_live.errors import CareLiveError
from care_live.images import LIMITS
from care_live.verdict import Doubt
from care_live.viewer.history import History
from care_live.viewer.live_cache import LiveCache
from care_live.viewer.live_feed import LiveFeed
from care_live.viewer.napari.layers import Layers
from care_live.viewer.napari.preparer import Preparer
from care_live.viewer.napari.trust_panel import TrustBar, TrustPanel
from care_live.viewer.trust_line import by_time
from care_live.viewer.volume_index import VolumeIndex
from care_live.wire.keys import ClientKeys, read_client

if TYPE_CHECKING:
    import napari

_STATUS_MS = 1000
_LAID_OUT_MS = 200
"""napari has sized the grid's cells by then, and what it fits before is wrong."""


class WatchWidget(QWidget):  # type: ignore[misc]  # Qt has no types here
    """Shows a running daemon, a recorded run, or both.

    Parameters
    ----------
    napari_viewer
        The viewer that gets the layers; napari passes it by this name.
    """

    ready = Signal()

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._layers = Layers(napari_viewer)
        self._fit = napari_viewer.reset_view
        self._library: VolumeIndex | None = None
        self._feed: LiveFeed | None = None
        self._preparer: Preparer | None = None
        self._times: list[int] = []
        self._build()
        for key, act in (("W", lambda: self.trust.go(0)), ("N", self.trust.go_on), ("M", self.trust.marks.toggle)):
            napari_viewer.bind_key(key, lambda _, act=act: act(), overwrite=True)
        self.ready.connect(self._show, Qt.ConnectionType.QueuedConnection)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tell)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.leave)

    def start(self, address: str, directory: Path | None = None, *, keys: ClientKeys | None = None) -> None:
        """Watch a daemon, a run directory, or both, in place of those before.

        Parameters
        ----------
        address : the daemon's ``bind_pull``; empty: history only
        directory : the run's folder, for the history
        keys : for a daemon on another machine

        Raises
        ------
        ConfigError
            The address is invalid.
        """
        self.stop()
        cache = LiveCache()
        self._library = VolumeIndex(cache, History(directory) if directory else None)
        self._feed = LiveFeed(address, cache, keys=keys) if address else None
        self._preparer = Preparer(self._library, self.ready.emit)
        self.address.setText(address)
        self.directory.setText(str(directory or ""))
        self.button.setText("Stop")
        self._timer.start(_STATUS_MS)

    @property
    def is_watching(self) -> bool:
        return self._preparer is not None

    def stop(self) -> None:
        """Disconnect from the daemon; the layers stay."""
        self._timer.stop()
        self.leave()
        self.button.setText("Watch")

    def leave(self) -> None:
        """End the threads; this touches no Qt object, since it also runs while Qt deletes them."""
        preparer, feed, self._preparer, self._feed = self._preparer, self._feed, None, None
        if preparer is not None:
            preparer.close()
        if feed is not None:
            feed.close()

    def closeEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        self.stop()
        super().closeEvent(event)

    def follow(self, live: bool) -> None:
        """Follow the newest volume, or stay at the time point that the slider shows."""
        if self._preparer is not None:
            time = self._times[self.slider.value()] if self._times else None
            self._preparer.want(None if live else time)

    # -- in the GUI thread --------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.address = QLineEdit(PublishConfig().bind_pull)
        self.key = _line("key file of this machine, for a daemon on another one")
        self.server_key = _line("public key of that daemon, or its .pub file")
        self.directory = _line("run directory, for the history")
        self.button = QPushButton("Watch")
        self.button.clicked.connect(self._toggle)
        self.live = QCheckBox("follow the newest volume")
        self.live.setChecked(True)
        self.live.toggled.connect(self.follow)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 0)
        self.slider.sliderMoved.connect(self._scrub)
        self.bar = TrustBar(self._jump)
        self.trust = TrustPanel(self._look_at, self._layers.switch_marks)
        self.status = QLabel("")
        self.status.setWordWrap(True)
        self.status.setTextFormat(Qt.TextFormat.PlainText)  # notes come from another machine
        self._lay_out()

    def _lay_out(self) -> None:
        rows = {
            "Daemon": self.address,
            "Key": self.key,
            "Daemon's key": self.server_key,
            "Run": self.directory,
            "Time": self.slider,
            "Trust": self.bar,
        }
        form = QFormLayout()
        for name, field in rows.items():
            form.addRow(name, field)
        limits = QLabel(LIMITS)
        limits.setStyleSheet("color: #f3cf85")
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        for widget in (self.button, self.live, self.trust, self.status, limits):
            layout.addWidget(widget)
        layout.addStretch()

    def _toggle(self) -> None:
        if self._preparer is not None:
            self.stop()
            return
        try:
            keys = read_client(_path(self.key), self.server_key.text().strip())
            self.start(self.address.text().strip(), _path(self.directory), keys=keys)
        except CareLiveError as error:
            self.status.setText(str(error))

    def _scrub(self, index: int) -> None:
        """Stop following when a person moves the slider."""
        self.live.setChecked(False)
        if self._preparer is not None and index < len(self._times):
            self._preparer.want(self._times[index])

    def _jump(self, index: int) -> None:
        """Go to a time point whose bar was clicked."""
        self.slider.setValue(index)
        self._scrub(index)

    def _look_at(self, doubt: Doubt) -> None:
        """Show a place, and stay at its volume."""
        self.live.setChecked(False)
        self._layers.go_to(doubt)

    def _show(self) -> None:
        if self._preparer is None or self._library is None:
            return
        prepared = self._preparer.take()
        if prepared is None:
            return
        if self._layers.show(prepared, self._library.info):
            QTimer.singleShot(_LAID_OUT_MS, self._fit)
        self.trust.show_trust([shown.trust for shown in prepared.volumes if shown.trust is not None])
        if self.live.isChecked():
            self._tell()
            self.slider.setValue(self.slider.maximum())

    def _tell(self) -> None:
        """Show the status, and extend the slider to new time points without moving its handle."""
        if self._library is None:
            return
        self._times = sorted({key.t for key in self._library.known()})
        self.slider.setMaximum(max(0, len(self._times) - 1))
        self._show_line()
        status, cache = self._library.cache.status, self._library.cache
        problem = self._library.history.problem if self._library.history else ""
        rate = cache.volumes_per_s() if status.volumes_per_s is None else status.volumes_per_s
        self.status.setText(
            f"{'recording' if status.connected else status.detail or 'history only'} · {rate:.2f} volumes/s\n"
            f"skipped by this viewer {status.missed_messages} · lost by the system {status.lost_planes} planes\n"
            f"not restored {status.skipped_volumes}" + (f"\n{problem}" if problem else "")
        )

    def _show_line(self) -> None:
        assert self._library is not None
        newest = self._library.newest()
        notes = by_time(self._library.trust_spans(), 0 if newest is None else newest.p)
        self.bar.show_notes(self._times, [notes.get(t) for t in self._times])


def _line(hint: str) -> QLineEdit:
    line = QLineEdit()
    line.setPlaceholderText(hint)
    return line


def _path(line: QLineEdit) -> Path | None:
    """Return the path that a person typed, or None."""
    text = line.text().strip()
    return Path(text).expanduser() if text else None
