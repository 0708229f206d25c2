"""Whatever a reader raises on damaged bytes is one line of ours that names the plane."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from care_live.errors import SourceError
from care_live.images import Counts, PlaneIndex
from care_live.recorded.array import ArrayRecording
from care_live.recorded.guarded import GuardedRecording, only_our_errors

PLACE = PlaneIndex(0, 0, 0, 1)


class Damaged(ArrayRecording):
    """Reads planes until one is damaged, or has another size."""

    def __init__(self, damage: Exception | Counts) -> None:
        super().__init__(np.zeros((3, 4, 5), np.uint16))
        self.damage = damage

    def read_plane(self, index: PlaneIndex) -> Counts:
        if isinstance(self.damage, Exception):
            raise self.damage
        return self.damage if index == PLACE else super().read_plane(index)


@pytest.mark.parametrize("error", [struct.error("unpack\nrequires"), MemoryError("8 GB"), KeyError("Axes")])
def test_any_exception_becomes_one_line(error: Exception) -> None:
    with pytest.raises(SourceError, match=r"^plane t=0 p=0 c=0 z=1 of a.tif: it cannot be read: ") as caught:
        GuardedRecording("a.tif", Damaged(error)).read_plane(PLACE)
    assert type(error).__name__ in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_of_ours_keep_their_words() -> None:
    with pytest.raises(SourceError, match=r"^plane .* of a\.tif: it was cut$"):
        GuardedRecording("a.tif", Damaged(SourceError("it was cut"))).read_plane(PLACE)
    with pytest.raises(SourceError, match=r"^cut$"), only_our_errors("the file"):
        raise SourceError("cut")


@pytest.mark.parametrize("plane", [np.zeros((4, 6), np.uint16), np.zeros((4, 5), np.uint8)], ids=["shape", "type"])
def test_a_plane_unlike_the_first_is_refused(plane: Counts) -> None:
    guarded = GuardedRecording("a.tif", Damaged(plane))
    assert guarded.read_plane(PlaneIndex(0, 0, 0, 0)).shape == (4, 5)
    with pytest.raises(SourceError, match=r"z=1 of a\.tif: uint.* wanted uint16 of \(4, 5\)"):
        guarded.read_plane(PLACE)
