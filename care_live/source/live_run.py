"""The process of a virtual microscope in Live (``python -m care_live.source.live_run``): a core, orders on stdin.

The first line of stdin is the job, each further one an order, as `StageOrder`. It ends with stdin.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

import msgspec

from care_live.config import VirtualConfig
from care_live.errors import CareLiveError, ConfigError
from care_live.source.live import live

logger = logging.getLogger(__name__)

CAMERA = "Virtual Camera"


class LiveJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Live and runs go, and the microscope's section of the config."""

    address: str
    address_of_runs: str
    microscope: dict[str, Any]


class StageOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person or a script wants; what is absent stays as it is."""

    x_um: float | None = None
    y_um: float | None = None
    z_um: float | None = None
    by_um: float | None = None
    """Moves the focus by this much."""
    exposure_ms: float | None = None
    laser: float | None = None
    live: bool | None = None
    snap: bool = False
    acquire: dict[str, Any] | None = None
    """A useq.MDASequence: Live stops, the sequence is recorded as a run, and Live goes on."""


def order_of(wanted: object) -> StageOrder:
    """Check an order.

    Raises
    ------
    ConfigError
        A key is unknown, or a value of the wrong type.
    """
    try:
        order = msgspec.convert(wanted, StageOrder)
    except msgspec.ValidationError as error:
        known = ", ".join(StageOrder.__struct_fields__)
        raise ConfigError(f"the order is invalid: {error}; it may have {known}") from error
    for name in ("exposure_ms", "laser"):
        if (value := getattr(order, name)) is not None and not 0 < value < 1e6:
            raise ConfigError(f"{name} = {value:g}: wanted a positive number")
    return order


def obey(core: Any, order: StageOrder) -> None:
    """Carry out an order on a core."""
    if order.x_um is not None or order.y_um is not None:
        x_um, y_um = core.getXYPosition()
        core.setXYPosition(x_um if order.x_um is None else order.x_um, y_um if order.y_um is None else order.y_um)
    if order.z_um is not None:
        core.setPosition(order.z_um)
    if order.by_um is not None:
        core.setPosition(core.getPosition() + order.by_um)
    if order.exposure_ms is not None:
        core.setExposure(order.exposure_ms)
    if order.laser is not None:
        core.setProperty(CAMERA, "LaserPower", order.laser)
    was_live = core.isSequenceRunning()
    if order.snap or order.acquire is not None or order.live is False:
        _stop(core)
    if order.snap:
        core.snapImage()
    if order.acquire is not None:
        _acquire(core, order.acquire)
    if order.live or (was_live and order.live is None and not order.snap):
        _start(core)


def _start(core: Any) -> None:
    if not core.isSequenceRunning():
        core.startContinuousSequenceAcquisition(0)


def _stop(core: Any) -> None:
    if core.isSequenceRunning():
        core.stopSequenceAcquisition()


def _acquire(core: Any, sequence: dict[str, Any]) -> None:
    from care_live.source.mda_sequence import read_sequence

    core.mda.run(read_sequence(sequence))


def run(job: LiveJob) -> None:
    """Start the microscope in Live, and obey until stdin ends."""
    from care_live.source.virtual import start_virtual_core

    config = VirtualConfig.model_validate(job.microscope)
    core = start_virtual_core(config)
    core.setExposure(config.acquisition.channels[0].exposure_ms)
    live(core, job.address, runs=job.address_of_runs, laser=(CAMERA, "LaserPower"))
    _start(core)
    for line in sys.stdin.buffer:
        try:
            obey(core, order_of(msgspec.json.decode(line)))
        except (CareLiveError, RuntimeError, msgspec.MsgspecError) as error:
            logger.error("order failed: %s", error)


def main() -> None:
    """Run the job on stdin; leave by os._exit, because a hanging driver must not keep the process."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.current_thread().name = "microscope"
    code = 0
    try:
        run(msgspec.json.decode(sys.stdin.buffer.readline(), type=LiveJob))
    except CareLiveError as error:
        logger.error("%s", error)
        code = error.exit_code
    except Exception as error:
        logger.exception("the microscope failed: %s: %s", type(error).__name__, error)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
