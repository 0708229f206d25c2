"""A dock of pymmcore-gui: its Live, restored, beside its own preview; its acquisitions become runs of the daemon.

pymmcore-gui 0.0.1 loads no plugins, but has a registry of widgets. One line before its window is made puts the dock
into its *Window* menu, and ``python -m care_live.viewer.pymmcore_dock`` starts pymmcore-gui with it::

    from care_live.viewer import pymmcore_dock; pymmcore_dock.register()

The daemon runs beside it: ``care-live run`` with ``source.kind = "live"`` and no ``source.microscope``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QLabel, QVBoxLayout, QWidget

from care_live import default_ports
from care_live.errors import CareLiveError
from care_live.publish.delivery import Delivery
from care_live.publish.subscriber import AWAY_S, Subscriber
from care_live.source import live
from care_live.viewer import auto_contrast
from care_live.wire.messages import View

KEY = "care_live.restored_live"
_LOOK_MS = 30
_STEADY = 0.9
"""Share of the contrast before that the next picture keeps."""


class RestoredLiveDock(QWidget):  # type: ignore[misc]
    """Sends what a core's camera sees to a daemon, and shows what comes back.

    Parameters
    ----------
    core : pymmcore-plus's
    live_address, runs_address : the daemon's ``source.bind`` and ``source.bind_runs``
    watchers_address : its ``publish.bind_pull``
    """

    def __init__(
        self,
        core: Any,
        parent: QWidget | None = None,
        *,
        live_address: str = default_ports.LIVE,
        runs_address: str = default_ports.TAPS,
        watchers_address: str = default_ports.WATCHERS,
    ) -> None:
        super().__init__(parent)
        self._sender = live(core, live_address, runs=runs_address)
        self._watching = Subscriber(watchers_address, view=View(products=("raw", "mean")), position=0)
        self._span: tuple[float, float] | None = None
        self._was_raw = False
        self.pixmap = QPixmap()
        """What is shown, in full size."""
        self._picture, self._words = QLabel(alignment=Qt.AlignmentFlag.AlignCenter), QLabel(wordWrap=True)
        self._raw = QCheckBox("raw (F)")
        self._raw.setShortcut("F")
        layout = QVBoxLayout(self)
        for widget in (self._picture, self._raw, self._words):
            layout.addWidget(widget, 1 if widget is self._picture else 0)
        self._picture.setMinimumSize(256, 256)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(_LOOK_MS)
        if (app := QApplication.instance()) is not None:
            app.aboutToQuit.connect(self.end)

    @property
    def words(self) -> str:
        """The line below the picture."""
        return str(self._words.text())

    def end(self) -> None:
        """End both links."""
        if self._timer.isActive():
            self._timer.stop()
            self._watching.close()
            self._sender.close()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit()

    def _look(self) -> None:
        try:
            message = self._watching.next(0.0)
        except CareLiveError as error:
            self._words.setText(str(error))
            return
        if isinstance(message, Delivery) and message.is_whole:
            self._show(message)
        elif self._watching.silent_s > AWAY_S:
            self._words.setText(f"no daemon at {self._watching.address}: start care-live run with source.kind = 'live'")

    def _show(self, delivery: Delivery) -> None:
        restored, raw = delivery.mean, delivery.raw
        is_raw = self._raw.isChecked() or restored is None
        volume = raw if is_raw else restored
        if volume is None:
            return
        plane = volume[volume.shape[0] // 2]
        self.pixmap = QPixmap.fromImage(_grey(plane, self._contrast(plane, is_raw=is_raw)))
        self._fit()
        kind = "raw" if is_raw else "restored" if delivery.trust is None else f"restored, trust {delivery.trust.colour}"
        self._words.setText(f"{delivery.run_id}: {kind}, {1000 * delivery.age_s:.0f} ms old; {delivery.limits}")

    def _contrast(self, plane: NDArray[Any], *, is_raw: bool) -> tuple[float, float]:
        """Return (low, high), which follow slowly, so that the picture does not flicker."""
        window = auto_contrast.measure(plane[np.newaxis])
        if self._span is None or is_raw != self._was_raw:
            self._span, self._was_raw = (window.low, window.high), is_raw
        low, high = self._span
        self._span = (_STEADY * low + (1 - _STEADY) * window.low, _STEADY * high + (1 - _STEADY) * window.high)
        return self._span

    def _fit(self) -> None:
        if not self.pixmap.isNull():
            keep = Qt.AspectRatioMode.KeepAspectRatio
            self._picture.setPixmap(self.pixmap.scaled(self._picture.size(), keep))


def _grey(plane: NDArray[Any], span: tuple[float, float]) -> QImage:
    """Return a plane, (y, x), in 256 greys; NaN is black."""
    low, high = span
    share = np.nan_to_num((plane.astype(np.float32) - low) / max(high - low, 1e-6))
    grey = np.ascontiguousarray(255 * np.clip(share, 0, 1), dtype=np.uint8)
    rows, columns = grey.shape
    return QImage(grey.data, columns, rows, columns, QImage.Format.Format_Grayscale8).copy()


def register(**addresses: str) -> None:
    """Put the dock into pymmcore-gui's *Window* menu; call it before its window is made.

    Parameters
    ----------
    addresses : of the daemon, as for `RestoredLiveDock`, where they are not the usual ones
    """
    from pymmcore_gui.actions import WidgetActionInfo

    def create(window: QWidget) -> RestoredLiveDock:
        return RestoredLiveDock(window.mmcore, window, **addresses)

    WidgetActionInfo(key=KEY, text="care_live: restored Live", create_widget=create)


def main() -> None:
    """Start pymmcore-gui with the dock open."""
    from pymmcore_gui import create_mmgui

    register()
    window = create_mmgui(exec_app=False)
    window.get_widget(KEY)
    QApplication.instance().exec()


if __name__ == "__main__":
    main()
