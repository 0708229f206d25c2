"""How a network is to be run offline: the settings of a person, in the words of `care_live.open_network`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import ValidationError

from care_live.checksum import crc32c
from care_live.config import RestoreConfig, describe
from care_live.errors import ConfigError


class NetworkSettings(TypedDict, total=False):
    """What `open_network` and `restore` take beside the network; all may be left out."""

    provider: Literal["auto", "cuda", "tensorrt", "cpu", "openvino"]
    """What runs the network; *auto* by default."""
    threads: int
    """Of inference on the CPU; 0, the default: all cores."""
    tile_px: tuple[int, int, int] | None
    """Largest tile (z, y, x), halo included; None: the whole field while memory lasts."""
    normalise: Literal["locked-after-k", "ema", "per-volume"]
    """How the range follows a time-lapse; *locked-after-k* by default."""
    counts: tuple[float, float] | None
    """Fixed range: the pixel values that become 0 and 1."""
    fast_mode: bool
    """Compute with reduced precision, flagged in the result."""
    camera: str | Path | None
    """Camera file of ``care-live camera``, with which results are compared; None: the camera is estimated."""
    quantised: bool
    """Fetch results from a GPU as codes of 3 bytes per voxel."""


def restore_config(settings: NetworkSettings, *, channel: Sequence[Mapping[str, Any]] = ()) -> RestoreConfig:
    """Return the section that the method takes; whole volumes, never planes.

    Parameters
    ----------
    channel : entries of ``[[restore.channel]]``; none: one network for all

    Raises
    ------
    ConfigError
        A setting is unknown or has a value that it can't have.
    """
    tree: dict[str, Any] = {**settings, "streaming": "off", "channel": tuple(channel)}
    tree["normalise"] = {"mode": tree.pop("normalise", "locked-after-k")}
    if camera := tree.get("camera"):
        tree["camera"] = Path(camera).resolve()  # workers have other folders
    if counts := tree.pop("counts", None):
        tree["normalise"] = {"mode": "fixed", "low_counts": counts[0], "high_counts": counts[1]}
    try:
        return RestoreConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(describe(error)) from error


def what_shapes_the_result(config: RestoreConfig) -> dict[str, Any]:
    """Return the settings on which voxels and verdicts depend, JSON-able: the number of threads does not matter.

    Raises
    ------
    ConfigError
        The camera file can't be read.
    """
    chosen = config.model_dump(mode="json", include={"provider", "tile_px", "normalise", "fast_mode", "quantised"})
    if config.normalise.mode != "fixed":
        for name in ("low_counts", "high_counts"):
            del chosen["normalise"][name]
    return chosen | {"camera": None if config.camera is None else _camera_by_its_bytes(config.camera)}


def _camera_by_its_bytes(path: Path) -> str:
    """Return what names a camera file wherever it lies: the same bytes are the same camera, at another path, too."""
    try:
        return f"crc32c {crc32c(path.read_bytes()):08x}"
    except OSError as error:
        raise ConfigError(f"cannot read the camera file {path}: {error.strerror or error}") from error


def is_numbers(dtype: str) -> bool:
    """Return whether pixels of a type are no camera counts."""
    return dtype not in ("uint8", "uint16")
