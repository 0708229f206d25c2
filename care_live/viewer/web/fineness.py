"""How much a browser's link takes: coarser pictures when they take long, finer ones when it has capacity left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from care_live.viewer.web.requests import Quality


class Fineness(NamedTuple):
    """How a picture is sent."""

    lossy: bool
    level: int
    """y and x are halved so often."""


LONGEST_FRAME_S = 4.0


@dataclass(slots=True)
class FrameTime:
    """How long a browser takes for a picture, so that the next one does not wait behind it for a whole frame.

    With two pictures in flight, one is drawn while the other waits. Sent half a frame later, the second is one and a
    half frames old on the screen, not two, and the browser never waits for it. The clock is an argument.
    """

    _frame_s: float = 0.0
    _taken_s: float = 0.0

    def taken(self, sent_s: float, now_s: float) -> None:
        """Note that the browser has drawn a picture."""
        self._frame_s = min(now_s - max(sent_s, self._taken_s), LONGEST_FRAME_S)  # longer: a hidden page
        self._taken_s = now_s

    def hold_s(self, sent_s: float, now_s: float) -> float:
        """Return how long to wait before another picture is sent behind one in flight."""
        return max(sent_s, self._taken_s) + self._frame_s / 2 - now_s


@dataclass
class Pace:
    """Steps between exact and coarse, by how long the last pictures travelled.

    A step changes the size of a picture by about a factor of four to eight. One slow picture may be a pause of the
    browser: two in a row make pictures coarser, and several quick ones make them finer again, so that they do not
    alternate.
    """

    allowed_s: float = 0.4
    """A picture should not travel longer than this."""
    step: int = 0
    _slow: int = 0
    _quick: int = 0

    STEPS: ClassVar[tuple[Fineness, ...]] = (
        Fineness(lossy=False, level=0),
        Fineness(lossy=True, level=0),
        Fineness(lossy=True, level=1),
        Fineness(lossy=True, level=2),
    )
    SLOW: ClassVar[int] = 2
    QUICK: ClassVar[int] = 4

    def measure(self, seconds: float) -> None:
        """Note how long a picture travelled, from its sending until the page had taken it."""
        self._slow = self._slow + 1 if seconds > self.allowed_s else 0
        self._quick = self._quick + 1 if seconds < self.allowed_s / 5 else 0
        if self._slow == self.SLOW:
            self._go(1)
        elif self._quick == self.QUICK:
            self._go(-1)

    def fineness(self, quality: Quality) -> Fineness:
        """Return how to send the next picture; a person's choice goes first."""
        if quality == "exact":
            return self.STEPS[0]
        if quality == "lossy":
            return self.STEPS[max(1, self.step)]
        return self.STEPS[self.step]

    def _go(self, steps: int) -> None:
        self.step = min(max(self.step + steps, 0), len(self.STEPS) - 1)
        self._slow = self._quick = 0
