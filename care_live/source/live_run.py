"""The process of a virtual microscope in Live (``python -m care_live.source.live_run``): a core, orders on stdin.

The first line of stdin is the job, each further one an order, as `StageOrder`; each is answered on stdout once it was
carried out, or has failed, as `OrderAnswer`. It ends with stdin.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import msgspec

from care_live.config import VirtualConfig
from care_live.errors import CareLiveError
from care_live.source.child_process import answers_on_stdout, run_job
from care_live.source.live import live
from care_live.source.stage_orders import LiveJob, OrderAnswer, StageOrder, order_of
from care_live.source.tap_sender import Endpoint

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
    answers = answers_on_stdout()
    from care_live.source.pymmcore_plus import Observer
    from care_live.source.virtual import start_virtual_core

    threading.current_thread().name = "microscope"
    config = VirtualConfig.model_validate(job.microscope)
    core = start_virtual_core(config)
    core.setExposure(config.acquisition.channels[0].exposure_ms)
    sender = live(core, job.address, runs=None, laser=(CAMERA, "LaserPower"))
    sender.observer = Observer(core, Endpoint(job.address_of_runs, origin=job.origin))
    _start(core)
    for number, line in enumerate(sys.stdin.buffer):
        answers.write(msgspec.json.encode(OrderAnswer(number, _obeyed(core, line))) + b"\n")


def _obeyed(core: Any, line: bytes) -> str:
    """Carry out an order; return why that was not possible, empty: it was."""
    try:
        obey(core, order_of(msgspec.json.decode(line)))
    except _REFUSALS as error:
        logger.error("order failed: %s", error)
        return str(error) or type(error).__name__
    return ""


if __name__ == "__main__":
    run_job(LiveJob, run)
