"""A training run as a TOML file: which data, which network, how it is fitted, what its card will say."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from care_live.config import Section, describe
from care_live.errors import ConfigError
from care_live.model.card import Task

LossName = Literal["mae", "mse", "gaussian", "laplace"]
OptimiserName = Literal["adam", "muon"]
SpecimenName = Literal["worm", "beads", "tubules", "granules", "nuclei", "forms", "confocal_forms"]
"""*forms* are of every kind, for specimens without a description; see `simulate.forms`.
*confocal_forms* are the same at the voxel size of the recipe, which is better where that is known."""
Specimens: TypeAlias = dict[SpecimenName, int]
"""How many volumes of each."""
ThinSpecimens: TypeAlias = dict[Literal["tubules", "granules"], int]


class NetworkRecipe(Section):
    """A U-Net; the defaults are CSBDeep's for 3D."""

    axes: Literal["YX", "ZYX"] = "ZYX"
    """What the network reads at once."""
    depth: int = Field(default=2, ge=1, le=5)
    """How often it pools."""
    filters: int = Field(default=32, ge=1)
    """Features of the first level; doubled at each level below."""
    kernel_px: int = Field(default=3, ge=1)
    """Odd, the same along every axis."""
    pool_px: tuple[int, ...] = (2, 2, 2)
    """One per axis; 1 along z keeps every plane, needs no multiple of anything there and streams sooner."""
    n_channels_in: int = Field(default=1, ge=1)
    n_channels_out: int = Field(default=1, ge=1)
    residual: bool = True
    """Learn the difference from the input; needs as many channels out as in."""
    probabilistic: bool = True
    """A second head gives the Laplace scale."""
    batch_norm: bool = False
    """Folded into the convolutions at export, so that it costs nothing at run time."""
    last_activation: Literal["linear", "relu"] = "linear"
    initialise: Literal["glorot", "he", "uniform"] = "glorot"
    """First weights: as CSBDeep; as large as ReLU wants them; or a sixth of their variance, for batch norm, which
    does not mind and so learns faster."""
    standardise: bool = False
    """Learn between images of mean 0 and deviation 1, measured on training patches and kept with the weights."""
    decoder: Literal["nearest", "transpose"] = "nearest"
    """How the decoder is exported: as trained, or as the equal transposed convolution, which is faster."""
    projection: bool = False
    """Put a surface projection (3D to 2D) in front; `axes` is then that of the 2D network, YX."""
    projection_depth: int = Field(default=4, ge=1, le=5)
    projection_filters: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kernel_px % 2 == 0:
            raise ValueError(f"kernel_px must be odd, got {self.kernel_px}")
        if len(self.pool_px) != len(self.axes):
            raise ValueError(f"pool_px needs one number for each of {self.axes}, got {self.pool_px}")
        if self.projection and self.axes != "YX":
            raise ValueError(f"a projection restores in 2D: axes must be YX, got {self.axes}")
        if self.residual and self.n_channels_in != self.n_channels_out:
            raise ValueError(f"residual needs as many channels out as in, got {self.n_channels_in} in")
        if self.standardise and self.last_activation != "linear":
            raise ValueError(f"standardise needs last_activation linear, got {self.last_activation}")
        return self

    @property
    def divisor(self) -> tuple[int, ...]:
        """Input sizes must be multiples of this, one per axis of `axes`."""
        finder = 2**self.projection_depth if self.projection else 1
        return tuple(math.lcm(step**self.depth, finder) for step in self.pool_px)

    def describe(self) -> str:
        """Return the architecture in words, for the card."""
        parts = [
            f"U-Net {len(self.axes)}D depth {self.depth}, {self.filters} filters, kernel {self.kernel_px}",
            f"pool {'x'.join(str(step) for step in self.pool_px)}",
            "residual" if self.residual else "not residual",
            "batch norm folded" if self.batch_norm else "no batch norm",
            *(["standardised"] if self.standardise else []),
            f"{self.decoder} decoder, last activation {self.last_activation}",
        ]
        return ", ".join([*parts, *(["surface projection in front"] if self.projection else [])])


PRESETS = {
    "csbdeep-2d": NetworkRecipe(axes="YX", kernel_px=5, pool_px=(2, 2), probabilistic=False),
    "csbdeep-3d": NetworkRecipe(probabilistic=False),
    "csbdeep-2d-probabilistic": NetworkRecipe(axes="YX", kernel_px=5, pool_px=(2, 2)),
    "csbdeep-3d-probabilistic": NetworkRecipe(),
}
"""CSBDeep's own defaults, by name."""


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


class PairsData(Section):
    """Matched recordings of one fixed sample, dim and bright; one folder (or Zarr) for each condition."""

    kind: Literal["pairs"] = "pairs"
    inputs: tuple[Path, ...] = Field(min_length=1)
    """Folders with one file a volume, named alike in each; or OME-Zarr arrays of TCZYX."""
    target: Path
    pattern: str = "*.tif*"
    axes: str = Field(default="ZYX", pattern=r"^T?C?Z?YX$")
    """Of every file; time points become volumes."""
    validation: tuple[str, ...] = ()
    """File names without ending that are kept for validation; none: the last tenth, at least one volume."""
    max_shift_px: float = Field(default=1.5, ge=0)
    """Pairs that are shifted more than this against each other are refused."""


