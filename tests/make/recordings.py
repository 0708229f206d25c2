"""What every reader of recordings must hold."""

from __future__ import annotations

import numpy as np

from care_live.recorded import Recording


def same_everywhere(recording: Recording, direct: np.ndarray, axes: str) -> None:
    """Compare every plane with an array of axes *axes* (a subset of TPCZYX)."""
    for index in recording.contents.order:
        place = {"T": index.t, "P": index.p, "C": index.c, "Z": index.z}
        plane = recording.read_plane(index)
        assert not plane.flags.writeable
        np.testing.assert_array_equal(plane, direct[tuple(place[a] for a in axes[:-2])])
    assert len(recording.contents.order) == int(np.prod(direct.shape[:-2]))
