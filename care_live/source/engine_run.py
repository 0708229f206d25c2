"""The engine's process (``python -m care_live.source.engine_run``): one acquisition, its frames fed into the link.

Its job is a line of JSON on stdin: where to send, the token, and the source's section of the config. It loads the
devices and waits for a second line before the first exposure. It ends when the acquisition ends, when the daemon orders
it or has died, or when no frame came for too long.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from typing import Any

import msgspec
from pydantic import TypeAdapter

from care_live.config import MicroManagerConfig, PymmcorePlusConfig, SourceConfig, VirtualConfig
from care_live.errors import ConfigError, SourceError
from care_live.images import VolumeKey
from care_live.source.child_process import run_job
from care_live.source.engine_supervisor import FIRST_FRAME_S, Supervisor, Verdict
from care_live.source.outline import Outline
from care_live.source.reference_planes import with_references
from care_live.source.tap import Tap, planned
from care_live.source.tap_sender import Endpoint
from care_live.wire import plans

logger = logging.getLogger(__name__)

GO = b"go"
"""The second line on stdin: the daemon waits for the first frame."""

_STALLED_S = 5.0
_UNLOAD_S = 10.0


class EngineJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The daemon's order to this process."""

    address: str
    token: str
    source: dict[str, Any]
    stored: tuple[tuple[int, int, int], ...] = ()
    """Volumes (t, p, c) of a useq sequence that an earlier session has stored."""


def quiet_limit_s(events: list[dict[str, Any]], *, plane_s: float = 0.0) -> float:
    """Return how long no frame may come: 5 s, or 5 exposures and the longest planned wait."""
    longest_s = max((float(event.get("exposure") or 0.0) for event in events), default=0.0) / 1000
    starts = sorted({float(event.get("min_start_time") or 0.0) for event in events})
    wait_s = max((later - earlier for earlier, later in itertools.pairwise(starts)), default=0.0)
    return max(_STALLED_S, 5 * max(longest_s, plane_s) + wait_s)


def plane_s(config: VirtualConfig | MicroManagerConfig) -> float:
    """Return the time that a plane takes where the settings say it, seconds."""
    return 1 / config.plane_rate_hz if isinstance(config, VirtualConfig) and config.plane_rate_hz else 0.0


def left_of(every: Outline, events: list[dict[str, Any]], job: EngineJob) -> tuple[Outline, list[dict[str, Any]]]:
    """Return what is left of an acquisition, the first event at once and the others as long after it as planned.

    Raises
    ------
    ConfigError
        Two events are the same plane.
    """
    if len(set(every.order)) < len(every.order):
        raise ConfigError("two events of the acquisition are the same plane; the second would overwrite the first")
    if not job.stored:
        return every, events
    stored = frozenset(VolumeKey(*key) for key in job.stored)
    left = [event for event, is_left in zip(events, every.events_left(stored), strict=True) if is_left]
    early_s = float(left[0].get("min_start_time") or 0.0) if left else 0.0
    on_time = [
        {**one, "min_start_time": one["min_start_time"] - early_s} if "min_start_time" in one else one for one in left
    ]
    return every.without(stored), on_time


def run(job: EngineJob) -> Verdict:
    """Run the job to its end.

    Raises
    ------
    ConfigError, SourceError
        The acquisition could not begin.
    """
    config: Any = TypeAdapter(SourceConfig).validate_python(job.source)
    if isinstance(config, PymmcorePlusConfig):
        return run_useq(config, job)
    return run_pycromanager(config, job)


