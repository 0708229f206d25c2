"""The demo: a flatworm that swims on the virtual microscope, and how near its restoration comes to the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_live import metrics
from care_live.config import AcquisitionConfig, Config, StoreConfig, VirtualConfig
from care_live.daemon.demo_figure import picture_of
from care_live.daemon.run_metrics import DaemonStatus
from care_live.errors import ConfigError
from care_live.images import VolumeKey
from care_live.source.virtual import truth
from care_live.store import RunReader

_KEYS = (
    "planned_planes",
    "received_planes",
    "lost_planes",
    "volumes",
    "restored",
    "skipped",
    "suspect",
    "age_ms_p50",
    "age_ms_p95",
    "provider",
    "model",
    "trust_green",
    "trust_amber",
    "trust_red",
)
_MOST_SCORED = 20
"""Volumes that are scored; rendering the truth of hundreds would take longer than the run."""


def config(directory: Path, volumes: int, base: Config | None = None, *, lies: bool = False) -> Config:
    """Return the demo's config: volumes of 32x256x256 in low light, one every three seconds.

    Where it *lies*, the restoration shows a nucleus that is not there in one volume, and lacks one in another.

    Raises
    ------
    ConfigError
        The config is not one of the virtual microscope, the only source with a known truth.
    """
    base = base or Config(source=VirtualConfig(acquisition=AcquisitionConfig(interval_s=3.0)))
    source = base.source
    if not isinstance(source, VirtualConfig):
        raise ConfigError(f"the demo needs source.kind = 'virtual', the config has {source.kind!r}; use care-live run")
    acquisition = source.acquisition.model_copy(update={"time_points": volumes})
    source = source.model_copy(update={"acquisition": acquisition})
    restore = base.restore.model_copy(update={"lies": lies or base.restore.lies})
    return base.model_copy(update={"source": source, "restore": restore, "store": StoreConfig(directory=directory)})


def figures(config: Config, run_id: str, status: DaemonStatus) -> dict[str, Any]:
    """Return what the run did, and the scores of raw and restored volumes against the truth (means)."""
    counted = {key: value for key, value in status.as_json().items() if key in _KEYS}
    raw, restored = [], []
    reader = RunReader(config.store.directory / run_id)
    for key in sorted(reader.keys("restored"))[:_MOST_SCORED]:
        target = _truth(config, key)
        raw.append(metrics.score(reader.read("raw", key), target))
        restored.append(metrics.score(reader.read("restored", key), target))
    return counted | {
        "psnr_raw_db": _mean([score.psnr_db for score in raw]),
        "psnr_restored_db": _mean([score.psnr_db for score in restored]),
        "ssim_raw": _mean([score.ssim for score in raw]),
        "ssim_restored": _mean([score.ssim for score in restored]),
    }


def red_lights(config: Config, run_id: str) -> list[str]:
    """Return one line for each volume that contradicts the photons, with the reasons."""
    reader = RunReader(config.store.directory / run_id)
    verdicts = ((key, reader.restoration(key).trust) for key in sorted(reader.keys("restored")))
    return [f"t={key.t}: {trust}" for key, trust in verdicts if trust is not None and trust.colour == "red"]


def draw(config: Config, run_id: str, path: Path) -> None:
    """Write ``raw | restored | uncertainty | truth`` of the last restored volume as a PNG.

    Top: the middle plane; bottom: the maximum along y. Grey between percentiles of each; uncertainty is the
    Laplace scale, from dark (sure) to yellow.

    Raises
    ------
    ConfigError
        Nothing was restored, or the file cannot be written.
    """
    reader = RunReader(config.store.directory / run_id)
    keys = sorted(reader.keys("restored"))
    if not keys:
        raise ConfigError(f"run {run_id} has no restored volume to draw")
    volumes = [reader.read(product, keys[-1]) for product in ("raw", "restored", "laplace_scale")]
    picture = picture_of([*volumes, _truth(config, keys[-1])])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error}") from error


def _truth(config: Config, key: VolumeKey) -> NDArray[np.float32]:
    assert isinstance(config.source, VirtualConfig)
    return truth(config.source, key)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
