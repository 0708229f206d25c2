"""Run by test_trust_panel in a process of its own: Qt needs the main thread, and no screen for these widgets."""

from __future__ import annotations

import sys

from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from care_live.verdict import Doubt, Trust
from care_live.viewer.napari.trust_panel import TrustBar, TrustPanel
from care_live.viewer.trust_line import TrustNote

INVENTED, MISSING = Doubt("invented", (1, 6, 9), 7.0), Doubt("missing", (3, 8, 2), 12.0)
GREEN, AMBER, RED = "#35b38a", "#e69f00", "#f0444b"
WIDE_PX = 116
"""Of the bar: the slider's handle goes over 100 of them."""


def column(bar: TrustBar, x: int) -> list[str]:
    """Return the colours of one column from the top down."""
    picture = bar.grab().toImage()
    scale = picture.width() / bar.width()
    return [picture.pixelColor(int(x * scale), y).name() for y in range(picture.height())]


def shows_the_light_over_time() -> None:
    asked: list[int] = []
    bar = TrustBar(asked.append)
    bar.resize(WIDE_PX, 12)
    notes = [TrustNote("green", ""), None, TrustNote("red", "a nucleus was invented"), TrustNote("amber", "dark")]
    bar.show_notes((4, 5, 7, 8), notes)
    assert bar.accessibleName() == "1 green, 1 amber, 1 red"
    assert [bar.words_at(n) for n in range(4)] == [
        "t 4: green",
        "t 5: not examined",
        "t 7: red. a nucleus was invented",
        "t 8: amber. dark",
    ]
    handles = [8, 41, 74, 107]
    green, none, red, amber = (column(bar, x) for x in handles)
    assert (green[-1], amber[-1], red[-1]) == (GREEN, AMBER, RED)
    assert green.count(GREEN) < amber.count(AMBER) < red.count(RED) == len(red), (
        "they differ without their colours, too"
    )
    assert not {GREEN, AMBER, RED}.intersection(none), "not examined: no bar"
    for x in handles:
        click(bar, x)
    assert asked == [0, 1, 2, 3]
    click(bar, 1000)
    assert asked == [0, 1, 2, 3], "beside the bars nothing is asked for"


def click(bar: TrustBar, x: float) -> None:
    place, left = QPointF(x, 5.0), Qt.MouseButton.LeftButton
    event = QMouseEvent(QEvent.Type.MouseButtonPress, place, place, left, left, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(bar, event)


def leads_to_the_worst_place() -> None:
    shown: list[Doubt] = []
    marked: list[bool] = []
    panel = TrustPanel(shown.append, marked.append)
    assert panel.verdict.text() == "not examined"
    assert not (panel.worst.isEnabled() or panel.next.isEnabled())
    panel.go(0)
    panel.go_on()
    assert shown == [], "there is no place to go to"
    panel.show_trust([Trust("green"), Trust("red", ("too bright", "moved"), (INVENTED, MISSING))])
    assert panel.verdict.text().splitlines() == [
        "● green: the restoration agrees with the photons that were counted",
        "● red: too bright; moved",
    ]
    assert RED in panel.verdict.styleSheet()
    assert panel.place.text() == "2 places in this volume"
    for press in (panel.next, panel.next, panel.next, panel.worst):
        press.click()
    assert shown == [MISSING, INVENTED, MISSING, MISSING], "from the worst to the least, and round again"
    words = panel.place.text()
    assert words.startswith("place 1 of 2: missing, 12.0 times the noise") and "z slider at 3" in words
    panel.marks.toggle()
    panel.marks.toggle()
    assert marked == [False, True]
    panel.show_trust([Trust("amber", ("<b>dark</b>",), (INVENTED,))])
    assert panel.verdict.text() == "● amber: <b>dark</b>" and panel.verdict.textFormat() == Qt.TextFormat.PlainText
    assert AMBER in panel.verdict.styleSheet() and not panel.next.isEnabled()
    panel.go(1)
    assert shown[4:] == [], "the place before is gone"
    panel.show_trust(())
    assert panel.verdict.text() == "not examined" and panel.place.text() == "" and not panel.verdict.styleSheet()


def gives_long_words_their_height() -> None:
    panel = TrustPanel(lambda doubt: None, lambda visible: None)
    panel.resize(240, 400)
    panel.show()
    QApplication.processEvents()
    reasons = tuple(f"reason {n}, in words that fill a line of the dock and more of the next one" for n in range(5))
    panel.show_trust([Trust("red", reasons)])
    QApplication.processEvents()
    words = panel.verdict
    assert words.height() >= words.heightForWidth(words.width()) > 4 * words.fontMetrics().height()
    panel.resize(900, 400)
    QApplication.processEvents()
    assert words.minimumHeight() == words.heightForWidth(words.width()), "and less where they need less"


if __name__ == "__main__":
    app = QApplication([])
    scenes = {
        "bar": shows_the_light_over_time,
        "panel": leads_to_the_worst_place,
        "height": gives_long_words_their_height,
    }
    scenes[sys.argv[1]]()
    print("all is well")