def run_pycromanager(config: VirtualConfig | MicroManagerConfig, job: EngineJob) -> Verdict:
    """Run pycromanager's engine on a virtual or a real microscope."""
    from care_live.source import micromanager

    events = micromanager.planned_events(config)
    core = _start_core(config)
    must_be_idle(core)
    if config.sequence is None:
        micromanager.prepare(core, config.acquisition)
    else:
        micromanager.prepare_for(core, events, hardware_sequence=config.acquisition.hardware_sequence)
    every = planned(events, cameras=micromanager.cameras_of(core, config))
    outline, events = left_of(every, events, job)
    plan = micromanager.plan_of(config, outline, core)
    plans.check(plan)
    await_go()
    must_be_idle(core)
    supervisor = Supervisor(quiet_s=quiet_limit_s(events, plane_s=plane_s(config)))
    tap = Tap(
        Endpoint(job.address, job.token),
        outline=outline,
        summary={"engine": "pycromanager", "source": config.kind},
        on_stop=supervisor.stop,
        pass_on=False,
        ends_with_producer=False,
    )
    tap.open(plan)
    java_port = config.port if isinstance(config, MicroManagerConfig) and config.backend == "java" else None
    if not config.acquisition.hardware_sequence:
        stage = core.get_focus_device()
        events = [micromanager.unmerged(event, stage) for event in events]
    acquiring = micromanager.MicroManagerAcquisition(events, core, tap, java_port=java_port)
    verdict = supervisor.watch(acquiring, tap.feed)
    tap.close(*verdict, within_s=supervisor.patience_s)
    return verdict


def run_useq(config: PymmcorePlusConfig, job: EngineJob) -> Verdict:
    """Run a useq sequence with pymmcore-plus."""
    from care_live.source import mda_sequence, pymmcore_plus

    sequence = with_references(mda_sequence.read_sequence(config.sequence), config.reference)
    core = pymmcore_plus.start_core(config.hardware_config)
    every = pymmcore_plus.outline_for(core, sequence)
    stored = frozenset(VolumeKey(*key) for key in job.stored)
    await_go()
    supervisor = Supervisor(quiet_s=mda_sequence.quiet_limit_s(sequence, at_least_s=_STALLED_S))
    observer = pymmcore_plus.Observer(
        core, Endpoint(job.address, job.token), on_stop=supervisor.stop, give=True, outline=every.without(stored)
    )
    left = mda_sequence.remaining(sequence, every, stored) if stored else sequence
    acquiring = pymmcore_plus.SequenceAcquisition(core, left, observer)
    feed = observer.wait_for_run(FIRST_FRAME_S)
    verdict = supervisor.watch(acquiring, feed)
    feed.close(*verdict, within_s=supervisor.patience_s)
    return verdict


def await_go() -> None:
    """Wait until the first frame is wanted.

    Raises
    ------
    SourceError
        The daemon has ended.
    """
    if sys.stdin.buffer.readline().strip() != GO:
        raise SourceError("the daemon ended before the acquisition began; no plane was exposed")


def must_be_idle(core: Any) -> None:
    """Refuse to begin while the camera brings frames to another program: ours would never come.

    Raises
    ------
    SourceError
        *Live* is on in Micro-Manager's window, or another acquisition runs.
    """
    if core.is_sequence_running():
        raise SourceError(
            "the camera of this Micro-Manager brings frames already: switch Live off in its window, or wait until its "
            "acquisition is over, and start again"
        )


def _start_core(config: VirtualConfig | MicroManagerConfig) -> Any:
    if isinstance(config, VirtualConfig):
        from care_live.source.mda_sequence import short_form
        from care_live.source.virtual import start_virtual_core

        return start_virtual_core(short_form(config))
    from care_live.source.micromanager import start_core

    return start_core(config)


def unload() -> None:
    """Unload the devices (a real shutter closes) within some seconds, even if a driver hangs.

    The tap is closed by then: every frame is sent, and no thread of care_live holds one.
    """
    if "pycromanager" not in sys.modules:
        return
    from care_live.source import micromanager

    thread = threading.Thread(target=micromanager.release, name="unload")
    thread.start()
    thread.join(_UNLOAD_S)


def acquire(job: EngineJob) -> None:
    """Run the job, and unload the devices."""
    logger.info("acquisition ended: %s %s", *run(job))
    unload()


if __name__ == "__main__":
    run_job(EngineJob, acquire)
