"""What a run has seen so far: counted in one place, read as a frozen `DaemonStatus`."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from care_live.images import NotRestored, Restored, StateChanged, Volume, VolumeKey
from care_live.percentiles import Span, flicker
from care_live.verdict import BADNESS, Trust

Phase: TypeAlias = Literal["starting", "waiting", "running", "draining", "finished", "failed"]

_RECENT = 4096
"""Ages kept for the percentiles; more than an hour at one volume a second."""
_MISSED = 32
"""Missed acquisitions whose names are kept."""


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """One look at a run. *Lost* is what never came; *skipped* and *refused* is what we chose not to do."""

    phase: Phase = "starting"
    run_id: str = ""
    model: str = ""
    provider: str = ""
    swap: str = ""
    """State of the last ``care-live swap``: the new network loads or is tried; why it was refused; by how much it
    differs from the network before, on one volume; or why the network before is back."""
    streaming: str = ""
    """How the last volume was restored: plane by plane, or whole and why."""
    planned_planes: int = 0
    received_planes: int = 0
    lost_planes: int = 0
    """Planned planes that did not come, of volumes that are closed."""
    dropped_planes: Mapping[str, int] = field(default_factory=dict)
    """Planes that came but have no place, by reason."""
    refused_planes: int = 0
    """Planes that the tap refused because its memory was full."""
    volumes: int = 0
    already_stored: int = 0
    """Volumes that came although an earlier session of this run had stored them: dropped."""
    incomplete_before: int = 0
    """Volumes that an earlier session of this run stored although planes of them were missing."""
    set_aside: int = 0
    """Raw files that an interrupted session left unacknowledged: moved into the run's quarantine at the start."""
    stored_raw: int = 0
    stored_restored: int = 0
    restored: int = 0
    restored_late: int = 0
    """Of these, from the store after the live moment had passed."""
    skipped: int = 0
    """Skipped live, by policy; restored later where the policy says so."""
    refused_volumes: int = 0
    failed: int = 0
    """Inference failed; raw is safe."""
    unrestored: int = 0
    """Given up after several failures, until a start with ``resume``."""
    shed: int = 0
    """Restored but not stored, since the disk was nearly full or too slow; restored again once it has space."""
    trust_green: int = 0
    """Restored volumes that agree with the photons that were counted."""
    trust_amber: int = 0
    """Volumes to look at before anyone relies on them, or that could not be examined."""
    trust_red: int = 0
    """Volumes that show something that was not counted, or lack something that was."""
    trust: str = ""
    """The verdict on the newest volume, with its reasons; of several channels the worst, after the channel's name."""
    residual_sd: float | None = None
    """Of the newest volume: standard deviation of its standardised residual at the middle scale; 1 is camera noise."""
    camera: str = ""
    """Gain, offset and read noise that volumes are compared with, and where they come from."""
    measured_psnr_db: float | None = None
    """Of the newest reference planes, less their own noise; None before the first of them."""
    measured_coverage: float | None = None
    """Share of the newest reference planes in the 90 % interval as it was drawn."""
    widening: float | None = None
    """By which scales are multiplied, as the newest reference planes ask for."""
    reference_dose: float | None = None
    """Exposure time of all reference planes over that of all others."""
    references_unused: int = 0
    """Volumes whose reference says nothing of their error."""
    reference_problem: str = ""
    """Why the last one of them says nothing: the specimen moved, for example."""
    more_runs: bool = False
    """Whether the source gives one run after the other."""
    suspect: int = 0
    incomplete: int = 0
    restarts: int = 0
    """Of inference processes."""
    networks: tuple[Mapping[str, Any], ...] = ()
    """Of several networks: name, channels, provider, volumes restored, MiB held between them; empty: one restores."""
    workers: tuple[Mapping[str, Any], ...] = ()
    """Of several inference processes: number, device, state, volumes restored, restarts; empty where one restores."""
    waiting_volumes: int = 0
    waiting_later: int = 0
    waiting_bytes: int = 0
    planes_per_s: float = 0.0
    volumes_per_s: float = 0.0
    age_ms_p50: float | None = None
    """From the last plane of a volume to its publication, live volumes only."""
    age_ms_p95: float | None = None
    infer_ms_p50: float | None = None
    flicker: float = 0.0
    """By how much of its range an unchanged pixel moved between the last two volumes of a place, the largest of
    all places; 0 with a fixed or locked range."""
    disk_free_mib: float | None = None
    disk_seconds_left: float | None = None
    uptime_s: float = 0.0
    detail: str = ""
    publishing: str = ""
    """What is wrong with publishing; empty: all is well."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """Failures of what the acquisition goes on without, by room: publishing, restoring, …"""
    warnings: tuple[str, ...] = ()
    """The first failure of each of these rooms, in words."""
    shortfalls: tuple[str, ...] = ()
    """What a run that has ended lacks; empty: all that was planned is stored."""

    def as_json(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return asdict(self)


class Tally:
    """Counts events of a run; safe to use from every stage.

    Parameters
    ----------
    clock_ns : monotonic clock, nanoseconds
    """

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._started_ns = clock_ns()
        self._counts: dict[str, Any] = {}
        self._ages_ms: deque[float] = deque(maxlen=_RECENT)
        self._infer_ms: deque[float] = deque(maxlen=_RECENT)
        self._plane_times_ns: deque[int] = deque(maxlen=512)
        self._volume_times_ns: deque[int] = deque(maxlen=32)
        self._suspect: set[VolumeKey] = set()
        self._faults: Counter[str] = Counter()
        self._warnings: list[str] = []
        """One a room."""
        self._missed: deque[str] = deque(maxlen=_MISSED)
        self._n_missed = 0
        self._spans: dict[tuple[int, int], Span] = {}
        self._flickers: dict[tuple[int, int], float] = {}
        self._trusts: dict[str, Trust] = {}
        """Of the newest volume of each channel."""

    def begin(self, run_id: str, *, missed: Iterable[str] = ()) -> None:
        """Count anew: another run begins; acquisitions before it that were missed stay among the warnings."""
        with self._lock:
            for name in missed:
                self._missed.append(f"acquisition {name} was missed, it is not restored")
                self._n_missed += 1
            lasting = ("phase", "model", "provider", "swap", "publishing", "more_runs")
            self._counts = {name: self._counts[name] for name in lasting if name in self._counts} | {"run_id": run_id}
            for past in (self._ages_ms, self._infer_ms, self._plane_times_ns, self._volume_times_ns):
                past.clear()
            for places in (self._suspect, self._spans, self._flickers, self._trusts):
                places.clear()

    def set(self, **values: Any) -> None:
        """Set fields of the status by name."""
        with self._lock:
            self._counts.update(values)

    def add(self, name: str, n: int = 1) -> None:
        """Count up a field of the status."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + n

    def fault(self, room: str, warning: str) -> bool:
        """Count a failure of a room that the acquisition goes on without; return whether it is that room's first."""
        with self._lock:
            self._faults[room] += 1
            is_first = self._faults[room] == 1
            self._warnings += [warning] if is_first else []
            return is_first

    def plane(self) -> None:
        with self._lock:
            self._plane_times_ns.append(self._clock_ns())

    def volume(self, volume: Volume) -> None:
        """Count a closed volume."""
        with self._lock:
            self._counts["volumes"] = self._counts.get("volumes", 0) + 1
            self._counts["incomplete"] = self._counts.get("incomplete", 0) + bool(volume.integrity.missing)
            self._volume_times_ns.append(self._clock_ns())
            if volume.state == "suspect":
                self._suspect.add(volume.key)

    def state(self, change: StateChanged) -> None:
        """Count a volume that turned suspect (once)."""
        if change.state == "suspect":
            with self._lock:
                self._suspect.add(change.key)

    def restored(self, restored: Restored, channel: str = "") -> float:
        """Count a restored volume of a channel, by name; return its age in milliseconds."""
        age_ms = (self._clock_ns() - restored.volume.last_plane_ns) / 1e6
        with self._lock:
            self._counts["restored"] = self._counts.get("restored", 0) + 1
            self._infer_ms.append(restored.infer_s * 1e3)
            self._note_trust(restored.trust, channel)
            if "late" in restored.flags:
                self._counts["restored_late"] = self._counts.get("restored_late", 0) + 1
            else:
                self._ages_ms.append(age_ms)
                self._note_range(restored)
        return age_ms

    def _note_trust(self, trust: Trust | None, channel: str) -> None:
        if trust is None:
            return
        name = f"trust_{trust.colour}"
        middle = trust.sd[len(trust.sd) // 2] if trust.sd else None
        self._counts[name] = self._counts.get(name, 0) + 1
        self._trusts[channel] = trust
        self._counts |= {"trust": _worst(self._trusts), "camera": trust.camera, "residual_sd": middle}
        if trust.unmeasured:
            self._counts["references_unused"] = self._counts.get("references_unused", 0) + 1
            self._counts["reference_problem"] = trust.unmeasured
        if (measured := trust.measured) is not None:
            self._counts |= {"measured_psnr_db": measured.psnr_db, "measured_coverage": measured.coverage}
            self._counts |= {"widening": measured.widening, "reference_dose": measured.dose}

    def _note_range(self, restored: Restored) -> None:
        place, span = (restored.key.p, restored.key.c), Span(restored.low, restored.high)
        self._flickers[place] = flicker(self._spans.get(place, span), span)
        self._spans[place] = span

    def not_restored(self, event: NotRestored) -> None:
        self.add(event.reason)

    def status(self) -> DaemonStatus:
        """Return everything as one frozen record."""
        with self._lock:
            return DaemonStatus(
                **self._counts,
                suspect=len(self._suspect),
                planes_per_s=_rate(self._plane_times_ns, self._clock_ns()),
                volumes_per_s=_rate(self._volume_times_ns, self._clock_ns()),
                age_ms_p50=_percentile(self._ages_ms, 50),
                age_ms_p95=_percentile(self._ages_ms, 95),
                infer_ms_p50=_percentile(self._infer_ms, 50),
                flicker=max(self._flickers.values(), default=0.0),
                uptime_s=(self._clock_ns() - self._started_ns) / 1e9,
                faults=dict(self._faults),
                warnings=(*self._warnings, *self._of_missed()),
            )

    def _of_missed(self) -> tuple[str, ...]:
        """Return what is said of missed acquisitions: the last ones by name, of all others their number."""
        n_earlier = self._n_missed - len(self._missed)
        earlier = (f"{n_earlier} acquisitions before these were missed, too",) if n_earlier else ()
        return (*self._missed, *earlier)


def _worst(trusts: Mapping[str, Trust]) -> str:
    """Return the worst verdict in words; of several channels after the name of its own."""
    channel, worst = max(trusts.items(), key=lambda one: BADNESS[one[1].colour])
    return f"{channel}: {worst}" if len(trusts) > 1 else str(worst)


def _rate(times_ns: deque[int], now_ns: int) -> float:
    """Return the events per second over the remembered ones; it falls towards 0 when none comes."""
    if len(times_ns) < 2:
        return 0.0
    return (len(times_ns) - 1) / max((now_ns - times_ns[0]) / 1e9, 1e-9)


def _percentile(values: deque[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None
