"""A camera that fails."""

from __future__ import annotations


class Broken:
    """What `CameraGuard` needs of a core, with a camera that fails."""

    def snap_image(self) -> None:
        raise RuntimeError("no light\nTraceback …")

    def get_tagged_image(self, camera: str) -> None:
        raise RuntimeError("no image")
