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
from care_live.errors import CareLiveError
from care_live.source.live import live
from care_live.source.stage_orders import LiveJob, StageOrder, order_of

logger = logging.getLogger(__name__)

CAMERA = "Virtual Camera"

_REFUSALS = (CareLiveError, RuntimeError, ValueError, msgspec.MsgspecError)
"""What an order may fail with, the core's errors among them: ValueError for a preset that it lacks."""


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
    try:
        if order.acquire is not None:
            _acquire(core, order.acquire)
    finally:
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
        except _REFUSALS as error:
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
