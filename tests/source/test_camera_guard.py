"""A camera that fails for ever is given up."""

from __future__ import annotations

import pytest

from care_live.errors import SourceError
from care_live.source.camera_guard import CameraGuard
from tests.make.broken_camera import Broken


def test_a_camera_that_fails_for_ever_is_given_up() -> None:
    core, gave_up = Broken(), []
    guard = CameraGuard(core, gave_up.append)
    with pytest.raises(RuntimeError):
        core.snap_image()
    assert guard.last_error == "no light"
    for _ in range(200):  # what pycromanager does
        with pytest.raises(RuntimeError):
            core.get_tagged_image("Camera")
    assert len(gave_up) == 1
    assert isinstance(gave_up[0], SourceError)
