"""Micro-Manager's demo devices with a second camera, both behind a Multi Camera."""

from __future__ import annotations

import sys
from pathlib import Path

CAMERAS = ("Camera", "Cam2")
_DEVICES = "Device,Cam2,DemoCamera,DCam\nDevice,Multi Camera,Utilities,Multi Camera\n"
_AFTER = """
Property,Multi Camera,Physical Camera 1,Camera
Property,Multi Camera,Physical Camera 2,Cam2
Property,Core,Camera,Multi Camera
"""
_ONE_A_CHANNEL = """
Property,Core,Camera,Camera
ConfigGroup,Channel,DAPI,Core,Camera,Camera
ConfigGroup,Channel,FITC,Core,Camera,Cam2
"""


def two_cameras(folder: Path, *, second_width_px: int = 64, together: bool = True) -> Path:
    """Write a configuration of two cameras, 48 x 64 px; the second may be of another width.

    They expose together, behind a Multi Camera, or each has a channel.
    """
    import mm_test_adapters

    demo = (Path(mm_test_adapters.device_adapter_path()) / "MMConfig_demo.cfg").read_text()
    ready = "Property,Core,Initialize,1"
    assert demo.count(ready) == 1
    sizes = "".join(
        f"Property,{camera},{name},{value}\n"
        for camera, width_px in zip(CAMERAS, (64, second_width_px), strict=True)
        for name, value in {
            "OnCameraCCDXSize": width_px,
            "OnCameraCCDYSize": 48,
            "PixelType": "16bit",
            "Mode": "Noise",
        }.items()
    )
    path = folder / "two_cameras.cfg"
    path.write_text(demo.replace(ready, _DEVICES + ready) + (_AFTER if together else _ONE_A_CHANNEL) + sizes)
    return path


def load_two_cameras(port: int) -> None:
    """Add the second camera to a running Java Micro-Manager."""
    from pycromanager import Core

    core = Core(port=port)
    core.load_device("Cam2", "DemoCamera", "DCam")
    core.load_device("Multi Camera", "Utilities", "Multi Camera")
    for device in ("Cam2", "Multi Camera"):
        core.initialize_device(device)
    for camera in CAMERAS:
        for name, value in {
            "PixelType": "16bit",
            "Mode": "Noise",
            "OnCameraCCDXSize": 64,
            "OnCameraCCDYSize": 48,
        }.items():
            core.set_property(camera, name, str(value))
    for number, camera in enumerate(CAMERAS, 1):
        core.set_property("Multi Camera", f"Physical Camera {number}", camera)
    core.set_camera_device("Multi Camera")


if __name__ == "__main__":
    load_two_cameras(int(sys.argv[1]))
