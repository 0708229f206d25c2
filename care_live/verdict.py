"""Whether a restored volume can be trusted: one verdict, its reasons, and the places that contradict the photons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

TrustColour: TypeAlias = Literal["green", "amber", "red"]
"""*green*: restoration and photons agree · *amber*: look at the reasons before you rely on it, or it could not be
examined · *red*: the restoration shows something that was not counted, or lacks something that was."""

BADNESS: Mapping[str, int] = {"green": 0, "amber": 1, "red": 2}
"""The worst has the largest."""

Contradiction: TypeAlias = Literal["invented", "missing"]
"""*invented*: the restoration is brighter than what was counted; *missing*: it is darker."""

MAX_DOUBTS = 16
"""Places that a volume lists at most; the worst come first."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One place where a restoration contradicts the photons."""

    kind: Contradiction
    place_px: tuple[int, int, int]
    """(z, y, x), voxels of the restored volume."""
    sigmas: float
    """How far apart they are, in standard deviations of the camera's noise; positive."""

    @property
    def where(self) -> str:
        """Return the place in words, its plane counted from 1 as on sliders; pixels count from 0."""
        z, y, x = self.place_px
        return f"plane {z + 1}, y {y} x {x}"


@dataclass(frozen=True, slots=True)
class MeasuredError:
    """The error that the newest reference planes of a position and channel showed."""

    t: int
    """Time point of the reference."""
    psnr_db: float
    """Less the reference's own noise."""
    coverage: float | None
    """Share of its voxels in the 90 % interval as it was drawn then; None: the network gives no scale."""
    widening: float
    """By which scales are multiplied from then on, so that intervals hold what they say."""
    dose: float
    """Exposure time of all reference planes so far over that of all other planes."""
    shift_px: float = 0.0
    """By how much the specimen moved between the two exposures; it is corrected."""
    reasons: tuple[str, ...] = ()
    """Why volumes behind it are amber, in words; a run that goes on says them on. Messages have them in the verdict."""
    broke: tuple[int, ...] = ()
    """First and newest time point of references that were clearly worse in a row than the model card says."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The verdict on one restored volume. It never stops a run."""

    colour: TrustColour
    reasons: tuple[str, ...] = ()
    """In words, the gravest first; empty for green."""
    doubts: tuple[Doubt, ...] = ()
    """The worst places, at most `MAX_DOUBTS`."""
    sd: tuple[float, ...] = ()
    """Standard deviation of the standardised residual at each smoothing scale, finest first: 1 is camera noise alone.
    Empty: the evidence was not examined."""
    share: float = 0.0
    """Share of the voxels whose residual is above the threshold at any scale."""
    camera: str = ""
    """Gain, offset and read noise that it was compared with, and where they come from."""
    is_out_of_domain: bool = False
    """The network was trained on other data; the reasons say why."""
    measured: MeasuredError | None = None
    """None: no reference plane came yet."""
    unmeasured: str = ""
    """Why a reference that came says nothing of the error, in words; empty: it does, or none came."""

    def __str__(self) -> str:
        return f"{self.colour}: {'; '.join(self.reasons)}" if self.reasons else self.colour
