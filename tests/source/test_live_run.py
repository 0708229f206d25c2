"""An order on a core: what moves, what stops Live, and what goes on with it."""

from __future__ import annotations

from typing import Any

import pytest

from care_live.source.live_run import CAMERA, obey
from care_live.source.stage_orders import StageOrder


class Core:
    """A core that notes its orders."""

    def __init__(self, *, live: bool = False, error: Exception | None = None) -> None:
        self.did: list[Any] = []
        self.is_live, self._error = live, error
        self.mda = self

    def getXYPosition(self) -> tuple[float, float]:  # noqa: N802 - the core's names
        return (10.0, 20.0)

    def getPosition(self) -> float:  # noqa: N802
        return 5.0

    def isSequenceRunning(self) -> bool:  # noqa: N802
        return self.is_live

    def startContinuousSequenceAcquisition(self, interval_ms: float) -> None:  # noqa: N802
        self.is_live = True
        self.did.append("start")

    def stopSequenceAcquisition(self) -> None:  # noqa: N802
        self.is_live = False
        self.did.append("stop")

    def run(self, sequence: Any) -> None:
        assert not self.is_live, "Live would take the frames of the run"
        self.did.append("acquire")
        if self._error is not None:
            raise self._error

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.did.append((name, *arguments))


@pytest.mark.parametrize(
    ("order", "did"),
    [
        (StageOrder(x_um=1.0), [("setXYPosition", 1.0, 20.0)]),
        (StageOrder(y_um=2.0), [("setXYPosition", 10.0, 2.0)]),
        (StageOrder(x_um=0.0, y_um=0.0), [("setXYPosition", 0.0, 0.0)]),
        (StageOrder(z_um=0.0), [("setPosition", 0.0)]),
        (StageOrder(by_um=-7.0), [("setPosition", -2.0)]),
        (StageOrder(exposure_ms=4.0, laser=2.0), [("setExposure", 4.0), ("setProperty", CAMERA, "LaserPower", 2.0)]),
    ],
)
def test_only_what_is_ordered_moves_and_live_goes_on(order: StageOrder, did: list[Any]) -> None:
    core = Core(live=True)
    obey(core, order)
    assert core.did == did and core.is_live


@pytest.mark.parametrize(
    ("live", "order", "did", "is_live"),
    [
        (False, StageOrder(live=True), ["start"], True),
        (True, StageOrder(live=True), [], True),
        (True, StageOrder(live=False), ["stop"], False),
        (False, StageOrder(live=False), [], False),
        (True, StageOrder(snap=True), ["stop", ("snapImage",)], False),
        (True, StageOrder(snap=True, live=True), ["stop", ("snapImage",), "start"], True),
        (True, StageOrder(acquire={"channels": ["DAPI"]}), ["stop", "acquire", "start"], True),
        (False, StageOrder(acquire={"channels": ["DAPI"]}), ["acquire"], False),
        (True, StageOrder(acquire={"channels": ["DAPI"]}, live=False), ["stop", "acquire"], False),
    ],
)
def test_a_snap_ends_live_and_a_run_interrupts_it(live: bool, order: StageOrder, did: list[Any], is_live: bool) -> None:
    core = Core(live=live)
    obey(core, order)
    assert core.did == did and core.is_live == is_live


def test_live_goes_on_after_a_run_that_failed() -> None:
    core = Core(live=True, error=RuntimeError("the stage is stuck"))
    with pytest.raises(RuntimeError, match="stuck"):
        obey(core, StageOrder(acquire={"channels": ["DAPI"]}))
    assert core.did == ["stop", "acquire", "start"] and core.is_live
