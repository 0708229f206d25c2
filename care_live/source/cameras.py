"""Several cameras at once: for every event, Micro-Manager's *Multi Camera* gives one frame of each of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from care_live.errors import SourceError

logger = logging.getLogger(__name__)

_PHYSICAL = "-Physical Camera "
"""Begins, behind the device's label, the properties that name the cameras of a Multi Camera."""
_UNUSED = ("", "Undefined")


class CameraFormat(NamedTuple):
    """What the frames of one camera look like."""

    label: str
    height_px: int
    width_px: int
    pixel: str
    """Type, or bytes, of a pixel."""

    def __str__(self) -> str:
        return f"{self.label!r} {self.height_px} x {self.width_px} px ({self.pixel})"


def refuse_different(formats: Sequence[CameraFormat]) -> None:
    """Compare cameras that are to expose at the same time.

    Raises
    ------
    SourceError
        The cameras differ in size or type: Micro-Manager loses frames of them, and a run has one size.
    """
    if len({one[1:] for one in formats}) > 1:
        raise SourceError(
            f"cameras that expose at the same time differ: {', '.join(map(str, formats))}; "
            "set the same size, region, binning and pixel type in all of them"
        )


def camera_labels(core: Any) -> tuple[str, ...]:
    """Return the labels of the cameras that look at once; empty where there is only one.

    Parameters
    ----------
    core : a core in pycromanager's spelling, of this process or of Java
    """
    n_cameras = int(core.get_number_of_camera_channels())
    return tuple(str(core.get_camera_channel_name(number)) for number in range(n_cameras)) if n_cameras > 1 else ()


def formats_of(core: Any, labels: Iterable[str]) -> list[CameraFormat]:
    """Return each camera's format; the core's own camera is put back.

    Parameters
    ----------
    core : a core in pycromanager's spelling
    """
    own = core.get_camera_device()
    try:
        return [_format_of(core, label) for label in labels]
    finally:
        core.set_camera_device(own)


def _format_of(core: Any, label: str) -> CameraFormat:
    core.set_camera_device(label)
    pixel = f"{int(core.get_bytes_per_pixel())} bytes a pixel"
    return CameraFormat(label, int(core.get_image_height()), int(core.get_image_width()), pixel)


def labels_in(tags: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels that the metadata of a frame names as a Multi Camera's; empty where it names none."""
    multi = str(tags.get("Core-Camera", ""))
    named = sorted((name, str(label)) for name, label in tags.items() if name.startswith(f"{multi}{_PHYSICAL}"))
    return tuple(label for _, label in named if label not in _UNUSED) if multi else ()


def labels_among(names: Sequence[str], channels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of the cameras with which these channels get these names; empty where one camera would do."""
    first = f"{channels[0]} "
    labels = tuple(name.removeprefix(first) for name in names if name.startswith(first))
    every = [f"{channel} {label}" for channel in channels for label in labels]
    return labels if labels and every == list(names) else ()
