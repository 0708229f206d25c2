"""A small run to report on."""

from __future__ import annotations

from care_live.verdict import Doubt, MeasuredError, Trust

PLANES = (0, 1, 2)
WRONG = Trust(
    "red",
    ("the restoration shows something that the camera did not count",),
    doubts=(Doubt("invented", (1, 5, 7), 9.0),),
    measured=MeasuredError(0, 31.5, 0.88, 1.2, 0.03),
    unmeasured="the reference at time point 9 says nothing: the specimen <moved>",
)
CAME = (PLANES, (1,), PLANES)
