"""Asks a running Java Micro-Manager for one acquisition that is saved; run in a process of its own.

::

    python java_acquire.py FORMAT 4827 FOLDER TIMES PLANES SIZE_PX
    python java_acquire.py engine PORT FOLDER TIMES PLANES SIZE_PX

A FORMAT of its window does what a click on *Acquire!* there does; ``engine`` runs a hardware sequence over all times
and planes, and saves it as NDTiff.
The demo camera's mode *Noise* makes every image distinct.
"""

from __future__ import annotations

import sys
from pathlib import Path

PREFIX = "mda"


def prepare_camera(port: int, size_px: int) -> None:
    """Make every image distinct, as fast as the camera can."""
    from pycromanager import Core

    core = Core(port=port)
    for name, value in {
        "Mode": "Noise",
        "PixelType": "16bit",
        "OnCameraCCDXSize": size_px,
        "OnCameraCCDYSize": size_px,
    }.items():
        core.set_property("Camera", name, str(value))
    core.set_exposure(1.0)


def run_in_window(port: int, folder: Path, n_times: int, n_planes: int, *, save_mode: str) -> None:
    """Run a multi-dimensional acquisition in the window and wait for its end."""
    from pycromanager import Studio
    from pyjavaz import JavaClass

    mode = JavaClass("org.micromanager.data.Datastore$SaveMode", port=port).value_of(save_mode)
    acquisitions = Studio(port=port).acquisitions()
    settings = acquisitions.get_acquisition_settings().copy_builder()
    settings.use_frames(True).num_frames(n_times).interval_ms(0.0 if save_mode == "ND_TIFF" else 1000.0)
    settings.use_slices(True).slice_z_bottom_um(0.0).slice_z_top_um(float(n_planes - 1)).slice_z_step_um(1.0)
    settings.relative_z_slice(False).use_channels(False).use_position_list(False).use_autofocus(False)
    settings.save(True).root(str(folder)).prefix(PREFIX).save_mode(mode)
    store = acquisitions.run_acquisition_with_settings(settings.build(), True)
    print(store.get_num_images())


def run_in_engine(port: int, folder: Path, n_times: int, n_planes: int) -> None:
    """Run the acquisition engine without its window, all frames in one hardware sequence."""
    from pycromanager import JavaBackendAcquisition

    with JavaBackendAcquisition(str(folder), PREFIX, show_display=False, port=port) as acquisition:
        acquisition.acquire([{"axes": {"time": t, "z": z}} for t in range(n_times) for z in range(n_planes)])


if __name__ == "__main__":
    where, port_text, folder_text, *numbers = sys.argv[1:]
    times, planes, size = map(int, numbers)
    prepare_camera(int(port_text), size)
    if where == "engine":
        run_in_engine(int(port_text), Path(folder_text), times, planes)
    else:
        run_in_window(int(port_text), Path(folder_text), times, planes, save_mode=where)