class IsotropicData(Section):
    """Sharp lateral slices, turned by any angle and degraded along y as the microscope degrades z, for every patch."""

    kind: Literal["isotropic"] = "isotropic"
    volumes: Path
    pattern: str = "*.tif*"
    axes: str = Field(default="ZYX", pattern=r"^T?C?Z?YX$")
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
    validation: tuple[str, ...] = ()


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


class UpsampleData(Section):
    """Stacks of which only every factor-th plane is kept, resampled as the restorer will do it."""

    kind: Literal["upsample"] = "upsample"
    volumes: Path
    pattern: str = "*.tif*"
    axes: str = Field(default="ZYX", pattern=r"^T?C?Z?YX$")
    factor: float = Field(default=4.0, gt=1)
    validation: tuple[str, ...] = ()


DataRecipe: TypeAlias = Annotated[
    SimulatedData | PairsData | IsotropicData | DeconvolveData | UpsampleData, Field(discriminator="kind")
]


class FitRecipe(Section):
    """How the weights are found."""

    n_updates: int = Field(default=40_000, ge=1)
    batch: int = Field(default=16, ge=1)
    patch_px: tuple[int, ...] = (16, 64, 64)
    optimiser: OptimiserName = "adam"
    """*muon* learns more from each update, and takes the same rates; see `optimiser`."""
    learning_rate: float = Field(default=4e-4, gt=0)
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    """*plateau* halves the rate when validation stands still; *cosine* falls to a hundredth at the end."""
    warmup_updates: int = Field(default=0, ge=0)
    loss: LossName = "laplace"
    beta: float = Field(default=0.0, ge=0, le=1)
    """Weight exponent of the Laplace loss; see `loss.laplace`."""
    clip_norm: float = Field(default=0.0, ge=0)
    """Longest gradient; 0: no limit."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a running average of the weights, which is what is validated and exported; 0: none."""
    validate_every: int = Field(default=400, ge=1)
    n_validation_patches: int = Field(default=16, ge=1)
    patience: int = Field(default=10, ge=1)
    """Validations without progress before *plateau* halves the rate."""
    stop_after: int = Field(default=0, ge=0)
    """Validations without progress before training stops early; 0: never."""
    foreground: float = Field(default=0.8, ge=0, le=1)
    """Share of the patches that must hold foreground of the target."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "mixed"] = "float32"
    """*mixed* computes in bfloat16 on a GPU, and on a CPU where `device` is *cpu*; weights and loss stay float32."""
    threads: int = Field(default=0, ge=0)
    """CPU threads; 0: as many as cores."""
    tensorboard: bool = False


class CardRecipe(Section):
    """What only the author of a network knows."""

    channels_in: tuple[str, ...] = ("any",)
    channels_out: tuple[str, ...] = ("any",)
    author: str = ""
    licence: str = ""
    specimen: str = ""


class Recipe(Section):
    """The whole file."""

    name: str = Field(pattern=r"^[0-9A-Za-z_.-]{1,64}$")
    seed: int = Field(default=1, ge=0)
    members: int = Field(default=1, ge=1, le=16)
    """Networks of the ensemble; each has its own seed and ends in the same ONNX file."""
    preset: str | None = None
    """One of CSBDeep's networks by name, instead of `network`."""
    network: NetworkRecipe = NetworkRecipe()
    data: DataRecipe
    fit: FitRecipe = FitRecipe()
    card: CardRecipe = CardRecipe()

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, tree: dict[str, object]) -> dict[str, object]:
        name = tree.get("preset")
        if name is None:
            return tree
        if name not in PRESETS or "network" in tree:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, and without a [network]; got {name!r}")
        return {**tree, "network": PRESETS[str(name)]}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.fit.loss == "laplace" and not self.network.probabilistic:
            raise ValueError("loss laplace needs network.probabilistic = true")
        axes = "ZYX" if self.network.projection else self.network.axes
        if len(self.fit.patch_px) != len(axes):
            raise ValueError(f"patch_px needs one number for each of {axes}, got {self.fit.patch_px}")
        lateral = self.fit.patch_px[-len(self.network.divisor) :]
        if any(size % step for size, step in zip(lateral, self.network.divisor, strict=True)):
            raise ValueError(f"patch_px {self.fit.patch_px} must be multiples of {self.network.divisor}")
        return self

    @property
    def task(self) -> Task:
        if self.network.projection:
            return "project"
        tasks: dict[str, Task] = {"isotropic": "isotropic", "deconvolve": "deconvolve", "upsample": "upsample"}
        return tasks.get(self.data.kind, "denoise")


def load(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    ConfigError
        The file is missing, no TOML, or has an unknown key or a value out of range; says which.
    """
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"cannot read recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
