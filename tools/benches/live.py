"""Age of a restored volume, from its last plane to its publication, while a virtual microscope records.

The whole system runs twice in one go: streamed, and whole volume by whole volume. Ranges are locked after the
first volume, which does not count. A deadline is missed when a volume is older than a stack takes to record, or
skipped and restored later.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from benches._pairs import say
from care_live.config import (
    AcquisitionConfig,
    Config,
    DaemonConfig,
    NormaliseConfig,
    PublishConfig,
    RestoreConfig,
    StoreConfig,
    VirtualConfig,
)
from care_live.daemon.run import Daemon
from care_live.images import Frame, Restored, Volume, VolumeKey
from care_live.model import file
from care_live.model.card import ModelCard
from care_live.model.unet_graph import UNetShape, build, seeded_weights
from care_live.publish.broadcast import Broadcast
from care_live.publish.publisher import Publisher
from care_live.worker.arrivals import Arrivals


@dataclass
class Timeline:
    """When what happened to one volume, seconds of the monotonic clock."""

    planes: list[float] = field(default_factory=list)
    slabs: list[tuple[float, int]] = field(default_factory=list)
    """When, and how many planes were final then."""
    published: float = 0.0
    age_ms: float = 0.0


def measure(arguments: list[str]) -> dict[str, float]:
    parser = argparse.ArgumentParser(prog="live", description=__doc__)
    parser.add_argument("--plane-rate", type=float, default=8.0, help="planes per second")
    parser.add_argument("--planes", type=int, default=32)
    parser.add_argument("--field", type=int, default=160, help="pixels along y and x")
    parser.add_argument("--volumes", type=int, default=10)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--streaming", choices=["on", "auto"], default="on", help="auto: only where it pays")
    parser.add_argument("--plot", type=Path, help="draw the timeline of a volume to this PNG")
    asked = parser.parse_args(arguments)
    figures: dict[str, float] = {}
    timelines = {}
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        model = _write_model(Path(folder) / "model.onnx", asked.filters)
        for how in ("streamed", "whole"):
            timelines[how] = _run(asked, model, how, Path(folder))
            if not timelines[how]:
                raise SystemExit(
                    f"no volume was restored live: this machine is too slow for {asked.plane_rate} planes/s"
                )
            figures |= _figures(how, timelines[how], asked)
    figures["age_ratio_p50"] = figures["streamed_age_ms_p50"] / figures["whole_age_ms_p50"]
    if asked.plot:
        _plot(timelines, asked.plot)
    return figures


def _write_model(path: Path, filters: int) -> Path:
    unet = UNetShape(filters=filters)
    onnx.save(build(unet, seeded_weights(unet)), path)
    card = ModelCard(name="bench", divisor=(4, 4, 4), halo_px=(24, 24, 24), heads=("mean", "laplace_scale"))
    file.write_card(path, card)
    return path


def _run(asked: argparse.Namespace, model: Path, how: str, folder: Path) -> list[Timeline]:
    """Run the whole system once; return the timelines of all volumes but the first two that were published live."""
    acquisition = AcquisitionConfig(time_points=asked.volumes + 2, z_planes=asked.planes)
    config = Config(
        source=VirtualConfig(
            acquisition=acquisition, shape_px=(asked.field, asked.field), plane_rate_hz=asked.plane_rate
        ),
        restore=RestoreConfig(
            model=model,
            streaming=asked.streaming if how == "streamed" else "off",
            normalise=NormaliseConfig(lock_after_volumes=1),
        ),
        store=StoreConfig(directory=folder / "runs"),
        publish=PublishConfig(bind="tcp://127.0.0.1:*", bind_pull="tcp://127.0.0.1:*"),
        daemon=DaemonConfig(status_bind="127.0.0.1:0"),
    )
    with _noted() as timelines:
        status = Daemon(config, how).run()
    say(f"{how}: {status.restored} of {status.volumes} volumes restored, {status.skipped} skipped; {status.streaming}")
    return [timeline for key, timeline in sorted(timelines.items()) if key.t >= 2 and timeline.published]


@contextmanager
def _noted() -> Iterator[dict[VolumeKey, Timeline]]:
    """Note when planes come and what is published, at the doors of the rooms."""
    timelines: dict[VolumeKey, Timeline] = {}
    place, publish, slab = Arrivals.place, Publisher.publish, Broadcast.slab

    def placed(self: Arrivals, frame: Frame) -> None:
        timelines.setdefault(frame.index.volume, Timeline()).planes.append(time.monotonic())
        place(self, frame)

    def published(self: Publisher, record: Restored | Volume, **how: bool) -> None:
        publish(self, record, **how)
        if isinstance(record, Restored) and "late" not in record.flags:
            timeline = timelines.setdefault(record.volume.key, Timeline())
            timeline.published = time.monotonic()
            timeline.age_ms = 1e3 * timeline.published - record.volume.last_plane_ns / 1e6

    def slab_published(self: Broadcast, planes: Restored) -> None:
        timeline = timelines.setdefault(planes.key, Timeline())
        timeline.slabs.append((time.monotonic(), planes.z.stop if planes.z is not None else 0))
        slab(self, planes)

    Arrivals.place, Publisher.publish, Broadcast.slab = placed, published, slab_published
    try:
        yield timelines
    finally:
        Arrivals.place, Publisher.publish, Broadcast.slab = place, publish, slab


def _figures(how: str, timelines: list[Timeline], asked: argparse.Namespace) -> dict[str, float]:
    deadline_ms = 1000 * asked.planes / asked.plane_rate
    ages = [timeline.age_ms for timeline in timelines]
    percentiles = {f"{how}_age_ms_p{q}": float(np.percentile(ages, q)) for q in (50, 95, 99)}
    early = [timeline.slabs[-1][1] for timeline in timelines if timeline.slabs]
    return percentiles | {
        f"{how}_deadline_misses": float(asked.volumes - sum(age <= deadline_ms for age in ages)),
        f"{how}_planes_before_last": float(np.median(early)) if early else 0.0,
    }


def _plot(timelines: dict[str, list[Timeline]], path: Path) -> None:
    """Draw planes in, planes restored and the volume published, of the volume of median age."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, rows = pyplot.subplots(len(timelines), sharex=True, figsize=(9, 5), layout="constrained")
    for row, (how, found) in zip(rows, timelines.items(), strict=True):
        shown = sorted(found, key=lambda timeline: timeline.age_ms)[len(found) // 2]
        begun, n = shown.planes[0], len(shown.planes)
        row.step([at - begun for at in shown.planes], range(1, n + 1), where="post", label="planes recorded")
        slabs = [(begun, 0), *shown.slabs, (shown.published, n)]
        row.step([at - begun for at, _ in slabs], [count for _, count in slabs], where="post", label="planes published")
        row.axvline(
            shown.published - begun, color="black", lw=1, ls=":", label=f"volume published, age {shown.age_ms:.0f} ms"
        )
        row.set(title=how, ylabel="planes")
        row.legend(loc="upper left", frameon=False)
    rows[-1].set_xlabel("seconds since the first plane")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
