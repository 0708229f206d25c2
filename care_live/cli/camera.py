"""``care-live camera``: what the camera's counts mean, in a file that the daemon reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from care_live.cli import options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from care_live.trust.camera import CameraModel

_MOST_FRAMES, _MOST_VOLUMES = 200, 16


@click.command("camera")
@click.argument("out", type=options.FILE)
@click.option("--dark", type=options.FILE, help="Frames with the shutter closed: TIFF, NDTiff, OME-Zarr or a run.")
@click.option("--flat", type=options.FILE, help="Frames of even light, about half of the range, same exposure.")
@click.option("--data", "recording", type=options.FILE, help="Any data set of this camera, instead of frames.")
@options.axes
def camera_command(out: Path, dark: Path | None, flat: Path | None, recording: Path | None, axes: str | None) -> None:
    """Measure a camera's gain, offset and read noise, and write them to the camera file OUT.

    Give --dark and --flat (20 frames each or more): then the offset of every pixel is known, too. Or give --data: the
    noise of any data set shows gain, offset and read noise. A daemon reads OUT where restore.camera names it.
    """
    from care_live.errors import ConfigError
    from care_live.trust import camera_file

    if recording is not None and (dark or flat):
        raise ConfigError("--data was given with --dark or --flat: give either frames or a run")
    if recording is not None:
        camera = _of_run(recording, axes)
    elif dark is not None and flat is not None:
        camera = _of_frames(dark, flat, axes)
    else:
        raise ConfigError("what shows the camera is missing: give --dark and --flat, or --data")
    camera_file.write(out, camera)
    click.echo(f"{out}: {camera}")


def _of_frames(dark: Path, flat: Path, axes: str | None) -> CameraModel:
    import numpy as np

    from care_live.trust.photon_transfer import camera_from_frames

    frames = [np.stack(list(islice(_planes(path, axes), _MOST_FRAMES))) for path in (dark, flat)]
    return camera_from_frames(frames[0], frames[1], f"{len(frames[0])} dark and {len(frames[1])} flat frames")


def _of_run(path: Path, axes: str | None) -> CameraModel:
    from care_live.errors import ConfigError
    from care_live.trust.photon_transfer import camera_of, transfer_points

    stacks = list(islice(_stacks(path, axes), _MOST_VOLUMES))
    points = tuple(point for stack in stacks for point in transfer_points(stack))
    camera = camera_of(points, f"photon transfer of {len(stacks)} volumes of {path.name}")
    if camera is None:
        raise ConfigError(
            f"{path} does not show the camera's gain: its frames are too small or too evenly lit; "
            "record dark and flat frames, and give --dark and --flat"
        )
    return camera


def _planes(path: Path, axes: str | None) -> Iterator[NDArray[Any]]:
    from contextlib import closing

    from care_live.recorded import open_recording

    with closing(open_recording(path, axes=axes)) as recording:
        for index in recording.contents.order:
            yield recording.read_plane(index)


def _stacks(path: Path, axes: str | None) -> Iterator[NDArray[Any]]:
    """Give the volumes of a data set, one after the other."""
    from contextlib import closing

    import numpy as np

    from care_live.images import PlaneIndex
    from care_live.recorded import open_recording

    with closing(open_recording(path, axes=axes)) as recording:
        there = set(recording.contents.order)
        for key, planes in recording.contents.plan.stacks.items():
            came = [index for z in planes if (index := PlaneIndex(key.t, key.p, key.c, z)) in there]
            if came:
                yield np.stack([recording.read_plane(index) for index in came])
