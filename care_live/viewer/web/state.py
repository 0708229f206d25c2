"""What the page receives beside pictures: the run, its network, and the status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from care_live.images import LIMITS, VolumeKey
from care_live.maps import MAPS, folder_of
from care_live.model.reliability import LEVELS
from care_live.viewer.view_records import NetworkInfo, RunInfo
from care_live.viewer.volume_index import VolumeIndex

if TYPE_CHECKING:
    from care_live.viewer.web.viewer_session import ViewerSession


_LAYERS: list[dict[str, Any]] = [
    {"folder": "raw", "product": "raw", "limits": None},
    *({"folder": folder_of(head), "product": head, "limits": kind.limits} for head, kind in MAPS.items()),
]
"""What a run's folder may have, for viewers that read it themselves."""


def run(info: RunInfo, directory: Path | None, data_token: str) -> dict[str, Any]:
    """Return the message that describes the run and its networks."""
    return {
        "type": "run",
        "run_id": info.run_id,
        "channels": info.channels,
        "positions": info.positions,
        "model": info.model,
        "limits": info.limits or LIMITS,
        "card": info.card,
        "calibrated": all(one.calibration is not None for one in info.current) and bool(info.current),
        "half_widths": _half_widths(info.network_of(0)),
        "networks": [
            {"name": one.name, "channels": one.channels, "half_widths": _half_widths(one)} for one in info.current
        ],
        "ended": info.ended,
        "directory": str(directory) if directory else "",
        "data": f"/data/{data_token}/" if directory else "",
        "layers": [layer for layer in _LAYERS if directory and (directory / layer["folder"]).is_dir()],
    }


def _half_widths(network: NetworkInfo) -> dict[str, float]:
    return {str(level): network.half_width_factor(level) for level in LEVELS}


def status(index: VolumeIndex, keys: tuple[VolumeKey, ...], session: ViewerSession) -> dict[str, Any]:
    """Return the message with the status of the run, the link and this viewer."""
    cache, system = index.cache, index.cache.status
    return {
        "type": "status",
        "connected": system.connected,
        "detail": system.detail,
        "problem": index.history.problem if index.history else "",
        "volumes_per_s": cache.volumes_per_s() if system.volumes_per_s is None else system.volumes_per_s,
        "skipped_by_viewer": session.skipped + system.missed_messages,
        "lost_planes": system.lost_planes,
        "lost_volumes": system.lost_volumes,
        "not_restored": system.skipped_volumes,
        "workers": system.workers,
        "disk_seconds_left": system.disk_seconds_left,
        "times": sorted({key.t for key in keys}),
        "positions": sorted({key.p for key in keys}),
    }


def restoring(index: VolumeIndex) -> dict[str, Any]:
    """Return the message about the volume that is being restored, and how far it is; without one, only its type."""
    records = index.cache.growing()
    if not records:
        return {"type": "restoring"}
    n = min(one.n_restored or 0 for one in records)
    key, (of, _, _) = records[0].key, records[0].shape
    return {"type": "restoring", "t": key.t, "p": key.p, "n": n, "of": of}
