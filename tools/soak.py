"""A long run with troubles: ``python tools/soak.py [--hours 2 | --volumes 10000] [--seed 0]``

A tap sends volumes to a daemon in real time, through a relay; a viewer, a recorder and a listener watch. At random a
viewer freezes, inference is killed or hangs, the disk is slow, a link is cut, the clock jumps by an hour. In the end
every plane that was taken must be stored as it was, every volume restored, in the daemon's run and in the recorder's,
and, in runs of more than a quarter of an hour, no process may have grown by more than a tenth between the second and
the last quarter. Prints a table; exit code 1 when something is not so. ``--calm`` leaves the troubles out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from environment import ROOT, ensure, inference_extra

if TYPE_CHECKING:
    import psutil
    from soaking.samples import Sample

    from tests.faults.lab import DaemonUnderTest

JUDGED_VOLUMES = 3000
"""Growth is judged in longer runs only: a shorter one still fills the publisher's cache of 128 MiB."""
_CATCH_UP_S = 600.0
"""How long what was skipped may still be restored when the acquisition is over."""


@dataclass
class Outcome:
    """What a soak has come to."""

    samples: list[Sample] = field(default_factory=list)
    troubles: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


def soak(
    folder: Path, volumes: int, every: int, *, rate_hz: float = 3.0, seed: int = 0, pause_s: float | None = None
) -> Outcome:
    """Run the daemon on a number of volumes and check all of them; sample each *every* of them.

    Parameters
    ----------
    rate_hz : volumes a second
    pause_s : mean time between two troubles; none: no trouble
    """
    from soaking.troubles import happening, troubles

    from tests.faults.audience import viewer, viewers
    from tests.faults.lab import daemon
    from tests.make.runs import free_ports
    from tests.publish.relay import Relay

    outcome, source = Outcome(), f"tcp://127.0.0.1:{free_ports(1)[0]}"
    limits = {"restore": {"policy": "latest"}, "publish": {"replay_mib": 8}}
    with ExitStack() as opened:
        running = opened.enter_context(
            daemon(folder, source={"kind": "remote", "bind": source}, disturbed=True, **limits)
        )
        running.wait_until(lambda status: status.get("phase") == "waiting")
        camera_link = opened.enter_context(Relay(source))
        recorder_link = opened.enter_context(Relay(running.address))
        watching = opened.enter_context(viewers(folder, ["newest", "every"], running.address))
        watching.append(opened.enter_context(viewer(folder, "broadcast", str(running.tree["publish"]["bind"]))))
        recording = opened.enter_context(_recorder(folder, recorder_link.address))
        camera = opened.enter_context(_camera(camera_link.address, volumes, rate_hz))
        three = _Sampled(running, watching[0].process, every, outcome.samples)
        if pause_s is not None:
            choice = troubles(running, watching, camera_link, recorder_link)
            with happening(choice, seed, pause_s) as happened:
                three.sample_until(lambda: camera.poll() is not None)
            outcome.troubles = dict(happened.counts)
        three.sample_until(lambda: camera.poll() is not None)
        caught_up_s = time.monotonic() + _CATCH_UP_S
        three.sample_until(lambda: time.monotonic() > caught_up_s)
        outcome.complaints = _finish(running, camera, recording, volumes)
    return outcome


@dataclass
class _Sampled:
    """The daemon, its inference process and a watcher, which are looked at once in some volumes."""

    running: DaemonUnderTest
    watcher: psutil.Process
    every: int
    samples: list[Sample]

    def sample_until(self, is_over: Callable[[], bool]) -> None:
        """Sample until something is over, or the daemon has ended."""
        from soaking.samples import look_at

        while not is_over() and self.running.process.poll() is None:
            time.sleep(0.2)
            restored = self.running.status().get("restored", 0)
            if restored < self.every * (len(self.samples) + 1):
                continue
            if sample := look_at(restored, self.running.process, self.watcher):
                print(sample, flush=True)
                self.samples.append(sample)


def _finish(running: DaemonUnderTest, camera: subprocess.Popen, recording: subprocess.Popen, volumes: int) -> list[str]:
    """Wait for the ends of all, and compare the two runs with what the camera saw."""
    ends = {
        "camera": camera.wait(_CATCH_UP_S),
        "daemon": running.process.wait(_CATCH_UP_S),
        "recorder": recording.wait(_CATCH_UP_S),
    }
    complaints = [f"the {name} ended with exit code {code}" for name, code in ends.items() if code]
    for run in (running.run, running.folder / "copy" / running.run.name):
        complaints += [f"{run.parent.name}: {complaint}" for complaint in complaints_about(run, volumes)]
    return complaints + ([running.log[-2000:]] if ends["daemon"] else [])


def complaints_about(run: Path, volumes: int) -> Iterator[str]:
    import numpy as np
    from soaking import camera

    from care_live.store import RunReader, verify

    reader = RunReader(run)
    raw, restored = reader.keys("raw"), reader.keys("restored")
    if len(raw) != volumes:
        yield f"{volumes - len(raw)} of {volumes} raw volumes are lost"
    if restored != raw:
        yield f"{len(set(raw) - set(restored))} volumes were never restored"
    wrong = [key for key in raw if not np.array_equal(reader.read("raw", key), camera.volume(key.t))]
    if wrong:
        yield f"{len(wrong)} raw volumes are not what the camera saw, the first {tuple(wrong[0])}"
    if problems := verify(run).problems:
        yield f"{len(problems)} problems, the first: {problems[0]}"


@contextmanager
def _camera(address: str, volumes: int, rate_hz: float) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "soaking.camera", address, str(volumes), str(rate_hz)]
    with _process(command, cwd=ROOT / "tools") as process:
        yield process


@contextmanager
def _recorder(folder: Path, address: str) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "care_live", "record", address, "copy", "-q"]
    with _process(command, cwd=folder) as process:
        yield process


@contextmanager
def _process(command: list[str], cwd: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, cwd=cwd)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def main() -> int:
    """Soak, print what happened and what grew; return 1 when something is wrong."""
    options = _options()
    sys.path.append(str(ROOT))  # the daemon under test is that of the tests
    from soaking.samples import COLUMNS, growth

    volumes = options.volumes or round(options.hours * 3600 * options.rate)
    print(COLUMNS)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=options.folder) as folder:
        pause_s = None if options.calm else options.pause_s
        every = max(1, volumes // 40)
        outcome = soak(Path(folder), volumes, every, rate_hz=options.rate, seed=options.seed, pause_s=pause_s)
    print("\n".join(f"{n:5d} x {name}" for name, n in sorted(outcome.troubles.items())))
    grown = growth(outcome.samples) if volumes >= JUDGED_VOLUMES else None
    complaints = outcome.complaints + ([grown] if grown else [])
    judged = "; nothing grew" if volumes >= JUDGED_VOLUMES else ""
    print("\n".join(f"BAD: {complaint}" for complaint in complaints) or f"all {volumes} volumes are there{judged}")
    return 1 if complaints else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, default=2.0)
    length.add_argument("--volumes", type=int, help="instead of hours")
    parser.add_argument("--rate", type=float, default=3.0, help="volumes a second")
    parser.add_argument("--seed", type=int, default=0, help="of the troubles")
    parser.add_argument("--pause-s", type=float, default=15.0, help="mean time between two troubles")
    parser.add_argument("--calm", action="store_true", help="no troubles")
    parser.add_argument("--folder", type=Path, help="where the runs are written, about 150 KiB a volume")
    return parser.parse_args()


if __name__ == "__main__":
    ensure(inference_extra(), "mm", "view")
    sys.exit(main())
