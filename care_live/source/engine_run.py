"""The engine's process (``python -m care_live.source.engine_run``): one acquisition, its frames fed into the link.

Its job is a line of JSON on stdin: where to send, the token, and the source's section of the config. It loads the
devices and waits for a second line before the first exposure. It ends when the acquisition ends, when the daemon asks
for it or is gone, or when no frame came for too long.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any, NamedTuple, Protocol

import msgspec
from pydantic import TypeAdapter

from care_live.config import AcquisitionConfig, MicroManagerConfig, PymmcorePlusConfig, SourceConfig, VirtualConfig
from care_live.errors import CareLiveError, ConfigError, SourceError
from care_live.source.frame_recorder import FrameRecorder, Reason
from care_live.source.tap import Tap, planned
from care_live.source.tap_sender import Endpoint
from care_live.wire import plans

logger = logging.getLogger(__name__)

GO = b"go"
"""The second line on stdin: somebody waits for the first frame."""

_STALLED_S = 5.0
_FIRST_FRAME_S = 15.0
"""Stages move to their places before the first frame."""
_ORPHAN_S = 60.0
"""No word from the daemon for so long: it is gone (where the system does not tell)."""
_TURN_S = 0.1
_ABORT_S = 10.0
_ORPHAN_ABORT_S = 1.0
"""The next daemon waits for the devices."""
_SEND_S = 30.0
_UNLOAD_S = 10.0


class EngineJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the daemon asks this process to do."""

    address: str
    token: str
    source: dict[str, Any]


class Acquiring(Protocol):
    """An acquisition under way."""

    @property
    def error(self) -> str | None:
        """What the engine complained about, once it is over."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False: not yet."""

    def abort(self) -> None:
        """Ask for its end, without waiting."""


class Verdict(NamedTuple):
    """How a run ended."""

    reason: Reason
    detail: str = ""


class Supervisor:
    """Watches an acquisition from outside of the engine's threads."""

    def __init__(self, *, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._asked = threading.Event()
        self._why = ""
        self._parent = os.getppid()

    @property
    def is_orphan(self) -> bool:
        """Whether the daemon is dead; the next one wants the devices."""
        return os.getppid() != self._parent

    def stop(self, reason: str) -> None:
        """Somebody asks for the end; from any thread."""
        self._why = reason
        self._asked.set()

    @property
    def patience_s(self) -> float:
        """How long the daemon may take to fetch what it lacks."""
        return 0.0 if self.is_orphan else _SEND_S

    def watch(self, acquiring: Acquiring, feed: FrameRecorder) -> Verdict:
        """Wait for the end of an acquisition, bring it about where need be, and say how it was."""
        while not acquiring.wait(_TURN_S):
            if verdict := self._must_end(feed):
                acquiring.abort()
                acquiring.wait(_ORPHAN_ABORT_S if self.is_orphan else _ABORT_S)
                return verdict
        if acquiring.error is not None:
            return Verdict("failed", acquiring.error)
        if feed.n_came < feed.n_planned:
            came = f"{feed.n_came} of {feed.n_planned}"
            return Verdict("failed", f"the engine stopped after {came} planes and did not say why")
        return Verdict(*feed.verdict())

    def _must_end(self, feed: FrameRecorder) -> Verdict | None:
        if self._asked.is_set():
            return Verdict("aborted", self._why)
        if self.is_orphan or feed.daemon_silent_s > _ORPHAN_S:
            return Verdict("aborted", "the daemon is gone")
        limit_s = self._quiet_s if feed.n_came else max(self._quiet_s, _FIRST_FRAME_S)
        return Verdict("stalled", f"no frame for {feed.quiet_s:.1f} s") if feed.quiet_s > limit_s else None


def quiet_limit_s(acquisition: AcquisitionConfig, *, plane_s: float = 0.0) -> float:
    """Return how long no frame may come: 5 s, or 5 exposures and the planned interval."""
    longest_s = max(channel.exposure_ms for channel in acquisition.channels) / 1000
    return max(_STALLED_S, 5 * max(longest_s, plane_s) + acquisition.interval_s)


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

    core = _start_core(config)
    acquisition = config.acquisition
    micromanager.prepare(core, acquisition)
    events = micromanager.events_of(acquisition)
    outline = planned(events, cameras=micromanager.cameras_of(core, config))
    plan = micromanager.plan_of(acquisition, outline, core)
    plans.check(plan)
    await_go()
    plane_s = 1 / config.plane_rate_hz if isinstance(config, VirtualConfig) and config.plane_rate_hz else 0.0
    supervisor = Supervisor(quiet_s=quiet_limit_s(acquisition, plane_s=plane_s))
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
    if not acquisition.hardware_sequence:
        stage = core.get_focus_device()
        events = [micromanager.unmerged(event, stage) for event in events]
    acquiring = micromanager.MicroManagerAcquisition(events, core, tap, java_port=java_port)
    verdict = supervisor.watch(acquiring, tap.feed)
    tap.close(*verdict, within_s=supervisor.patience_s)
    return verdict


def run_useq(config: PymmcorePlusConfig, job: EngineJob) -> Verdict:
    """Run a useq sequence with pymmcore-plus."""
    from care_live.source import pymmcore_plus

    sequence = pymmcore_plus.read_sequence(config.sequence)
    core = pymmcore_plus.start_core(config.hardware_config)
    pymmcore_plus.refuse_unfit(core, sequence)
    await_go()
    supervisor = Supervisor(quiet_s=pymmcore_plus.quiet_limit_s(sequence, at_least_s=_STALLED_S))
    observer = pymmcore_plus.Observer(core, Endpoint(job.address, job.token), on_stop=supervisor.stop, give=True)
    acquiring = pymmcore_plus.SequenceAcquisition(core, sequence, observer)
    feed = observer.wait_for_run(_FIRST_FRAME_S)
    verdict = supervisor.watch(acquiring, feed)
    feed.close(*verdict, within_s=supervisor.patience_s)
    return verdict


def await_go() -> None:
    """Wait until the first frame is wanted.

    Raises
    ------
    SourceError
        The daemon does not want it any more.
    """
    if sys.stdin.buffer.readline().strip() != GO:
        raise SourceError("the daemon ended before the acquisition began; no plane was exposed")


def _start_core(config: VirtualConfig | MicroManagerConfig) -> Any:
    if isinstance(config, VirtualConfig):
        from care_live.source.virtual import start_virtual_core

        return start_virtual_core(config)
    from care_live.source.micromanager import start_core

    return start_core(config)


def unload() -> None:
    """Let the devices go (a real shutter closes); not longer than some seconds, whatever a driver does.

    The tap is closed by then: every frame is sent, and no thread of ours holds one.
    """
    if "pycromanager" not in sys.modules:
        return
    from care_live.source import micromanager

    thread = threading.Thread(target=micromanager.release, name="unload")
    thread.start()
    thread.join(_UNLOAD_S)


def main() -> None:
    """Run the job on stdin; leave by os._exit, because a hanging driver must not keep the process."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # systemd sends it to all; the daemon asks for the end in order
    code = 0
    try:
        verdict = run(msgspec.json.decode(sys.stdin.buffer.readline(), type=EngineJob))
        logger.info("acquisition ended: %s %s", *verdict)
        unload()
    except CareLiveError as error:
        logger.error("%s", error)
        code = error.exit_code
    except msgspec.MsgspecError as error:
        logger.error("%s", ConfigError(f"stdin holds no job: {error}"))
        code = 2
    except Exception as error:
        logger.exception("the engine failed: %s: %s", type(error).__name__, error)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
