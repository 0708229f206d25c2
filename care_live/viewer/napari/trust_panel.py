"""What the dock widget says of trust: the verdict in words, the way to the worst places, and the light over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QToolTip, QVBoxLayout, QWidget

from care_live.verdict import Doubt, Trust
from care_live.viewer.napari.doubt_marks import COLOURS
from care_live.viewer.trust_line import TrustNote

_LIGHT: dict[str, tuple[str, float]] = {"green": ("#35b38a", 0.35), "amber": ("#e69f00", 0.65), "red": ("#f0444b", 1.0)}
"""Colour, and share of the height: they differ for the colour-blind, too. What comes later is drawn over the others."""
_INSET_PX = 8
_LEGEND = (
    f'<span style="color:{COLOURS["invented"]}">◯ invented</span>: shown, but the camera did not count it<br>'
    f'<span style="color:{COLOURS["missing"]}">□ missing</span>: counted by the camera, but not shown'
)


class TrustBar(QWidget):  # type: ignore[misc]  # Qt has no types here
    """One bar for each time point, under the slider: low and green, half-high and amber, full and red.

    Parameters
    ----------
    go_to : called with the number of a time point that was clicked
    """

    def __init__(self, go_to: Callable[[int], None]) -> None:
        super().__init__()
        self._go_to = go_to
        self._notes: tuple[TrustNote | None, ...] = ()
        self._times: tuple[int, ...] = ()
        self.setFixedHeight(12)
        self.setMouseTracking(True)

    def show_notes(self, times: Sequence[int], notes: Sequence[TrustNote | None]) -> None:
        """Show the verdicts of these time points; None: not examined."""
        self._times, self._notes = tuple(times), tuple(notes)
        self.setAccessibleName(", ".join(f"{self._count(colour)} {colour}" for colour in _LIGHT))
        self.update()

    def words_at(self, index: int) -> str:
        """Return what is said of a time point."""
        note = self._notes[index]
        words = "not examined" if note is None else ". ".join(part for part in note if part)
        return f"t {self._times[index]}: {words}"

    def paintEvent(self, _: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        painter = QPainter(self)
        for colour, (ink, share) in _LIGHT.items():
            for index, note in enumerate(self._notes):
                if note is not None and note.colour == colour:
                    left, height = self._edge(index), self.height() * share
                    wide = max(self._edge(index + 1) - left - 1, 1.0)
                    painter.fillRect(QRectF(left, self.height() - height, wide, height), QColor(ink))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if (index := self._at(event.position().x())) is not None:
            self._go_to(index)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if (index := self._at(event.position().x())) is not None:
            QToolTip.showText(event.globalPosition().toPoint(), self.words_at(index), self)

    def _count(self, colour: str) -> int:
        return sum(note is not None and note.colour == colour for note in self._notes)

    def _edge(self, index: int) -> float:
        """Return where the bar of a time point begins; the slider's handle stands over its middle."""
        width_px = float(self.width() - 2 * _INSET_PX)
        return _INSET_PX + (index - 0.5) * width_px / max(len(self._notes) - 1, 1)

    def _at(self, x: float) -> int | None:
        return next(
            (index for index in range(len(self._notes)) if self._edge(index) <= x < self._edge(index + 1)), None
        )


class TrustPanel(QWidget):  # type: ignore[misc]
    """The verdict on the volume that is shown, and the way to its worst places.

    Parameters
    ----------
    go_to : called with a place that is to be shown
    switch : called with whether marks are to be seen
    """

    def __init__(self, go_to: Callable[[Doubt], None], switch: Callable[[bool], None]) -> None:
        super().__init__()
        self._go_to = go_to
        self._doubts: tuple[Doubt, ...] = ()
        self._at: int | None = None
        self.verdict, self.place = QLabel("not examined"), QLabel("")
        self.worst, self.next = QPushButton("Worst place (W)"), QPushButton("Next (N)")
        self.marks = QCheckBox("mark such places (M)")
        self.marks.setChecked(True)
        self.marks.toggled.connect(switch)
        self.worst.clicked.connect(lambda: self.go(0))
        self.next.clicked.connect(self.go_on)
        self._lay_out()
        self.show_trust(())

    def show_trust(self, trusts: Sequence[Trust]) -> None:
        """Show what is known of one time point: the verdict on each channel."""
        doubts = [doubt for trust in trusts for doubt in trust.doubts]
        self._doubts, self._at = tuple(sorted(doubts, key=lambda doubt: -doubt.sigmas)), None
        self.verdict.setText("\n".join(map(_line_of, trusts)) or "not examined")
        bad = [colour for colour in ("red", "amber") if any(trust.colour == colour for trust in trusts)]
        self.verdict.setStyleSheet(f"color: {_LIGHT[bad[0]][0]}" if bad else "")
        self.worst.setEnabled(bool(doubts))
        self.next.setEnabled(len(doubts) > 1)
        self.place.setText(f"{len(doubts)} place{'' if len(doubts) == 1 else 's'} in this volume" if doubts else "")
        self._make_room()

    def go(self, number: int) -> None:
        """Show one place, counted from the worst."""
        if number < len(self._doubts):
            self._at, doubt = number, self._doubts[number]
            self._go_to(doubt)
            said = f"place {number + 1} of {len(self._doubts)}: {doubt.kind}, {doubt.sigmas:.1f} times the noise"
            self.place.setText(f"{said}, {doubt.where} (z slider at {doubt.place_px[0]}: napari counts from 0)")
            self._make_room()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        """Give words the height that they need: the layout of a dock gives them two lines, and cuts the rest."""
        for label in (self.verdict, self.place):
            label.setMinimumHeight(label.heightForWidth(max(label.width(), 1)) if label.text() else 0)

    def go_on(self) -> None:
        """Show the next place: from the worst to the least, and round again."""
        self.go(0 if self._at is None else (self._at + 1) % max(len(self._doubts), 1))

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for label in (self.verdict, self.place):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)  # reasons come from another machine
        for button in (self.worst, self.next):
            buttons.addWidget(button)
        layout.addWidget(self.verdict)
        layout.addLayout(buttons)
        for widget in (self.place, self.marks, QLabel(_LEGEND)):
            layout.addWidget(widget)


def _line_of(trust: Trust) -> str:
    words = "; ".join(trust.reasons) or "the restoration agrees with the photons that were counted"
    return f"● {trust.colour}: {words}"
