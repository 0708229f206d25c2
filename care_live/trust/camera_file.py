"""A camera in a file: NumPy's .npz of its figures, and the offset and noise of every pixel; nothing executable."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from care_live.errors import ConfigError
from care_live.trust.camera import CameraModel

_FORMAT = "care-live-camera-1"
_EMPTY = np.empty((0, 0), np.float32)


def write(path: Path, camera: CameraModel) -> None:
    """Write a camera; an OSError of the file system becomes a ConfigError."""
    pattern, noise = (_EMPTY if known is None else known for known in (camera.pattern, camera.dark_noise))
    figures = np.array([camera.gain, camera.offset, camera.read_noise, camera.pattern_sd])
    try:
        with path.open("wb") as file:
            np.savez_compressed(
                file, format=_FORMAT, figures=figures, pattern=pattern, dark_noise=noise, origin=camera.origin
            )
    except OSError as error:
        raise ConfigError(f"cannot write the camera file {path}: {error.strerror or error}") from error


def read(path: Path) -> CameraModel:
    """Read a camera.

    Raises
    ------
    ConfigError
        The file is missing, is no camera file, or its figures can't be those of a camera.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["format"]) != _FORMAT:
                raise ConfigError(f"{path} is a camera file of another version: measure the camera again")
            gain, offset, read_noise, pattern_sd = (float(figure) for figure in stored["figures"])
            pattern, origin = np.asarray(stored["pattern"], np.float32), str(stored["origin"])
            noise = np.asarray(stored["dark_noise"], np.float32) if "dark_noise" in stored else _EMPTY
    except OSError as error:
        raise ConfigError(f"cannot read the camera file {path}: {error.strerror or error}") from error
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{path} is no camera file: make one with 'care-live camera'") from error
    if not (np.isfinite([gain, offset, read_noise, pattern_sd]).all() and gain > 0 and read_noise >= 0):
        raise ConfigError(f"{path} says gain {gain:g} and read noise {read_noise:g}: no camera has these")
    if np.isinf(pattern).any() or pattern.ndim != 2 or not _is_noise_of(pattern, noise):
        raise ConfigError(f"{path} has a broken offset or noise of its pixels: measure the camera again")
    return CameraModel(
        gain,
        offset,
        read_noise,
        f"camera file {path.name}, {origin}",
        pattern if pattern.size else None,
        pattern_sd,
        noise if noise.size else None,
    )


def _is_noise_of(pattern: NDArray[np.float32], noise: NDArray[np.float32]) -> bool:
    """Tell whether a noise of every pixel belongs to a pattern; files of older versions have none."""
    return not noise.size or (noise.shape == pattern.shape and bool(np.isfinite(noise).all() and (noise > 0).all()))
