"""What a subscriber or a viewer has of one volume: the raw one, the restored one, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from care_live.images import Counts, Flag, ModelIdentity, Restored, Volume, VolumeKey
from care_live.maps import Array, Head
from care_live.reasons import Choice
from care_live.verdict import Trust


@dataclass(frozen=True, slots=True, eq=False)
class RawAndRestored:
    """One volume, or some planes of one; at least one of both is there."""

    restored: Restored | None
    """With the maps that were requested. Its ``z`` are the planes of a volume that is still being restored; None: the
    whole volume. None instead of it: not restored, or not yet."""
    volume: Volume | None
    """The raw one; its pixels are empty where they were not requested. None: still being recorded, or not stored."""

    @property
    def _either(self) -> Restored | Volume:
        record = self.restored or self.volume
        assert record is not None, "neither a raw nor a restored volume"
        return record

    @property
    def key(self) -> VolumeKey:
        """Time point, position and output channel."""
        return self._either.key

    @property
    def voxel_size_um(self) -> tuple[float, float, float]:
        """(z, y, x) of *mean*; of the raw planes where nothing is restored."""
        return self._either.voxel_size_um

    @property
    def raw(self) -> Counts | None:
        """(z, y, x) camera counts, read-only; None where there are none."""
        return None if self.volume is None or not self.volume.pixels.size else self.volume.pixels

    @property
    def maps(self) -> Mapping[Head, Array]:
        """What there is of `care_live.maps.MAPS`, (z, y, x) each.

        The confidence interval is mean ± (−b·log(1−q)), b the Laplace scale. z may differ from raw's, and some maps are
        coarser in y and x.
        """
        return {} if self.restored is None else self.restored.maps

    @property
    def mean(self) -> Array | None:
        """(z, y, x): the restored image itself; None where there is none."""
        return self.maps.get("mean")

    @property
    def flags(self) -> frozenset[Flag]:
        """As they came: a newer daemon may know more of them."""
        return frozenset() if self.restored is None else self.restored.flags

    @property
    def trust(self) -> Trust | None:
        """Whether it agrees with the photons that were counted; None: it was not examined."""
        return None if self.restored is None else self.restored.trust

    @property
    def choice(self) -> Choice | None:
        """Whether it went through the network while it was recorded, and why; None: not known."""
        return None if self.restored is None else self.restored.choice

    @property
    def model(self) -> ModelIdentity | None:
        """None: raw only, it was not restored."""
        return None if self.restored is None else self.restored.model
