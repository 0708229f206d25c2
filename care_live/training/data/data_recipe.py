"""The [data] section of a recipe: where the examples of a training run come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from care_live.config import Section

SpecimenName = Literal["worm", "beads", "tubules", "granules", "nuclei", "forms", "confocal_forms"]
"""*forms* are of every kind, for specimens without a description; see `simulate.forms`.
*confocal_forms* are the same at the voxel size of the recipe, which is better where that is known."""
Specimens: TypeAlias = dict[SpecimenName, int]
"""How many volumes of each."""
ThinSpecimens: TypeAlias = dict[Literal["tubules", "granules"], int]


def _several(folders: Any) -> Any:
    return (folders,) if isinstance(folders, str | Path) else folders


Folders: TypeAlias = Annotated[tuple[Path, ...], BeforeValidator(_several), Field(min_length=1)]
"""One folder (or OME-Zarr), or several."""


class SimulatedData(Section):
    """Specimens that move and glow in the virtual microscope, with fresh noise for every patch."""

    kind: Literal["simulated"] = "simulated"
    specimens: Specimens = Field(default={"worm": 24})
    """How many volumes of each."""
    validation: Specimens = Field(default={"worm": 2})
    shape_px: tuple[int, int, int] = (32, 256, 256)
    voxel_sizes_um: tuple[tuple[float, float, float], ...] = ((1.0, 0.5, 0.5),)
    """(z, y, x); the volumes take turns."""
    laser_power: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Doses; every patch draws one."""


class _Recordings(Section):
    """Recorded volumes: folders with one file a volume, or OME-Zarr arrays of TCZYX."""

    pattern: str = "*.tif*"
    axes: str = Field(default="ZYX", pattern=r"^T?C?Z?YX$")
    """Of every file; time points become volumes."""
    validation: tuple[str, ...] = ()
    """File names without ending that are kept for validation; none: the last tenth, at least one volume."""


class _MatchedRecordings(_Recordings):
    """Recordings of the same volumes, named alike in each folder."""

    max_shift_px: float = Field(default=1.5, ge=0)
    """Volumes that are shifted more than this against each other are refused."""


class PairsData(_MatchedRecordings):
    """Matched recordings of fixed samples, dim and bright.

    With one target, each input is a further condition of the same volumes. With several, each has the input of its
    own place in the list: other volumes.
    """

    kind: Literal["pairs"] = "pairs"
    inputs: Folders
    target: Folders

    @model_validator(mode="after")
    def _each_with_its_own(self) -> Self:
        if len(self.target) not in (1, len(self.inputs)):
            raise ValueError(
                f"{len(self.target)} targets came with {len(self.inputs)} inputs: give one target for all inputs, or "
                "one for each"
            )
        return self


class ExposuresData(_MatchedRecordings):
    """Two exposures or more of the same planes, one right after the other, and no clean image: Noise2Noise."""

    kind: Literal["exposures"] = "exposures"
    exposures: tuple[Path, ...] = Field(min_length=2)


class NoisyData(_Recordings):
    """Noisy images and nothing else. Two exposures are better, see `ExposuresData`; pairs are best."""

    kind: Literal["noisy"] = "noisy"
    images: Folders
    hide_pixels: bool | None = None
    """Learn from hidden pixels (Noise2Void) also where the noise can be measured. None: a network of planes does, which
    sees nothing of a camera's pattern at a hidden pixel; one of volumes sees it in the planes around."""


class IsotropicData(_Recordings):
    """Sharp lateral slices, turned by any angle and degraded along y as the microscope degrades z, for every patch."""

    kind: Literal["isotropic"] = "isotropic"
    volumes: Path
    factor: float = Field(default=4.0, gt=1)
    """Distance of slices in pixels; it may be fractional."""
    psf: Path | None = None
    """Measured PSF, ZYX TIFF with cubic voxels of the pixel size, deconvolved of its lateral part already or
    narrow enough; none: a Gaussian of `psf_sigma_px`."""
    psf_sigma_px: tuple[float, float] = (3.0, 1.0)
    """(axial, lateral) in lateral pixels; slices are blurred by what the axial one has more."""
    counts_per_electron: float = Field(default=1.0, ge=0)
    """For photon noise; 0: none."""
    gauss_sigma_counts: float = Field(default=0.0, ge=0)


class DeconvolveData(Section):
    """Generated tubules and granules, blurred and dimmed: nothing but knowledge of the microscope."""

    kind: Literal["deconvolve"] = "deconvolve"
    specimens: ThinSpecimens = Field(default={"tubules": 24, "granules": 24})
    validation: ThinSpecimens = Field(default={"tubules": 2, "granules": 2})
    shape_px: tuple[int, int] = (256, 256)
    pixel_um: float = Field(default=0.1, gt=0)
    psf: Path | None = None
    """Measured PSF, ZYX TIFF. None: the virtual microscope's objective."""
    psf_voxel_um: tuple[float, float, float] = (0.3, 0.1, 0.1)
    """(z, y, x) of the measured one."""
    peak_electrons: tuple[float, float] = (20.0, 500.0)
    """Photo-electrons of the brightest pixels, from the least light to the most; every patch is exposed anew."""


class UpsampleData(_Recordings):
    """Stacks of which only every factor-th plane is kept, resampled as the restorer will do it."""

    kind: Literal["upsample"] = "upsample"
    volumes: Path
    factor: float = Field(default=4.0, gt=1)


DataRecipe: TypeAlias = Annotated[
    SimulatedData | PairsData | ExposuresData | NoisyData | IsotropicData | DeconvolveData | UpsampleData,
    Field(discriminator="kind"),
]
