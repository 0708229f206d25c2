"""The [network] section of a recipe: the architecture of a U-Net."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from care_live.config import Section
from care_live.model.card import MOST_PAST

POOL_PX = {"YX": (2, 2), "ZYX": (1, 2, 2)}


class KernelWindow(NamedTuple):
    """What a kernel reads around the place that it writes."""

    size_px: tuple[int, ...]
    lag: int = 0
    """By how many planes it lies before that place; at `size // 2` it reads that plane and earlier ones."""


class NetworkRecipe(Section):
    """A U-Net; the defaults are what restores best after minutes of training, over many stacks."""

    axes: Literal["YX", "ZYX"] = "ZYX"
    """What the network reads at once."""
    depth: int = Field(default=2, ge=1, le=5)
    """How often it pools."""
    filters: int = Field(default=16, ge=1)
    """Features of the first level; doubled at each level below. Where a budget in minutes is given, and no number
    here, the budget decides."""
    kernel_px: int = Field(default=3, ge=1)
    """Odd, the same along every axis."""
    pool_px: tuple[int, ...] = ()
    """One per axis; by default 2, and 1 along z: that keeps every plane, needs no multiple of anything there and
    streams sooner."""
    blur_pool: bool = False
    """Blur what is pooled, so that no pixel's noise goes on alone."""
    first_skip: bool = True
    """Join the first level of the encoder to the last of the decoder. Networks that learn from noisy images alone are
    free of checkerboards without it, and with `blur_pool`: N2V2, Höck et al. 2022."""
    look_ahead: int | None = Field(default=None, ge=0)
    """Later planes that the network may read to restore one; the other kernels then read earlier planes only. None: all
    kernels look both ways, which is `kernel_px // 2` planes for each of 4 · depth + 2 convolutions."""
    n_channels_in: int = Field(default=1, ge=1)
    n_channels_out: int = Field(default=1, ge=1)
    past: int = Field(default=0, ge=0, le=MOST_PAST)
    """Earlier time points of a time-lapse that the network reads with each one, as further channels."""
    residual: bool = False
    """Learn the difference from the input; needs as many channels out as in. A noisy input is worth less than it
    costs: on a neuron and on toxoplasma, with 60 times fewer photons, 3.6 and 4.0 dB."""
    probabilistic: bool = True
    """A second head gives the Laplace scale."""
    batch_norm: bool = True
    """Folded into the convolutions at export, so that it costs nothing at run time."""
    last_activation: Literal["linear", "relu"] = "linear"
    initialise: Literal["glorot", "he", "uniform"] = "uniform"
    """First weights: as CSBDeep; as large as ReLU needs them; or a sixth of their variance, for batch norm, which
    does not mind and so learns faster."""
    standardise: bool = True
    """Learn between images of mean 0 and deviation 1, measured on training patches and kept with the weights; true
    by default, unless the last activation is relu."""
    decoder: Literal["nearest", "transpose"] = "transpose"
    """How the decoder is exported: as trained, or as the equal transposed convolution, which is faster."""
    projection: bool = False
    """Put a surface projection (3D to 2D) in front; `axes` is then that of the 2D network, YX."""
    projection_depth: int = Field(default=4, ge=1, le=5)
    projection_filters: int = Field(default=8, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        pool_px = POOL_PX.get(tree.get("axes", "ZYX"), ())
        return {"pool_px": pool_px, "standardise": tree.get("last_activation", "linear") == "linear", **tree}

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
        if self.past and (self.projection or self.residual):
            raise ValueError("past needs projection = false and residual = false")
        if self.look_ahead is not None and (self.axes != "ZYX" or self.pool_px[0] > 1):
            raise ValueError(f"look_ahead needs axes ZYX and no pooling along z, got {self.axes}, pool {self.pool_px}")
        if self.standardise and self.last_activation != "linear":
            raise ValueError(f"standardise needs last_activation linear, got {self.last_activation}")
        return self

    @property
    def n_inputs(self) -> int:
        """Channels that it reads: those of the present time point, then those of each earlier one."""
        return self.n_channels_in * (1 + self.past)

    @property
    def divisor(self) -> tuple[int, ...]:
        """Input sizes must be multiples of this, one per axis of `axes`."""
        finder = 2**self.projection_depth if self.projection else 1
        return tuple(math.lcm(step**self.depth, finder) for step in self.pool_px)

    @property
    def kernels(self) -> tuple[KernelWindow, ...]:
        """All kernels on the way from the image down and up again; two convolutions at every level."""
        n, whole, reach = 4 * self.depth + 2, (self.kernel_px,) * len(self.axes), self.kernel_px // 2
        if self.look_ahead is None:
            return (KernelWindow(whole),) * n
        n_ahead = min(n, self.look_ahead // max(1, reach))
        ahead = {int((number + 0.5) * n / n_ahead) for number in range(n_ahead)}  # evenly on the way
        return tuple(KernelWindow(whole, 0 if number in ahead else reach) for number in range(n))

    def describe(self) -> str:
        """Return the architecture in words, for the card."""
        parts = [
            f"U-Net {len(self.axes)}D depth {self.depth}, {self.filters} filters, kernel {self.kernel_px}",
            f"pool {'x'.join(str(step) for step in self.pool_px)}",
            "residual" if self.residual else "not residual",
            "batch norm folded" if self.batch_norm else "no batch norm",
            *(["standardised"] if self.standardise else []),
            *(["blurred pooling"] if self.blur_pool else []),
            *([] if self.first_skip else ["no first skip"]),
            *([f"reads {self.past} earlier time points"] if self.past else []),
            *([] if self.look_ahead is None else [f"looks {self.look_ahead} planes ahead"]),
            f"{self.decoder} decoder, last activation {self.last_activation}",
        ]
        return ", ".join([*parts, *(["surface projection in front"] if self.projection else [])])


_CSBDEEP: dict[str, Any] = {
    "filters": 32,
    "residual": True,
    "batch_norm": False,
    "initialise": "glorot",
    "standardise": False,
    "decoder": "nearest",
}
_2D, _3D = {"axes": "YX", "kernel_px": 5, "pool_px": (2, 2)}, {"axes": "ZYX", "kernel_px": 3, "pool_px": (2, 2, 2)}
PRESETS = {
    "csbdeep-2d": NetworkRecipe.model_validate(_CSBDEEP | _2D | {"probabilistic": False}),
    "csbdeep-3d": NetworkRecipe.model_validate(_CSBDEEP | _3D | {"probabilistic": False}),
    "csbdeep-2d-probabilistic": NetworkRecipe.model_validate(_CSBDEEP | _2D),
    "csbdeep-3d-probabilistic": NetworkRecipe.model_validate(_CSBDEEP | _3D),
}
"""CSBDeep's own defaults, by name."""
